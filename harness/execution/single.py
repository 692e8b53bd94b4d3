"""Train one recipe with one seed, for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from harness.leases import holder, take_lease
from harness.machine import check_precision, describe_environment, resolve_device
from harness.network.products import onednn_pays
from harness.planning.data import check_same_data, fitting_dataset
from harness.planning.plan import RunGroup
from harness.recipe import Recipe
from harness.recipe.registry import metrics
from harness.recipe.seeds import checked_seed
from harness.runs.callbacks import Callback
from harness.runs.folder import load_result, run_directory
from harness.runs.job import Job, PlannedRun, Progress
from harness.runs.result import RunResult
from harness.runs.session import train_population
from harness.study.folder import StudyFolder
from harness.tracking import Tracker, wandb_mode

__all__ = ["train"]


def train(
    recipe: Recipe,
    *,
    seed: int = 0,
    device: str = "auto",
    directory: str | Path = "runs/train",
    wandb: str = "auto",
    watch: Callable[[PlannedRun, int], Tracker] | None = None,
    progress: Callable[[Progress], None] | None = None,
    callbacks: Sequence[Callback] = (),
) -> RunResult:
    """Train one recipe with one seed, and leave its files in ``<directory>/runs/<run id>``.

    The same call again goes on from where it was interrupted, or hands back the result it left, which it does
    too where the data are gone.

    Args:
        recipe: What to train.
        seed: Seed of everything that is random in the run, from 0 to 2**63 - 1.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``.
        directory: Where its files go; its last part is the study's name in W&B.
        wandb: ``auto``, ``online``, ``offline`` or ``disabled``; see `harness.tracking.wandb_mode`.
        watch: Makes one more tracker for the run, given the run and its number of steps; a `ConsoleTracker`
            for example.
        progress: Told at every event of the training.
        callbacks: Each is called with a `harness.runs.callbacks.RunEvent` whenever statistics were logged,
            the run was evaluated or its samples drawn, and when it has finished. One that returns a reason
            stops the run there: it is measured as it stands, and its result has the outcome ``stopped``, the
            reason, and ``stopped_by`` ``callback``; that is no failure. One that raises ends the training
            with its own traceback; the same call goes on from there. Not called where the run has its result
            already.

    Returns:
        The result, as it stands in ``result.json``.

    Raises:
        ValueError: If the networks do not fit the data, the data cannot be read, or are other than those of
            the result that is there, the device is not there or lacks the recipe's precision, the folder
            cannot be written to, or another process is training this very run.

    Example:
        >>> from harness import find_recipe, train
        >>> recipe = find_recipe("ring-gan").override(
        ...     {"train.epochs": 3, "train.batch_size": 512, "evaluate.every_epochs": 1}
        ... )
        >>> def long_enough(event):
        ...     if event.kind == "evaluated" and event.step >= 10:
        ...         return f"{event.step} steps are enough"
        >>> result = train(recipe, seed=3, wandb="disabled", callbacks=[long_enough])
        >>> result.outcome, result.stopped_by, result.failed
        ('stopped', 'callback', False)
    """
    if not isinstance(recipe, Recipe):
        raise ValueError(f"`recipe` must be a Recipe, but got {recipe!r}; find_recipe({recipe!r}) finds one.")
    seed = checked_seed(seed)
    if not isinstance(callbacks, Iterable):
        raise ValueError(f"`callbacks` must be a list of functions of an event, but got {callbacks!r}.")
    for callback in callbacks:
        if not callable(callback):
            raise ValueError(f"`callbacks` must hold functions of an event, but got {callback!r}.")
    device, directory = resolve_device(device), Path(directory)
    check_precision(recipe.train.precision, device)
    wandb_mode(wandb)
    run = PlannedRun(recipe=recipe, seed=seed, arm=recipe.name, overrides={})
    study, folder = StudyFolder(directory), run_directory(directory, run.run_id)
    result = load_result(folder)
    if result is not None:
        check_same_data(result, recipe, folder)
        return result
    dataset, _ = fitting_dataset(recipe)
    try:
        study.make()
    except OSError as error:
        raise ValueError(f"cannot write to {directory}: {error.strerror or error}.") from None
    group = RunGroup(runs=(run,))
    lease = take_lease(study.leases, group.id)
    if lease is None:
        pid = holder(study.leases, group.id).get("pid", "unknown")
        raise ValueError(f"run {run.run_id} is being trained by process {pid}; wait for it.")
    with lease:
        job = Job(
            study=directory.name,
            directory=directory,
            device=device,
            target=metrics["frechet" if dataset.kind == "images" else "sliced_w2"].target,
            environment=describe_environment(device),
            checkpoint=study.checkpoint(group.id),
            wandb=wandb,
            watch=watch,
            progress=progress,
            callbacks=tuple(callbacks),
            onednn=device == "cpu" and onednn_pays(),
        )
        return train_population(group.runs, job)[0]
