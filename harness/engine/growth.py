"""Where a growing pair of networks stands: a function of the real images seen, and of nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.recipe.settings import TrainSettings

__all__ = ["Growth", "GrowthState", "growth_of"]


@dataclass(frozen=True, kw_only=True)
class GrowthState:
    """A level, and how far it is faded in.

    Attributes:
        level: 0 is the smallest size; each one more doubles it.
        alpha: α in [0, 1]: how much of the level is seen, over the one below it.
    """

    level: int
    alpha: float

    @property
    def phase(self) -> tuple[int, bool]:
        """Level, and whether it is being faded in: within a phase only α changes."""
        return self.level, self.alpha < 1

    def numbers(self, num_levels: int, side: int) -> dict[str, float]:
        """For a row of a run's history: `growth/size`, pixels a side of what is made, and `growth/alpha`, α.

        Args:
            num_levels: L.
            side: pixels a side of the last level.
        """
        return {"growth/size": side >> (num_levels - 1 - self.level), "growth/alpha": self.alpha}


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A growth schedule: the lowest level, then each one faded in and kept, for as many images each time.

    Phase 0 keeps level 0; phase 2l − 1 fades level l in, α = images seen in the phase / its images; phase 2l
    keeps level l. The last level is kept to the end.

    Attributes:
        num_levels: L.
        phase_images: real images a phase.

    Source: Karras et al. (2018), appendix A, where both kinds of phases take 800 thousand images;
    `TrainingSchedule` of the authors' code, where they take 600 thousand.
    """

    num_levels: int
    phase_images: int

    @property
    def grown_images(self) -> int:
        """Real images seen when the last level is wholly there."""
        return 2 * (self.num_levels - 1) * self.phase_images

    def at(self, seen_images: int) -> GrowthState:
        """Where the networks stand for the batch that follows a number of real images."""
        if seen_images >= self.grown_images:
            return GrowthState(level=self.num_levels - 1, alpha=1.0)
        phase, into = divmod(seen_images, self.phase_images)
        return GrowthState(level=(phase + 1) // 2, alpha=into / self.phase_images if phase % 2 else 1.0)

    def phases(self, total_images: int, *, multiple_of: int = 1) -> list[tuple[int, int]]:
        """The stretches of a run within which only α changes.

        Args:
            total_images: real images of the whole run.
            multiple_of: images between two looks at the schedule, so those of an iteration.

        Returns:
            (first image, images) of each stretch that is not empty, in order.
        """
        starts = [phase * self.phase_images for phase in range(2 * self.num_levels - 1)]
        rounded = [min(math.ceil(start / multiple_of) * multiple_of, total_images) for start in starts]
        ends = [*rounded[1:], total_images]
        return [(start, end - start) for start, end in zip(rounded, ends, strict=True) if end > start]

    def stretches(self, train: TrainSettings, total_steps: int) -> list[tuple[int, int]]:
        """The same in D steps: (first step, steps).

        Args:
            train: the settings.
            total_steps: D steps of the whole run.
        """
        size, stride = train.batch_size, train.discriminator_steps
        phases = self.phases(total_steps * size, multiple_of=stride * size)
        return [(start // size, images // size) for start, images in phases]


def growth_of(train: TrainSettings, num_levels: int, total_steps: int) -> Growth | None:
    """The growth schedule of a run, where it has one.

    A run must train its last level, wholly there, for at least a step: what a shorter one makes would not be
    of the size it is scored at.

    Args:
        train: the settings.
        num_levels: sizes of the networks.
        total_steps: D steps of the run.

    Raises:
        ValueError: the run is too short.
    """
    if not train.grow_images:
        return None
    growth = Growth(num_levels=num_levels, phase_images=train.grow_images)
    seen_images = (total_steps - train.discriminator_steps) * train.batch_size  # before the last iteration
    if seen_images < growth.grown_images:
        fitting = seen_images // (2 * (num_levels - 1))
        lower = f"set it to {fitting} or less, or " if fitting else ""
        raise ValueError(
            f"`train.grow_images` {train.grow_images} takes {growth.grown_images} images to reach the last "
            f"of {num_levels} sizes, but the run ends after {total_steps * train.batch_size}; "
            f"{lower}raise `train.epochs`."
        )
    return growth
