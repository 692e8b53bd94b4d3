"""A finished run in a script's hands: its networks, its samples, its history."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from harness import RunResult, load_run, train
from harness.engine import checkpoint as checkpoints
from support.tiny_studies import tiny_recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """The folder of a study with one run, of a recipe that averages G's weights, and its result."""
    study = tmp_path_factory.mktemp("runs") / "train"
    recipe = tiny_recipe(train__ema=0.9)
    return study, train(recipe, seed=2, device="cpu", directory=study, wandb="disabled")


def test_both_networks_come_with_the_weights_of_the_checkpoint(trained: tuple[Path, RunResult]) -> None:
    study, result = trained
    for which, name in (("last", "checkpoint.pt"), ("best", "best.pt")):
        run = load_run(study / "runs" / result.run_id, checkpoint=which)
        state = checkpoints.load(study / "runs" / result.run_id / name)
        for network, part in ((run.generator, "generator_average"), (run.discriminator, "discriminator")):
            assert isinstance(network, nn.Module)
            assert not any(module.training for module in network.modules())
            found = network.state_dict()
            assert found.keys() == state[part].keys()
            assert all(torch.equal(found[key], state[part][key]) for key in found)
        assert (run.averaged, run.checkpoint, run.step) == (True, which, state["step"])
    assert load_run(study / "runs" / result.run_id, checkpoint="best").step == result.best_checkpoint["step"]


def test_a_run_is_found_by_its_id_and_knows_what_it_left(trained: tuple[Path, RunResult]) -> None:
    study, result = trained
    assert load_run(result.run_id, directory=study).run_id == result.run_id
    run = load_run(result.run_id[:6], directory=study.parent)
    assert (run.run_id, run.seed, run.recipe) == (result.run_id, 2, tiny_recipe(train__ema=0.9))
    assert run.result == result
    scores = [row["eval/sliced_w2"] for row in run.history() if "eval/sliced_w2" in row]
    assert (scores[0], scores[-1]) == (
        result.scores["sliced_w2"]["first"],
        result.scores["sliced_w2"]["last"],
    )


def test_samples_follow_from_their_seed_alone(
    trained: tuple[Path, RunResult],
) -> None:
    study, result = trained
    run, before = load_run(study / "runs" / result.run_id), torch.get_rng_state()
    samples = run.sample(300, seed=1)
    assert (samples.shape, samples.dtype, samples.device.type) == ((300, 2), torch.float32, "cpu")
    assert torch.equal(run.sample(300, seed=1), samples)
    assert torch.allclose(run.sample(10, seed=1), samples[:10], atol=1e-5)
    assert not torch.equal(run.sample(300), samples)
    assert not samples.requires_grad
    assert torch.equal(torch.get_rng_state(), before)
    assert run.discriminator(samples).flatten().shape == (300,)


def test_a_wrong_request_is_one_line(trained: tuple[Path, RunResult], tmp_path: Path) -> None:
    study, result = trained
    run = load_run(study / "runs" / result.run_id)
    for num in (0, "four"):
        with pytest.raises(ValueError, match=f"`num` must be an integer of at least 1, but got {num!r}"):
            run.sample(num)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="takes no labels; leave `labels` out"):
        run.sample(4, labels=1)
    with pytest.raises(ValueError, match="`checkpoint` must be last or best, but got 'first'"):
        load_run(run.directory, checkpoint="first")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"there is no recipe\.json in it"):
        load_run(tmp_path)
    with pytest.raises(ValueError, match="is neither a run's folder nor the beginning of a run's id"):
        load_run("0123456789ab", directory=tmp_path)
