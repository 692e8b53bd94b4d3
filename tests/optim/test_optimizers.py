"""Update rules against torch.optim, or against float64 written straight from the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.optim import population as module
from harness.optim.population import PopulationOptimizer, check_rule
from harness.optim.rules import Adam, Number, Optimizer, RMSProp
from harness.recipe import choose
from harness.recipe.registry import optimizers

P = 37
STEPS = 100
LR = 3e-3

REFERENCES: dict[str, tuple[Callable[..., torch.optim.Optimizer], list[dict[str, Any]]]] = {
    "sgd": (
        torch.optim.SGD,
        [
            {},
            {"momentum": 0.9},
            {"momentum": 0.9, "nesterov": True},
            {"weight_decay": 0.1},
            {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1},
        ],
    ),
    "rmsprop": (
        torch.optim.RMSprop,
        [
            {},
            {"alpha": 0.9},
            {"centered": True},
            {"momentum": 0.9},
            {"momentum": 0.5, "centered": True, "weight_decay": 0.1},
            {"eps": 1e-3},
        ],
    ),
    "adam": (
        torch.optim.Adam,
        [{}, {"beta1": 0.5}, {"beta1": 0.0, "beta2": 0.9}, {"weight_decay": 0.1}, {"eps": 1e-3}],
    ),
    "adamw": (torch.optim.AdamW, [{}, {"beta1": 0.5, "weight_decay": 0.1}, {"weight_decay": 0.0}]),
}
CASES = [(name, options) for name, (_, cases) in REFERENCES.items() for options in cases]


def gradient(parameters: Tensor, step: int) -> Tensor:
    """A noisy quadratic's gradient: large and small directions, and some exact zeros."""
    noise = torch.randn(parameters.shape, generator=torch.Generator().manual_seed(step))
    scales = torch.logspace(-3, 1, P)
    return (parameters * scales + 0.1 * noise) * (torch.arange(P) % 7 != 0)


def start(K: int) -> Tensor:
    return torch.randn(K, P, generator=torch.Generator().manual_seed(99))


def train(name: str, K: int, rows: list[dict[str, Any]]) -> Tensor:
    """K runs of our rule, each on the gradient of its own parameters."""
    parameters = start(K)
    optimizer = PopulationOptimizer([choose(optimizers, name, **row) for row in rows], parameters)
    for step in range(STEPS):
        optimizer.update(parameters, torch.stack([gradient(row, step) for row in parameters]))
    return parameters


def torch_options(options: dict[str, Any]) -> dict[str, Any]:
    options = dict(options)
    if "beta1" in options or "beta2" in options:
        options["betas"] = (options.pop("beta1", 0.9), options.pop("beta2", 0.999))
    return options


def reference(name: str, row: Tensor, options: dict[str, Any]) -> Tensor:
    parameter = torch.nn.Parameter(row.clone())
    optimizer = REFERENCES[name][0]([parameter], **torch_options(options))
    for step in range(STEPS):
        parameter.grad = gradient(parameter.detach(), step)
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize(("name", "options"), CASES)
def test_rule_equals_torch_over_100_steps(name: str, options: dict[str, Any]) -> None:
    options = {"lr": LR, **options}
    for K in (1, 3):
        found = train(name, K, [options] * K)
        for row, first in zip(found, start(K), strict=True):
            np.testing.assert_allclose(row, reference(name, first, options), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("sgd", [{"lr": 1e-2}, {"lr": 1e-3}, {"lr": 1e-1}]),
        (
            "sgd",
            [
                {"lr": LR, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
                {"lr": 2 * LR, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2},
                {"lr": LR, "momentum": 0.1, "nesterov": True, "weight_decay": 0.01},
            ],
        ),
        (
            "rmsprop",
            [
                {"lr": LR, "alpha": 0.9, "momentum": 0.9, "centered": True, "eps": 1e-8},
                {"lr": LR / 2, "alpha": 0.99, "momentum": 0.5, "centered": True, "eps": 1e-6},
                {"lr": LR, "alpha": 0.5, "momentum": 0.1, "centered": True, "eps": 1e-4},
            ],
        ),
        ("rmsprop", [{"lr": LR}, {"lr": LR / 2}, {"lr": LR, "alpha": 0.5}]),
        ("adam", [{"lr": LR, "beta1": 0.5}, {"lr": LR, "beta2": 0.9}, {"lr": 1e-4, "eps": 1e-4}]),
        ("adamw", [{"lr": LR, "weight_decay": 0.1}, {"lr": LR, "beta2": 0.9}, {"lr": 1e-4}]),
    ],
)
def test_each_row_obeys_its_own_hyper_parameters(name: str, rows: list[dict[str, Any]]) -> None:
    found = train(name, 3, rows)
    for row, first, options in zip(found, start(3), rows, strict=True):
        np.testing.assert_allclose(row, reference(name, first, options), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "options"), [*CASES, ("optimistic-adam", {})])
def test_a_large_matrix_is_updated_in_parts_to_the_same_end(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for K in (1, 3):
        rows = [{**options, "lr": LR * (1 + row)} for row in range(K)]
        whole = train(name, K, rows)
        with monkeypatch.context() as small:
            small.setattr(module, "_LARGE", P - 1)
            small.setattr(module, "_BLOCK", 8 * K)
            torch.testing.assert_close(train(name, K, rows), whole, rtol=1e-5, atol=1e-6)


FUSED = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] in FUSED])
def test_a_row_gets_the_bits_of_torch_s_fused_rule_whatever_the_other_rows_options(
    name: str, options: dict[str, Any]
) -> None:
    options = {"lr": LR, **options}
    expected = start(3)[:1].clone()
    parameter = torch.nn.Parameter(expected[0])
    optimizer = FUSED[name]([parameter], fused=True, **torch_options(options))
    for step in range(STEPS):
        parameter.grad = gradient(parameter.detach(), step)
        optimizer.step()
    for others in ([], [options] * 2, [{**options, "lr": 2 * LR}, options]):
        rows = [options, *others]
        parameters = start(3)[: len(rows)].clone()
        ours = PopulationOptimizer([choose(optimizers, name, **row) for row in rows], parameters)
        for step in range(STEPS):
            ours.update(parameters, torch.stack([gradient(row, step) for row in parameters]))
        assert torch.equal(parameters[0], parameter.detach())


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_the_fused_update_of_a_rule_is_its_update_to_rounding(name: str) -> None:
    choices = [choose(optimizers, name, lr=LR, weight_decay=0.1)] * 2
    fused, plain = start(2), start(2)
    ours = PopulationOptimizer(choices, fused)
    buffers = {key: torch.zeros_like(plain) for key in ours.rule.buffers()}
    assert ours.rule.kernel() is not None
    for step in range(20):
        slopes = torch.stack([gradient(row, step) for row in start(2)])
        ours.update(fused, slopes.clone())
        ours.rule.update(plain, slopes, buffers, ours.options, step + 1)
    torch.testing.assert_close(fused, plain, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(ours.buffers, buffers, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("parent", [Adam, RMSProp])
def test_a_rule_of_one_s_own_that_changes_a_known_one_is_not_passed_over(
    parent: type[Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(parent):  # type: ignore[valid-type,misc]
        def update(self, parameters: Tensor, *others: Any) -> None:
            parameters.add_(1)

    monkeypatch.setitem(optimizers._entries, "still", Still)
    parameters = start(2)
    PopulationOptimizer([choose(optimizers, "still")] * 2, parameters).update(parameters, start(2))
    assert torch.equal(parameters, start(2) + 1)


def optimistic_adam_in_float64(
    row: Tensor, *, lr: float, beta1: float, beta2: float, weight_decay: float
) -> Tensor:
    theta = row.double()
    mean, square, previous = (torch.zeros(P, dtype=torch.float64) for _ in range(3))
    for step in range(STEPS):
        g = gradient(theta.float(), step).double() + weight_decay * theta
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * g**2
        direction = (mean / (1 - beta1 ** (step + 1))) / ((square / (1 - beta2 ** (step + 1))).sqrt() + 1e-8)
        theta = theta - 2 * lr * direction + lr * previous
        previous = direction
    return theta


@pytest.mark.parametrize(("beta1", "weight_decay"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.1)])
@pytest.mark.parametrize("K", [1, 3])
def test_optimistic_adam_equals_its_algorithm_in_float64(K: int, beta1: float, weight_decay: float) -> None:
    rows = [
        {"lr": LR / (k + 1), "beta1": beta1, "beta2": 0.9, "weight_decay": weight_decay} for k in range(K)
    ]
    found = train("optimistic-adam", K, rows)
    for row, first, options in zip(found, start(K), rows, strict=True):
        np.testing.assert_allclose(row, optimistic_adam_in_float64(first, **options), rtol=0, atol=1e-5)


def test_optimistic_adam_settles_where_adam_circles() -> None:
    """On the bilinear game min_x max_y xy, whose solution is 0."""

    def distance(name: str) -> float:
        players = torch.ones(2, 1)
        options = {"lr": 0.05, "beta1": 0.0, "beta2": 0.9}
        optimizer = PopulationOptimizer([choose(optimizers, name, **options)] * 2, players)
        for _ in range(2000):
            optimizer.update(players, torch.stack([players[1], -players[0]]))
        return float(players.norm())

    assert distance("optimistic-adam") < 0.3 * distance("adam")


@pytest.mark.parametrize("name", optimizers.names())
def test_a_nan_gradient_leaves_other_rows_bits_alone(name: str) -> None:
    def run(poison: bool) -> Tensor:
        parameters = start(3)
        rows = [choose(optimizers, name, lr=lr) for lr in (1e-2, 1e-3, 1e-2)]
        optimizer = PopulationOptimizer(rows, parameters)
        for step in range(10):
            gradients = torch.stack([gradient(row, step) for row in parameters])
            if poison and step == 3:
                gradients[1] = torch.nan
            optimizer.update(parameters, gradients)
        return parameters

    clean, poisoned = run(False), run(True)
    assert poisoned[1].isnan().all()
    assert torch.equal(clean[[0, 2]], poisoned[[0, 2]])


@pytest.mark.parametrize("name", optimizers.names())
def test_a_saved_and_loaded_optimizer_goes_on_bit_for_bit(name: str) -> None:
    def run(optimizer: PopulationOptimizer, parameters: Tensor, steps: range) -> None:
        for step in steps:
            optimizer.update(parameters, torch.stack([gradient(row, step) for row in parameters]))

    choices = [choose(optimizers, name, lr=lr) for lr in (1e-2, 1e-3)]
    whole, halved = start(2), start(2)
    run(PopulationOptimizer(choices, whole), whole, range(10))
    first = PopulationOptimizer(choices, halved)
    run(first, halved, range(5))
    state = first.state_dict()
    run(
        first, halved.clone(), range(5, 7)
    )  # what happens to the first afterwards is not the state's business
    second = PopulationOptimizer(choices, halved)
    second.load_state_dict(state)
    run(second, halved, range(5, 10))
    assert torch.equal(whole, halved)


@pytest.mark.parametrize("name", optimizers.names())
def test_rows_kept_go_on_as_if_the_others_had_stayed(name: str) -> None:
    choices = [choose(optimizers, name, lr=lr) for lr in (1e-2, 1e-3, 1e-1)]
    whole, kept = start(3), start(3)
    full, part = PopulationOptimizer(choices, whole), PopulationOptimizer(choices, kept)
    positions = [0, 2]
    for step in range(10):
        full.update(whole, torch.stack([gradient(row, step) for row in whole]))
        if step == 5:
            part.keep(positions)
            kept = kept[positions]
        part.update(kept, torch.stack([gradient(row, step) for row in kept]))
    assert torch.equal(whole[positions], kept)


def test_buffers_are_kept_only_where_a_rule_needs_them() -> None:
    def buffers(name: str, **options: Any) -> set[str]:
        return set(PopulationOptimizer([choose(optimizers, name, **options)], start(1)).buffers)

    assert buffers("sgd") == set()
    assert buffers("sgd", momentum=0.9) == {"momentum"}
    assert buffers("rmsprop") == {"square"}
    assert buffers("rmsprop", centered=True, momentum=0.9) == {"square", "mean", "momentum"}
    assert buffers("adam", beta1=0.0) == {"square"}


def test_a_count_on_the_device_gives_the_same_steps_as_one_on_the_host() -> None:
    choices = [choose(optimizers, "adam", lr=LR)] * 2
    host, device = start(2), start(2)
    on_host, on_device = PopulationOptimizer(choices, host), PopulationOptimizer(choices, device)
    on_device.step = torch.zeros((), dtype=torch.float64)
    for step in range(20):
        on_host.update(host, torch.stack([gradient(row, step) for row in host]))
        on_device.update(device, torch.stack([gradient(row, step) for row in device]))
    assert on_device.state_dict()["step"] == 20
    np.testing.assert_allclose(host, device, atol=1e-7)


def test_nesterov_without_momentum_is_refused() -> None:
    with pytest.raises(ValueError, match="`nesterov` needs `momentum` above 0"):
        optimizers["sgd"](nesterov=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -0.1}, "`lr` must be positive, but got -0.1"),
        ({"lr": float("nan")}, "`lr` must be finite"),
        ({"lr": "fast"}, "`lr` must be a number, but got 'fast'"),
        ({"beta1": 1.0}, r"`beta1` must be in \[0, 1\)"),
        ({"beta3": 0.1}, "has no option `beta3`; did you mean `beta"),
    ],
)
def test_a_bad_option_is_refused_by_name_and_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(optimizers, "adam", **options)


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("bound", [None, 0.2])
@pytest.mark.parametrize("large", [False, True])
def test_the_ratio_is_how_far_the_update_and_its_clip_moved_the_weights(
    K: int, bound: float | None, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(module, "_LARGE", P - 1)
        monkeypatch.setattr(module, "_BLOCK", 8 * K)
    parameters, plain = start(K), start(K)
    choices = [choose(optimizers, "adam", lr=LR * (1 + row)) for row in range(K)]
    rule, unmeasured = (PopulationOptimizer(choices, parameters) for _ in range(2))
    for step in range(3):
        before = parameters.clone()
        ratio = rule.update(parameters, gradient(before, step), bound=bound, with_ratio=True)
        assert unmeasured.update(plain, gradient(before, step), bound=bound) is None
        assert torch.equal(parameters, plain)
        assert ratio is not None
        torch.testing.assert_close(ratio, (parameters - before).norm(dim=1) / before.norm(dim=1))
    if bound is not None:
        assert parameters.abs().max() == bound


def test_a_builder_that_makes_no_rule_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty(*, lr: float = 0.1) -> int:
        return 3

    monkeypatch.setitem(optimizers._entries, "empty", empty)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"optimizer `empty` must make a `harness\.optim\.rules\.Optimizer`"):
        PopulationOptimizer([choose(optimizers, "empty")], start(1))


@dataclass(frozen=True, kw_only=True)
class Own(Optimizer):
    """A rule of one's own, with a whole number as an option."""

    every: int = 2
    fault: str = ""

    def buffers(self) -> tuple[str, ...]:
        return ()

    def update(
        self,
        parameters: Tensor,
        gradients: Tensor,
        buffers: Mapping[str, Tensor],
        options: Mapping[str, Number],
        step: Number,
    ) -> None:
        if self.fault == "raises":
            raise KeyError("momentum")
        if self.fault == "rebinds":
            parameters = parameters - options["lr"] * gradients
        elif step % options["every"] == 0:
            parameters.sub_(options["lr"] * gradients)


def test_a_rule_of_one_s_own_is_tried_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(optimizers._entries, "own", Own)
    monkeypatch.setitem(optimizers._entries, "abstract", Optimizer)
    check_rule(choose(optimizers, "own"), "generator_optimizer")
    parameters = start(2)
    optimizer = PopulationOptimizer([choose(optimizers, "own", lr=rate) for rate in (0.5, 2.0)], parameters)
    for _ in range(2):
        optimizer.update(parameters, torch.ones_like(parameters))
    torch.testing.assert_close(start(2) - parameters, torch.tensor([[0.5], [2.0]]).expand(2, P))
    for name, fault, message in (
        ("own", "raises", r"own: its `update` fails: test_optimizers\.py:\d+: KeyError: 'momentum'\.$"),
        ("own", "rebinds", "own: its `update` changes no parameter in 16 updates; change them in place"),
    ):
        with pytest.raises(ValueError, match=f"^`generator_optimizer.name` {message}"):
            check_rule(choose(optimizers, name, fault=fault), "generator_optimizer")
    with pytest.raises(ValueError, match=r"optimizer `abstract` cannot be made .* abstract method"):
        check_rule(choose(optimizers, "abstract"), "generator_optimizer")
