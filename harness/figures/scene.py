"""One run's samples in the plane, drawn over the discriminator's surface, and the GIF of a whole run.

Shapes: M held-out points, N generated points, R grid nodes a side (R² in all).

A sweep draws thousands of these frames while it trains, so what they have in common is drawn once per
window, and what changes over it: 17 ms a frame, the PNG included, where a whole figure takes 37 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.figures.canvas import save_gif
from harness.figures.style import FAKE_COLOUR, FAKE_TINT, NEUTRAL_TINT, REAL_COLOUR, REAL_TINT, mix
from harness.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Scene",
    "Window",
    "draw_scene",
    "gif",
    "scatter_over_surface",
    "scatter_window",
    "surface_points",
]

Array = npt.NDArray[np.float32]

_NUM_BANDS = 10
_LOGITS = (0.0, 0.02, 0.1, 0.4, 1.5, 6.0)
_STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_FRAME_WIDTH_PIXELS = 540
_DOTS_PER_INCH = 100
_PALETTE_SIZE = 32
_TITLE_CHARACTERS = 60
_MARGIN = 0.25
"""Room on each side, as a share of the larger range: most of an untrained generator's points are in sight."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of the plane that every frame of a run shows.

    Attributes:
        left: its least x, in data units.
        right: its greatest x.
        bottom: its least y.
        top: its greatest y.
    """

    left: float
    right: float
    bottom: float
    top: float

    @property
    def aspect(self) -> float:
        """Height over width."""
        return (self.top - self.bottom) / (self.right - self.left)

    def num_outside(self, points: npt.ArrayLike) -> int:
        """How many of the (N, 2) points lie outside."""
        x, y = np.asarray(points, dtype=np.float64).T
        inside = (x >= self.left) & (x <= self.right) & (y >= self.bottom) & (y <= self.top)
        return int(np.count_nonzero(~inside))


def scatter_window(real: npt.ArrayLike) -> Window:
    """A window around the real points, the same for every run of a data set so that frames compare.

    Args:
        real: (M, 2) points of the data set.

    Returns:
        The window, in the points' units.
    """
    points = np.asarray(real, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    room = _MARGIN * float((high - low).max()) or 1.0
    return Window(
        left=float(low[0] - room),
        right=float(high[0] + room),
        bottom=float(low[1] - room),
        top=float(high[1] + room),
    )


def surface_points(window: Window, resolution: int = 64) -> Array:
    """Where to ask the discriminator for its surface.

    Args:
        window: the part of the plane to cover.
        resolution: grid nodes a side, R.

    Returns:
        (R², 2) float32 points, row by row from the bottom: scores reshaped to (R, R) are a `Scene.surface`.
    """
    x = np.linspace(window.left, window.right, resolution)
    y = np.linspace(window.bottom, window.top, resolution)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one frame shows.

    Attributes:
        real: (M, 2) held-out points.
        fake: (N, 2) generated points.
        surface: (R, R) raw discriminator scores at `surface_points(window, R)`.
        window: limits of both axes.
        critic: scores are a critic's, without scale: they are shown from the window's lowest to its highest.
            Otherwise they are logits, shown by how far sigmoid(score) is from 0.5.

    Raises:
        ValueError: points or a surface of another shape.
    """

    real: npt.NDArray[Any]
    fake: npt.NDArray[Any]
    surface: npt.NDArray[Any]
    window: Window
    critic: bool = False

    def __post_init__(self) -> None:
        for name in ("real", "fake"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] != 2:
                raise ValueError(f"`{name}` must have shape (N, 2), but got {shape}.")
        if self.surface.ndim != 2 or self.surface.shape[0] != self.surface.shape[1]:
            raise ValueError(f"`surface` must have shape (R, R), but got {self.surface.shape}.")

    def shade(self) -> npt.NDArray[np.float64]:
        """(R, R) values in [0, 1]: 0 where the discriminator is sure of a fake, 1 where of a real point.

        The closer training comes to its equilibrium, the closer all of sigmoid(score) is to 0.5, so the ten
        bands are narrow around it: their edges are at sigmoid 0.5, 0.505, 0.525, 0.6 and 0.82, and the same
        below. They are the same in every frame of every run.
        """
        surface = np.nan_to_num(self.surface.astype(np.float64), nan=0.0, posinf=1e30, neginf=-1e30)
        if not self.critic:
            return 0.5 + 0.5 * np.sign(surface) * np.interp(np.abs(surface), _LOGITS, _STRENGTHS)
        low, high = float(surface.min()), float(surface.max())
        return (surface - low) / (high - low) if high > low else np.full(surface.shape, 0.5)

    def save(self, path: Path) -> None:
        """Write the scene for a report to redraw later.

        Args:
            path: a compressed `.npz`; it appears whole or not at all.
        """
        window = np.array([self.window.left, self.window.right, self.window.bottom, self.window.top])
        with replaced(path) as temporary:
            np.savez_compressed(
                temporary,
                real=self.real.astype(np.float32),
                fake=self.fake.astype(np.float32),
                surface=self.surface.astype(np.float32),
                window=window,
                critic=np.array(self.critic),
            )

    @classmethod
    def load(cls, path: Path) -> Scene:
        """Read what `save` wrote.

        Args:
            path: the `.npz`.

        Raises:
            OSError: the file is not there, or cannot be read.
            ValueError: it is no `.npz` of arrays.
            KeyError: an array is missing in it.
        """
        with np.load(path, allow_pickle=False) as file:
            left, right, bottom, top = (float(limit) for limit in file["window"])
            return cls(
                real=file["real"],
                fake=file["fake"],
                surface=file["surface"],
                window=Window(left=left, right=right, bottom=bottom, top=top),
                critic=bool(file["critic"]),
            )


def _bands() -> list[tuple[float, float, float]]:
    """Ten tints, from sure of a fake over undecided to sure of a real point."""
    half = [i / (_NUM_BANDS // 2) for i in range(_NUM_BANDS // 2)]
    below = [mix(FAKE_TINT, NEUTRAL_TINT, share) for share in half]
    return below + [mix(REAL_TINT, NEUTRAL_TINT, share) for share in reversed(half)]


class _Artists:
    """A scene's picture inside one pair of axes; `show` swaps the data and keeps the artists.

    Args:
        axes: where it is drawn.
        window: the part of the plane that is shown.
        marker_size: diameter of a point, in typographic points.
    """

    def __init__(self, axes: Axes, window: Window, *, marker_size: float) -> None:
        from matplotlib.colors import ListedColormap

        bands = ListedColormap(_bands())
        extent = (window.left, window.right, window.bottom, window.top)
        self.window = window
        self.image = axes.imshow(
            np.zeros((2, 2)),
            cmap=bands,
            vmin=0.0,
            vmax=1.0,
            extent=extent,
            origin="lower",
            aspect="equal",
            interpolation="bilinear",
            zorder=0,
        )
        style: dict[str, Any] = {"linestyle": "none", "markersize": marker_size, "markeredgewidth": 0.0}
        (self.real,) = axes.plot([], [], marker="o", color=REAL_COLOUR, label="held-out data", **style)
        (self.fake,) = axes.plot([], [], marker="^", color=FAKE_COLOUR, label="generated", **style)
        self.note = axes.text(
            0.985,
            0.025,
            "",
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=7.5,
            color="#333333",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1.5},
        )
        axes.set_xlim(window.left, window.right)
        axes.set_ylim(window.bottom, window.top)

    def show(self, scene: Scene) -> None:
        self.image.set_data(scene.shade())
        self.real.set_data(scene.real[:, 0], scene.real[:, 1])
        self.fake.set_data(scene.fake[:, 0], scene.fake[:, 1])
        outside = self.window.num_outside(scene.fake)
        self.note.set_text(f"{outside} of {len(scene.fake)} outside" if outside else "")


def draw_scene(axes: Axes, scene: Scene, *, marker_size: float = 2.0) -> None:
    """Draw a scene into axes of a larger figure.

    Args:
        axes: where to draw; its limits become the scene's window, with equal units on both axes.
        scene: what to draw.
        marker_size: diameter of a point, in typographic points.
    """
    _Artists(axes, scene.window, marker_size=marker_size).show(scene)


class _Sheet:
    """The figure of all frames of one window: what they have in common is drawn once, as a background.

    Args:
        window: the part of the plane that is shown.
    """

    def __init__(self, window: Window) -> None:
        self._canvas, self._axes, self._artists = _figure(window)
        # In the order in which they lie on each other.
        above = [self._artists.image, self._artists.real, self._artists.fake, *self._axes.spines.values()]
        self._changing = [*above, self._artists.note, self._axes.title]
        for artist in self._changing:
            artist.set_animated(True)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._axes.figure.bbox)

    def pixels(self, scene: Scene, title: str) -> npt.NDArray[np.uint8]:
        """Draw one frame.

        Args:
            scene: what it shows.
            title: what stands above.

        Returns:
            (height, width, 3) bytes.
        """
        self._artists.show(scene)
        _name(self._axes, title)
        self._canvas.restore_region(self._background)
        for artist in self._changing:
            self._axes.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[:, :, :3]


def _name(axes: Axes, title: str) -> None:
    axes.title.set_text(title)
    axes.title.set_fontsize(10 * min(1.0, _TITLE_CHARACTERS / max(1, len(title))))


@lru_cache(maxsize=4)
def _sheet(window: Window) -> _Sheet:
    return _Sheet(window)


def _figure(window: Window) -> tuple[Any, Any, _Artists]:
    """A canvas, its axes with all that frames have around them, and the artists of a scene inside."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = _FRAME_WIDTH_PIXELS / _DOTS_PER_INCH
    left, right, bottom, top = 0.52, 0.12, 0.42, 0.56
    panel_width = width - left - right
    panel_height = panel_width * window.aspect
    if panel_height > 4.2:
        panel_height = 4.2
        width = panel_height / window.aspect + left + right
        panel_width = width - left - right
    height = panel_height + bottom + top
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, panel_width / width, panel_height / height))
    artists = _Artists(axes, window, marker_size=2.6)
    axes.tick_params(labelsize=8, length=2.5)
    axes.set_xlabel("x", fontsize=8, labelpad=1)
    axes.set_ylabel("y", fontsize=8, labelpad=1)
    axes.set_title(" ", pad=20)
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 0.995),
        ncols=2,
        fontsize=8,
        frameon=False,
        markerscale=2.0,
        handletextpad=0.1,
        borderaxespad=0.1,
    )
    return canvas, axes, artists


def scatter_over_surface(scene: Scene, path: Path, *, title: str) -> None:
    """Write one frame of a run: held-out and generated points over the discriminator's surface.

    The background is tinted like the real points where the discriminator believes in real data and like
    the generated ones where it believes in fakes; see `Scene.shade` for the bands.

    Args:
        scene: what to draw.
        path: the PNG to write; its folder must exist. The file appears whole or not at all.
        title: what the frame is of, for example "adam · epoch 120 · sliced W2 0.031".
    """
    from PIL import Image

    picture = Image.fromarray(_sheet(scene.window).pixels(scene, title))
    picture = picture.quantize(palette=_palette(), dither=Image.Dither.NONE)
    with replaced(path) as temporary:
        picture.save(temporary, format="png", compress_level=6, bits=8)


@lru_cache(maxsize=1)
def _palette() -> Any:
    """The colours of a frame, known beforehand: bands, points, greys, and their blends at the edges."""
    from PIL import Image

    greys = [mix("#000000", "#ffffff", i / 5) for i in range(6)]
    blends = [
        mix(point, tint, share)
        for point in (REAL_COLOUR, FAKE_COLOUR)
        for tint in (FAKE_TINT, REAL_TINT)
        for share in (0.33, 0.67)
    ]
    middle = [mix(REAL_COLOUR, FAKE_COLOUR, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    paper = [mix(point, "#ffffff", 0.5) for point in (REAL_COLOUR, FAKE_COLOUR)]
    colours = [*_bands(), *greys, *blends, *middle, *paper]
    assert len(colours) <= _PALETTE_SIZE
    flat = [round(255 * channel) for colour in colours for channel in colour]
    image = Image.new("P", (1, 1))
    image.putpalette(flat)
    return image


def gif(frames: Sequence[Path], path: Path) -> None:
    """Join frames into a GIF that plays for ever.

    Args:
        frames: PNG files of `scatter_over_surface`, all of one size, in order.
        path: the GIF to write; the file appears whole or not at all.

    Raises:
        ValueError: there are no frames.
    """
    from PIL import Image

    if not frames:
        raise ValueError("`frames` must name at least one picture, but got none.")
    pictures = [Image.open(frame) for frame in frames]
    save_gif(pictures, path, disposal=1)
    for picture in pictures:
        picture.close()
