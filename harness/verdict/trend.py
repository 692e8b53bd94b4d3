"""Which way a run is going: how far its samples have come, and whether they still come nearer or spread.

A level says little about a young run: nearly all of them make one blurred sample at first. What tells a run
that is stuck from one that is only slow is whether its samples still change for the better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

__all__ = ["Trend"]

_DISTANCES = ("frechet", "sliced_w2")
"""Scores that say how far samples are from the data; the first that is there is the distance."""


class Trend:
    """The distance, the spread and the modes of a run, look by look, from the untrained generator on.

    Args:
        state: What `state_dict` gave at the checkpoint that the run goes on from; None for a fresh run.
    """

    def __init__(self, state: Mapping[str, list[float]] | None = None) -> None:
        known = dict(state or {})
        self._distances = [float(value) for value in known.get("distances", ())]
        self._spreads = [float(value) for value in known.get("spreads", ())]
        self._modes = [float(value) for value in known.get("modes", ())]
        self._is_placed = True

    def add(self, scores: Mapping[str, float]) -> None:
        """Take note of a look; a score that could not be had is passed over."""
        distance = next((scores[name] for name in _DISTANCES if name in scores), None)
        told = (
            (self._distances, distance),
            (self._spreads, scores.get("pair_distance")),
            (self._modes, scores.get("bin_recall")),
        )
        for values, value in told:
            if value is not None and math.isfinite(value):
                values.append(float(value))
        self._is_placed = distance is not None and math.isfinite(distance)

    @property
    def distance(self) -> float | None:
        """The latest look's distance from the data, as a multiple of the untrained generator's."""
        if not self._is_placed or len(self._distances) < 2 or self._distances[0] <= 0:
            return None
        return self._distances[-1] / self._distances[0]

    @property
    def moved(self) -> float | None:
        """How far the distance has ever been from the untrained generator's, as a share of that."""
        if len(self._distances) < 2 or self._distances[0] <= 0:
            return None
        return max(abs(value / self._distances[0] - 1) for value in self._distances)

    @property
    def distance_left(self) -> float | None:
        """The latest distance over the least of trained generators before the last look: below 1 it falls.

        The look before is left out, so that a slow run, which comes nearer by a little each time, is seen to.
        At the first two looks there is only the untrained generator's to be held against.
        """
        before = self._distances[1:-2] or self._distances[:1]
        if not self._is_placed or len(self._distances) < 2 or min(before) <= 0:
            return None
        return self._distances[-1] / min(before)

    @property
    def nearest(self) -> float | None:
        """The least distance of trained generators, as a multiple of the untrained one's."""
        if len(self._distances) < 2 or self._distances[0] <= 0:
            return None
        return min(self._distances[1:]) / self._distances[0]

    @property
    def swing(self) -> float | None:
        """The largest distance over the least, less 1, of trained generators: batch norm moves it once."""
        trained = self._distances[1:]
        return max(trained) / min(trained) - 1 if len(trained) > 1 and min(trained) > 0 else None

    def best_of_last(self, looks: int) -> float | None:
        """The least distance of the last so many looks over the least before: from 1 on, none was nearer."""
        before = self._distances[:-looks]
        if looks < 1 or len(self._distances) <= looks + 1 or min(before) <= 0:
            return None
        return min(self._distances[-looks:]) / min(before)

    @property
    def spread_left(self) -> float | None:
        """The latest pair distance over the largest before, the untrained generator's included."""
        if len(self._spreads) < 2 or max(self._spreads[:-1]) <= 0:
            return None
        return self._spreads[-1] / max(self._spreads[:-1])

    @property
    def spread_gain(self) -> float | None:
        """The latest pair distance over the largest before, of trained generators."""
        if len(self._spreads) < 3 or max(self._spreads[1:-1]) <= 0:
            return None
        return self._spreads[-1] / max(self._spreads[1:-1])

    @property
    def modes_gain(self) -> float | None:
        """The latest share of bins that are filled, less the largest before, of trained generators."""
        if len(self._modes) < 3:
            return None
        return self._modes[-1] - max(self._modes[1:-1])

    def state_dict(self) -> dict[str, list[float]]:
        """What a checkpoint keeps of it."""
        return {"distances": self._distances, "spreads": self._spreads, "modes": self._modes}
