"""What SeFa finds, as files: frames, films, two pages, a plot, tables; and in words.

Everything is computed before the first file is written.

Shapes: N samples, K directions.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.features.extractors import Extractor
from harness.files import csv_text, write_text
from harness.latent.attributes import (
    FEWEST_RANDOM,
    NUM_RANDOM,
    Attributes,
    affordable_latents,
    attribute_words,
    measure_attributes,
    num_described,
    write_attributes,
)
from harness.latent.factors import Factors, factorize
from harness.latent.sefa import (
    VARIANTS,
    Strengths,
    Subject,
    Variant,
    measure,
    num_measured,
    start_codes,
    traverse,
)

__all__ = ["Explored", "explore"]

_STANDS_OUT = 2.0
_LARGE = 3 * 256 * 256
_FRAME_SECONDS = 0.15
_SAY_SEC = 10.0


@dataclass(frozen=True, kw_only=True)
class Explored:
    """What `explore` wrote.

    Attributes:
        folder: where everything is.
        files: the files, in the order in which they are worth looking at.
        words: what was found, in sentences.
        scalars: the shown directions' eigenvalues, strengths and effects by name.
        attributes: what the shown directions do to attributes, where that was measured.
    """

    folder: Path
    files: tuple[Path, ...]
    words: tuple[str, ...]
    scalars: dict[str, float]
    attributes: Attributes | None = None


def explore(
    subject: Subject,
    folder: Path,
    *,
    variant: str = "lab",
    num_samples: int = 5,
    num_directions: int = 5,
    seed: int = 0,
    labels: Tensor | None = None,
    device: str = "cpu",
    classifier: Extractor | None = None,
    class_names: tuple[str, ...] = (),
    num_latents: int | None = None,
    num_random: int = NUM_RANDOM,
    say: Callable[[str], None] | None = None,
) -> Explored:
    """Factorise a generator's first layer, move samples along its directions, and write what comes of it.

    ``directions.npz`` and ``directions.csv`` in every case; with a generator also ``frames/frame0.png`` and
    so on, one a direction, ``directions.gif`` and, where there is an ffmpeg, ``directions.mp4``,
    ``sample_first.html``, ``semantic_first.html`` and ``strengths.png``; and, where attributes are measured,
    ``attributes.png`` and ``attributes.csv``.

    Args:
        subject: the generator, or its weights.
        folder: where to; made if it is not there. Files of an earlier exploration are replaced.
        variant: of `VARIANTS`.
        num_samples: N.
        num_directions: K.
        seed: of the codes.
        labels: (N,) classes of the samples, for a generator that takes them.
        device: where the images are made.
        classifier: sees the classes of the images, for their attributes.
        class_names: names of its classes.
        num_latents: over how many latents attributes are measured, 0 for not at all; by default as many as a
            minute or so affords, 256 at most.
        num_random: beside how many random directions.
        say: takes a line about what will take long, and one every ten seconds on how far it is.

    Raises:
        ValueError: an unknown variant, no samples, no directions or more than there are, too few latents or
            random directions to measure attributes with; or the images are not finite.
    """
    if variant not in VARIANTS:
        raise ValueError(f"`--variant` must be one of {', '.join(VARIANTS)}, but got {variant!r}.")
    if num_samples < 1:
        raise ValueError(f"`--num-samples` must be at least 1, but got {num_samples}.")
    if not 1 <= num_directions <= subject.latent_dim:
        raise ValueError(
            f"`--num-directions` must be in 1…{subject.latent_dim}, the latent's dimensions, but got "
            f"{num_directions}."
        )
    if num_latents is not None and (num_latents < 0 or num_latents == 1):
        raise ValueError(
            f"`--attribute-latents` must be at least 2, or 0 to leave attributes out, but got {num_latents}."
        )
    if num_random < FEWEST_RANDOM:
        raise ValueError(f"`--num-random` must be at least {FEWEST_RANDOM}, but got {num_random}.")
    how = VARIANTS[variant]
    weight = torch.cat([subject.weights[layer] for layer in subject.layers], dim=1)
    factors = factorize(weight, normalize_columns=how.normalize_columns)
    if subject.generator is None:
        folder.mkdir(parents=True, exist_ok=True)
        files = _write_tables(folder, subject, factors, None, num_directions, variant, seed)
        return Explored(
            folder=folder, files=files, words=(_concentration(factors, num_directions),), scalars={}
        )
    codes = start_codes(num_samples, subject.latent_dim, seed=seed, variant=how)
    directions = factors.directions[:num_directions]
    subject.generator.to(device)
    count = affordable_latents(subject, num_directions, num_random) if num_latents is None else num_latents
    if say is not None:
        num = num_samples * (1 + num_directions * how.num_steps) + num_measured(subject, num_directions)
        num += num_described(count, num_directions + num_random)
        subject = replace(subject, told=_Counter(num, say))
        if math.prod(subject.sample_shape) >= _LARGE:
            shape = "×".join(str(size) for size in subject.sample_shape)
            say(f"making {num} images of {shape} on {device}, to show and to measure ...")
    originals, moved = traverse(
        subject.make, codes, directions, how.distances, labels=labels, batch=subject.batch
    )
    if not bool(moved.isfinite().all()):
        raise ValueError("the generator makes images that are not finite, so there is nothing to show.")
    strengths = measure(
        subject, factors, num_directions=num_directions, seed=seed, variant=how, labels=labels
    )
    found = None
    if count:
        if say is not None:
            say(f"measuring attributes of {count} latents along {num_directions + num_random} directions ...")
        found = measure_attributes(
            subject,
            directions,
            seed=seed,
            variant=how,
            labels=labels,
            classifier=classifier,
            class_names=class_names,
            num_latents=count,
            num_random=num_random,
        )
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _write_pictures(folder, subject, factors, originals, moved, how, variant)
    _write_plot(folder / "strengths", strengths, num_directions, how, f"{subject.title} · variant {variant}")
    tables = _write_tables(folder, subject, factors, strengths, num_directions, variant, seed)
    words = [_concentration(factors, num_directions), *_comparison(strengths, num_directions)]
    scalars = _scalars(strengths, num_directions)
    for old in folder.glob("attributes.*"):
        old.unlink()
    described: list[Path] = []
    if found is not None:
        described = write_attributes(found, folder, title=f"{subject.title} · variant {variant}")
        words += attribute_words(found)
        scalars |= {
            f"sefa/direction{row}/{name}": float(found.effects[row, place])
            for row in range(num_directions)
            for place, name in enumerate(found.names)
        }
    elif num_latents is None:
        words.append(
            f"Attributes were left out, for along {num_directions + num_random} directions they would take "
            "long; --attribute-latents says over how many latents to measure them all the same."
        )
    return Explored(
        folder=folder,
        files=(*pictures, folder / "strengths.png", *described, *tables),
        words=tuple(words),
        scalars=scalars,
        attributes=found,
    )


class _Counter:
    """Says now and then how many images are made, and how long the others will take.

    Args:
        total: images in all.
        say: takes a line.
    """

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self._total, self._say = total, say
        self._made = 0
        self._started = self._said = time.monotonic()

    def __call__(self, num: int) -> None:
        self._made += num
        now = time.monotonic()
        if now - self._said >= _SAY_SEC and self._made < self._total:
            self._said, passed = now, now - self._started
            left = round(passed * (self._total - self._made) / self._made)
            self._say(f"{self._made:,} of {self._total:,} images, {left // 60}:{left % 60:02} to go")


def _write_pictures(
    folder: Path,
    subject: Subject,
    factors: Factors,
    originals: Tensor,
    moved: Tensor,
    how: Variant,
    variant: str,
) -> list[Path]:
    from harness.figures import (
        direction_films,
        direction_frames,
        direction_pages,
        find_ffmpeg,
        write_gif,
        write_mp4,
        write_png,
    )

    distances, num = how.distances, len(moved)
    frames = folder / "frames"
    frames.mkdir(exist_ok=True)
    for old in frames.glob("frame*.png"):
        old.unlink()
    paths = [frames / f"frame{number}.png" for number in range(num)]
    for picture, path in zip(direction_frames(moved, distances, title=subject.title), paths, strict=True):
        write_png(picture, path)
    film = direction_films(originals, moved, distances, title=subject.title)
    seconds = _FRAME_SECONDS * len(film)
    write_gif(film, folder / "directions.gif", seconds=seconds, hold_seconds=0.5)
    films = [folder / "directions.gif"]
    if find_ffmpeg() is not None:
        write_mp4(film, folder / "directions.mp4", seconds=seconds)
        films.append(folder / "directions.mp4")
    else:
        (folder / "directions.mp4").unlink(missing_ok=True)
    pages = [folder / "sample_first.html", folder / "semantic_first.html"]
    codes = "of mean square 1" if how.normalize_codes else "as drawn"
    direction_pages(
        moved,
        distances,
        factors.values[:num].tolist(),
        title=subject.title,
        words=f"The {num} eigenvectors of W Wᵀ with the largest eigenvalues, W being the weight of the layer "
        f"that takes the latent, {how.columns}; codes {codes}. Variant {variant}. A column is a distance.",
        sample_first=pages[0],
        semantic_first=pages[1],
    )
    return [*paths, *films, *pages]


def _write_plot(stem: Path, strengths: Strengths, num_directions: int, how: Variant, title: str) -> None:
    from harness.figures import strength_plot

    strength_plot(
        stem,
        shown=strengths.shown,
        values=strengths.values.numpy(),
        changes=strengths.changes.numpy(),
        errors=strengths.errors.numpy(),
        random_values=strengths.random_values.numpy(),
        random_changes=strengths.random_changes.numpy(),
        num_marked=num_directions,
        columns=how.columns,
        title=title,
    )


def _write_tables(
    folder: Path,
    subject: Subject,
    factors: Factors,
    strengths: Strengths | None,
    num_directions: int,
    variant: str,
    seed: int,
) -> tuple[Path, Path]:
    """All directions for other programs, and a table of their eigenvalues and measured strengths."""
    arrays, table = folder / "directions.npz", folder / "directions.csv"
    settings = {
        "title": subject.title,
        "layers": list(subject.layers),
        "variant": variant,
        "seed": seed,
        "num_directions": num_directions,
    }
    with arrays.open("wb") as file:
        np.savez(
            file,
            eigenvalues=factors.values.numpy(),
            directions=factors.directions.numpy(),
            settings=np.array(json.dumps(settings)),
        )
    measured = (
        {} if strengths is None else dict(zip(strengths.shown, strengths.changes.tolist(), strict=True))
    )
    errors = {} if strengths is None else dict(zip(strengths.shown, strengths.errors.tolist(), strict=True))
    rows: list[tuple[object, ...]] = [("direction", "eigenvalue", "change_per_unit", "standard_error")]
    for number, value in enumerate(factors.values.tolist()):
        found = (f"{measured[number]:.6g}", f"{errors[number]:.6g}") if number in measured else ("", "")
        rows.append((number, f"{value:.6g}", *found))
    if strengths is not None:
        random = zip(strengths.random_values.tolist(), strengths.random_changes.tolist(), strict=True)
        rows += [("random", f"{value:.6g}", f"{change:.6g}", "") for value, change in random]
    write_text(table, csv_text(rows))
    return arrays, table


def _concentration(factors: Factors, num_directions: int) -> str:
    total = float(factors.values.sum())
    if total == 0:
        return "All eigenvalues are 0: the layer ignores its latent."
    share, dim = float(factors.values[:num_directions].sum()) / total, len(factors.values)
    largest = float(factors.values[0]) * dim / total
    return (
        f"The first {num_directions} of {dim} eigenvalues hold {share:.1%} of their sum, and would hold "
        f"{num_directions / dim:.1%} if all were equal; the largest is {largest:.2g} times their mean."
    )


def _comparison(strengths: Strengths, num_directions: int) -> list[str]:
    shown = strengths.changes[[i for i, number in enumerate(strengths.shown) if number < num_directions]]
    chance, spread = float(strengths.random_changes.mean()), float(strengths.random_changes.std())
    if chance == 0 and float(shown.max()) == 0:
        return ["No direction that was measured changes the image."]
    mean = float(shown.mean())
    ratio = mean / chance if chance > 0 else float("inf")
    verdict = "about as strong as" if abs(mean - chance) <= 2 * spread else "weaker than"
    if mean > chance + 2 * spread:
        verdict = "much stronger than" if ratio >= _STANDS_OUT else "somewhat stronger than"
    agreement = _rank_correlation(strengths.values, strengths.changes)
    lines = [
        f"A unit along them changes a pixel by {mean:.3g} on average, and along a random direction by "
        f"{chance:.3g} ± {spread:.2g}: they are {verdict} chance, {ratio:.2f} times "
        f"({strengths.num_latents} latents)."
    ]
    if agreement is not None:
        lines.append(
            f"Over {len(strengths.shown)} eigenvectors the ranks of eigenvalue and of that change correlate "
            f"with {agreement:+.2f}."
        )
    return lines


def _rank_correlation(first: Tensor, second: Tensor) -> float | None:
    """Spearman's, or None where there is nothing to order."""
    from scipy.stats import spearmanr

    if min(len(set(first.tolist())), len(set(second.tolist()))) < 3:
        return None
    return float(spearmanr(first.numpy(), second.numpy()).statistic)


def _scalars(strengths: Strengths, num_directions: int) -> dict[str, float]:
    scalars = {"sefa/random_change_per_unit": float(strengths.random_changes.mean())}
    for place, number in enumerate(strengths.shown):
        if number < num_directions:
            scalars[f"sefa/direction{number}/eigenvalue"] = float(strengths.values[place])
            scalars[f"sefa/direction{number}/change_per_unit"] = float(strengths.changes[place])
    return scalars
