"""Finished runs, found by folder or id and loaded from ``runs/<study>/runs/<run id>``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from harness.data import load_dataset, outline
from harness.engine import checkpoint as checkpoints
from harness.files import read_json
from harness.recipe import Recipe
from harness.recipe.networks import build_discriminator, build_generator
from harness.recipe.plugins import changed, recorded_code
from harness.recipe.registry import plain_value
from harness.runs.folder import Checkpoint, RunFolder, find_runs, load_result, read_recipe
from harness.runs.result import RunResult
from harness.runs.sampling import draw_latents, sample
from harness.study.folder import StudyFolder
from harness.tracking import read_history
from harness.words import listed

__all__ = ["Run", "find_run", "load_run"]

_MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run and its networks.

    Attributes:
        directory: its folder.
        run_id: hash of recipe and seed, the folder's name.
        recipe: what was trained.
        seed: the run's seed.
        step: the step at which it ended.
        checkpoint: which of its checkpoints the networks are of, ``last`` or ``best``.
        generator: G in evaluation mode on the CPU, of the averaged weights where the recipe keeps them.
        averaged: whether they are the averaged ones.
        sample_shape: shape of one sample.
        num_classes: classes of the data, 0 where there are no labels.
        changed: files that have changed since it was trained, of code that is not the harness's own.
    """

    directory: Path
    run_id: str
    recipe: Recipe
    seed: int
    step: int
    checkpoint: Checkpoint
    generator: nn.Module
    averaged: bool
    sample_shape: tuple[int, ...]
    num_classes: int
    changed: tuple[str, ...] = ()

    @property
    def latent_dim(self) -> int:
        """Numbers in a latent vector."""
        return self.recipe.latent_dim

    @property
    def title(self) -> str:
        """The run in a line: its recipe, seed and step."""
        return f"{self.recipe.name} · seed {self.seed} · step {self.step:,}"

    @property
    def conditional(self) -> bool:
        """Whether G takes labels."""
        return bool(getattr(self.generator, "takes_labels", False))

    @cached_property
    def discriminator(self) -> nn.Module:
        """D in evaluation mode on the CPU, read when it is first asked for.

        Raises:
            ValueError: the checkpoint does not fit it.
        """
        file = RunFolder(self.directory).checkpoint(self.checkpoint)
        state = checkpoints.load(file)
        with torch.random.fork_rng(devices=()):
            network = build_discriminator(self.recipe, self.sample_shape, self.num_classes)
        try:
            network.load_state_dict(state["discriminator"])
        except (KeyError, RuntimeError):
            raise ValueError(
                f"{file} does not fit the discriminator that the recipe beside it names; remove "
                f"{self.directory} and train the run again."
            ) from None
        return network.eval().requires_grad_(False)

    @property
    def result(self) -> RunResult | None:
        """What the run left behind; None where only its networks are left."""
        return load_result(self.directory)

    def history(self) -> list[dict[str, float]]:
        """Every logged row, in order: of training ``train/…``, of an evaluation ``eval/…`` and its verdict.

        Raises:
            ValueError: the run has no history, or it is damaged.
        """
        file = RunFolder(self.directory).history
        if not file.is_file():
            raise ValueError(f"{self.directory} has no {file.name}; its networks are all that is left.")
        return read_history(file)

    def sample(self, num: int, labels: int | Sequence[int] | None = None, *, seed: int = 0) -> Tensor:
        """Samples of the generator, the same for a seed on every device.

        Args:
            num: N.
            labels: a class, or classes to go round in; by default all of them, where G takes labels.
            seed: seed of the latents, those of ``harness generate``.

        Returns:
            (num, *sample_shape) float32 on the CPU, scaled as the networks see the data: images in [-1, 1].

        Raises:
            ValueError: `num` is below 1, or labels are no classes of the run.
        """
        num, labels = plain_value(num), plain_value(labels)
        if not isinstance(num, int) or num < 1:
            raise ValueError(f"`num` must be an integer of at least 1, but got {num!r}.")
        classes = self.cycle_labels(num, [labels] if isinstance(labels, int) else labels)
        return sample(self.generator, draw_latents(num, self.latent_dim, seed=seed), classes)

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
                    f"run {self.run_id} ({self.recipe.name}) takes no labels; leave `labels` out, or "
                    "choose a run of a conditional generator."
                )
            return None
        wanted = [plain_value(label) for label in (range(self.num_classes) if labels is None else labels)]
        bad = [label for label in wanted if type(label) is not int or not 0 <= label < self.num_classes]
        if bad or not wanted:
            raise ValueError(
                f"`labels` must be classes of {self.recipe.data.name}, 0 to {self.num_classes - 1}, "
                f"but got {repr(bad[0]) if bad else 'none'}."
            )
        return torch.tensor(wanted, dtype=torch.int64).repeat(-(-num // len(wanted)))[:num]


def find_run(text: str, *, directory: Path = Path("runs")) -> Path:
    """The folder of a run.

    Args:
        text: the folder, or the first digits of a run's id, which is searched for in every study; or, where
            it has one run alone, a study's folder or its name.
        directory: where studies are, or a study.

    Returns:
        The folder. If several studies have the same run, which is then the same experiment, it is the one
        that finished last.

    Raises:
        ValueError: there is none, or several different runs have ids that begin so.
    """
    given = Path(text).expanduser()
    if RunFolder(given).recipe.is_file():
        return given
    if not given.is_dir() and len(given.parts) == 1 and StudyFolder(directory / given).runs.is_dir():
        given = directory / given
    if StudyFolder(given).runs.is_dir():
        held = _begun(given)
        if len(held) == 1:
            return held[0]
        raise ValueError(
            f"{given} is a study of {len(held)} runs; choose one of them{_listed(held)}"
            if held
            else f"{given} is a study without a run that was started; run it with `harness sweep`."
        )
    if given.is_dir():
        raise ValueError(f"{given} is not a run's folder: there is no {RunFolder(given).recipe.name} in it.")
    known = [path for study in (directory, *sorted(directory.glob("*"))) for path in _begun(study)]
    found = [path for path in known if path.name.startswith(text)]
    if not found:
        held_there = (
            f"runs there{_listed(known)}" if known else "there are no runs; `harness train` makes one."
        )
        raise ValueError(
            f"`{text}` is neither a run's folder nor the beginning of a run's id in {directory}; {held_there}"
        )
    count = len({path.name for path in found})
    if count > 1:
        raise ValueError(f"`{text}` is the beginning of {count} runs' ids; give more digits{_listed(found)}")
    return max(found, key=lambda path: (RunFolder(path).checkpoint().exists(), _finished(path)))


def load_run(run: str | Path, *, directory: str | Path = "runs", checkpoint: Checkpoint = "last") -> Run:
    """A finished run's networks, and what it takes to use them.

    Args:
        run: its folder, ``runs/<study>/runs/<run id>``; or the first digits of its id.
        directory: where studies are, or a study, to search for an id.
        checkpoint: that of the last step, or the one that was chosen as the best on half of the held-out
            samples.

    Raises:
        ValueError: there is no such run, or it has not finished, or diverged, or was written by another
            version of the harness.

    Example:
        >>> from harness import find_recipe, load_run, train
        >>> recipe = find_recipe("ring-gan").override(
        ...     {"train.epochs": 3, "train.batch_size": 512, "evaluate.num_samples": 100}
        ... )
        >>> result = train(recipe, wandb="disabled")
        >>> run = load_run(result.run_id)
        >>> run.sample(16).shape
        torch.Size([16, 2])
        >>> run.discriminator(run.sample(16)).shape
        torch.Size([16])
    """
    if checkpoint not in get_args(Checkpoint):
        raise ValueError(f"`checkpoint` must be last or best, but got {checkpoint!r}.")
    path = find_run(str(run), directory=Path(directory))
    folder = RunFolder(path)
    recipe, result, file = read_recipe(path), load_result(path), folder.checkpoint(checkpoint)
    if not folder.checkpoint().is_file():
        why = (
            "the run has not finished; run its study or `harness train` again, which resumes it."
            if result is None
            else f"the run {result.outcome} and left no networks ({result.reason}); choose another."
        )
        raise ValueError(f"{path} has no {folder.checkpoint().name}: {why}")
    if not file.is_file():
        raise ValueError(
            f"{path} has no {file.name}, for no checkpoint was chosen as the best; use the last."
        )
    state = checkpoints.load(file)
    stale = changed(recorded_code(read_json(folder.recipe).get("imports")))
    known = outline(recipe.data)
    try:
        seed, step = int(state["seed"]), int(state["step"])
        averaged = "generator_average" in state
        with torch.random.fork_rng(devices=()):
            generator = build_generator(recipe, known.sample_shape, known.num_classes)
        generator.load_state_dict(state["generator_average" if averaged else "generator"])
    except (KeyError, TypeError, RuntimeError, AttributeError):
        # Other code makes another run; of the same code, the result that is there would be handed back.
        why = (
            f"{listed([f'`{path}`' for path in stale])} changed since; train the run again."
            if stale
            else f"another version of the harness wrote it; remove {path} and train the run again."
        )
        raise ValueError(
            f"{file} does not fit the generator that the recipe beside it names: {why}"
        ) from None
    return Run(
        directory=path,
        run_id=str(state.get("run_id", path.name)),
        recipe=recipe,
        seed=seed,
        step=step,
        checkpoint=checkpoint,
        generator=generator.eval().requires_grad_(False),
        averaged=averaged,
        sample_shape=known.sample_shape,
        num_classes=known.num_classes,
        changed=tuple(stale),
    )


def _begun(study: Path) -> list[Path]:
    """The runs of a study that have a recipe."""
    return [path for path in find_runs(study) if RunFolder(path).recipe.is_file()]


def _finished(path: Path) -> float:
    result = RunFolder(path).result
    return result.stat().st_mtime if result.exists() else 0.0


def _listed(folders: Sequence[Path]) -> str:
    """`: a, b and 3 more.`, each name once."""
    names = list(dict.fromkeys(folder.name for folder in folders))
    return f": {listed(names, _MAX_LISTED)}."
