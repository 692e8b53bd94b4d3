"""When to look at a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.recipe.settings import TrainSettings

__all__ = ["Schedule", "count_steps", "log_spaced_steps"]


def count_steps(train: TrainSettings, num_samples: int, name: str) -> tuple[int, int]:
    """D steps of an epoch, and of the whole run, which is made of whole iterations.

    Args:
        train: the settings.
        num_samples: training samples there are.
        name: of the data set, for messages.

    Raises:
        ValueError: there is less than one batch, or less than one iteration.
    """
    steps_per_epoch = num_samples // train.batch_size
    if not steps_per_epoch:
        raise ValueError(
            f"`train.batch_size` {train.batch_size} is more than the {num_samples} training samples of "
            f"`data.name` {name}; set it to {num_samples} or less."
        )
    total = train.epochs * steps_per_epoch
    if total < train.discriminator_steps:
        raise ValueError(
            f"`train.discriminator_steps` {train.discriminator_steps} is more than the {total} steps of "
            f"{train.epochs} epochs; raise `train.epochs`."
        )
    return steps_per_epoch, total - total % train.discriminator_steps


def log_spaced_steps(total_steps: int, num: int, *, multiple_of: int = 1) -> tuple[int, ...]:
    """Steps at which to look: 0, then evenly spaced in their logarithm up to the last; each once.

    Args:
        total_steps: steps of the whole run, T.
        num: how many, at most; small steps that round to the same are one.
        multiple_of: every step is rounded up to a multiple of this, D steps an iteration say.

    Returns:
        Increasing steps from 0 to T.

    Raises:
        ValueError: `total_steps` or `multiple_of` is below 1, or `num` below 2.
    """
    for name, value, low in (
        ("total_steps", total_steps, 1),
        ("num", num, 2),
        ("multiple_of", multiple_of, 1),
    ):
        if value < low:
            raise ValueError(f"`{name}` must be at least {low}, but got {value}.")
    spaced = np.geomspace(1, total_steps, num - 1) if num > 2 else np.array([total_steps])
    rounded = {min(math.ceil(round(step) / multiple_of) * multiple_of, total_steps) for step in spaced}
    return tuple(sorted({0, total_steps, *(int(step) for step in rounded)}))


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """After which iterations a run is looked at.

    A multiple of a grid that falls into an iteration is honoured at its end.

    Attributes:
        total_steps: D steps of the whole run, a multiple of `stride`.
        stride: D steps an iteration.
        log_every_steps: the grid of training statistics; they are due at every evaluation too.
        evaluate_every_steps: the grid of evaluations; they are due at the very start and end too.
        sample_steps: ends of iterations at which to picture samples.
    """

    total_steps: int
    stride: int
    log_every_steps: int
    evaluate_every_steps: int
    sample_steps: tuple[int, ...]

    def is_evaluated(self, step: int) -> bool:
        """Whether an evaluation is due at the end of an iteration."""
        return step == 0 or step >= self.total_steps or self._passed(self.evaluate_every_steps, step)

    def is_logged(self, step: int) -> bool:
        """Whether training statistics are due; there are none before the first iteration."""
        return step > 0 and (self.is_evaluated(step) or self._passed(self.log_every_steps, step))

    def is_pictured(self, step: int) -> bool:
        """Whether samples are due; an evaluation pictures them too."""
        return step in self.sample_steps and not self.is_evaluated(step)

    def next_after(self, step: int) -> int:
        """The first end of an iteration after a step at which anything is due."""
        due = min((step // grid + 1) * grid for grid in (self.log_every_steps, self.evaluate_every_steps))
        samples = next((later for later in self.sample_steps if later > step), self.total_steps)
        return min(-(-due // self.stride) * self.stride, samples, self.total_steps)

    def _passed(self, grid: int, step: int) -> bool:
        """Whether the iteration that led to a step reached or passed a multiple of `grid`."""
        before = step - self.stride
        return before >= 0 and step // grid > before // grid
