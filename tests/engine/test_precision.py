"""float32, TF32 and bfloat16: what each computes in what, and where it cannot be had."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from harness import Study, find_recipe, plan_study, train
from harness.data import load_dataset
from harness.engine.population import Population
from harness.engine.trainer import Trainer
from harness.machine import check_precision
from harness.recipe import Recipe
from harness.recipe.structure import structure
from support.fake_device import DEVICE, fake_device, stand_in
from support.image_recipes import small

PENALISED = {"loss.name": "wasserstein", "loss.gradient_penalty": 1.0}


def trainer(recipe: Recipe, K: int = 1) -> Trainer:
    dataset = load_dataset(recipe.data)
    return Trainer(Population([recipe] * K, range(K), dataset=dataset), dataset)


def digits() -> list[str]:
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


def test_runs_from_before_there_was_a_precision_keep_their_ids() -> None:
    recipe = find_recipe("points-gan")
    assert recipe.fingerprint == "7a34fc8b33d5396b"
    nested = recipe.to_json()
    assert nested["train"].pop("precision") == "float32"
    assert Recipe.from_json(nested) == recipe
    others = [recipe.override({"train.precision": name}) for name in ("float32", "tf32", "bf16")]
    assert others[0].fingerprint == recipe.fingerprint
    assert len({other.fingerprint for other in others}) == 3
    assert len({structure(other) for other in others}) == 3


@pytest.mark.parametrize("name", ["float32", "tf32", "bf16"])
def test_a_gpu_rounds_products_to_tf32_only_where_it_is_asked_and_while_it_trains(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = find_recipe("ring-gan").override({"train.precision": "tf32" if name == "tf32" else "float32"})
    seen: list[list[str]] = []
    iterate = Trainer.iterate

    def spy(self: Trainer, *args: Any, **how: Any) -> None:
        seen.append(digits())
        iterate(self, *args, **how)

    monkeypatch.setattr(Trainer, "iterate", spy)
    torch.backends.cudnn.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # as torch 2.11 begins
    with fake_device():
        recipe, dataset = stand_in(recipe)
        made = Trainer(Population([recipe], [0], dataset=dataset, device=DEVICE), dataset)
        assert digits() == ["ieee", "ieee"]
        made.advance(2)
    assert seen == [["tf32" if name == "tf32" else "ieee"] * 2] * 2
    assert digits() == ["ieee", "ieee"]
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize("name", ["digits-gan", "digits-cgan", "digits-dcgan"])
def test_bfloat16_is_close_to_float32_and_leaves_all_that_is_kept_in_float32(name: str, K: int) -> None:
    exact, rounded = (
        trainer(small(name, train__precision=precision, optimizer__name="sgd", optimizer__lr=1e-3), K)
        for precision in ("float32", "bf16")
    )
    start = exact.population.generator.matrix.clone()
    for made in (exact, rounded):
        made.advance(3)
    assert {tensor.dtype for tensor in rounded.population.tensors() if tensor.is_floating_point()} == {
        torch.float32
    }
    moved, other = (made.population.generator.matrix - start for made in (exact, rounded))
    assert 1e-4 < float((moved - other).norm() / moved.norm()) < 0.2


@torch.no_grad()
def test_only_the_forward_passes_of_training_are_rounded() -> None:
    made = trainer(small("digits-gan", train__precision="bf16"))
    exact = trainer(small("digits-gan"))
    assert torch.equal(made.population.generator.matrix, exact.population.generator.matrix)
    latents = made.input(0).latents[0]
    rounded = made.population.generator(latents)
    assert rounded.dtype == torch.float32
    wanted = exact.population.generator(latents)
    assert 1e-4 < float((rounded - wanted).norm() / wanted.norm()) < 0.05
    torch.testing.assert_close(made.population.generator.exact(latents), wanted)
    judged = [other.population.generate(latents[None]) for other in (made, exact)]
    assert torch.equal(*judged)


@pytest.mark.parametrize("K", [1, 3])
def test_penalties_are_computed_in_float32(K: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(find_recipe("ring-gan").override(PENALISED | {"train.precision": "bf16"}), K)
    objective, critic = made.population.objective, made.population.discriminator
    penalise, seen = objective.penalty, []

    def spy(discriminator: Any, *args: Any) -> Tensor:
        scores = discriminator(args[0][0], None)
        seen.append(float((scores - critic.exact(args[0][0], None)).abs().max()))
        seen.append(float((scores - critic(args[0][0], None)).abs().max()))
        return penalise(discriminator, *args)

    monkeypatch.setattr(objective, "penalty", spy)
    made.advance(1)
    assert seen[0] == 0
    assert seen[1] > 1e-5


@pytest.mark.parametrize("K", [1, 2])
def test_a_run_in_bfloat16_is_resumed_bit_for_bit(K: int) -> None:
    recipe = small("digits-cgan", train__precision="bf16")
    whole, again = trainer(recipe, K), trainer(recipe, K)
    whole.advance(3)
    again.load_state_dict(whole.state_dict())
    for made in (whole, again):
        made.advance(5)
    assert torch.equal(whole.population.generator.matrix, again.population.generator.matrix)


REFUSED = "`train.precision` is tf32, which a cpu does not have; set it to float32 or bf16."


def test_tf32_is_refused_on_a_cpu_before_anything_is_written(tmp_path: Path) -> None:
    recipe = find_recipe("ring-gan").override({"train.precision": "tf32"})
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED)}$"):
        train(recipe, device="cpu", directory=tmp_path / "train")
    with pytest.raises(ValueError, match=f"^{re.escape(REFUSED)}$"):
        trainer(recipe)
    values = ["float32", "tf32"]
    for asked in (
        {"ablate": {"train.precision": values}, "baseline": {"train.precision": "float32"}},
        {"parameters": {"train.precision": {"values": values}}, "method": "random", "run_cap": 2},
    ):
        given: dict[str, Any] = {"recipe": "ring-gan", "metric": "sliced_w2", "seeds": 1} | asked
        study = Study(name="digits", **given)
        with pytest.raises(ValueError, match=f"^{re.escape(REFUSED)}$"):
            plan_study(study, device="cpu", directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_a_gpu_that_cannot_is_named(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    message = f"`train.precision` is {precision}, which the Tesla T4 does not have; set it to float32."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_precision(precision, "cuda:0")
    check_precision("float32", "cuda:0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    check_precision(precision, "cuda:0")
