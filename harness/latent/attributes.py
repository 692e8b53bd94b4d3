"""What directions mean: what a unit along each does to attributes of the image, beside random directions.

Shapes: Z numbers in a latent, N latents, K directions and Q random ones (R = K + Q, the random ones last), A
attributes, C classes.

A direction that changes the image a lot need not change anything that one could name. Here attributes are
measured that have names: some of the pixels, and the class that the data set's frozen classifier sees. They
are measured along random directions too, over the same latents, so that what any direction does is not taken
for what these directions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.features.extractors import CLASSIFIERS, Extractor, load_classifier
from harness.files import csv_text, write_text
from harness.latent.sefa import Subject, Variant, start_codes
from harness.recipe.networks import layer_table
from harness.runs.load import Run
from harness.runs.sampling import draw_latents, sample
from harness.words import joined

__all__ = [
    "FEWEST_RANDOM",
    "NUM_RANDOM",
    "PIXEL_ATTRIBUTES",
    "Attributes",
    "Meaning",
    "affordable_latents",
    "attribute_table",
    "attribute_words",
    "measure_attributes",
    "num_described",
    "pixel_attributes",
    "run_classifier",
    "write_attributes",
]

PIXEL_ATTRIBUTES = {
    "brightness": "",
    "contrast": "",
    "sharpness": "",
    "width": "pixels",
    "height": "pixels",
    "slant": "pixels to the right per pixel upwards",
}
"""Attribute → its unit; pixels are in [-1, 1]."""

NUM_LATENTS = 256
NUM_RANDOM = 99
"""So that a direction beyond all random ones has p = 1/100."""
FEWEST_RANDOM = 20
"""Fewer say little."""

_STEPS = (-2.0, -1.0, 1.0, 2.0)
_FEWEST_LATENTS = 16
_FEWEST_AGREE = 2 / 3
_MOST_WORK = 1.5e12
"""Multiplications with an addition: about a minute of one core."""
_WORK_PER_NUMBER = 4000
"""What describing an image costs per number in it, in the same unit."""
_TINY = 1e-12
_MOST_SENTENCES = 8
_ROUNDING = 1e-9
_FIELDS = (
    "direction",
    "attribute",
    "effect_in_sd_per_unit",
    "standard_error",
    "sign_agreement",
    "effect_per_unit",
    "unit",
    "largest_random_in_sd",
    "p_of_attribute",
    "p_over_all_attributes",
    "p_at_equal_image_change",
    "name",
)


def pixel_attributes(images: Tensor) -> Tensor:
    """Attributes of images that need no network, in the order of `PIXEL_ATTRIBUTES`.

    With x the pixels, averaged over channels, and w = (x + 1) / 2 their light, whose centre is (c, r):

    brightness: mean of x. contrast: standard deviation of x. sharpness: variance of the discrete Laplacian,
    the mean over channels, as in the score of that name. width: √(Σ w (column − c)² / Σ w), and height alike,
    of rows: standard deviations of where the light is. slant: −Σ w (column − c)(row − r) / Σ w (row − r)²,
    the slope of the line that leaves the light upright once it is sheared away; positive leans like /.

    On a dark background they describe the thing shown. Where all is bright they describe the whole picture.

    Args:
        images: (N, C, H, W) in [-1, 1], of 3 pixels a side at least.

    Returns:
        (N, 6) float64. An image without light has width, height and slant 0.
    """
    images = images.double()
    grey = images.mean(1)
    light = ((grey + 1) / 2).clamp(min=0)
    total = light.sum((1, 2)).clamp(min=_TINY)
    rows = torch.arange(grey.shape[1], dtype=torch.float64)[None, :, None]
    columns = torch.arange(grey.shape[2], dtype=torch.float64)[None, None, :]

    def weighted(values: Tensor) -> Tensor:
        return (light * values).sum((1, 2)) / total

    across = columns - weighted(columns)[:, None, None]
    down = rows - weighted(rows)[:, None, None]
    width, height = weighted(across.square()), weighted(down.square())
    around = (
        images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    ) - 4 * images[..., 1:-1, 1:-1]
    return torch.stack(
        [
            grey.mean((1, 2)),
            grey.flatten(1).std(1, correction=0),
            around.flatten(2).var(2, correction=0).mean(1),
            width.sqrt(),
            height.sqrt(),
            -weighted(across * down) / height.clamp(min=_TINY),
        ],
        dim=1,
    )


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What one direction does that random ones do not.

    Attributes:
        direction: its number.
        attribute: the clearest of those in which it passes all random directions, or None.
        name: the attribute, of the class which falls and which rises, like `class 1 → 8`; or
            `nothing nameable`.
        also: the other attributes in which it passes, the clearest first.
        chance: p of the permutation test over all attributes together.
        chance_alike: the same where every direction is taken so far that the image changes equally.
    """

    direction: int
    attribute: str | None
    name: str
    also: tuple[str, ...]
    chance: float
    chance_alike: float


@dataclass(frozen=True, kw_only=True)
class Attributes:
    """What directions do to attributes.

    Attributes:
        names: A of them; the last is `class` where a classifier looked.
        spreads: standard deviations among unedited samples, in the attributes' own units, (R, A): that of
            `class` depends on the two classes.
        effects: change per unit along a direction, in spreads, the mean over latents, (R, A).
        errors: standard errors of `effects` over the latents, (R, A).
        agreements: share of the latents whose change has the sign of the mean, (R, A).
        changes: mean absolute change of a pixel for a unit, (R,).
        class_shifts: change of every class's probability per unit, (R, C); C is 0 without a classifier.
        class_changes: share of samples of which another class is seen after 1 and after 2 units, (R, 2).
        class_names: of the C classes.
        num_directions: K.
        num_latents: N.
    """

    names: tuple[str, ...]
    spreads: Tensor
    effects: Tensor
    errors: Tensor
    agreements: Tensor
    changes: Tensor
    class_shifts: Tensor
    class_changes: Tensor
    class_names: tuple[str, ...]
    num_directions: int
    num_latents: int

    @property
    def num_random(self) -> int:
        """Q."""
        return len(self.effects) - self.num_directions

    @property
    def largest_random(self) -> Tensor:
        """The largest size of an effect among the random directions, (A,)."""
        return self.effects[self.num_directions :].abs().amax(0)

    def ranks(self) -> Tensor:
        """p of each attribute alone, (K, A): of it and the random directions, the share that do as much."""
        own, random = self.effects[: self.num_directions].abs(), self.effects[self.num_directions :].abs()
        return (1 + (random[None] >= own[:, None]).sum(1)) / (1 + self.num_random)

    def shift(self, row: int) -> tuple[str, str]:
        """The class whose probability falls most along a direction, and the one whose rises most."""
        shifts = self.class_shifts[row]
        return self.class_names[int(shifts.argmin())], self.class_names[int(shifts.argmax())]

    def meaning(self, direction: int) -> Meaning:
        """Name a direction by what sets it apart from random ones.

        Effects are divided by their median size over the direction and the Q random ones, attribute by
        attribute; T is the largest of the A quotients. p is the share of the Q + 1 whose T is as large as the
        direction's. If the direction is drawn like the random ones, each of the Q + 1 is equally likely to
        have the largest T, so that p ≤ α has a probability of α at most, however many attributes there are
        and however they hang together. A direction is named if its T is the largest. The name is
        taken from the attributes whose own quotients are beyond every random T and which move two thirds of
        the latents the same way at least: the one whose effect, times the agreement above a half, is largest.

        Source: Westfall and Young (1993), Resampling-based multiple testing: the largest statistic of many.
        """
        rows = [direction, *range(self.num_directions, len(self.effects))]
        sizes = self.effects[rows].abs()
        quotients = _over_median(sizes)
        alike = _over_median(sizes / self.changes[rows, None].clamp(min=_TINY))
        passed = (quotients[0] > quotients[1:].max()) & (self.agreements[direction] >= _FEWEST_AGREE)
        order = (sizes[0] * (self.agreements[direction] - 0.5)).argsort(descending=True).tolist()
        attributes = [self.names[place] for place in order if bool(passed[place])]
        name = attributes[0] if attributes else "nothing nameable"
        return Meaning(
            direction=direction,
            attribute=attributes[0] if attributes else None,
            name="class {} → {}".format(*self.shift(direction)) if name == "class" else name,
            also=tuple(attributes[1:]),
            chance=_share_as_large(quotients.amax(1)),
            chance_alike=_share_as_large(alike.amax(1)),
        )

    @property
    def meanings(self) -> list[Meaning]:
        """Of the K directions."""
        return [self.meaning(direction) for direction in range(self.num_directions)]


def run_classifier(run: Run) -> Extractor | None:
    """The frozen classifier of a run's data set, or None for colour, and for data that has none."""
    name = run.recipe.data.name
    return load_classifier(name) if name in CLASSIFIERS and run.sample_shape[0] == 1 else None


def affordable_latents(subject: Subject, num_directions: int, num_random: int) -> int:
    """Over how many latents attributes can be measured in about a minute of one core, 256 at most.

    Args:
        subject: the generator.
        num_directions: K.
        num_random: Q.

    Returns:
        The number; 0 where it would be below 16, for means over so few say little, or without a generator.
    """
    if subject.generator is None:
        return 0
    example = draw_latents(1, subject.latent_dim, seed=0).to(next(subject.generator.parameters()).device)
    products = sum(row.multiply_adds for row in layer_table(subject.generator, example))
    numbers = torch.Size(subject.sample_shape).numel()
    images = _MOST_WORK / (products + _WORK_PER_NUMBER * numbers)
    afforded = min(NUM_LATENTS, int(images / (len(_STEPS) * (num_directions + num_random))))
    return afforded if afforded >= _FEWEST_LATENTS else 0


def num_described(num_latents: int, num_directions: int) -> int:
    """How many images `measure_attributes` makes.

    Args:
        num_latents: N.
        num_directions: R, random directions counted too.
    """
    return num_latents * (1 + len(_STEPS) * num_directions) if num_latents else 0


def measure_attributes(
    subject: Subject,
    directions: Tensor,
    *,
    seed: int,
    variant: Variant,
    labels: Tensor | None = None,
    classifier: Extractor | None = None,
    class_names: tuple[str, ...] = (),
    num_latents: int = NUM_LATENTS,
    num_random: int = NUM_RANDOM,
) -> Attributes:
    """What units along directions do to attributes, and what units along random ones do.

    A code z is moved to z + d n for d of −2, −1, 1 and 2. Its change of an attribute a per unit is the slope
    of the line through the five values, Σ d a(z + d n) / Σ d²; the effect is the mean slope over the codes,
    divided by the standard deviation of a among the codes' own images.

    Of the classifier's probabilities the two are taken that a direction lowers and raises most, and their
    difference is the attribute `class`: how far it shifts samples from the one to the other. By that choice
    its effect is never negative; the random directions have the same choice.

    Args:
        subject: with a generator.
        directions: n, (K, Z), of length 1.
        seed: of the latents and of the random directions.
        variant: how the codes are drawn.
        labels: classes to go round in, for a generator that takes them.
        classifier: sees the classes of the images.
        class_names: their names; by default their numbers.
        num_latents: N, 2 at least.
        num_random: Q, 20 at least, for fewer say little.

    Raises:
        ValueError: too few latents or random directions.
    """
    if num_latents < 2:
        raise ValueError(f"`num_latents` must be at least 2, but got {num_latents}.")
    if num_random < FEWEST_RANDOM:
        raise ValueError(f"`num_random` must be at least {FEWEST_RANDOM}, but got {num_random}.")
    random = draw_latents(num_random, subject.latent_dim, seed=seed, purpose="latent attributes random")
    everything = torch.cat([directions.double(), F.normalize(random.double(), dim=1)])
    codes = start_codes(num_latents, subject.latent_dim, seed=seed + 2, variant=variant)
    classes = None if labels is None else labels.repeat(-(-num_latents // len(labels)))[:num_latents]
    start = _looked_at(subject, codes, classes, classifier)
    found = [_along(subject, codes, n, classes, classifier, start) for n in everything]
    slopes = torch.stack([values for values, _, _ in found])  # (R, N, 6)
    shifts = torch.stack([odds for _, odds, _ in found])  # (R, N, C)
    changes = torch.stack([amounts for _, _, amounts in found])
    spreads = start.values.std(0).expand(len(found), -1)
    names, num_classes = tuple(PIXEL_ATTRIBUTES), shifts.shape[2]
    if num_classes > 1:
        means = shifts.mean(1)
        falls, rises = means.argmin(1), means.argmax(1)
        row = torch.arange(len(found))
        slopes = torch.cat([slopes, (shifts[row, :, rises] - shifts[row, :, falls])[..., None]], dim=2)
        spread = (start.odds[:, rises] - start.odds[:, falls]).std(0)
        spreads = torch.cat([spreads, spread[:, None]], dim=1)
        names = (*names, "class")
    moves = (spreads > _TINY)[:, None]
    scaled = torch.where(moves, slopes / spreads.clamp(min=_TINY)[:, None], 0.0)
    effects = scaled.mean(1)
    return Attributes(
        names=names,
        spreads=spreads,
        effects=effects,
        errors=scaled.std(1) / num_latents**0.5,
        agreements=(scaled.sign() == effects.sign()[:, None]).double().mean(1),
        changes=changes[:, 0],
        class_shifts=shifts.mean(1),
        class_changes=changes[:, 1:],
        class_names=class_names[:num_classes] or tuple(str(number) for number in range(num_classes)),
        num_directions=len(directions),
        num_latents=num_latents,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """N images and what is seen in them.

    Attributes:
        images: (N, *sample_shape), in [-1, 1].
        values: attributes of the pixels, (N, 6).
        odds: probabilities of the classes, (N, C).
    """

    images: Tensor
    values: Tensor
    odds: Tensor


def _looked_at(subject: Subject, codes: Tensor, labels: Tensor | None, classifier: Extractor | None) -> _Seen:
    """Make images and describe them, a batch at a time."""
    parts = []
    for first in range(0, len(codes), subject.batch):
        rows = slice(first, first + subject.batch)
        made = sample(subject.make, codes[rows], None if labels is None else labels[rows]).float()
        odds = torch.zeros(len(made), 0, dtype=torch.float64)
        if classifier is not None:
            logits = classifier(made).logits
            if logits is None:
                raise ValueError(f"`classifier` {classifier.name} tells no classes apart; leave it out.")
            odds = logits.softmax(1)
        parts.append((made, pixel_attributes(made), odds))
    images, values, every = (torch.cat(column) for column in zip(*parts, strict=True))
    return _Seen(images=images, values=values, odds=every)


def _along(
    subject: Subject,
    codes: Tensor,
    direction: Tensor,
    labels: Tensor | None,
    classifier: Extractor | None,
    start: _Seen,
) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes along one direction, (N, 6) and (N, C); and how much of the pixels a unit changes, how many
    classes one unit does, and how many two do."""
    power = sum(step**2 for step in _STEPS)
    values, odds = torch.zeros_like(start.values), torch.zeros_like(start.odds)
    changes = torch.zeros(3, dtype=torch.float64)
    for step in _STEPS:
        moved = (codes.double() + step * direction).to(codes.dtype)
        seen = _looked_at(subject, moved, labels, classifier)
        values += step / power * seen.values
        odds += step / power * seen.odds
        if abs(step) == 1:
            changes[0] += (seen.images - start.images).abs().double().mean() / 2
        if odds.shape[1]:
            changed = seen.odds.argmax(1) != start.odds.argmax(1)
            changes[int(abs(step))] += changed.double().mean() / 2
    return values, odds, changes


def _over_median(sizes: Tensor) -> Tensor:
    """Sizes (Q + 1, A) over their medians; of an attribute that nothing moves they are 0."""
    return sizes / sizes.quantile(0.5, dim=0).clamp(min=_TINY)


def _share_as_large(values: Tensor) -> float:
    """The share of values that are as large as the first."""
    return float((values >= values[0]).double().mean())


def write_attributes(found: Attributes, folder: Path, *, title: str) -> list[Path]:
    """Write ``attributes.png`` and ``attributes.csv``.

    The table has a row for every direction and attribute, the random directions' last; `class_falls` and
    `class_rises` give the change of a class's probability per unit, `class_changes_1` and `_2` the share of
    samples of which another class is seen after as many units.

    Args:
        found: what was measured.
        folder: where to; it exists.
        title: what the generator is.

    Returns:
        Both files.
    """
    from harness.figures import attribute_map

    num = found.num_directions
    meanings = found.meanings
    attribute_map(
        folder / "attributes",
        names=found.names,
        effects=found.effects[:num].numpy(),
        largest_random=found.largest_random.numpy(),
        num_random=found.num_random,
        meanings=[meaning.name for meaning in meanings],
        class_changes=found.class_changes[:num, 0].numpy() if found.class_names else None,
        largest_changes=float(found.class_changes[num:, 0].max()),
        title=title,
    )
    table = folder / "attributes.csv"
    rows = [cells for row in range(len(found.effects)) for cells in _rows(found, row)]
    write_text(table, csv_text([_FIELDS, *([row.get(field, "") for field in _FIELDS] for row in rows)]))
    return [folder / "attributes.png", table]


def _rows(found: Attributes, row: int) -> list[dict[str, str]]:
    num, own = found.num_directions, row < found.num_directions
    direction = str(row) if own else f"random {row - num}"
    judged: dict[str, str] = {}
    if own:
        meaning = found.meaning(row)
        judged = {
            "name": meaning.name,
            "p_over_all_attributes": f"{meaning.chance:.3g}",
            "p_at_equal_image_change": f"{meaning.chance_alike:.3g}",
        }
    rows = []
    for place, attribute in enumerate(found.names):
        effect, spread = float(found.effects[row, place]), float(found.spreads[row, place])
        values = {
            "direction": direction,
            "attribute": attribute,
            "effect_in_sd_per_unit": f"{effect:.5g}",
            "standard_error": f"{float(found.errors[row, place]):.3g}",
            "sign_agreement": f"{float(found.agreements[row, place]):.3g}",
            "effect_per_unit": f"{effect * spread:.5g}",
            "unit": PIXEL_ATTRIBUTES.get(attribute, ""),
        }
        if own:
            values["largest_random_in_sd"] = f"{float(found.largest_random[place]):.5g}"
            values["p_of_attribute"] = f"{float(found.ranks()[row, place]):.3g}"
        rows.append({**values, **judged})
    if found.class_names:
        falls, rises = found.shift(row)
        shifts = found.class_shifts[row]
        for attribute, amount, unit in (
            ("class_falls", float(shifts.min()), f"probability of {falls}"),
            ("class_rises", float(shifts.max()), f"probability of {rises}"),
            ("class_changes_1", float(found.class_changes[row, 0]), "share of samples, after 1 unit"),
            ("class_changes_2", float(found.class_changes[row, 1]), "share of samples, after 2 units"),
        ):
            rows.append(
                {
                    "direction": direction,
                    "attribute": attribute,
                    "effect_per_unit": f"{amount:.5g}",
                    "unit": unit,
                }
            )
    return rows


def attribute_table(found: Attributes, values: Sequence[float]) -> list[list[str]]:
    """A header, a row a direction and a last one of the most that random directions do, as words.

    Args:
        found: what was measured.
        values: the directions' eigenvalues, (K,).
    """
    num, seen = found.num_directions, bool(found.class_names)
    changed = [f"{share:.0%}" for share in found.class_changes[:, 0].tolist()] if seen else []
    most = found.largest_random.tolist()
    rows = [
        ["direction", "eigenvalue", "change", *found.names, *(["class changes"] if seen else []), "meaning"]
    ]
    for meaning, value in zip(found.meanings, values, strict=True):
        row = meaning.direction
        effects = [
            f"{effect:+.2f}{'*' if abs(effect) > largest else ' '}".replace("-", "−")
            for effect, largest in zip(found.effects[row].tolist(), most, strict=True)
        ]
        strength = [f"{value:.3g}", f"{float(found.changes[row]):.3f}"]
        rows.append([str(row), *strength, *effects, *changed[row : row + 1], meaning.name])
    random = [f"{float(found.changes[num:].max()):.3f}", *(f" {effect:.2f}" for effect in most)]
    largest = [f"{float(found.class_changes[num:, 0].max()):.0%}"] if seen else []
    return [*rows, ["random, most", "", *random, *largest, ""]]


def attribute_words(found: Attributes) -> list[str]:
    """What was found, in sentences; also by how much chance alone would have found it."""
    meanings, random = found.meanings, found.num_random
    named = [meaning for meaning in meanings if meaning.attribute is not None]
    lines = []
    for meaning in named[:_MOST_SENTENCES]:
        assert meaning.attribute is not None
        row, place = meaning.direction, found.names.index(meaning.attribute)
        effect = float(found.effects[row, place])
        if meaning.attribute == "class":
            falls, rises = found.shift(row)
            shifts, changed = found.class_shifts[row], float(found.class_changes[row, 0])
            largest = float(found.class_changes[found.num_directions :, 0].max())
            does = (
                f"a unit adds {float(shifts.max()):.1%} to class {rises}, takes {-float(shifts.min()):.1%} "
                f"from {falls} ({effect:.2f} sd), and changes the class seen of {changed:.0%} of the samples "
                f"(random: {largest:.0%} at most)"
            )
        else:
            unit = PIXEL_ATTRIBUTES[meaning.attribute]
            own = f"{effect * float(found.spreads[row, place]):+.3g}{f' {unit}' if unit else ''}"
            does = f"a unit moves {meaning.attribute} by {own}, {effect:+.2f} sd of the samples'"
        agreement = float(found.agreements[row, place])
        also = ", ".join(
            f"{name} {float(found.effects[row, found.names.index(name)]):+.2f} sd" for name in meaning.also
        )
        lines.append(
            f"Direction {row} is {meaning.name}: {does}, the same way in {agreement:.0%} of the latents; "
            f"the largest of {random} random directions {float(found.largest_random[place]):.2f} sd."
            + (f" Also {also}." if also else "")
        )
    left = [str(meaning.direction) for meaning in meanings if meaning.attribute is None]
    if left:
        which = f"Direction {left[0]} moves" if len(left) == 1 else f"Directions {joined(left)} move"
        lines.append(f"{which} nothing nameable beyond all random directions and alike in most latents.")
    lines.append(_chance(found, len(named)))
    return lines


def _chance(found: Attributes, num_named: int) -> str:
    total, random = found.num_directions, found.num_random
    alike = sum(meaning.chance_alike <= 1 / (1 + random) + _ROUNDING for meaning in found.meanings)
    why = "what sets them apart is what they change, not only how much"
    if alike < num_named:
        why = f"what sets the {'others' if alike else 'named'} apart is how much they change, not what"
    return (
        f"{num_named} of {total} directions are named: those that over all {len(found.names)} attributes "
        f"together pass all {random} random ones (permutation test, p = 1/{random + 1} each; of {total} "
        f"random ones {total / (random + 1):.2g} would on average) and move most latents alike. Per change "
        f"of the image {alike} pass{f': {why}' if num_named else ''} ({found.num_latents} latents)."
    )
