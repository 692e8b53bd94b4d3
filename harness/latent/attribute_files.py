"""What directions do to attributes, as a table, a figure and sentences."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from harness.latent.attributes import PIXEL_ATTRIBUTES, Attributes

__all__ = ["attribute_table", "attribute_words", "write_attributes"]

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
    with table.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, _FIELDS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in range(len(found.effects)):
            writer.writerows(_rows(found, row))
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
        which = f"Direction {left[0]} moves" if len(left) == 1 else f"Directions {_listed(left)} move"
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


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
