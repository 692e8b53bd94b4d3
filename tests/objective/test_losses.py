"""Losses and penalties against float64 closed forms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.network.stacked import Network
from harness.objective.adversarial import Derived, at_chance, cross_entropy
from harness.objective.objective import Objective, chance_loss
from harness.objective.penalties import drift, gradient_penalty, interpolate, squared_gradient_norm
from harness.recipe import Loss, LossSettings, Recipe, find_recipe
from harness.recipe.networks import check_networks
from harness.recipe.registry import Bounds, losses
from harness.recipe.structure import structure

Array = NDArray[np.float64]
B = 64


def log_sigmoid(x: Array) -> Array:
    return np.where(x > 0, -np.log1p(np.exp(-np.abs(x))), x - np.log1p(np.exp(-np.abs(x))))


DISCRIMINATOR: dict[str, Callable[[Array, Array], Array]] = {
    "minimax": lambda r, f: -log_sigmoid(r).mean(-1) - log_sigmoid(-f).mean(-1),
    "non-saturating": lambda r, f: -log_sigmoid(r).mean(-1) - log_sigmoid(-f).mean(-1),
    "least-squares": lambda r, f: 0.5 * ((r - 1) ** 2).mean(-1) + 0.5 * (f**2).mean(-1),
    "wasserstein": lambda r, f: f.mean(-1) - r.mean(-1),
    "hinge": lambda r, f: np.maximum(0, 1 - r).mean(-1) + np.maximum(0, 1 + f).mean(-1),
    "relativistic": lambda r, f: -log_sigmoid(r - f).mean(-1),
}
GENERATOR: dict[str, Callable[[Array, Array], Array]] = {
    "minimax": lambda r, f: log_sigmoid(-f).mean(-1),
    "non-saturating": lambda r, f: -log_sigmoid(f).mean(-1),
    "least-squares": lambda r, f: 0.5 * ((f - 1) ** 2).mean(-1),
    "wasserstein": lambda r, f: -f.mean(-1),
    "hinge": lambda r, f: -f.mean(-1),
    "relativistic": lambda r, f: -log_sigmoid(f - r).mean(-1),
}


def scores(K: int | None, seed: int) -> Tensor:
    shape = (B,) if K is None else (K, B)
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def loss_named(name: str) -> Loss:
    loss = losses[name]()
    assert isinstance(loss, Loss)
    return loss


def test_every_registered_loss_has_a_closed_form_here() -> None:
    assert set(losses.names()) == set(DISCRIMINATOR) == set(GENERATOR)


@pytest.mark.parametrize("K", [None, 1, 3])
@pytest.mark.parametrize("name", losses.names())
def test_loss_equals_its_closed_form(name: str, K: int | None) -> None:
    real, fake = scores(K, 1), scores(K, 2)
    loss = loss_named(name)
    expected_shape = () if K is None else (K,)
    for found, reference in (
        (loss.discriminator(real, fake), DISCRIMINATOR[name]),
        (loss.generator(fake, real), GENERATOR[name]),
    ):
        assert found.shape == expected_shape
        np.testing.assert_allclose(found, reference(real.double().numpy(), fake.double().numpy()), rtol=2e-6)


@pytest.mark.parametrize("name", losses.names())
def test_gradient_of_a_loss_equals_finite_differences_in_float64(name: str) -> None:
    loss = loss_named(name)
    real, fake = scores(2, 3).double()[:, :5], scores(2, 4).double()[:, :5]
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(lambda f: loss.generator(f, real.detach()), (fake,))


@pytest.mark.parametrize("name", losses.names())
def test_loss_stays_finite_at_scores_of_a_thousand(name: str) -> None:
    loss = loss_named(name)
    for value in (-1e3, 1e3):
        real, fake = torch.full((1, 4), value), torch.full((1, 4), -value)
        assert loss.discriminator(real, fake).isfinite().all()
        assert loss.generator(fake, real).isfinite().all()


@pytest.mark.parametrize("name", losses.names())
def test_a_nan_score_stays_in_its_row(name: str) -> None:
    loss, real, fake = loss_named(name), scores(3, 5), scores(3, 6)
    clean = loss.discriminator(real, fake), loss.generator(fake, real)
    real[1, 0] = fake[1, 0] = torch.nan
    for found, before in zip(
        (loss.discriminator(real, fake), loss.generator(fake, real)), clean, strict=True
    ):
        assert found[1].isnan()
        assert torch.equal(found[[0, 2]], before[[0, 2]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("target", [0, 1])
def test_a_clamp_of_100_gives_the_values_and_gradients_of_torch_s_bce_of_a_sigmoid(
    target: Literal[0, 1], dtype: torch.dtype
) -> None:
    values = torch.cat([torch.linspace(-200, 200, 4001), scores(None, 9)]).to(dtype)
    found, reference = values.clone().requires_grad_(), values.clone().requires_grad_()
    loss = cross_entropy(found, target=target, clamp=100.0)
    expected = nn.BCELoss()(reference.sigmoid(), torch.full_like(reference, target))
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    for value in (loss, expected):
        value.backward()
    torch.testing.assert_close(found.grad, reference.grad, rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_a_clamp_changes_nothing_where_d_is_not_sure(name: str) -> None:
    real, fake = scores(3, 1).clamp(-9, 9), scores(3, 2).clamp(-9, 9)
    clamped, exact = losses[name](clamp=50.0), loss_named(name)
    assert isinstance(clamped, Loss)
    torch.testing.assert_close(clamped.discriminator(real, fake), exact.discriminator(real, fake))
    torch.testing.assert_close(clamped.generator(fake, real), exact.generator(fake, real))


@pytest.mark.parametrize(("bound", "expected"), [(100.0, 60.0), (20.0, 20.0)])
def test_a_clamp_bounds_every_sample(bound: float, expected: float) -> None:
    loss = losses["non-saturating"](clamp=bound)
    assert isinstance(loss, Loss)
    sure = torch.full((1, 4), -60.0)
    assert float(loss.generator(sure, sure)) == pytest.approx(expected)
    assert float(loss_named("non-saturating").generator(sure, sure)) == pytest.approx(60.0)


def test_a_nan_score_under_a_clamp_stays_in_its_row() -> None:
    fake = scores(3, 6)
    fake[1, 0] = torch.nan
    found = cross_entropy(fake, target=0, clamp=100.0)
    assert found.isnan().tolist() == [False, True, False]


def test_only_the_relativistic_loss_compares_with_real_samples() -> None:
    assert [name for name in losses.names() if loss_named(name).compares] == ["relativistic"]


def linear_critics(K: int) -> tuple[Network, Tensor]:
    """K linear critics of points in the plane, and their weights (K, 2)."""
    torch.manual_seed(0)

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, points: Tensor) -> Tensor:
            scores: Tensor = self.layer(points)
            return scores.squeeze(-1)

    modules = [Linear() for _ in range(K)]
    weights = torch.stack([module.layer.weight.detach()[0].clone() for module in modules])
    return Network(modules, torch.device("cpu")), weights.double()


def points(network: Network, K: int) -> Tensor:
    shape = (K, B, 2) if network.stacked else (B, 2)
    return torch.randn(shape, generator=torch.Generator().manual_seed(7)).requires_grad_()


@pytest.mark.parametrize("K", [1, 3])
def test_squared_gradient_norm_of_a_linear_critic_is_its_squared_weight_norm(K: int) -> None:
    critics, weights = linear_critics(K)
    samples = points(critics, K)
    penalty = squared_gradient_norm(critics(samples), samples).reshape(K)
    np.testing.assert_allclose(penalty.detach(), weights.square().sum(1), rtol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("K", [1, 3])
def test_gradient_penalty_of_a_linear_critic_is_its_squared_distance_from_the_target(
    K: int, target: float
) -> None:
    critics, weights = linear_critics(K)
    samples = points(critics, K)
    penalty = gradient_penalty(critics(samples), samples, target).reshape(K)
    np.testing.assert_allclose(penalty.detach(), (weights.norm(dim=1) - target) ** 2, rtol=1e-5)


def test_gradient_penalty_takes_a_target_for_each_run() -> None:
    critics, weights = linear_critics(3)
    samples = points(critics, 3)
    targets = torch.tensor([0.0, 1.0, 2.0])
    penalty = gradient_penalty(critics(samples), samples, targets)
    np.testing.assert_allclose(penalty.detach(), (weights.norm(dim=1) - targets.double()) ** 2, rtol=1e-5)


@pytest.mark.parametrize("K", [1, 3])
def test_gradient_of_a_penalty_reaches_the_critic_through_its_gradient(K: int) -> None:
    critics, weights = linear_critics(K)
    samples = points(critics, K)
    gradients = critics.gradients(squared_gradient_norm(critics(samples), samples))
    np.testing.assert_allclose(gradients[:, :2], 2 * weights, rtol=1e-5)  # d‖w‖²/dw
    np.testing.assert_array_equal(gradients[:, 2], 0)  # the bias moves no gradient


def test_gradient_penalty_of_a_flat_critic_has_a_finite_gradient() -> None:
    samples = torch.zeros(4, 2, requires_grad=True)
    weight = torch.zeros(2, requires_grad=True)
    penalty = gradient_penalty(samples @ weight, samples, 1.0)
    (gradient,) = torch.autograd.grad(penalty, weight)
    assert penalty == 1
    assert gradient.isfinite().all()


@pytest.mark.parametrize("K", [None, 1, 3])
def test_drift_is_the_mean_squared_score(K: int | None) -> None:
    real = scores(K, 8)
    np.testing.assert_allclose(drift(real), (real.double().numpy() ** 2).mean(-1), rtol=1e-6)


def test_interpolation_lies_between_real_and_fake_by_its_weights() -> None:
    real, fake = torch.randn(3, B, 2, 2), torch.randn(3, B, 2, 2)
    weights = torch.rand(3, B)
    mixed = interpolate(real, fake, weights)
    u = weights.double()[..., None, None]
    np.testing.assert_allclose(mixed.detach(), u * real.double() + (1 - u) * fake.double(), atol=1e-6)
    assert mixed.requires_grad
    assert mixed.is_leaf


@pytest.mark.parametrize("name", losses.names())
def test_the_value_at_chance_is_the_least_loss_of_equal_scores(name: str) -> None:
    loss = loss_named(name)
    least = at_chance(loss.discriminator)
    assert loss.chance == pytest.approx(least, abs=1e-4) if loss.chance is not None else least == 0
    halved = chance_loss(LossSettings(name=name, discriminator_scale=0.5))
    assert halved == (None if loss.chance is None else 0.5 * loss.chance)


def test_what_a_loss_is_stands_in_the_loss() -> None:
    made = {name: loss_named(name) for name in losses.names()}
    assert [name for name, loss in made.items() if loss.critic] == ["wasserstein", "hinge", "relativistic"]
    assert [name for name, loss in made.items() if loss.logits] == ["minimax", "non-saturating"]
    with pytest.raises(ValueError, match="is no critic's"):
        Loss(discriminator=torch.add, generator=torch.add, chance=None, critic=True, logits=True)


def top_k(
    *, share: Annotated[float, Bounds(low=0.0, high=1.0, open_low=True)] = 1.0, flip: bool = False
) -> Loss:
    """The hinge, whose G learns from its best fakes alone."""

    def generator(fake: Tensor, _: Tensor) -> Tensor:
        return -fake.topk(max(1, round(share * fake.shape[-1])), dim=-1).values.mean(-1)

    hinge = loss_named("hinge")
    return Loss(discriminator=hinge.discriminator, generator=generator, chance=2.0, critic=True)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of a loss with two options."""
    for own in ("_entries", "_homes", "_sources"):
        monkeypatch.setattr(losses, own, dict(getattr(losses, own)))
    losses.register("top-k")(top_k)
    return find_recipe("points-gan").override({"loss.name": "top-k"})


def test_an_option_of_a_loss_is_a_key_of_the_recipe(recipe: Recipe) -> None:
    half = recipe.override({"loss.share": 0.5})
    assert recipe.flat()["loss.share"] == 1.0
    assert half.flat()["loss.share"] == half.to_json()["loss"]["share"] == 0.5
    assert half.fingerprint != recipe.fingerprint
    assert Recipe.from_json(half.to_json()) == half
    assert hash(half.loss) != hash(recipe.loss)
    assert {"loss.share", "loss.flip"} <= set(recipe.keys())
    assert recipe.override(recipe.flat()) == recipe


def test_another_loss_drops_the_options_and_keeps_the_settings(recipe: Recipe) -> None:
    changed = recipe.override({"loss.share": 0.5, "loss.r1": 2.0}).override({"loss.name": "hinge"})
    assert "loss.share" not in changed.flat()
    assert changed.loss.r1 == 2.0
    assert changed.override({"loss.name": "top-k"}).flat()["loss.share"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.share": 0}, r"`loss.share` must be in \(0, 1\], but got 0\."),
        ({"loss.share": "all"}, "`loss.share` must be a number, but got 'all'"),
        ({"loss.shar": 0.5}, "`loss.shar`: top-k has no option `shar`; did you mean `share`?"),
        ({"loss.name": "hinge", "loss.share": 0.5}, "`loss.share`: hinge has no option `share`"),
        ({"discriminator.sigmoid": True}, "`loss.name` top-k needs unbounded scores"),
    ],
)
def test_options_of_a_loss_are_checked_like_all_others(
    recipe: Recipe, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        recipe.override(changes)


def test_settings_made_directly_may_not_hold_another_loss_s_options() -> None:
    recipe = find_recipe("points-gan")
    with pytest.raises(ValueError, match=r"`loss\.share`: minimax has no option `share`"):
        dataclasses.replace(recipe, loss=LossSettings(name="minimax", options={"share": 0.5}))


def test_runs_with_other_options_of_a_loss_are_not_trained_as_one_population(recipe: Recipe) -> None:
    assert structure(recipe) == structure(recipe.override({"loss.generator_scale": 0.5}))
    assert structure(recipe) != structure(recipe.override({"loss.share": 0.5}))


def test_an_option_reaches_the_loss(recipe: Recipe) -> None:
    fakes = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    for share, expected in ((1.0, -2.5), (0.5, -3.5)):
        objective = Objective([recipe.override({"loss.share": share}).loss], fakes)
        assert float(objective.generator(0).generator(fakes, fakes)) == expected


def test_a_loss_s_option_may_not_be_called_like_a_setting(recipe: Recipe) -> None:
    def clashing(*, drift: float = 0.0) -> Any: ...

    with pytest.raises(ValueError, match="option `drift` has the name of a setting of every loss"):
        losses.register("clashing")(clashing)


def test_a_builder_that_makes_no_loss_is_refused_by_name(recipe: Recipe) -> None:
    losses.register("empty")(lambda: None)
    with pytest.raises(ValueError, match=r"loss `empty` must make a `harness\.Loss`, but made None"):
        recipe.override({"loss.name": "empty"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": lambda fake, _: fake.mean()}, "its `generator` must turn scores of 2 runs"),
        (
            {"discriminator": lambda real, fake: real - fake},
            r"its `discriminator` must turn .* makes \(2, 3\)",
        ),
        (
            {"discriminator": lambda real: real.mean(-1)},
            "its `discriminator` does not turn scores into a loss",
        ),
        ({"generator": lambda fake, _: None}, "its `generator` does not turn scores into a loss"),
        ({"generator": lambda fake, _: {}["x"]}, r"its `generator` does not .*test_losses\.py:\d+: KeyError"),
        ({"generator": lambda fake, _: fake.detach().mean(-1)}, "its `generator` has no gradient by the sco"),
        (
            {"discriminator": lambda real, fake: (fake - real.mean()).mean(-1)},
            "its `discriminator` lets the scores of one run into the loss of another",
        ),
        (
            {"generator": lambda fake, real: (real - fake).relu().mean(-1)},
            "its `generator` reads the scores of real samples, but does not say so; give compares=True",
        ),
    ],
)
@pytest.mark.parametrize("field", ["loss.name", "loss.early_generator"])
def test_a_loss_that_is_not_one_number_a_run_is_refused_before_anything_is_trained(
    recipe: Recipe, field: str, changes: dict[str, Any], message: str
) -> None:
    losses.register("odd")(lambda: dataclasses.replace(loss_named("hinge"), **changes))
    odd = recipe.override({field: "odd"} | ({"loss.early_steps": 5} if "early" in field else {}))
    with pytest.raises(ValueError, match=rf"^`{field}` odd: {message}") as caught:
        check_networks(odd, (2,))
    assert "\n" not in str(caught.value)


def test_a_loss_with_noisy_labels_is_allowed_and_known_to_draw(recipe: Recipe) -> None:
    def noisy(real: Tensor, fake: Tensor) -> Tensor:
        return (real - 0.7 - 0.5 * torch.rand_like(real)).square().mean(-1) + fake.square().mean(-1)

    losses.register("noisy")(lambda: dataclasses.replace(loss_named("hinge"), discriminator=noisy))
    check_networks(recipe.override({"loss.name": "noisy"}), (2,))
    drawn = torch.get_rng_state()
    for name, draws in (("noisy", True), ("top-k", False)):
        settings = recipe.override({"loss.name": name}).loss
        assert Objective([settings], torch.zeros(())).draws() is draws
    assert torch.equal(drawn, torch.get_rng_state())


def test_a_loss_whose_builder_raises_is_refused_in_one_line(recipe: Recipe) -> None:
    losses.register("strict")(lambda: {}["flavour"])
    with pytest.raises(
        ValueError, match=r"loss `strict` cannot be made with .*\.py:\d+: KeyError: 'flavour'"
    ):
        recipe.override({"loss.name": "strict"})


def test_parts_of_a_loss_that_cannot_be_used_are_named() -> None:
    with pytest.raises(ValueError, match="`generator` of a loss must be a function of scores, but got 3"):
        Loss(discriminator=torch.add, generator=3, chance=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`chance` of a loss must be a number, or None, but got 'half'"):
        Loss(discriminator=torch.add, generator=torch.add, chance="half")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(64,), (1, 7), (3, 50)])
@pytest.mark.parametrize("scales", [(1.0, 1.0), (0.3, 0.3), (1.0, 0.3)])
@pytest.mark.parametrize("clamp", [0.0, 100.0])
@pytest.mark.parametrize("name", ["non-saturating", "minimax"])
def test_derivatives_that_are_known_have_autograd_s_bits(
    name: str, clamp: float, scales: tuple[float, float], shape: tuple[int, ...]
) -> None:
    own = [
        LossSettings(name=name, clamp=clamp, discriminator_scale=scale, generator_scale=scale)
        for scale in ([scales[0]] if len(shape) == 1 else [scales[row % 2] for row in range(shape[0])])
    ]
    objective = Objective(own, torch.zeros(()))
    plain = Objective(own, torch.zeros(()))
    for part in (plain._loss.discriminator, plain._loss.generator):
        assert isinstance(part, Derived) or name == "minimax"
    plain._loss = dataclasses.replace(
        plain._loss,
        discriminator=lambda *scores: objective._loss.discriminator(*scores),
        generator=lambda *scores: objective._loss.generator(*scores),
    )
    real, fake = (20 * torch.randn(shape, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    for found, expected in zip(
        (objective.derive_discriminator(real, fake), objective.derive_generator(0, fake, None)),
        (plain.derive_discriminator(real, fake), plain.derive_generator(0, fake, None)),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
