import itertools
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from harness.figures import (
    Dots,
    Scene,
    Series,
    Trials,
    dot_and_interval,
    final_panel,
    gif,
    metric_curves,
    plots,
    scatter_over_surface,
    scatter_window,
    surface_points,
    time_curves,
    trial_scatter,
)
from harness.figures.page import page, wants_log, wrapped
from harness.figures.plots import write_names
from harness.figures.scene import Window, _figure, _name, _Sheet
from harness.figures.style import STYLES, arm_style

REAL_BLUE = (0, 114, 178)


def _scene(seed: int = 0, *, critic: bool = False, shift: float = 0.0, window: Window | None = None) -> Scene:
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(1192, 2)) * [0.36, 0.08] + [0.66, 0.47]
    window = window or scatter_window(real)
    nodes = surface_points(window)
    return Scene(
        real=real,
        fake=rng.normal(size=(1200, 2)) * 0.1 + shift,
        surface=(np.sin(5 * nodes[:, 0] + seed) * 3).reshape(64, 64),
        window=window,
        critic=critic,
    )


def _series(style: int = 0, low: float = 0.02, label: str = "rmsprop") -> Series:
    rng = np.random.default_rng(style)
    steps = np.linspace(0, 8640, 33)
    values = (low + 0.5 * np.exp(-steps / 900)) * np.exp(0.1 * rng.normal(size=(8, 33)))
    return Series(label=label, style=style, steps=steps, seconds=steps / 400, values=values)


def _dots(style: int = 0, values: tuple[float, ...] = (0.03, 0.02, 0.04), label: str = "rmsprop") -> Dots:
    array = np.array(values)
    return Dots(
        label=label,
        style=style,
        values=array,
        failed=np.zeros(len(array), dtype=bool),
        mean=float(array.mean()),
        low=float(array.min()),
        high=float(array.max()),
    )


def test_window_holds_every_real_point_and_is_the_same_for_the_same_data() -> None:
    real = np.random.default_rng(1).normal(size=(500, 2))
    assert scatter_window(real).num_outside(real) == 0
    assert scatter_window(real) == scatter_window(real[::-1])


def test_window_around_a_single_point_has_an_area() -> None:
    window = scatter_window([[2.0, 3.0]])
    assert window.right > window.left
    assert window.top > window.bottom


def test_surface_points_run_row_by_row_from_the_bottom_left() -> None:
    nodes = surface_points(Window(left=0, right=1, bottom=10, top=11), resolution=3)
    assert nodes.shape == (9, 2)
    assert nodes[0].tolist() == [0, 10]
    assert nodes[1].tolist() == [0.5, 10]
    assert nodes[-1].tolist() == [1, 11]


def test_shade_changes_band_at_the_same_certainties_in_every_frame() -> None:
    edges = 1 / (1 + np.exp([-0.0, -0.02, -0.1, -0.4, -1.5]))
    assert edges == pytest.approx([0.5, 0.505, 0.525, 0.6, 0.82], abs=0.003)
    scene = _scene()
    logits = np.array([[-6.0, -0.4, 0.0], [0.02, 0.1, 1.5], [6.0, 60.0, -60.0]])
    shade = Scene(real=scene.real, fake=scene.fake, surface=logits, window=scene.window).shade()
    assert shade == pytest.approx(np.array([[0.0, 0.2, 0.5], [0.6, 0.7, 0.9], [1.0, 1.0, 0.0]]))


def test_shade_of_a_critic_runs_from_its_lowest_score_to_its_highest() -> None:
    critic = _scene(critic=True)
    shade = critic.shade()
    assert (shade.min(), shade.max()) == (0.0, 1.0)
    assert (np.argsort(shade.ravel()) == np.argsort(critic.surface.ravel())).all()


def test_shade_of_a_flat_or_exploded_surface_is_still_a_picture(tmp_path: Path) -> None:
    flat = _scene(critic=True)
    flat = Scene(real=flat.real, fake=flat.fake, surface=np.ones((8, 8)), window=flat.window, critic=True)
    assert (flat.shade() == 0.5).all()
    wild = Scene(
        real=flat.real, fake=flat.fake, surface=np.array([[np.inf, -np.inf], [np.nan, 0]]), window=flat.window
    )
    assert wild.shade().tolist() == [[1.0, 0.0], [0.5, 0.5]]
    scatter_over_surface(wild, tmp_path / "wild.png", title="wild")


def test_scene_refuses_shapes_that_are_not_points_and_a_square() -> None:
    scene = _scene()
    with pytest.raises(ValueError, match=r"`fake` must have shape \(N, 2\), but got \(3,\)"):
        Scene(real=scene.real, fake=np.zeros(3), surface=scene.surface, window=scene.window)
    with pytest.raises(ValueError, match=r"`surface` must have shape \(R, R\)"):
        Scene(real=scene.real, fake=scene.fake, surface=np.zeros(4), window=scene.window)


def test_scene_survives_being_saved(tmp_path: Path) -> None:
    scene = _scene(critic=True)
    scene.save(tmp_path / "final.npz")
    loaded = Scene.load(tmp_path / "final.npz")
    assert loaded.window == scene.window
    assert loaded.critic
    assert loaded.fake == pytest.approx(scene.fake, abs=1e-6)
    assert loaded.surface == pytest.approx(scene.surface, abs=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["final.npz"]


def test_frame_shows_this_scene_and_nothing_of_the_one_before(tmp_path: Path) -> None:
    first, second = _scene(0), _scene(1, shift=0.7)
    second = Scene(real=first.real, fake=second.fake, surface=second.surface, window=first.window)
    for name, scene in (("a", first), ("b", second), ("again", first)):
        scatter_over_surface(scene, tmp_path / f"{name}.png", title=name if name != "again" else "a")
    first_bytes, second_bytes, again = ((tmp_path / f"{n}.png").read_bytes() for n in ("a", "b", "again"))
    assert first_bytes == again
    assert first_bytes != second_bytes


def test_frame_shows_the_real_points_where_they_are(tmp_path: Path) -> None:
    window = Window(left=0, right=1, bottom=0, top=1)
    cluster = np.random.default_rng(0).normal(size=(400, 2)) * 0.01 + [0.75, 0.75]
    scene = Scene(real=cluster, fake=np.full((5, 2), 0.1), surface=np.zeros((4, 4)), window=window)
    scatter_over_surface(scene, tmp_path / "frame.png", title="a cluster")
    with Image.open(tmp_path / "frame.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    blue = np.argwhere((pixels == REAL_BLUE).all(axis=-1))
    row, column = np.median(blue, axis=0) / pixels.shape[:2]
    assert column > 0.6
    assert row < 0.45


def test_frames_of_one_window_have_one_size_and_stay_small(tmp_path: Path) -> None:
    sizes = set()
    for index in range(3):
        scatter_over_surface(_scene(), tmp_path / f"{index}.png", title="x" * (1 + 60 * index))
        with Image.open(tmp_path / f"{index}.png") as image:
            sizes.add(image.size)
        assert (tmp_path / f"{index}.png").stat().st_size < 40_000
    assert len(sizes) == 1


def test_frames_of_one_window_are_drawn_whole_once_and_look_as_if_each_had_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, draw = [0], Figure.draw

    def counted(self: Figure, *given: Any) -> None:
        drawn[0] += 1
        draw(self, *given)

    monkeypatch.setattr(Figure, "draw", counted)
    scenes = [_scene(index) for index in range(4)]
    titles = ["a", "b" * 90, "", "adam · epoch 3"]
    sheet = _Sheet(scenes[0].window)
    frames = [sheet.pixels(scene, title).copy() for scene, title in zip(scenes, titles, strict=True)]
    assert drawn == [1]
    for scene, title, frame in zip(scenes, titles, frames, strict=True):
        assert np.array_equal(_Sheet(scenes[0].window).pixels(scene, title), frame)
        canvas, axes, artists = _figure(scenes[0].window)
        artists.show(scene)
        _name(axes, title)
        canvas.draw()
        assert np.array_equal(np.asarray(canvas.buffer_rgba())[:, :, :3], frame)


def test_gif_plays_every_frame_rests_on_the_last_and_stays_small(tmp_path: Path) -> None:
    frames = []
    window = _scene().window
    for index in range(33):
        frames.append(tmp_path / f"step_{index:08d}.png")
        scatter_over_surface(
            _scene(index, shift=index / 40, window=window), frames[-1], title=f"epoch {index}"
        )
    start = time.process_time()
    gif(frames, tmp_path / "run.gif")
    assert time.process_time() - start < 1.0
    assert (tmp_path / "run.gif").stat().st_size < 700_000
    with Image.open(tmp_path / "run.gif") as image:
        assert getattr(image, "n_frames", 1) == 33
        assert image.info["loop"] == 0
        first = image.info["duration"]
        image.seek(32)
        assert image.info["duration"] > first + 1000
        with Image.open(frames[-1]) as last:
            assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(last.convert("RGB")))


def test_gif_of_one_frame_is_a_gif_and_of_none_an_error(tmp_path: Path) -> None:
    scatter_over_surface(_scene(), tmp_path / "one.png", title="one")
    gif([tmp_path / "one.png"], tmp_path / "run.gif")
    assert (tmp_path / "run.gif").read_bytes()[:6] == b"GIF89a"
    with pytest.raises(ValueError, match="at least one picture"):
        gif([], tmp_path / "none.gif")


def _draw_everything(folder: Path) -> None:
    arms = [_series(), _series(1, 0.5, "sgd"), _series(2, 0.06, "adam")]
    dead = Series(
        label="dead", style=3, steps=arms[0].steps, seconds=arms[0].seconds, values=np.full((2, 33), np.nan)
    )
    huge = Series(
        label="huge",
        style=4,
        steps=arms[0].steps,
        seconds=arms[0].seconds,
        values=np.where(arms[0].steps > 8000, -1e9, 1.0)[None, :],
    )
    time_curves(
        {"sliced_w2 (data units)": [*arms, dead], "discriminator loss": [*arms, huge]}, folder / "time"
    )
    metric_curves({f"score {i}": arms for i in range(4)}, folder / "metrics", probabilities={"score 3"})
    failed = Dots(
        label="adam",
        style=2,
        values=np.array([0.05, 0.59]),
        failed=np.array([False, True]),
        mean=0.32,
        low=math.nan,
        high=math.nan,
    )
    dot_and_interval(
        [_dots(), _dots(1, (0.5,), "sgd"), failed],
        folder / "dots",
        label="sliced_w2",
        reference=0.6,
        reference_label="untrained",
    )
    final_panel([("rmsprop\nseed 3", _scene()), ("sgd", None)], folder / "final")
    trials = Trials(
        label="sgd",
        style=1,
        parameters={"optimizer.lr": np.array([1e-4, 1e-2]), "optimizer.momentum": np.array([0.0, math.nan])},
        values=np.array([0.4, 0.04]),
    )
    trial_scatter([trials], folder / "trials", label="sliced_w2", logarithmic={"optimizer.lr"})


def test_every_figure_is_written_as_png_and_pdf_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        _draw_everything(tmp_path / name)
    names = sorted(os.listdir(tmp_path / "first"))
    stems = ("dots", "final", "metrics", "time", "trials")
    assert names == sorted(f"{stem}.{suffix}" for stem in stems for suffix in ("pdf", "png"))
    for name in names:
        content = (tmp_path / "first" / name).read_bytes()
        assert content == (tmp_path / "second" / name).read_bytes()
        assert content.startswith(b"%PDF" if name.endswith("pdf") else b"\x89PNG")


def test_arms_differ_in_colour_in_marker_and_in_line() -> None:
    for attribute in ("colour", "marker", "line"):
        assert len({getattr(style, attribute) for style in STYLES}) == len(STYLES)
    assert arm_style(len(STYLES) + 1) == STYLES[1]


def test_the_axis_of_a_probability_is_linear_from_0_to_1_and_no_title_reaches_beyond_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "write_figure", lambda figure, _: drawn.append(figure))
    series = [_series(low=0.001)]
    assert wants_log(series[0].values)
    longest = "swd\n(1/1000 standard deviations, lower is better)"
    metric_curves({"a": series, "b": series, longest: series}, tmp_path / "m", probabilities={"b"})
    (figure,) = drawn
    figure.canvas.draw()
    plain, probability, long = figure.axes
    assert (plain.get_yscale(), probability.get_yscale()) == ("log", "linear")
    assert probability.get_ylim() == (-0.03, 1.03)
    box = long.title.get_window_extent()
    assert box.x1 <= figure.bbox.x1


def test_axes_are_logarithmic_only_for_positive_values_of_great_spread() -> None:
    assert wants_log(np.array([0.02, 0.5, math.nan]))
    assert not wants_log(np.array([0.02, 0.3]))
    assert not wants_log(np.array([0.0, 1.0, 100.0]))
    assert not wants_log(np.array([]))


def test_long_names_are_broken_into_lines_and_line_breaks_stay() -> None:
    assert wrapped("a b\nc", 80) == "a b\nc"
    assert max(map(len, wrapped("optimizer.lr=1e-05, loss.weight_clip=0.1" * 3, 20).splitlines())) <= 20


def test_names_beside_marks_do_not_cover_each_other() -> None:
    rng = np.random.default_rng(0)
    places = {f"arm {index}": (x, y) for index, (x, y) in enumerate(rng.uniform(0.2, 0.4, (10, 2)))}
    with page(height=3.6) as figure:
        axes = figure.subplots()
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        figure.draw_without_rendering()
        write_names(axes, places)
        boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == list(places)
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_cost_scatter_of_many_arms_names_them_all(tmp_path: Path) -> None:
    arms = [_dots(index, (0.02 + 0.01 * index, 0.03), f"both +{index}") for index in range(10)]
    costs = {
        "multiply-adds": [1e9 * 2**index for index in range(10)],
        "seconds": [2.0 + i for i in range(10)],
    }
    plots.cost_scatter(arms, costs, tmp_path / "cost", label="frechet (lower is better)")
    assert (tmp_path / "cost.png").stat().st_size > 10_000
    assert (tmp_path / "cost.pdf").exists()
