"""Grids, panels, filmstrips and nearest neighbours, pixel by pixel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from harness.data.images import digits
from harness.engine.schedule import log_spaced_steps
from harness.figures import (
    Panel,
    class_grid,
    filmstrip,
    filmstrip_gif,
    grid,
    neighbour_grid,
    neighbours,
    panels,
    read_classes,
    read_frames,
    real_beside_fake,
    write_gif,
    write_images,
    write_png,
)
from harness.figures.canvas import fitted, fitting_size, image_bytes, text_width, whole_scale, wrapped_lines
from harness.figures.grids import read_grid
from harness.figures.neighbours import Neighbours, memorisation_note
from harness.figures.style import FAKE_COLOUR
from harness.runs.nearest import nearest_images

WHITE = 255


def numbered(num: int, height: int = 2, width: int = 3, channels: int = 1) -> Tensor:
    """Images of which every pixel differs, none of them white."""
    count = num * channels * height * width
    assert count < 250
    return torch.arange(count, dtype=torch.uint8).view(num, channels, height, width)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_of_a_grid_is_where_it_belongs(scale: int, channels: int) -> None:
    images = numbered(5, channels=channels)
    pixels = np.asarray(grid(images, columns=2, scale=scale))
    assert pixels.shape[:2] == (3 * 2 * scale + 2 * 2, 2 * 3 * scale + 2)
    expected = np.full((3, pixels.shape[0], pixels.shape[1]), WHITE)
    for i, image in enumerate(images.numpy()):
        top, left = (i // 2) * (2 * scale + 2), (i % 2) * (3 * scale + 2)
        for y in range(2 * scale):
            for x in range(3 * scale):
                expected[:, top + y, left + x] = image[:, y // scale, x // scale]
    shown = pixels[None].repeat(3, 0) if channels == 1 else pixels.transpose(2, 0, 1)
    assert (shown == expected).all()


def test_grey_images_make_a_grey_picture_and_coloured_ones_a_coloured_one() -> None:
    assert grid(numbered(2)).mode == "L"
    assert grid(numbered(2, channels=3)).mode == "RGB"


def test_a_grid_is_square_unless_told_otherwise() -> None:
    assert grid(numbered(10), scale=1).size == (4 * 3 + 3 * 2, 3 * 2 + 2 * 2)


def test_small_images_are_enlarged_to_about_64_pixels() -> None:
    assert [whole_scale(side, side) for side in (8, 28, 32, 64, 100, 1024)] == [8, 2, 2, 1, 1, 1]


def test_floats_are_drawn_as_the_nearest_bytes_and_cut_off_beyond_one() -> None:
    images = torch.tensor([-7.0, -1.0, 0.0, 1.0, 2.0, -1 + 2 / 255]).view(1, 1, 1, 6)
    assert image_bytes(images).ravel().tolist() == [0, 0, 128, 255, 255, 1]


def test_numpy_and_torch_make_the_same_picture() -> None:
    images = torch.rand(4, 3, 5, 5) * 2 - 1
    read_only = images.numpy().copy()
    read_only.flags.writeable = False
    assert grid(images).tobytes() == grid(images.numpy()).tobytes() == grid(read_only).tobytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    images = torch.zeros(5, 1, 4, 4)
    images[3, 0, 1, 1] = value
    with pytest.raises(ValueError, match=r"not finite in 1 of 5 images \(the first is image 3\)"):
        grid(images)


@pytest.mark.parametrize("shape", [(4, 4), (2, 2, 4, 4), (0, 1, 4, 4), (2, 4, 4), (1, 4, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"but got {shape}")):
        grid(torch.zeros(shape))


def test_texts_must_be_as_many_as_what_they_name() -> None:
    for name, count in (("column_headers", 2), ("row_labels", 3), ("captions", 5)):
        with pytest.raises(ValueError, match=f"`{name}` must be {count} texts or none, but got 7"):
            grid(numbered(5), columns=2, **{name: ["x"] * 7})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`columns` must be at least 1, but got 0"):
        grid(numbered(5), columns=0)
    with pytest.raises(ValueError, match="`scale` must be at least 1, but got 0"):
        grid(numbered(5), scale=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_grid_gives_its_images_back(tmp_path: Path, channels: int) -> None:
    images = digits().train[:7].expand(-1, channels, -1, -1)
    texts = [f"image {i}" for i in range(7)]
    picture = grid(images, columns=3, title="t", row_labels=["a", "b\nc", "d"], captions=texts)
    write_png(picture, tmp_path / "grid.png")
    assert (read_grid(tmp_path / "grid.png") == images.numpy()).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png"]


def test_other_pictures_are_not_taken_for_grids(tmp_path: Path) -> None:
    plain, text, cut = tmp_path / "plain.png", tmp_path / "text.png", tmp_path / "cut.png"
    Image.new("L", (9, 9)).save(plain)
    text.write_text("no picture")
    write_png(grid(torch.rand(4, 1, 30, 30)), cut)
    cut.write_bytes(cut.read_bytes()[:900])
    for path in (plain, text, cut):
        with pytest.raises(ValueError, match=f"{path.name} is not a grid of images"):
            read_grid(path)
    with pytest.raises(FileNotFoundError):
        read_grid(tmp_path / "none.png")


def test_texts_leave_the_images_alone_and_equal_grids_equal_in_size() -> None:
    images = numbered(4, 4, 4)
    bare = np.asarray(grid(images, columns=2, scale=8))
    first = grid(images, columns=2, scale=8, title="step 1", column_headers=["a", "b"], row_labels=["x", "y"])
    other = grid(images, columns=2, scale=8, title="step 123,456 and on and on", column_headers=["a", "b"],
                 row_labels=["x", "y"])  # fmt: skip
    assert first.size == other.size
    assert (np.asarray(first)[-bare.shape[0] :, -bare.shape[1] :] == bare).all()
    above = np.asarray(first)[: -bare.shape[0]]
    assert (above < 128).any()
    assert (np.asarray(first)[-bare.shape[0] :, : -bare.shape[1]] < 128).any()


def test_columns_of_a_class_grid_are_classes_and_gaps_stay_white() -> None:
    images = numbered(6)
    labels = torch.tensor([2, 0, 2, 2, 0, 2])
    picture = np.asarray(class_grid(images, labels, class_names=("a", "b", "c"), rows=3))
    cells = picture[-(3 * 42 + 2 * 2) :]  # 2×3 pixels at a scale of 21
    for row, column, index in ((0, 0, 1), (1, 0, 4), (0, 2, 0), (1, 2, 2), (2, 2, 3)):
        cell = cells[row * 44 : row * 44 + 42, column * 65 : column * 65 + 63]
        assert (cell[::21, ::21] == images[index, 0].numpy()).all()
    assert (cells[:, 65:128] == WHITE).all()
    assert (cells[88:130, 0:63] == WHITE).all()


def test_class_grids_of_real_digits_are_read_back(tmp_path: Path) -> None:
    data = digits()
    assert data.train_labels is not None
    labels = torch.arange(40) % 10
    images = torch.stack([data.train[data.train_labels == label][0] for label in labels])
    write_png(class_grid(images, labels, class_names=data.class_names), tmp_path / "classes.png")
    assert (read_grid(tmp_path / "classes.png") == images.numpy()).all()


def test_of_a_thousand_classes_twenty_are_shown() -> None:
    labels = torch.arange(1000)
    picture = class_grid(torch.zeros(1000, 1, 4, 4, dtype=torch.uint8), labels)
    assert picture.width == 20 * 64 + 19 * 2


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="`labels` must be 6 classes, one an image"):
        class_grid(numbered(6), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="`labels` must be in 0…1, but got 0…2"):
        class_grid(numbered(3), torch.arange(3), class_names=("a", "b"))


def test_panels_stand_side_by_side_with_their_words_and_failures_framed() -> None:
    dark = Image.new("L", (200, 50), 0)
    sheet = panels(
        [
            Panel(picture=dark, title="rmsprop", note="0.021"),
            Panel(picture=dark, title="adam · seed 3", note="diverged: a loss was not finite", failed=True),
        ]
    )
    pixels = np.asarray(sheet).astype(int)
    frame = np.array([int(FAKE_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    assert sheet.width == 200 + 20 + 200
    black = (pixels == 0).all(2)
    rows = np.flatnonzero(black[:, 100])
    picture_rows = rows[-50:]
    assert np.ptp(picture_rows) == 49
    assert black[picture_rows, :200].all()
    assert (pixels[picture_rows, 200:220] == WHITE).all()
    assert (pixels[picture_rows[0], 220:] == frame).all()
    assert (pixels[picture_rows[10], [220, 221, 418, 419]] == frame).all()
    with pytest.raises(ValueError, match="at least one panel"):
        panels([])


def test_panels_break_into_rows_where_the_page_ends() -> None:
    wide = Panel(picture=Image.new("L", (700, 10), 0), title="t")
    assert panels([wide] * 5).width == 700 * 2 + 20
    assert panels([wide] * 5, columns=3).width == 700 * 3 + 40
    assert panels([wide]).width == 700


def test_real_beside_fake_shows_as_many_of_each() -> None:
    real, fake = digits().train[:9], digits().test[:30]
    sheet = real_beside_fake(real, fake)
    side = 3 * 64 + 2 * 2
    assert sheet.width == 2 * side + 20
    pixels = np.asarray(sheet)[:, :, 0]
    left = np.asarray(grid(real))
    right = np.asarray(grid(fake[:9]))
    top = next(t for t in range(pixels.shape[0]) if (pixels[t : t + side, :side] == left).all())
    assert (pixels[top : top + side, -side:] == right).all()


def test_classes_have_the_same_column_on_the_real_and_on_the_generated_side() -> None:
    images = numbered(6)
    labels = torch.tensor([2, 0, 2]), torch.tensor([0, 2, 0])
    sheet = np.asarray(real_beside_fake(images[:3], images[3:], labels=labels))
    columns = [
        class_grid(images[at], of, classes=[0, 2])
        for at, of in zip((slice(3), slice(3, None)), labels, strict=True)
    ]
    for left, picture in zip((0, 180 + 20), columns, strict=True):  # a panel is 180 pixels wide at least
        part = np.asarray(picture)
        crops = [sheet[top : top + part.shape[0], left : left + part.shape[1], 0] for top in range(40)]
        assert any(np.array_equal(crop, part) for crop in crops)


@pytest.mark.parametrize(("total", "num"), [(1, 2), (7, 30), (8640, 12), (187_600, 24), (100, 2)])
def test_log_spaced_steps_rise_from_the_first_step_to_the_last(total: int, num: int) -> None:
    steps = log_spaced_steps(total, num)
    assert steps[0] == 0
    assert steps[-1] == total
    assert len(steps) <= num
    assert list(steps) == sorted(set(steps))


def test_log_spaced_steps_grow_by_a_factor() -> None:
    assert log_spaced_steps(1000, 5) == (0, 1, 10, 100, 1000)
    steps = np.array(log_spaced_steps(10**6, 20)[-8:])
    assert np.allclose(np.diff(np.log(steps)), np.log(10**6) / 18, atol=1e-3)


def test_log_spaced_steps_can_be_multiples_but_for_the_last() -> None:
    assert log_spaced_steps(1000, 5, multiple_of=5) == (0, 5, 10, 100, 1000)
    assert log_spaced_steps(3, 5, multiple_of=5) == (0, 3)


def test_log_spaced_steps_refuse_what_cannot_be() -> None:
    for arguments, name in (((0, 5), "total_steps"), ((5, 1), "num")):
        with pytest.raises(ValueError, match=f"`{name}` must be at least"):
            log_spaced_steps(*arguments)
    with pytest.raises(ValueError, match="`multiple_of` must be at least 1, but got 0"):
        log_spaced_steps(5, 5, multiple_of=0)


def test_a_filmstrip_has_a_row_a_latent_and_a_column_a_step(tmp_path: Path) -> None:
    frames = {step: numbered(3) + 20 * place for place, step in enumerate((0, 10, 5))}
    write_png(filmstrip(frames, rows=2), tmp_path / "film.png")
    found = read_grid(tmp_path / "film.png")
    assert (found == np.concatenate([frames[step][:2].numpy() for step in (0, 5, 10)])).all()
    with Image.open(tmp_path / "film.png") as picture:
        assert picture.width == 3 * 63 + 2 * 2  # three steps of 3-pixel images at a scale of 21


def test_a_filmstrip_of_a_conditional_generator_names_the_class_of_each_row(tmp_path: Path) -> None:
    frame = class_grid(numbered(6), torch.tensor([0, 1, 2] * 2), class_names=["cat", "dog", "emu"])
    write_png(frame, tmp_path / "step_00000005.png")
    names = read_classes(tmp_path)
    assert names == ["cat", "dog", "emu"] * 2
    strip = filmstrip(read_frames(tmp_path), rows=4, row_labels=names)
    assert json.loads(strip.info["layout"])["labels"] == ["cat", "dog", "emu", "cat"]
    write_png(grid(numbered(6)), tmp_path / "step_00000005.png")
    assert read_classes(tmp_path) == []


def test_a_filmstrip_of_many_steps_keeps_the_first_and_the_last(tmp_path: Path) -> None:
    frames = {step: torch.full((1, 1, 2, 2), step, dtype=torch.uint8) for step in range(100)}
    write_png(filmstrip(frames), tmp_path / "film.png")
    shown = [0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]
    assert read_grid(tmp_path / "film.png")[:, 0, 0, 0].tolist() == shown
    with pytest.raises(ValueError, match="at least one step"):
        filmstrip({})


def test_a_gif_of_samples_is_made_from_the_grids_on_the_disk(tmp_path: Path) -> None:
    for step in (0, 1, 20, 300):
        noise = torch.randint(0, 255, (10, 1, 8, 8), generator=torch.Generator().manual_seed(step))
        write_png(grid(noise.byte(), title=f"step {step}"), tmp_path / f"step_{step:08d}.png")
    frames = read_frames(tmp_path)
    assert list(frames) == [0, 1, 20, 300]
    filmstrip_gif(frames, tmp_path / "film.gif", title="a run")
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 4  # type: ignore[attr-defined]
        assert film.info["loop"] == 0
        film.seek(3)
        last = np.asarray(film.convert("L")).astype(int)
    expected = np.asarray(grid(frames[300], columns=8, title="a run · step 300")).astype(int)
    assert np.abs(last - expected).max() < 24


def test_a_gif_refuses_no_pictures_and_pictures_of_two_sizes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        write_gif([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="of one size"):
        write_gif([Image.new("L", (2, 2)), Image.new("L", (3, 2))], tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_separate_images_are_written_as_they_are(tmp_path: Path) -> None:
    images = numbered(2, channels=3)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    write_images(images, paths)
    for image, path in zip(images, paths, strict=True):
        with Image.open(path) as written:
            assert (np.asarray(written).transpose(2, 0, 1) == image.numpy()).all()


def test_lines_break_at_spaces_then_after_slashes_then_anywhere() -> None:
    assert wrapped_lines("Ankle boot", 50, 11) == ["Ankle", "boot"]
    assert wrapped_lines("T-shirt/top", 50, 11) == ["T-shirt/", "top"]
    assert "".join(wrapped_lines("abcdefghijklmnop", 40, 11)) == "abcdefghijklmnop"
    assert wrapped_lines("one\ntwo", 500, 11) == ["one", "two"]
    assert wrapped_lines("", 50, 11) == []
    for line in wrapped_lines("optimizer.name=adam, generator.depth=3 · seed 12", 90, 11):
        assert text_width(line, 11) <= 90


def test_headers_shrink_before_a_word_is_broken() -> None:
    assert fitting_size(("Bag", "Ankle boot"), 56, largest=11) == 11
    smaller = fitting_size(("automobile", "dog"), 56, largest=11)
    assert 8 <= smaller < 11
    assert wrapped_lines("automobile", 56, smaller) == ["automobile"]
    assert fitting_size(("an-unbreakable_word_of_great_length",), 56, largest=11) == 8


def test_titles_are_cut_to_their_room() -> None:
    assert fitted("short", 500, 13) == "short"
    cut = fitted("a very long title that has no room", 100, 13)
    assert cut.endswith("…")
    assert text_width(cut, 13) <= 100


def test_the_note_tells_copies_from_chance() -> None:
    random = np.random.default_rng(0)
    held_out = random.uniform(2, 4, 500)
    same = memorisation_note(random.uniform(2, 4, 200), held_out, num_pixels=64)
    assert "That is no more than chance." in same
    near = memorisation_note(random.uniform(1, 3, 200), held_out, num_pixels=64)
    assert "So many are more than chance" in near
    copied = memorisation_note(np.r_[0.0, random.uniform(2, 4, 199)], held_out, num_pixels=64)
    assert "1 of them is a copy of a training image." in copied
    with pytest.raises(ValueError, match="at least one"):
        memorisation_note(np.zeros(0), held_out, num_pixels=64)


def test_the_nearest_of_each_class_are_shown_among_the_nearest_of_all() -> None:
    train, classes = numbered(6, 2, 2), torch.tensor([0, 0, 0, 0, 1, 2])
    found = Neighbours(
        indices=np.array([[0], [1], [2], [3], [4], [5]]),
        distances=np.array([[0.1], [0.2], [0.3], [0.4], [0.9], [0.8]]),
    )
    plain, fair = (
        neighbour_grid(train, train, found, labels=labels, rows=2, blocks=2) for labels in (None, classes)
    )

    def shown(labels: torch.Tensor | None, count: int) -> tuple[list[int], int]:
        chosen, num_classes = neighbours._shown(found, labels, count)
        return chosen.tolist(), num_classes

    assert shown(classes, 6) == ([0, 1, 2, 3, 5, 4], 3)
    assert shown(classes, 4) == ([0, 1, 2, 5], 2)  # half of the places
    assert shown(None, 4) == ([0, 1, 2, 3], 0)
    assert plain.size != fair.size or not np.array_equal(np.asarray(plain), np.asarray(fair))


def test_neighbours_stand_beside_the_samples_nearest_first_with_copies_framed() -> None:
    data = digits()
    samples = torch.cat([data.test[:5], data.train[7:8]])
    found = nearest_images(samples, data.train, num=2)
    held_out = nearest_images(data.test, data.train, num=1).distances[:, 0]
    sheet = neighbour_grid(samples, data.train, found, held_out=held_out, rows=3, blocks=1)
    pixels = np.asarray(sheet).astype(int)
    frame = np.array([int(FAKE_COLOUR[i : i + 2], 16) for i in (1, 3, 5)])
    framed = np.flatnonzero((pixels[:, 0] == frame).all(1))
    assert len(framed) == 64  # one sample, 8 pixels at a scale of 8
    copy = np.asarray(grid(data.train[7:8]))
    assert (pixels[framed[0] : framed[-1] + 1, 64 + 12 : 128 + 12, 0] == copy).all()
    with pytest.raises(ValueError, match="`found` is of 6 samples, but got 5"):
        neighbour_grid(samples[:5], data.train, found)
