"""Scores and a verdict for what there is already: a finished run, or any folder of generated images.

Shapes: N samples of `sample_shape`, M held-out ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from harness.data import Dataset, load_dataset, scaled
from harness.distances.bins import EXPECTED_SHARE
from harness.features.find import find_extractor
from harness.metrics.evaluator import Evaluator
from harness.metrics.groups import MAX_NULL, MIN_SAMPLES
from harness.metrics.images.folder import read_images
from harness.metrics.scores import Scores
from harness.objective.objective import chance_loss
from harness.recipe import choose
from harness.recipe.registry import Value, datasets, metrics, plain_value
from harness.runs.folder import Checkpoint, RunFolder, find_runs, load_result
from harness.runs.load import load_run
from harness.runs.sampling import draw_latents, sample, scores_of
from harness.tracking import read_history
from harness.verdict.judge import Judge, Thresholds, Verdict, dynamics_of, judge_rows, replayed
from harness.words import listed

if TYPE_CHECKING:
    from harness.runs.load import Run
    from harness.runs.result import RunResult

__all__ = ["Evaluation", "evaluate"]

MAX_IMAGES = 10_000
"""Images of a folder that are scored, where nothing else is said."""

NO_STEP = -1
_ONE_LOOK = Thresholds(looks=1)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of samples, those of real ones beside them, and a verdict.

    Attributes:
        source: what was scored: a run's folder, or a folder of images.
        step: the step of the checkpoint; None for a folder of images.
        num_samples: N.
        data: name of the data set that they were scored against.
        scores: name to score, with the failures apart.
        null: the scores of real training samples in their place.
        num_null: how many these are.
        titles: name to full name, with the extractor and the hash of its weights where it depends on one.
        fingerprint: what the scores are measured against.
        verdict: on these samples alone: one look counts as enough.
        recorded: the verdict that the run ended with when it was trained; nothing if it has none.
        missing_classes: names of the classes with less than a fifth of the images that they should have.
        notes: what a reader must know, one line each.
    """

    source: str
    step: int | None
    num_samples: int
    data: str
    scores: Scores
    null: Scores
    num_null: int
    titles: Mapping[str, str]
    fingerprint: Mapping[str, str]
    verdict: Verdict
    recorded: str = ""
    missing_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        failures = self.scores.failures.items()
        return {
            "source": self.source,
            "step": self.step,
            "num_samples": self.num_samples,
            "data": self.data,
            "fingerprint": dict(self.fingerprint),
            "verdict": self.verdict.to_json(),
            "recorded_verdict": self.recorded,
            "scores": {
                name: {
                    "name": self.titles[name],
                    "value": value,
                    "real": self.null.get(name),
                    "goal": metrics[name].goal,
                    "ideal": metrics[name].ideal,
                    "absurd": metrics[name].is_absurd(value, self.null.get(name, math.nan)),
                }
                for name, value in self.scores.items()
            },
            "num_real": self.num_null,
            "failed": {name: reason for name, reason in failures if name not in self.scores.too_few},
            "not_given": {name: reason for name, reason in failures if name in self.scores.too_few},
            "missing_classes": list(self.missing_classes),
            "notes": list(self.notes),
        }


def evaluate(
    source: str | Path,
    *,
    against: str = "",
    options: Mapping[str, Value] | None = None,
    extractor: str = "auto",
    num: int = 0,
    checkpoint: Checkpoint = "last",
    directory: str | Path = "runs",
) -> Evaluation:
    """Score a finished run's samples, or a folder of generated images, whoever made them.

    A run's samples are made anew from the latents by which it was judged while it trained, so that its last
    checkpoint gets the scores of its last evaluation. The images of a folder must have the size of the data;
    grey images saved in colour are taken as grey, and grey ones stand for colour where the data have it.

    Args:
        source: a run's folder, the first digits of its id, or a folder of images, with those below it.
        against: the data set; by default a run's own. A folder of images needs it.
        options: of the data set, like `size`; those of a run's own data set are the run's.
        extractor: what embeds images: one of `harness.features.find.EXTRACTORS`, or `inception:PATH`.
        num: N; by default what the run was judged by, or of a folder all images, 10,000 at most.
        checkpoint: which of the run's networks.
        directory: where studies are.

    Returns:
        Scores, the scores of real samples beside them, and the verdict.

    Raises:
        ValueError: an unknown source, data set or extractor; a run that has not finished; images of another
            size or colour, too few, or none; samples that are not finite. One line says which.

    Example:
        >>> from harness import evaluate, find_recipe, train
        >>> recipe = find_recipe("ring-gan").override(
        ...     {"train.epochs": 3, "train.batch_size": 512, "evaluate.num_samples": 100}
        ... )
        >>> result = train(recipe, seed=1, wandb="disabled")
        >>> found = evaluate(result.run_id)
        >>> found.scores["sliced_w2"] == result.scores["sliced_w2"]["last"], found.null["sliced_w2"] > 0
        (True, True)
    """
    num = plain_value(num)
    if isinstance(num, bool) or not isinstance(num, int) or num < 0:
        raise ValueError(f"`num` must be at least 1, or 0 for the default, but got {num!r}.")
    folder = Path(source).expanduser()
    if folder.is_file() or (len(folder.parts) > 1 and not folder.exists()):
        problem = "is a file" if folder.is_file() else "does not exist"
        raise ValueError(f"{folder} {problem}; name a run's folder or id, or a folder of images.")
    if _holds_images(folder):
        return _evaluate_folder(folder, against, dict(options or {}), extractor, num)
    run = load_run(source, directory=directory, checkpoint=checkpoint)
    choice = run.recipe.data
    name = against or choice.name
    if name != choice.name or options:
        given = {**(choice.options if name == choice.name else {}), **(options or {})}
        choice = choose(datasets, name, **given)
    dataset = load_dataset(choice)
    if dataset.sample_shape != run.sample_shape:
        raise ValueError(
            f"run {run.run_id} makes samples of shape {run.sample_shape}, but those of `{name}` have "
            f"{dataset.sample_shape}; choose data of the run's shape with --against and --set."
        )
    evaluator = _evaluator(dataset, extractor)
    with torch.no_grad():
        samples, labels = _samples(run, num)
        judged: dict[str, Any] = {}
        if choice == run.recipe.data:  # D knows no other data
            judged = _judged(run, dataset, evaluator.held_out_rows, samples, labels)
    scores = evaluator.evaluate(samples, **judged, fake_labels=labels, exact=True)
    result = load_result(run.directory)
    judge, logged, seen = _judge_of(run, result, evaluator.fingerprint)
    since = [f"{listed([f'`{file}`' for file in run.changed])} changed since it was trained."]
    return _evaluation(
        str(run.directory),
        dataset,
        evaluator,
        scores,
        len(samples),
        verdict=judge.judge(run.step, scores, **dynamics_of(logged, chance_loss(run.recipe.loss))),
        step=run.step,
        recorded=result.verdict_name if result else "",
        notes=(
            "The verdict looks at this checkpoint, and at the recorded evaluations before it."
            if seen
            else "The verdict looks at this checkpoint alone, and one look counts as enough.",
            *(since if run.changed else ()),
        ),
    )


def _evaluate_folder(
    folder: Path, against: str, options: Mapping[str, Value], extractor: str, num: int
) -> Evaluation:
    if not against:
        raise ValueError(
            f"{folder} is no run's folder, so it is taken for one of generated images; say what they imitate "
            "(--against mnist, say), or name a run."
        )
    dataset = load_dataset(choose(datasets, against, **options))
    if dataset.kind != "images":
        raise ValueError(f"`{against}` is a data set of points, but {folder} holds images; choose another.")
    evaluator = _evaluator(dataset, extractor)
    size = datasets.options(against).get("size")
    images, notes = read_images(
        folder,
        dataset.sample_shape,
        num=num or MAX_IMAGES,
        fewest=MIN_SAMPLES,
        largest=0 if size is None or size.bounds is None else size.bounds.high,
    )
    scores = evaluator.evaluate(images, exact=True)
    told = (
        "A folder has neither a discriminator nor earlier evaluations: the verdict rests on the samples, and "
        "one look counts as enough.",
    )
    verdict = Judge(_ONE_LOOK).judge(NO_STEP, scores)
    notes = (*notes, *_copies(images), *told)
    return _evaluation(str(folder), dataset, evaluator, scores, len(images), verdict=verdict, notes=notes)


def _evaluation(
    source: str,
    dataset: Dataset,
    evaluator: Evaluator,
    scores: Scores,
    num_samples: int,
    *,
    verdict: Verdict,
    step: int | None = None,
    recorded: str = "",
    notes: tuple[str, ...] = (),
) -> Evaluation:
    num_null = min(num_samples, MAX_NULL, len(dataset.train))
    ratios = scores.details.get("class_ratios", ())
    known = len(dataset.class_names) == len(ratios)
    names = dataset.class_names if known else tuple(map(str, range(len(ratios))))
    return Evaluation(
        source=source,
        step=step,
        num_samples=num_samples,
        data=dataset.name,
        scores=scores,
        null=evaluator.null(num_null),
        num_null=num_null,
        titles={name: evaluator.sources.get(name, name) for name in evaluator.names},
        fingerprint=evaluator.fingerprint,
        verdict=verdict,
        recorded=recorded,
        missing_classes=tuple(
            name for name, ratio in zip(names, ratios, strict=True) if ratio < EXPECTED_SHARE
        ),
        notes=notes,
    )


def _evaluator(dataset: Dataset, extractor: str) -> Evaluator:
    if dataset.kind != "images":
        if extractor != "auto":
            raise ValueError(f"`{dataset.name}` holds points, which need no extractor; leave it out.")
        return Evaluator(dataset)
    found = find_extractor(extractor, dataset)
    found(scaled(dataset.test[:1]))  # it says so if it is not for such images
    return Evaluator(dataset, extractor=found)


# A run


def _samples(run: Run, num: int) -> tuple[Tensor, Tensor | None]:
    """Samples from the latents by which the run was judged while it trained, and the classes asked for."""
    num = num or run.recipe.evaluate.num_samples
    latents = draw_latents(num, run.latent_dim, seed=run.seed, purpose="evaluation")
    labels = torch.arange(num) % run.num_classes if run.conditional else None
    return sample(run.generator, latents, labels), labels


def _judged(
    run: Run, dataset: Dataset, rows: Tensor, samples: Tensor, labels: Tensor | None
) -> dict[str, Tensor]:
    """D's scores of the samples, and of the reals that it was asked about while it trained."""
    if dataset.kind == "images":
        rows = rows[: len(samples)]
    real_labels = None if dataset.test_labels is None else dataset.test_labels[rows]
    if labels is None and run.num_classes:
        labels = torch.arange(len(samples)) % run.num_classes
    return {
        "fake_scores": scores_of(run.discriminator, samples, labels),
        "real_scores": scores_of(run.discriminator, dataset.test[rows], real_labels),
    }


def _judge_of(
    run: Run, result: RunResult | None, fingerprint: Mapping[str, str]
) -> tuple[Judge, dict[str, float], bool]:
    """A judge who has seen the run's evaluations before this checkpoint, and its last `train/…` numbers.

    Evaluations that were measured in another way than now tell nothing of where samples have come from; then,
    and where none are recorded, one look is enough.

    Returns:
        The judge; the latest `train/…` numbers by the checkpoint's step; and whether earlier looks are known.
    """
    history = RunFolder(run.directory).history
    alike = result is not None and result.environment.get("fingerprint") == dict(fingerprint)
    rows = read_history(history) if history.exists() else []
    rows = [row for row in rows if row["train/step"] <= run.step]
    before = [row for row in rows if row["train/step"] < run.step]
    seen = alike and any(scores for _, scores, _ in replayed(before))
    judge, latest = Judge(Thresholds() if seen else _ONE_LOOK), dict[str, float]()
    if seen:
        list(judge_rows(judge, before, chance_loss(run.recipe.loss)))
    for _, _, latest in replayed(rows):
        judge.trained(latest.get("train/g_grad_norm"))
    return judge, latest, seen


# A folder


def _copies(images: Tensor) -> tuple[str, ...]:
    """A note on images that are there more than once: no score of so few looks at that alone."""
    copies = len(images) - len({sha256(image.numpy().tobytes()).digest() for image in images.cpu()})
    return (f"{copies:,} of the {len(images):,} images are exact copies of others.",) if copies else ()


def _holds_images(folder: Path) -> bool:
    """Whether it is a folder, and neither a run's nor a study's."""
    return folder.is_dir() and not RunFolder(folder).recipe.is_file() and not find_runs(folder)
