"""W&B's distributions as Optuna's: what a sweep file may say about one parameter.

| W&B | Optuna | the value |
|---|---|---|
| ``constant`` (``value``) | nothing to search | |
| ``categorical`` (``values``) | Categorical; over indices where Optuna could not tell the values apart | |
| ``int_uniform`` (default where both bounds are integers) | Int | |
| ``uniform`` (default otherwise) | Float | |
| ``log_uniform_values``, ``inv_log_uniform_values`` | Float(log) | |
| ``q_uniform`` | Float | rounded |
| ``q_log_uniform_values`` | Float(log) | rounded |
| ``categorical_w_probabilities``, ``normal``, ``log_normal``, ``beta`` | Float(0, 1) | quantile |
| ``q_normal``, ``q_log_normal``, ``q_beta`` | Float(0, 1) | quantile, rounded |
| ``log_uniform``, ``q_log_uniform``, ``inv_log_uniform`` | refused: bounds that are exponents | |

*Rounded* is to the nearest multiple of q, as W&B's package ``sweeps`` 0.3.0 does it: of ``q_uniform`` from
1500 to 2500 by 500 each end is drawn half as often as 2000, and from 10 to 70 by 8 the values are 8 to 72.
*Quantile* means that Optuna searches u in [0, 1] and the value is the distribution's inverse cumulative
function at u, so any sampler of Optuna's works on it. The defaults are W&B's: mu 0, sigma 1, a 1, b 1, q 1.

``method: grid`` goes through ``values``, each once; through ``int_uniform``; and through ``q_uniform`` by
min, min + q, min + 2 q, ... below max, as W&B does: of 1 to 10 by 2 these are 1, 3, 5, 7 and 9.

The three that take exponents are drawn by ``sweeps`` 0.3.0 and refused by its own check of a sweep: most
files that name them mean values.

Source: W&B, "Sweep configuration options", Parameters; ``sweeps`` 0.3.0, ``params.py`` and
``grid_search.py``; Optuna 5, ``optuna.distributions``.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

from harness.recipe.registry import Value
from harness.study.document import shown

__all__ = [
    "DISTRIBUTIONS",
    "EXPONENTS",
    "MAX_EXACT",
    "POSITIVE_BOUNDS",
    "Distribution",
    "Span",
    "contains",
]

_RANGE: dict[str, Any] = {"min": None, "max": None}
_NORMAL: dict[str, Any] = {"mu": 0.0, "sigma": 1.0}
_BETA: dict[str, Any] = {"a": 1.0, "b": 1.0}
_Q: dict[str, Any] = {"q": 1.0}
DISTRIBUTIONS: Mapping[str, Mapping[str, Any]] = {
    "constant": {"value": None},
    "categorical": {"values": None},
    "categorical_w_probabilities": {"values": None, "probabilities": None},
    "int_uniform": _RANGE,
    "uniform": _RANGE,
    "q_uniform": _RANGE | _Q,
    "log_uniform_values": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "q_log_uniform_values": _RANGE | _Q,
    "normal": _NORMAL,
    "q_normal": _NORMAL | _Q,
    "log_normal": _NORMAL,
    "q_log_normal": _NORMAL | _Q,
    "beta": _BETA,
    "q_beta": _BETA | _Q,
}
"""The arguments of each distribution with W&B's defaults; None marks one that must be given."""

EXPONENTS = {
    "log_uniform": "log_uniform_values",
    "q_log_uniform": "q_log_uniform_values",
    "inv_log_uniform": "inv_log_uniform_values",
}
"""The distributions whose bounds are exponents, and what to write instead."""

POSITIVE_BOUNDS = ("log_uniform_values", "inv_log_uniform_values", "q_log_uniform_values")
MAX_EXACT = 2**53
_LEAST_U = 2.0**-53
_TAIL = 1e-6
"""The share of draws at either end of a distribution without bounds that need not make a recipe."""
# An interior point at which no round number hides that a range over an integer option draws fractions.
_INTERIOR = 0.381966


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What one parameter of a study may be.

    Attributes:
        name: W&B's name of the distribution.
        arguments: all of its arguments, defaults filled in.
        when: the arms it applies to, as the values that keys of the ablation must have; empty is all.
        in_grid: whether ``method: grid`` goes through it, which makes other values of ``q_uniform``.

    Raises:
        ValueError: the arguments describe no distribution.
    """

    name: str
    arguments: Mapping[str, Any]
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    in_grid: bool = False

    def __post_init__(self) -> None:
        if self.interval is None and self.name not in ("constant", "categorical"):
            for value in self.probes:
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError(f"{self.name} reaches {value}; narrow it")

    @property
    def in_steps(self) -> str | None:
        """The distribution that draws the same rounded, or None where there is none."""
        name = self.name.removeprefix("inv_").removeprefix("q_")
        return f"q_{name}" if f"q_{name}" in DISTRIBUTIONS else None

    @property
    def is_searched(self) -> bool:
        """Whether there is anything to choose."""
        return self.name != "constant"

    def spec(self) -> dict[str, Any]:
        """The distribution in the sweep file's own words; `read_distribution` makes an equal one of it."""
        words: dict[str, Any] = dict(self.arguments)
        if self.name != "constant":
            words["distribution"] = self.name
        if self.when:
            words["when"] = {key: list(values) for key, values in self.when.items()}
        return words

    def applies(self, arm: Mapping[str, Value]) -> bool:
        """Whether an arm with these values of the ablation's keys has this parameter."""
        return all(contains(values, arm.get(key)) for key, values in self.when.items())

    def value(self, param: Any) -> Value:
        """The recipe's value for what Optuna stored in `trial.params`: a pure function, after any restart.

        Raises:
            ValueError: `param` is nothing that this distribution draws.
        """
        if self.name == "categorical":
            values = self.arguments["values"]
            if self.by_index and isinstance(param, int) and 0 <= param < len(values):
                return values[param]  # type: ignore[no-any-return]
            if not self.by_index and contains(values, param):
                return param  # type: ignore[no-any-return]
            raise ValueError(f"{shown(param)} is no choice of {shown(values)}")
        found = self.interval or Span(low=0.0, high=1.0)
        if isinstance(param, bool) or not isinstance(param, (int, float)):
            raise ValueError(f"{shown(param)} is no number")
        slack = 1e-9 * max(1.0, abs(found.low), abs(found.high))
        if not found.low - slack <= param <= found.high + slack:
            raise ValueError(f"{param} is outside [{found.low}, {found.high}]")
        param = min(max(param, found.low), found.high)
        if self._is_stepped:
            return _stepped(self.arguments["min"], int(param), self.arguments["q"])
        if found.integer:
            return int(param)
        value = float(param) if self.interval is not None else self._quantile(param)
        q = self.arguments.get("q")
        return value if q is None or not math.isfinite(value / q) else _stepped(0, round(value / q), q)

    def at(self, share: float) -> Value:
        """The value below which a share of what is drawn lies; of `values`, that far down their list.

        Args:
            share: from 0 to 1.
        """
        if self.name == "categorical":
            values = self.arguments["values"]
            return values[min(int(share * len(values)), len(values) - 1)]  # type: ignore[no-any-return]
        found = self.interval
        if found is None:
            return self.value(share)
        if found.integer:
            count = int(found.high - found.low) + 1
            return self.value(int(found.low) + min(int(share * count), count - 1))
        return self.value(found.at(share))

    @cached_property
    def probes(self) -> tuple[Value, ...]:
        """Values that stand for the whole: one inside and both ends, or every choice.

        Where there are no bounds the ends are those of all draws but two in a million: nothing need be
        possible eight deviations from its mean.
        """
        if self.name == "constant":
            return (self.arguments["value"],)
        if self.name.startswith("categorical"):
            return tuple(self.arguments["values"])
        edge = 0.0 if self.interval is not None else _TAIL
        return tuple(self.at(share) for share in (_INTERIOR, edge, 1.0 - edge))

    @property
    def num_points(self) -> int | None:
        """How many values ``method: grid`` goes through; None where they cannot be counted."""
        if self.name == "categorical":
            return len(self._distinct)
        found = self.interval
        return int(found.high - found.low) + 1 if found is not None and found.integer else None

    def point(self, index: int) -> tuple[Any, Value]:
        """A value of the grid after the parameter that is Optuna's for it.

        Args:
            index: from 0 to `num_points` - 1.
        """
        if self.name == "categorical":
            found = self._distinct[index]
            value = self.arguments["values"][found]
            return (found if self.by_index else value), value
        assert self.interval is not None
        param = int(self.interval.low) + index
        return param, self.value(param)

    @cached_property
    def by_index(self) -> bool:
        """Optuna's choices must be scalars that differ by ``==``, which 1, 1.0 and true do not."""
        values = self.arguments["values"]
        plain = all(value is None or isinstance(value, (bool, int, float, str)) for value in values)
        return not plain or len(set(values)) < len(values)

    @cached_property
    def _distinct(self) -> tuple[int, ...]:
        """The indices of the values, each value once: a grid trains no point twice."""
        values = self.arguments["values"]
        return tuple(index for index, value in enumerate(values) if not contains(values[:index], value))

    @cached_property
    def interval(self) -> Span | None:
        """The numbers that are searched; None where a share u in [0, 1] is, and the value is a quantile."""
        if "min" not in self.arguments:
            return None
        low, high = self.arguments["min"], self.arguments["max"]
        if self.name == "int_uniform":
            return Span(low=low, high=high, integer=True)
        if self._is_stepped:
            # The number of values that NumPy's arange has, by whose arithmetic W&B counts them.
            return Span(low=0, high=math.ceil((high - low) / self.arguments["q"]) - 1, integer=True)
        return Span(low=float(low), high=float(high), log="log" in self.name)

    @property
    def _is_stepped(self) -> bool:
        """Whether its values are counted in steps from the least, not rounded."""
        return self.in_grid and self.name == "q_uniform"

    def _quantile(self, u: float) -> Any:
        """The value below which a share u of the distribution lies, before it is rounded."""
        from scipy import stats

        u = min(max(u, _LEAST_U), 1 - _LEAST_U)
        given = self.arguments
        if self.name == "categorical_w_probabilities":
            shares = list(itertools.accumulate(given["probabilities"]))
            likely = [index for index, share in enumerate(given["probabilities"]) if share > 0]
            return given["values"][min(bisect.bisect_right(shares, u * shares[-1]), likely[-1])]
        if self.name.endswith("beta"):
            return float(stats.beta.ppf(u, given["a"], given["b"]))
        found = float(stats.norm.ppf(u, given["mu"], given["sigma"]))
        if not self.name.endswith("log_normal"):
            return found
        return math.exp(found) if found < 709.0 else math.inf


@dataclass(frozen=True, kw_only=True)
class Span:
    """The numbers from low to high, both included.

    Attributes:
        low: the least.
        high: the largest.
        integer: whether only whole numbers are meant.
        log: whether they are searched by their logarithm.
    """

    low: float
    high: float
    integer: bool = False
    log: bool = False

    def at(self, share: float) -> float:
        """The number below which a share of them lies, by their logarithm where `log` says so."""
        if not self.log:
            return (1 - share) * self.low + share * self.high
        found = math.exp((1 - share) * math.log(self.low) + share * math.log(self.high))
        return min(max(found, self.low), self.high)


def contains(values: tuple[Any, ...] | list[Any], value: Any) -> bool:
    """Whether `value` is one of the `values`, where true is not 1, as it is to Python's ``in``."""
    return any(known == value and isinstance(known, bool) == isinstance(value, bool) for known in values)


def _stepped(start: float, count: int, q: float) -> int | float:
    """start + count q: an int where both are whole, and 0.3 rather than 0.30000000000000004 where not."""
    if float(q).is_integer() and float(start).is_integer():
        return int(start) + count * int(q)
    return float(Decimal(str(start)) + Decimal(count) * Decimal(str(q)))
