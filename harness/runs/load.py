"""Finished runs, found by folder or id and loaded from ``runs/<study>/runs/<run id>``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.data import load_dataset, outline
from harness.engine import checkpoint as checkpoints
from harness.recipe import Recipe, run_id
from harness.recipe.networks import build_generator
from harness.words import listed

__all__ = ["CHECKPOINTS", "Run", "find_run", "load_run"]

CHECKPOINTS = {"last": "checkpoint.pt", "best": "best.pt"}
"""The files of a run's networks."""

_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run and its generator.

    Attributes:
        directory: its folder.
        run_id: hash of recipe and seed, the folder's name.
        recipe: what was trained.
        seed: the run's seed.
        step: the step at which it ended.
        generator: G in evaluation mode on the CPU, of the averaged weights where the recipe keeps them.
        averaged: whether they are the averaged ones.
        sample_shape: shape of one sample.
        num_classes: classes of the data, 0 where there are no labels.
    """

    directory: Path
    run_id: str
    recipe: Recipe
    seed: int
    step: int
    generator: nn.Module
    averaged: bool
    sample_shape: tuple[int, ...]
    num_classes: int

    @property
    def latent_dim(self) -> int:
        """Numbers in a latent vector."""
        return self.recipe.latent_dim

    @property
    def conditional(self) -> bool:
        """Whether G takes labels."""
        return bool(getattr(self.generator, "takes_labels", False))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The data's names of its classes; their numbers where the data cannot be had."""
        try:
            names = load_dataset(self.recipe.data).class_names
        except (ValueError, OSError):
            names = ()
        return names or tuple(str(number) for number in range(self.num_classes))

    def names_of(self, labels: Tensor | None) -> list[str]:
        """The names of these classes, (N,); none where G takes no labels."""
        return [] if labels is None else [self.class_names[number] for number in labels.tolist()]

    def cycle_labels(self, num: int, labels: Sequence[int] | None = None) -> Tensor | None:
        """The labels of `num` samples: those given, or all classes, round and round.

        Args:
            num: N.
            labels: classes, in the order wanted.

        Returns:
            (N,) int64, or None where G takes no labels.

        Raises:
            ValueError: labels are no classes of the run, or are given where G takes none.
        """
        if not self.conditional:
            if labels is not None:
                raise ValueError(
                    f"run {self.run_id} ({self.recipe.name}) takes no labels; leave `--labels` out, or "
                    "choose a run of a conditional generator."
                )
            return None
        wanted = list(range(self.num_classes)) if labels is None else list(labels)
        bad = [label for label in wanted if not 0 <= label < self.num_classes]
        if bad or not wanted:
            raise ValueError(
                f"`labels` must be classes of {self.recipe.data.name}, 0 to {self.num_classes - 1}, "
                f"but got {bad[0] if bad else 'none'}."
            )
        return torch.tensor(wanted, dtype=torch.int64).repeat(-(-num // len(wanted)))[:num]


def find_run(text: str, *, directory: Path = Path("runs")) -> Path:
    """The folder of a run.

    Args:
        text: the folder, or the first digits of a run's id, which is searched for in every study.
        directory: where studies are.

    Returns:
        The folder. If several studies have the same run, which is then the same experiment, it is the one
        that finished last.

    Raises:
        ValueError: there is none, or several different runs have ids that begin so.
    """
    given = Path(text).expanduser()
    if (given / "recipe.json").is_file():
        return given
    if (given / "runs").is_dir():
        held = sorted(path.parent for path in (given / "runs").glob("*/recipe.json"))
        if len(held) == 1:
            return held[0]
        raise ValueError(
            f"{given} is a study of {len(held)} runs; choose one of them{_listed(held)}"
            if held
            else f"{given} is a study without a run that was started; run it with `harness sweep`."
        )
    if given.is_dir():
        raise ValueError(f"{given} is not a run's folder: there is no recipe.json in it.")
    plain = text.isalnum() and given.name == text
    found = sorted(p.parent for p in directory.glob(f"*/runs/{text}*/recipe.json")) if plain else []
    if not found:
        known = sorted({path.parent for path in directory.glob("*/runs/*/recipe.json")})
        held_there = (
            f"runs there{_listed(known)}" if known else "there are no runs; `harness train` makes one."
        )
        raise ValueError(
            f"`{text}` is neither a run's folder nor the beginning of a run's id in {directory}; {held_there}"
        )
    count = len({path.name for path in found})
    if count > 1:
        raise ValueError(f"`{text}` is the beginning of {count} runs' ids; give more digits{_listed(found)}")
    return max(found, key=lambda path: ((path / "checkpoint.pt").exists(), _finished(path)))


def load_run(path: Path, *, checkpoint: Literal["last", "best"] = "last") -> Run:
    """A finished run's generator, and what it takes to use it.

    Args:
        path: ``runs/<study>/runs/<run id>``.
        checkpoint: that of the last step, or the one that was chosen as the best on half of the held-out
            samples.

    Raises:
        ValueError: the folder is no run, or one that has not finished, or diverged, or was written by another
            version of the harness.
    """
    if not (path / "recipe.json").is_file():
        raise ValueError(f"{path} is not a run's folder: there is no recipe.json in it.")
    recipe = _recipe(path / "recipe.json")
    file = path / CHECKPOINTS[checkpoint]
    if not (path / CHECKPOINTS["last"]).is_file():
        raise ValueError(f"{path} has no {CHECKPOINTS['last']}: {_why_unfinished(path)}")
    if not file.is_file():
        raise ValueError(
            f"{path} has no {file.name}, for no checkpoint was chosen as the best; use the last."
        )
    state = checkpoints.load(file)
    known = outline(recipe.data)
    try:
        seed, step = int(state["seed"]), int(state["step"])
        averaged = "generator_average" in state
        with torch.random.fork_rng(devices=()):
            generator = build_generator(recipe, known.sample_shape, known.num_classes)
        generator.load_state_dict(state["generator_average" if averaged else "generator"])
    except (KeyError, TypeError, RuntimeError, AttributeError):
        raise ValueError(
            f"{file} does not fit the generator that the recipe beside it names: another "
            "version of the harness wrote it; train the run again."
        ) from None
    return Run(
        directory=path,
        run_id=run_id(recipe, seed),
        recipe=recipe,
        seed=seed,
        step=step,
        generator=generator.eval().requires_grad_(False),
        averaged=averaged,
        sample_shape=known.sample_shape,
        num_classes=known.num_classes,
    )


def _recipe(path: Path) -> Recipe:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError(f"{path} is not valid JSON; train the run again.") from None
    try:
        return Recipe.from_json(content)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ValueError(
            f"{path} is no recipe of this version of the harness ({str(error).rstrip('.')}); train the run "
            "again."
        ) from None


def _why_unfinished(path: Path) -> str:
    try:
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        return f"the run {result['outcome']} and left no networks ({result['reason']}); choose another."
    except (OSError, ValueError, KeyError, TypeError):
        return "the run has not finished; run its study or `harness train` again, which resumes it."


def _finished(path: Path) -> float:
    result = path / "result.json"
    return result.stat().st_mtime if result.exists() else 0.0


def _listed(folders: Sequence[Path]) -> str:
    """`: a, b and 3 more.`, each name once."""
    names = list(dict.fromkeys(folder.name for folder in folders))
    return f": {listed(names, _MAX_LISTED)}."
