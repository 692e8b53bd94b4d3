"""SeFa: the closed form, the layer it is taken from, what is moved and measured, and the command."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import stat
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor, nn

from harness.cli import latent as cli_latent
from harness.cli.main import main
from harness.figures import direction_films, find_ffmpeg, write_mp4
from harness.figures.grids import read_grid
from harness.latent import explore, published_subject, run_subject
from harness.latent.edits import change_per_unit
from harness.latent.factors import choose_layers, factorize, latent_weight
from harness.latent.sefa import VARIANTS, Subject, measure, start_codes, traverse
from harness.recipe.registry import generators
from harness.runs.load import load_run
from harness.runs.sampling import draw_latents, sample
from harness.tracking import log_pictures
from support.untrained_runs import make_small_run
from support.wandb_reader import LoggedRun, read_run

Z = 12
PLAIN = ("--attribute-latents", "0")
"""What a command does without measuring attributes."""


def rotation(size: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=random, dtype=torch.float64)).Q


def planted(strengths: Tensor, columns: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """W = Σ sᵢ nᵢ uᵢᵀ with orthonormal n and u, and the directions n as rows."""
    directions = rotation(len(strengths), seed)
    return directions.T @ (
        strengths.double()[:, None] * rotation(columns, seed + 1)[: len(strengths)]
    ), directions


class Linear(nn.Module):
    """A generator of 4×4 images that is linear in z."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.first = nn.Linear(weight.shape[0], weight.shape[1])
        self.first.weight.data = weight.T.float().clone()
        self.first.bias.data.zero_()

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.first(z)
        return made.view(-1, 1, 4, 4)


def linear_subject(scale: float = 0.02) -> tuple[Subject, Tensor]:
    weight, directions = planted(scale * torch.linspace(3, 0.2, Z), 16)
    subject = Subject(
        title="linear", weights=(weight,), layers=(0,), generator=Linear(weight), sample_shape=(1, 4, 4)
    )
    return subject, directions


# The closed form


def test_planted_directions_are_recovered_in_order() -> None:
    strengths = torch.linspace(5, 0.5, Z)
    weight, directions = planted(strengths, 40)
    found = factorize(weight)
    cosines = (found.directions * directions).sum(1).abs()
    assert (cosines > 0.999).all()
    torch.testing.assert_close(found.values, strengths.double() ** 2)
    torch.testing.assert_close(found.stretch(found.directions), found.values)
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(Z, dtype=torch.float64))


def test_signs_are_fixed_and_scale_changes_nothing() -> None:
    weight, _ = planted(torch.linspace(5, 0.5, Z), 40)
    first, other = factorize(weight), factorize(-3 * weight)
    torch.testing.assert_close(first.directions, other.directions)
    largest = first.directions.gather(1, first.directions.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_normalised_columns_count_alike() -> None:
    weight = torch.randn(Z, 30, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    stretched = weight * torch.linspace(0.1, 10, 30)
    normal = factorize(stretched, normalize_columns=True)
    torch.testing.assert_close(normal.values, factorize(weight, normalize_columns=True).values)
    torch.testing.assert_close(normal.values.sum(), torch.tensor(30.0, dtype=torch.float64))
    assert not torch.allclose(normal.values, factorize(stretched).values)
    weight[:, 3] = 0
    assert factorize(weight, normalize_columns=True).directions.isfinite().all()


def test_a_layer_of_few_units_has_as_many_eigenvalues_and_zeros() -> None:
    weight = torch.randn(Z, 5, generator=torch.Generator().manual_seed(2))
    values = factorize(weight).values
    assert (values > 0).tolist() == [True] * 5 + [False] * (Z - 5)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.full((3, 4), float("nan")), "must be finite"),
        (torch.zeros(3), r"must be a matrix \(Z, M\), but got the shape \(3,\)"),
        (torch.zeros(0, 3), "must be a matrix"),
    ],
)
def test_what_is_no_weight_is_refused(weight: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        factorize(weight)


# The layer


def network(name: str, shape: tuple[int, ...] = (1, 32, 32), **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: nn.Module = generators[name](sample_shape=shape, num_classes=10, **options)
    return made


def test_the_first_layer_of_every_kind_of_generator_is_found() -> None:
    def first(module: nn.Module, *kinds: type[nn.Module]) -> Any:
        return next(layer for layer in module.modules() if isinstance(layer, kinds))

    full = network("fashion-mlp")
    weight = latent_weight(full, 100)
    assert weight.shape == (100, 128)
    assert torch.equal(weight, first(full, nn.Linear).weight.double().T)

    faces = network("dcgan-64", (3, 64, 64))
    weight = latent_weight(faces, 100)
    assert weight.shape == (100, 512 * 16)
    assert torch.equal(weight, first(faces, nn.ConvTranspose2d).weight.double().flatten(1))

    small = network("dcgan-28", (1, 8, 8))
    assert torch.equal(latent_weight(small, 100), first(small, nn.Linear).weight.double().T)

    labelled = network("cgan")
    weight = latent_weight(labelled, 100, num_classes=10)
    assert weight.shape == (100, 128)
    assert torch.equal(weight, first(labelled, nn.Linear).weight.double()[:, 10:].T)

    grown = network("progan", base_channels=64, max_channels=16, latent_dim=Z)
    weight = latent_weight(grown, Z)
    assert torch.equal(weight, grown.get_parameter("layer0.weight").double().transpose(0, 1).flatten(1))
    assert weight.shape == (Z, 256)


SHIPPED = [
    name for name in generators if generators.source(name) is None and name not in ("points-mlp", "tiny-mlp")
]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_registered_generator_of_images_has_directions(name: str) -> None:
    module = network(name)
    dim = int(generators.options(name)["latent_dim"].default)  # type: ignore[call-overload]
    found = factorize(latent_weight(module, dim, num_classes=10))
    assert found.directions.shape == (dim, dim)
    assert found.values[0] > 0


def test_the_weight_says_how_the_first_layers_output_moves() -> None:
    module = network("dcgan-64", (3, 32, 32), width=0.1)
    weight = latent_weight(module, 100)
    layer = next(m for m in module.modules() if isinstance(m, nn.ConvTranspose2d)).double()
    z, n = torch.randn(2, 1, 100, 1, 1, dtype=torch.float64)
    moved = (layer(z + n) - layer(z)).flatten()
    torch.testing.assert_close(moved.detach(), n.flatten() @ weight)


def test_a_planted_direction_of_a_generator_is_found() -> None:
    module = network("dcgan-64", (3, 32, 32), width=0.1)
    direction = torch.nn.functional.normalize(
        torch.randn(100, generator=torch.Generator().manual_seed(5)), dim=0
    )
    layer = next(m for m in module.modules() if isinstance(m, nn.ConvTranspose2d))
    with torch.no_grad():
        layer.weight += 2 * direction[:, None, None, None] * torch.sign(layer.weight[:1])
    found = factorize(latent_weight(module, 100))
    assert abs(float(found.directions[0] @ direction.double())) > 0.999


class Deaf(nn.Module):
    """It squares z before any layer sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(Z, 16)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.layer(z.square())
        return made.view(-1, 1, 4, 4)


def test_a_generator_without_a_latent_layer_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no linear layer or convolution of Deaf takes the latent's 12 numb"
    ):
        latent_weight(Deaf(), Z)


def test_weights_that_are_not_finite_are_refused_and_the_module_is_left_as_it_was() -> None:
    module = network("fashion-mlp").train()
    layer = next(m for m in module.modules() if isinstance(m, nn.Linear))
    layer.weight.data[3, 4] = float("nan")
    with pytest.raises(ValueError, match="the layer that takes the latent holds numbers that are not finite"):
        latent_weight(module, 100)
    assert all(m.training and not m._forward_pre_hooks for m in module.modules())


def test_layers_are_chosen_by_numbers_and_ranges() -> None:
    assert choose_layers("all", 4) == (0, 1, 2, 3)
    assert choose_layers("0-1, 3", 4) == (0, 1, 3)
    assert choose_layers("2,2", 4) == (2,)
    for text, message in {
        "0-4": "0 to 3, but got 4",
        "three": "takes all, or numbers and ranges",
        "1-": "layers that take the latent|takes all",
        "3-1": "layers that take the latent",
        "": "takes all, or numbers",
    }.items():
        with pytest.raises(ValueError, match=f"`--layers`.*({message})"):
            choose_layers(text, 4)
    with pytest.raises(ValueError, match="0 alone, but got 1"):
        choose_layers("1", 1)


# Moving and measuring


def test_the_variants_are_those_of_the_table() -> None:
    lab, original = VARIANTS["lab"], VARIANTS["original"]
    assert (len(lab.distances), lab.distances[0], lab.distances[10], lab.distances[-1]) == (21, -2, 0, 2)
    assert (len(original.distances), original.distances[0], original.distances[-1]) == (11, -3, 3)
    assert not lab.normalize_columns
    assert not lab.normalize_codes
    assert original.normalize_columns
    raw, normal = (start_codes(5, Z, seed=0, variant=one) for one in (lab, original))
    torch.testing.assert_close(normal.square().mean(1), torch.ones(5))
    torch.testing.assert_close(torch.nn.functional.normalize(raw), torch.nn.functional.normalize(normal))
    assert not torch.allclose(raw, normal)
    assert torch.equal(raw, start_codes(5, Z, seed=0, variant=lab))
    assert not torch.equal(raw, start_codes(5, Z, seed=1, variant=lab))


def test_samples_move_along_directions_by_the_distances() -> None:
    subject, directions = linear_subject()
    assert subject.generator is not None
    codes = draw_latents(3, Z, seed=1)
    originals, moved = traverse(subject.generator, codes, directions[:2], [-1.0, 0.0, 2.5], batch=4)
    assert moved.shape == (2, 3, 3, 1, 4, 4)
    torch.testing.assert_close(originals, sample(subject.generator, codes))
    for k in range(2):
        for t, distance in enumerate((-1.0, 0.0, 2.5)):
            expected = sample(subject.generator, (codes + distance * directions[k]).float())
            torch.testing.assert_close(moved[k, :, t], expected)


def test_large_images_are_shown_smaller() -> None:
    def large(z: Tensor) -> Tensor:
        return z[:, :1, None, None].expand(-1, 3, 600, 600)

    codes = draw_latents(2, Z, seed=1)
    originals, moved = traverse(large, codes, torch.eye(Z)[:1], [0.0, 1.0], side=256)
    assert originals.shape == (2, 3, 200, 200)
    torch.testing.assert_close(moved[0, :, 1, 0, 0, 0], codes[:, 0] + 1)


def test_the_change_per_unit_of_a_linear_generator_is_its_weights() -> None:
    subject, directions = linear_subject()
    assert subject.generator is not None
    changes = change_per_unit(subject.generator, draw_latents(4, Z, seed=2), directions)
    expected = (directions @ subject.weights[0]).abs().mean(1)
    torch.testing.assert_close(changes, expected[:, None].expand(Z, 4), rtol=1e-3, atol=1e-6)


def test_directions_are_measured_beside_random_ones() -> None:
    subject, _ = linear_subject()
    factors = factorize(subject.weights[0])
    found = measure(subject, factors, num_directions=3, seed=0, variant=VARIANTS["lab"])
    assert found.shown == tuple(range(Z))
    torch.testing.assert_close(found.values, factors.values)
    assert found.changes[0] > found.random_changes.max()
    assert len(found.random_values) == len(found.random_changes) == 16
    assert found.random_values.max() < factors.values[0]
    assert found.num_latents == 32


# Files


def test_all_files_are_written_and_agree(tmp_path: Path) -> None:
    subject, directions = linear_subject()
    made = explore(subject, tmp_path, num_samples=3, num_directions=2, num_latents=0)
    frames = sorted((tmp_path / "frames").glob("*"))
    assert [path.name for path in frames] == ["frame0.png", "frame1.png"]
    shown = read_grid(frames[1])
    assert shown.shape == (3 * 21, 1, 4, 4)
    assert subject.generator is not None
    codes = start_codes(3, Z, seed=0, variant=VARIANTS["lab"])
    factors = factorize(subject.weights[0])
    _, moved = traverse(subject.generator, codes, factors.directions[:2], VARIANTS["lab"].distances)
    expected = moved[1].flatten(0, 1).add(1).mul(127.5).round().clamp(0, 255).numpy()
    assert (shown == expected).all()
    with Image.open(tmp_path / "directions.gif") as film:
        assert film.n_frames == 21
    with np.load(tmp_path / "directions.npz") as arrays:
        assert np.allclose(np.abs((arrays["directions"] * directions.numpy()).sum(1)), 1)
        assert json.loads(str(arrays["settings"]))["variant"] == "lab"
    with (tmp_path / "directions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["direction"] for row in rows] == [*map(str, range(Z)), *["random"] * 16]
    assert float(rows[0]["change_per_unit"]) == pytest.approx(
        made.scalars["sefa/direction0/change_per_unit"], rel=1e-4
    )
    assert (tmp_path / "strengths.png").exists()
    assert all(path.exists() for path in made.files)
    assert "stronger than chance" in made.words[1]


@pytest.mark.parametrize("num_latents", [0, 3])
def test_the_images_still_to_make_are_counted_out_loud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_latents: int
) -> None:
    monkeypatch.setattr("harness.latent.exploration._SAY_SEC", 0.0)
    monkeypatch.setattr(Subject, "batch", 1)
    subject, _ = linear_subject()
    said: list[str] = []
    explore(
        subject,
        tmp_path,
        num_samples=1,
        num_directions=1,
        num_latents=num_latents,
        num_random=20,
        say=said.append,
    )
    total = (1 + 21) + 32 * (1 + 2 * (Z + 16)) + num_latents * (1 + 4 * 21)
    lines = [line for line in said if "measuring" not in line]
    made = [line.split(" of ")[0] for line in lines]
    assert all(re.fullmatch(rf"[\d,]+ of {total:,} images, \d+:\d\d to go", line) for line in lines)
    assert made[0] == "1"
    assert made[-1] == f"{total - 1:,}"
    assert len(made) == len({*made}) == total - 1


def test_both_pages_stand_alone_and_hold_every_image(tmp_path: Path) -> None:
    subject, _ = linear_subject()
    explore(subject, tmp_path, variant="original", num_samples=3, num_directions=2, num_latents=0)
    for name, blocks, rows in (
        ("sample_first", ["Direction 0", "Direction 1"], "Sample"),
        ("semantic_first", ["Sample 0", "Sample 1", "Sample 2"], "Direction"),
    ):
        text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
        assert text.count('src="data:image/png;base64,') == text.count("<img") == 2 * 3 * 11
        assert re.findall(r'colspan="12">(\w+ \d)', text) == blocks
        assert len(re.findall(rf'scope="row">{rows} \d', text)) == 6
        assert not re.findall(r'(?:src|href)="(?!data:)', text)
        assert "−3" in text
        assert "+2.4" in text
        assert "<tr><th>distance</th>" in text


@pytest.mark.parametrize(
    ("variant", "columns"), [("lab", "as it is"), ("original", "with columns of length 1")]
)
def test_the_plot_of_strengths_says_what_its_axes_are_and_no_number_leaves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, columns: str
) -> None:
    seen: list[tuple[str, str, str, list[bool]]] = []

    def look(figure: Any, stem: Path) -> None:
        (axes,) = figure.axes
        figure.canvas.draw()
        inside = [axes.bbox.y1 > text.get_window_extent().y1 for text in axes.texts]
        seen.append((axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), inside))

    monkeypatch.setattr("harness.figures.directions.write_figure", look)
    subject, _ = linear_subject()
    explore(subject, tmp_path, variant=variant, num_samples=1, num_directions=Z, num_latents=0)
    ((title, across, up, inside),) = seen
    assert title == f"linear · variant {variant}"
    assert across == f"eigenvalue of W Wᵀ; W {columns}"
    assert "in [−1, 1], per unit" in up
    assert inside == [True] * Z


def test_a_film_shows_the_unedited_and_all_directions_at_one_step(tmp_path: Path) -> None:
    originals = torch.zeros(2, 1, 4, 4)
    moved = torch.arange(3.0)[:, None, None, None, None, None].expand(3, 2, 5, 1, 4, 4) / 4
    film = direction_films(originals, moved, [-2, -1, 0, 1, 2])
    assert len(film) == 5
    layout = json.loads(film[0].info["layout"])
    assert np.array(layout["cells"]).shape == (2, 4)


def test_a_second_exploration_replaces_the_first(tmp_path: Path) -> None:
    subject, _ = linear_subject()
    frames, film = tmp_path / "frames", tmp_path / "directions.mp4"
    frames.mkdir()
    for old in (frames / "frame0.png", frames / "frame3.png", film):
        old.write_bytes(b"of an earlier one")
    explore(subject, tmp_path, variant="original", num_directions=1, num_samples=1, num_latents=0)
    assert [path.name for path in frames.glob("*")] == ["frame0.png"]
    assert read_grid(frames / "frame0.png").shape == (11, 1, 4, 4)
    assert not film.exists() or find_ffmpeg() is not None


class Broken(Linear):
    """It makes no numbers."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z) / 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "other"}, "`--variant` must be one of lab, original, but got 'other'"),
        ({"num_samples": 0}, "`--num-samples` must be at least 1, but got 0"),
        (
            {"num_directions": Z + 1},
            "`--num-directions` must be in 1…12, the latent's dimensions, but got 13",
        ),
        ({"num_latents": 1}, "`--attribute-latents` must be at least 2, or 0 .*, but got 1"),
        ({"num_latents": -1}, "`--attribute-latents` must be at least 2, or 0 .*, but got -1"),
        ({"num_random": 19}, "`--num-random` must be at least 20, but got 19"),
    ],
)
def test_what_cannot_be_is_refused_before_an_image_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    subject, _ = linear_subject()
    monkeypatch.setattr(Subject, "make", lambda *_: pytest.fail("an image was made"))
    with pytest.raises(ValueError, match=message):
        explore(subject, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_finite_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    subject, _ = linear_subject()
    broken = Subject(
        title="",
        weights=subject.weights,
        layers=(0,),
        generator=Broken(subject.weights[0]),
        sample_shape=(1, 4, 4),
    )
    with pytest.raises(ValueError, match="makes images that are not finite"):
        explore(broken, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# MP4


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in ffmpeg's place that keeps what it is given, and fails where there is a file `fail`."""
    program = tmp_path / "ffmpeg"
    program.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / 'arguments').write_text('\\n'.join(sys.argv[1:]))\n"
        "pathlib.Path(sys.argv[-1]).write_bytes(sys.stdin.buffer.read())\n"
        "if (here / 'fail').exists():\n"
        "    sys.exit('it would not')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr("harness.figures.video.find_ffmpeg", lambda: str(program))
    return tmp_path


def test_a_film_reaches_ffmpeg_frame_by_frame_with_even_sides(stand_in: Path) -> None:
    pictures = [Image.new("RGB", (5, 4), (10 * number, 0, 0)) for number in range(3)]
    write_mp4(pictures, stand_in / "film.mp4", seconds=1.5)
    frames = np.frombuffer((stand_in / "film.mp4").read_bytes(), dtype=np.uint8).reshape(3, 4, 6, 3)
    assert (frames[:, :, :5, 0] == np.array([0, 10, 20])[:, None, None]).all()
    assert (frames[:, :, 5] == 255).all()
    arguments = (stand_in / "arguments").read_text().splitlines()
    assert arguments[arguments.index("-s") + 1] == "6x4"
    assert arguments[arguments.index("-r") + 1] == "2"


def test_a_film_that_fails_leaves_nothing_behind(stand_in: Path) -> None:
    (stand_in / "fail").touch()
    with pytest.raises(ValueError, match=r"ffmpeg could not write .*film\.mp4; it said: it would not"):
        write_mp4([Image.new("L", (4, 4))], stand_in / "film.mp4")
    assert not [path for path in stand_in.iterdir() if path.suffix == ".mp4"]


def test_without_ffmpeg_the_film_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() is None
    with pytest.raises(ValueError, match="there is no ffmpeg to write MP4 with; pip install imageio-ffmpeg"):
        write_mp4([Image.new("L", (4, 4))], tmp_path / "film.mp4")


# Runs and the command


def test_a_run_of_the_growing_generator_has_the_directions_of_its_first_layer(tmp_path: Path) -> None:
    path = make_small_run(tmp_path, "progan", base_channels=32, max_channels=8, latent_dim=Z)
    run = load_run(path)
    subject = run_subject(run)
    weight = run.generator.get_parameter("layer0.weight").double()
    assert torch.equal(subject.weights[0], weight.transpose(0, 1).flatten(1))
    with pytest.raises(
        ValueError, match="`--layers` must be layers that take the latent, 0 alone, but got 1"
    ):
        run_subject(run, layers="1")


def test_the_command_explores_a_run_with_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    path = make_small_run(tmp_path, "cgan", width=0.1)
    arguments = ["sefa", path.name[:6], "--directory", str(tmp_path), "--num-samples", "2", "--labels", "3"]
    result = CliRunner().invoke(cli_latent.latent, [*arguments, *PLAIN], catch_exceptions=False)
    assert result.exit_code == 0
    folder = path / "latent" / "sefa-lab-num-samples2-attribute-latents0-labels3"
    assert f"{folder / 'frames' / 'frame4.png'}" in result.output
    assert "of 100 eigenvalues" in result.output
    assert read_grid(folder / "frames" / "frame4.png").shape == (2 * 21, 1, 8, 8)


def test_the_pictures_of_a_run_are_shown_beside_its_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def log(directory: Path, study: str, name: str, **options: Any) -> dict[str, int]:
        seen.update(options, directory=directory, study=study, name=name)
        return {}

    monkeypatch.setattr("harness.tracking.log_pictures", log)
    monkeypatch.setenv("WANDB_MODE", "offline")
    path = make_small_run(tmp_path)
    arguments = [
        "sefa",
        str(path),
        "--num-samples",
        "1",
        "--num-directions",
        "1",
        "--out",
        str(tmp_path / "out"),
        *PLAIN,
    ]
    CliRunner().invoke(cli_latent.latent, arguments, catch_exceptions=False)
    assert (seen["directory"], seen["study"]) == (tmp_path / "study", "study")
    assert seen["name"] == f"sefa-{path.name}-lab-num-samples1-num-directions1-attribute-latents0"
    assert seen["config"] == {"run": path.name, "variant": "lab"}
    assert {"sefa/frame0", "sefa/film_gif", "sefa/strengths"} <= set(seen["pictures"])
    assert seen["step"] == 7
    assert seen["scalars"]["sefa/direction0/change_per_unit"] > 0


def test_pictures_and_films_reach_wandb_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    picture, film = tmp_path / "frame0.png", tmp_path / "film.gif"
    Image.new("L", (8, 8)).save(picture)
    Image.new("L", (8, 8)).save(film)
    study = tmp_path / "study"
    shown = {"sefa/frame0": picture, "sefa/film_gif": film}
    for level in (1.0, 2.0):
        failed = log_pictures(study, "study", "sefa-abc", pictures=shown, step=7, scalars={"sefa/a": level})
        assert failed == {}

    def read() -> list[LoggedRun]:
        return [read_run(log.parent) for log in (study / "wandb").glob("*/run-study-sefa-abc-*.wandb")]

    deadline = time.monotonic() + 10
    while not all(run.finished for run in read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    (run,) = read()  # the second replaced the first
    assert sorted(
        (key, path.suffix, step) for key, path, step in run.images
    ) == [  # of one step: in any order
        ("sefa/film_gif", ".gif", 7),
        ("sefa/frame0", ".png", 7),
    ]
    assert (run.run.run_group, run.run.display_name) == ("study", "sefa-abc")
    assert run.summary["sefa/a"] == 2.0


def published(path: Path, size: int = 8) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = generators["progan"](
            sample_shape=(3, size, size), num_classes=0, latent_dim=Z, base_channels=64, max_channels=8
        )
    torch.save({"generator_smooth": module.state_dict()}, path)
    return path


@pytest.mark.parametrize("variant", ["lab", "original"])
def test_the_pictures_of_a_published_file_are_a_study_of_their_own_for_each_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "harness.tracking.log_pictures", lambda *names, config, **_: seen.append((*names, config)) or {}
    )
    monkeypatch.setenv("WANDB_MODE", "offline")
    file, runs = published(tmp_path / "faces.pth"), tmp_path / "runs"
    few = ["--variant", variant, "--num-samples", "1", "--num-directions", "1", "--directory", str(runs)]
    result = CliRunner().invoke(
        cli_latent.latent, ["sefa", "--checkpoint", str(file), *few, *PLAIN], catch_exceptions=False
    )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[
        :8
    ]  # every training's file may be called faces.pth
    name = f"sefa-faces-{digest}-{variant}-num-samples1-num-directions1-attribute-latents0"
    assert str(runs / name / "strengths.png") in result.output
    assert seen == [(runs / name, name, name, {"checkpoint": "faces.pth", "variant": variant})]


def test_the_command_explores_a_published_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file, out = published(tmp_path / "faces.pth"), tmp_path / "out"
    arguments = ["sefa", "--checkpoint", str(file), "--variant", "original", "--out", str(out)]
    result = CliRunner().invoke(cli_latent.latent, [*arguments, *PLAIN], catch_exceptions=False)
    assert result.exit_code == 0
    assert (out / "sample_first.html").exists()
    subject = published_subject(file)
    with np.load(out / "directions.npz") as arrays:
        found = factorize(subject.weights[0], normalize_columns=True)
        assert np.allclose(arrays["directions"], found.directions.numpy())


def test_of_a_style_generator_the_command_writes_directions_alone(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(0)
    state = {f"synthesis.layer{i}.style.weight": torch.randn(20, 9, generator=random) for i in range(6)}
    torch.save({"generator": state}, tmp_path / "style.pth")
    out = tmp_path / "out"
    arguments = ["sefa", "--checkpoint", str(tmp_path / "style.pth"), "--layers", "1-2", "--out", str(out)]
    result = CliRunner().invoke(cli_latent.latent, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "there are directions, but no images" in result.output
    assert sorted(path.name for path in out.iterdir()) == ["directions.csv", "directions.npz"]
    both = torch.cat([state[f"synthesis.layer{i}.style.weight"].double() for i in (1, 2)])
    values = torch.linalg.eigvalsh(both.T @ both).flip(0)
    with np.load(out / "directions.npz") as arrays:
        assert np.allclose(arrays["eigenvalues"], values.numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "takes a run or --checkpoint, one of the two"),
        (["abc", "--checkpoint", "x.pth"], "takes a run or --checkpoint, one of the two"),
        (["--checkpoint", "x.pth"], "must be a file, but there is none at x.pth"),
        (["--checkpoint", "x.pth", "--labels", "3"], "a checkpoint takes none"),
        (["--checkpoint", "bad.pth"], "bad.pth: `generator` is of another architecture"),
    ],
)
def test_the_command_refuses_on_one_line_with_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    torch.save({"generator": {"main.weight": torch.zeros(3)}}, tmp_path / "bad.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "latent", "sefa", *arguments, "--out", "out"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
