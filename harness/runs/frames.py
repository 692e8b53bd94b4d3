"""What is drawn of a run while it trains: points over D's surface, or the images of fixed latents.

Shapes: K live runs, N samples of the fixed latents, M held-out ones, R² grid points of the plane.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np
import torch
from torch import Tensor

from harness.data import Dataset, as_bytes, gather
from harness.recipe.loss import build_loss
from harness.runs.nearest import nearest_images

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from harness.engine.population import Population
    from harness.figures import Scene

__all__ = ["Frame", "Frames", "frames_of"]

_NUM_IMAGES = 64
_NUM_ROWS = 10
_NUM_NEIGHBOURS = 5
_REAL_SEED = 0
_SEARCH_OPERATIONS = 1e11
"""Multiply-adds that one search for nearest training images may take: some seconds of one core."""


class Frame(ABC):
    """What one frame of one run shows."""

    @abstractmethod
    def draw(self, path: Path, *, title: str) -> None:
        """Write it to `path` as a PNG under a `title`; the file appears whole or not at all."""


class Frames(ABC):
    """How runs on one kind of data are drawn.

    Attributes:
        key: name of the series of frames.
    """

    key: str

    def shown(self, population: Population) -> list[int] | None:
        """Which of the N fixed latents a frame shows the samples of; None for all.

        Args:
            population: the runs.
        """
        return None

    @abstractmethod
    def look(self, population: Population, samples: Tensor, labels: Tensor | None) -> Sequence[Frame]:
        """A frame for each live run.

        Args:
            population: the runs.
            samples: (K, S, *sample_shape) of the S fixed latents that `shown` names.
            labels: (S,) classes that go with them, where a network takes labels.
        """

    @abstractmethod
    def opening(self, frame: Frame, folder: Path) -> dict[str, Path]:
        """Write what a run's first frame comes with; key → file.

        Args:
            frame: the first one.
            folder: the run's samples.
        """

    @abstractmethod
    def closing(self, frame: Frame, samples: Tensor, folder: Path) -> dict[str, Path]:
        """Write what a run's last frame comes with; key → file.

        Args:
            frame: the last one.
            samples: (N, *sample_shape), the run's samples at its end.
            folder: the run's samples.
        """

    @abstractmethod
    def film(self, folder: Path, *, title: str) -> dict[str, Path]:
        """Join the frames of a run, of which there is at least one; key → file for what is to be shown.

        Args:
            folder: the run's samples.
            title: what a filmstrip says above its frames.
        """


def frames_of(dataset: Dataset) -> Frames:
    """How runs on a data set are drawn.

    Args:
        dataset: the data set, on the device that the runs are on.
    """
    return PointFrames(dataset) if dataset.kind == "points" else ImageFrames(dataset)


@dataclass(frozen=True, kw_only=True)
class _PointFrame(Frame):
    scene: Scene

    def draw(self, path: Path, *, title: str) -> None:
        from harness.figures import scatter_over_surface

        scatter_over_surface(self.scene, path, title=title)


@final
class PointFrames(Frames):
    """Generated and held-out points over D's surface; the last frame is also kept as data for the report."""

    key = "scatter"

    def __init__(self, dataset: Dataset) -> None:
        from harness.figures import scatter_window, surface_points

        self._real: NDArray[np.float32] = dataset.test.cpu().numpy()
        self._window = scatter_window(self._real)
        self._grid = torch.from_numpy(surface_points(self._window)).to(dataset.test.device)

    def look(self, population: Population, samples: Tensor, labels: Tensor | None) -> list[_PointFrame]:
        from harness.figures import Scene

        surfaces = population.discriminate(self._grid).cpu().numpy()
        side = round(surfaces.shape[1] ** 0.5)
        critic = not build_loss(population.recipe.loss).logits
        return [
            _PointFrame(
                scene=Scene(
                    real=self._real,
                    fake=fake,
                    surface=surface.reshape(side, side),
                    window=self._window,
                    critic=critic,
                )
            )
            for fake, surface in zip(samples.cpu().numpy(), surfaces, strict=True)
        ]

    def opening(self, frame: Frame, folder: Path) -> dict[str, Path]:
        return {}

    def closing(self, frame: Frame, samples: Tensor, folder: Path) -> dict[str, Path]:
        assert isinstance(frame, _PointFrame)
        frame.scene.save(folder / "final.npz")
        return {}

    def film(self, folder: Path, *, title: str) -> dict[str, Path]:
        from harness.figures import gif

        gif(sorted(folder.glob("step_*.png")), folder / "run.gif")
        return {}


@dataclass(frozen=True, kw_only=True)
class _ImageFrame(Frame):
    images: Tensor
    labels: Tensor | None
    class_names: tuple[str, ...]

    def draw(self, path: Path, *, title: str) -> None:
        from harness.figures import write_png

        write_png(_grid(self.images, self.labels, self.class_names, title=title), path)


@final
class ImageFrames(Frames):
    """The images of the fixed latents in a grid; where the generator is told the class, a column a class."""

    key = "grid"

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._count = len(dataset.class_names) or dataset.num_classes
        self._names = dataset.class_names or tuple(str(number) for number in range(self._count))

    def shown(self, population: Population) -> list[int]:
        num = population.recipe.evaluate.num_samples
        if not population.generator.takes_labels:
            return list(range(min(num, _NUM_IMAGES)))
        from harness.figures import shown_classes

        classes = shown_classes(min(num, self._count))  # latent i is of class i modulo their count
        rows = [[row * self._count + one for one in classes] for row in range(_NUM_ROWS)]
        return [index for row in rows for index in row if index < num]

    def look(self, population: Population, samples: Tensor, labels: Tensor | None) -> list[_ImageFrame]:
        classes = labels.cpu() if labels is not None and population.generator.takes_labels else None
        shown = as_bytes(samples).cpu()
        return [_ImageFrame(images=images, labels=classes, class_names=self._names) for images in shown]

    def opening(self, frame: Frame, folder: Path) -> dict[str, Path]:
        from harness.figures import write_png

        assert isinstance(frame, _ImageFrame)
        path = folder / "real.png"
        if frame.labels is None:
            write_png(self._reals, path)
        else:
            images, labels = self._some_of_each(frame.labels)
            classes = sorted(set(frame.labels.tolist()))
            write_png(_grid(images, labels, self._names, classes=classes, title="training images"), path)
        return {"real": path}

    def closing(self, frame: Frame, samples: Tensor, folder: Path) -> dict[str, Path]:
        from harness.figures import neighbour_grid, write_png

        assert isinstance(frame, _ImageFrame)
        train = self._dataset.train
        queries = samples[: self._num_queries]
        found = nearest_images(queries, train, num=self._num_neighbours, device=samples.device)
        files = {"real_beside_fake": folder / "real_beside_fake.png", "neighbours": folder / "neighbours.png"}
        write_png(self._beside(frame), files["real_beside_fake"])
        write_png(
            neighbour_grid(
                as_bytes(queries).cpu(),
                train,
                found,
                labels=self._dataset.train_labels,
                held_out=self._held_out,
            ),
            files["neighbours"],
        )
        return files

    def film(self, folder: Path, *, title: str) -> dict[str, Path]:
        from harness.figures import filmstrip, filmstrip_gif, read_classes, read_frames, write_png

        frames = read_frames(folder)
        files = {"filmstrip": folder / "filmstrip.png", "film": folder / "run.gif"}
        write_png(filmstrip(frames, row_labels=read_classes(folder), title=title), files["filmstrip"])
        filmstrip_gif(frames, files["film"], title=title)
        return files

    @cached_property
    def _order(self) -> Tensor:
        """The training images in random order: files list them by class, or by name."""
        order = np.random.RandomState(_REAL_SEED).permutation(len(self._dataset.train))
        return torch.from_numpy(order.astype(np.int64))

    @cached_property
    def _chosen(self) -> Tensor:
        """64 training images."""
        return self._train_images(self._order[:_NUM_IMAGES])

    @cached_property
    def _reals(self) -> Image:
        return _grid(self._chosen, None, (), title="training images")

    def _beside(self, frame: _ImageFrame) -> Image:
        """Training images beside generated ones, class by class where the generator is told the class."""
        from harness.figures import real_beside_fake

        if frame.labels is None:
            return real_beside_fake(self._chosen, frame.images, num_images=_NUM_IMAGES)
        real, labels = self._some_of_each(frame.labels)
        return real_beside_fake(real, frame.images, labels=(labels, frame.labels), class_names=self._names)

    def _some_of_each(self, shown: Tensor) -> tuple[Tensor, Tensor]:
        """Ten training images of each class that is among these, (N,), and their classes."""
        labels = self._dataset.train_labels
        assert labels is not None
        ordered, classes = labels.cpu()[self._order], sorted(set(shown.tolist()))
        chosen = torch.cat([self._order[ordered == one][:_NUM_ROWS] for one in classes])
        return self._train_images(chosen), labels.cpu()[chosen]

    def _train_images(self, rows: Tensor) -> Tensor:
        train = self._dataset.train
        return gather(train, rows.to(train.device)).cpu()

    @property
    def _num_neighbours(self) -> int:
        return min(_NUM_NEIGHBOURS, len(self._dataset.train))

    @property
    def _num_queries(self) -> int:
        """As many images as can be searched for in a few seconds, between 100 and 1000."""
        each = len(self._dataset.train) * self._dataset.train[0].numel()
        return max(100, min(1000, int(_SEARCH_OPERATIONS / each)))

    @cached_property
    def _held_out(self) -> NDArray[np.float64]:
        """Distances of held-out images to the nearest training image: what is natural."""
        train, test = self._dataset.train, self._dataset.test
        found = nearest_images(test[: self._num_queries], train, num=1, device=test.device)
        return found.distances[:, 0]


def _grid(
    images: Tensor,
    labels: Tensor | None,
    names: tuple[str, ...],
    *,
    classes: list[int] | None = None,
    title: str,
) -> Image:
    from harness.figures import class_grid, grid

    if labels is None:
        return grid(images, title=title)
    classes = sorted(set(labels.tolist())) if classes is None else classes
    return class_grid(images, labels, class_names=names, classes=classes, rows=_NUM_ROWS, title=title)
