"""What directions mean: attributes measured, planted ones named, chance kept apart, files and command."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from harness.cli import latent as cli_latent
from harness.features.extractors import Extractor, Features, random_conv
from harness.latent import Attributes, explore, run_classifier
from harness.latent.attributes import (
    PIXEL_ATTRIBUTES,
    affordable_latents,
    attribute_words,
    measure_attributes,
    pixel_attributes,
)
from harness.latent.sefa import VARIANTS, Subject
from harness.metrics.images.pixels import sharpness_of
from harness.recipe.registry import generators
from harness.runs.load import load_run
from harness.runs.sampling import sample
from support.untrained_runs import make_small_run

SIDE, Z = 24, 40
NAMES = list(PIXEL_ATTRIBUTES)


def blob(
    *, width: Tensor | float, height: Tensor | float, slant: Tensor | float = 0.0, light: Tensor | float = 1.0
) -> Tensor:
    """Ellipses of light, Gaussian, of these standard deviations in pixels, sheared."""
    w, h, s, a = (
        torch.as_tensor(x, dtype=torch.float64).reshape(-1, 1, 1, 1) for x in (width, height, slant, light)
    )
    up = (SIDE - 1) / 2 - torch.arange(SIDE, dtype=torch.float64)[:, None]
    right = torch.arange(SIDE, dtype=torch.float64)[None] - (SIDE - 1) / 2
    return 2 * a * torch.exp(-((right - s * up) ** 2) / (2 * w**2) - up**2 / (2 * h**2)) - 1


def value(images: Tensor, name: str) -> Tensor:
    return pixel_attributes(images)[:, NAMES.index(name)]


def test_width_height_and_slant_are_those_of_a_known_ellipse() -> None:
    images = blob(
        width=torch.tensor([1.5, 2.5, 1.5]),
        height=torch.tensor([3.0, 2.0, 2.0]),
        slant=torch.tensor([0, 0, 0.5]),
    )
    wide = math.hypot(1.5, 0.5 * 2.0)  # a shear of s makes the variance of columns w² + s² h²
    torch.testing.assert_close(
        value(images, "width"), torch.tensor([1.5, 2.5, wide]).double(), rtol=0.01, atol=0
    )
    torch.testing.assert_close(
        value(images, "height"), torch.tensor([3.0, 2.0, 2.0]).double(), rtol=0.01, atol=0
    )
    torch.testing.assert_close(
        value(images, "slant"), torch.tensor([0, 0, 0.5]).double(), rtol=0.01, atol=1e-3
    )
    torch.testing.assert_close(value(images.flip(3), "slant"), -value(images, "slant"))
    moved = images.roll((2, -3), dims=(2, 3))
    torch.testing.assert_close(
        pixel_attributes(moved)[:, 3:], pixel_attributes(images)[:, 3:], rtol=0.02, atol=1e-3
    )


def test_brightness_contrast_and_sharpness_are_those_of_the_pixels() -> None:
    images = torch.rand(5, 3, 9, 7, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(value(images, "brightness"), images.double().mean((1, 2, 3)))
    grey = images.double().mean(1).flatten(1)
    torch.testing.assert_close(value(images, "contrast"), grey.std(1, correction=0))
    assert float(value(images, "sharpness").mean()) == pytest.approx(sharpness_of(images), rel=1e-5)


def test_an_image_without_light_has_attributes_too() -> None:
    found = pixel_attributes(-torch.ones(1, 1, 5, 5))
    assert found.tolist() == [[-1.0, 0.0, 0.0, 0.0, 0.0, 0.0]]


class Blobs(nn.Module):
    """Ellipses whose light, width and slant three numbers of z move; the others do a little of all."""

    def __init__(self, amounts: tuple[float, float, float] = (0.12, 0.25, 0.15)) -> None:
        super().__init__()
        mixed = torch.randn(Z, 3, generator=torch.Generator().manual_seed(4)) * 0.03
        mixed[:3] = torch.eye(3)
        self.weight = nn.Parameter(mixed * torch.tensor(amounts))

    def forward(self, z: Tensor) -> Tensor:
        light, width, slant = (z @ self.weight).unbind(1)
        return blob(width=2 + width, height=3.0, slant=slant, light=torch.sigmoid(2 * light)).float()


class Halves:
    """A classifier in a frozen one's place: is most light on the left, in the middle, or on the right?"""

    def __call__(self, images: Tensor) -> Features:
        parts = images.mean((1, 2)).tensor_split(3, dim=1)
        logits = 20 * torch.stack([part.mean(1) for part in parts], dim=1).double()
        return Features(embedding=logits, logits=logits)


def subject_of(module: nn.Module, side: int = SIDE) -> Subject:
    return Subject(
        title="blobs",
        weights=(torch.eye(Z).double(),),
        layers=(0,),
        generator=module,
        sample_shape=(1, side, side),
    )


def measured(module: nn.Module, directions: Tensor, **options: Any) -> Attributes:
    given = {"seed": 0, "variant": VARIANTS["lab"], "num_latents": 48, "num_random": 40, **options}
    return measure_attributes(subject_of(module), directions, **given)


@pytest.fixture(scope="module")
def found() -> Attributes:
    return measured(Blobs(), torch.eye(Z)[[0, 1, 2, 9]])


def test_planted_attributes_are_named_and_the_rest_is_not(found: Attributes) -> None:
    light, width, slant, nothing = found.meanings
    assert light.name in ("brightness", "contrast")  # of a thing on black they are nearly one
    assert (width.name, slant.name) == ("width", "slant")
    assert [m.chance for m in (light, width, slant)] == [pytest.approx(1 / 41)] * 3
    assert (nothing.name, nothing.attribute, nothing.also) == ("nothing nameable", None, ())
    assert nothing.chance > 1 / 41
    words = attribute_words(found)
    assert any(line.startswith("Direction 1 is width: a unit moves width by +0.2") for line in words)
    assert "Direction 3 moves nothing nameable" in words[-2]
    assert "3 of 4 directions are named" in words[-1]
    assert "p = 1/41 each; of 4 random ones 0.098 would on average" in words[-1]


def test_an_effect_is_the_change_per_unit_over_the_spread_of_the_samples(found: Attributes) -> None:
    place = NAMES.index("width")
    slope = float(found.effects[1, place] * found.spreads[1, place])
    assert slope == pytest.approx(0.25, rel=0.15)  # a sheared ellipse is wider, so it is a little less
    assert float(found.agreements[1, place]) == 1.0
    back = measured(Blobs(), -torch.eye(Z)[[0, 1, 2, 9]])
    torch.testing.assert_close(back.effects[:4], -found.effects[:4], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(back.effects[4:], found.effects[4:])


def test_what_is_measured_depends_on_the_seed_alone(found: Attributes) -> None:
    again, other = (measured(Blobs(), torch.eye(Z)[[0, 1, 2, 9]], seed=seed) for seed in (0, 1))
    assert torch.equal(again.effects, found.effects)
    assert not torch.equal(other.effects, found.effects)


def test_random_directions_are_named_no_more_often_than_by_chance() -> None:
    directions = torch.nn.functional.normalize(torch.randn(60, Z, generator=torch.Generator().manual_seed(8)))
    judged = measured(Blobs(), directions, num_latents=12).meanings
    named = sum(meaning.attribute is not None for meaning in judged)
    assert named <= 6  # 60 / 41 = 1.5 are expected; 6 and fewer with a probability above .99
    for level in (0.1, 0.3, 0.5):
        assert abs(sum(m.chance <= level for m in judged) / 60 - level) < 0.25


def test_a_direction_that_is_only_stronger_is_told_from_one_that_means_something() -> None:
    class Strong(nn.Module):
        """Every direction moves the same thing; the first moves it ten times as far."""

        def __init__(self) -> None:
            super().__init__()
            weight = torch.full((Z, 1), 0.02)
            weight[0] = 0.2
            self.weight = nn.Parameter(weight)

        def forward(self, z: Tensor) -> Tensor:
            return ((z @ self.weight)[:, :, None, None] * 0.1).expand(-1, 1, SIDE, SIDE)

    found = measured(Strong(), torch.eye(Z)[:1])
    (meaning,) = found.meanings
    assert meaning.name == "brightness"
    assert meaning.chance == pytest.approx(1 / 41)
    assert meaning.chance_alike > 0.2
    assert "what sets the named apart is how much they change, not what" in attribute_words(found)[-1]


def test_the_class_that_falls_and_the_one_that_rises_are_named() -> None:
    class Sliding(nn.Module):
        """A bright square whose place the first number decides, and hardly any other."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.cat([torch.tensor([3.0]), torch.full((Z - 1,), 0.01)]))

        def forward(self, z: Tensor) -> Tensor:
            middle = SIDE / 2 + (z @ self.weight)[:, None, None, None]
            columns = torch.arange(SIDE)[None, None, None]
            return (2 * torch.sigmoid(3 - (columns - middle).abs()) - 1).expand(-1, 1, SIDE, SIDE)

    names = ("left", "middle", "right")
    found = measured(
        Sliding(), torch.eye(Z)[:1], classifier=cast(Extractor, Halves()), class_names=names, num_latents=64
    )
    (meaning,) = found.meanings
    assert found.names == (*NAMES, "class")
    assert meaning.name == "class left → right"
    assert float(found.class_shifts[0].sum()) == pytest.approx(0, abs=1e-9)
    assert 0.3 < float(found.class_changes[0, 0]) < float(found.class_changes[0, 1])
    assert (found.effects[:, -1] >= 0).all()
    assert "to class right" in attribute_words(found)[0]


def test_a_generator_that_ignores_its_latent_moves_nothing() -> None:
    class Deaf(Blobs):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(torch.zeros_like(z))

    found = measured(Deaf(), torch.eye(Z)[:2])
    assert not found.effects.any()
    assert {meaning.name for meaning in found.meanings} == {"nothing nameable"}
    assert {meaning.chance for meaning in found.meanings} == {1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_latents": 1}, "`num_latents` must be at least 2, but got 1"),
        ({"num_random": 19}, "`num_random` must be at least 20, but got 19"),
    ],
)
def test_too_little_to_say_anything_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measured(Blobs(), torch.eye(Z)[:1], **options)


def test_large_generators_are_measured_over_fewer_latents_and_the_largest_over_none() -> None:
    def grown(size: int) -> Subject:
        module = generators["progan"](sample_shape=(3, size, size), num_classes=0, latent_dim=Z)
        return Subject(title="", weights=(), layers=(0,), generator=module, sample_shape=(3, size, size))

    module = subject_of(Blobs())
    wide = Subject(
        title="", weights=(torch.eye(Z),), layers=(0,), generator=Blobs(), sample_shape=(3, 128, 128)
    )
    assert affordable_latents(module, 5, 99) == 256
    assert 16 <= affordable_latents(wide, 5, 39) < affordable_latents(module, 5, 39)
    assert affordable_latents(wide, 5, 999) == 0


# Files and the command


def test_the_table_has_every_direction_and_attribute_and_the_figure_is_drawn(tmp_path: Path) -> None:
    weight = torch.diag(torch.linspace(3, 1, Z)).double()
    subject = Subject(
        title="blobs", weights=(weight,), layers=(0,), generator=Blobs(), sample_shape=(1, SIDE, SIDE)
    )
    (tmp_path / "attributes.csv").write_text("old")
    made = explore(subject, tmp_path, num_samples=1, num_directions=3, num_latents=24, num_random=25)
    with (tmp_path / "attributes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (3 + 25) * 6
    assert [row["attribute"] for row in rows[:6]] == NAMES
    assert (rows[9]["direction"], rows[9]["attribute"], rows[9]["name"]) == ("1", "width", "width")
    assert float(rows[9]["effect_in_sd_per_unit"]) == pytest.approx(
        made.scalars["sefa/direction1/width"], rel=1e-3
    )
    assert float(rows[9]["p_of_attribute"]) == pytest.approx(1 / 26, rel=1e-2)
    assert rows[-1]["direction"] == "random 24"
    with Image.open(tmp_path / "attributes.png") as picture:
        assert picture.size[0] > 900
    assert tmp_path / "attributes.csv" in made.files
    assert any("Direction 1 is width" in line for line in made.words)
    explore(subject, tmp_path, num_samples=1, num_directions=3, num_latents=0)
    assert not list(tmp_path.glob("attributes.*"))


def test_attributes_that_would_take_long_are_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.latent.attributes._MOST_WORK", 1e6)
    made = explore(subject_of(Blobs()), tmp_path, num_samples=1, num_directions=1)
    assert made.attributes is None
    assert not list(tmp_path.glob("attributes.*"))
    assert "Attributes were left out" in made.words[-1]
    assert "--attribute-latents" in made.words[-1]


Command = Callable[..., str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def run(*arguments: str) -> str:
        group = cli_latent.generate if arguments[0] == "generate" else cli_latent.latent
        given = list(arguments[1:] if arguments[0] == "generate" else arguments)
        result = CliRunner().invoke(group, given, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_the_command_prints_what_every_direction_does_beside_random_ones(
    tmp_path: Path, command: Command
) -> None:
    path = make_small_run(tmp_path)
    options = [
        "--num-samples",
        "1",
        "--num-directions",
        "2",
        "--attribute-latents",
        "8",
        "--num-random",
        "20",
    ]
    out = command("sefa", str(path), *options, "--out", str(tmp_path / "out"))
    header = next(line for line in out.splitlines() if line.startswith("direction "))
    assert header.split() == [
        "direction",
        "eigenvalue",
        "change",
        *NAMES,
        "class",
        "class",
        "changes",
        "meaning",
    ]
    assert "beyond all 20 random directions" in out
    assert "random, most" in out
    assert "of 2 directions are named" in out
    assert (tmp_path / "out" / "attributes.png").exists()
    classifier = run_classifier(load_run(path))
    assert classifier is not None
    assert classifier.name.startswith("lenet-digits")


def test_commands_take_the_best_checkpoint_where_they_are_told_to(tmp_path: Path, command: Command) -> None:
    path = make_small_run(tmp_path, best=True)
    last, best = load_run(path), load_run(path, checkpoint="best")
    z = torch.zeros(1, 100)
    assert not torch.equal(sample(last.generator, z), sample(best.generator, z))
    images = {}
    for chosen in ("last", "best"):
        out = tmp_path / chosen
        command("generate", str(path), "--from", chosen, "--num", "2", "--out", str(out))
        images[chosen] = (out / "images" / "00000.png").read_bytes()
        command("interpolate", str(path), "--from", chosen, "--num", "1", "--steps", "2", "--out", str(out))
        small = ["--num-samples", "1", "--num-directions", "1", "--attribute-latents", "0"]
        command("sefa", str(path), "--from", chosen, *small, "--out", str(out / "sefa"))
        page = (out / "sefa" / "sample_first.html").read_text(encoding="utf-8")
        assert f"step {7 if chosen == 'last' else 4}" in page
    assert images["last"] != images["best"]
    weight = (tmp_path / "best" / "sefa" / "directions.npz").read_bytes()
    assert weight != (tmp_path / "last" / "sefa" / "directions.npz").read_bytes()


def test_a_run_without_a_best_checkpoint_says_so(tmp_path: Path) -> None:
    path = make_small_run(tmp_path)
    with pytest.raises(
        ValueError, match=r"has no best\.pt, for no checkpoint was chosen as the best; use the last"
    ):
        CliRunner().invoke(cli_latent.generate, [str(path), "--from", "best"], catch_exceptions=False)


def test_beside_a_published_file_there_is_no_checkpoint_to_choose(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`--from` chooses among a run's checkpoints; leave it out"):
        CliRunner().invoke(
            cli_latent.latent,
            ["sefa", "--checkpoint", str(tmp_path), "--from", "best"],
            catch_exceptions=False,
        )


def test_classes_are_named_only_where_a_classifier_sees_them() -> None:
    few: dict[str, Any] = {"num_latents": 4, "num_random": 20}
    assert measured(Blobs(), torch.eye(Z)[:1], class_names=("a", "b"), **few).class_names == ()
    with pytest.raises(ValueError, match=r"^`classifier` random-conv.* tells no classes apart; leave"):
        measured(Blobs(), torch.eye(Z)[:1], classifier=random_conv(), **few)


def test_style_weights_alone_make_no_images() -> None:
    alone = replace(subject_of(Blobs()), generator=None)
    assert affordable_latents(alone, 5, 99) == 0
    with pytest.raises(ValueError, match=r"^blobs is known by its style weights alone, which make no"):
        alone.make(torch.zeros(1, Z))
