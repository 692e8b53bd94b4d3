"""W&B's distributions as Optuna's: what a sweep file may say about one parameter.

| W&B | Optuna |
|---|---|
| ``constant`` (``value``) | nothing to search |
| ``categorical`` (``values``) | Categorical; over indices where Optuna could not tell the values apart |
| ``int_uniform`` (default where both bounds are integers) | Int |
| ``uniform`` (default otherwise) | Float |
| ``log_uniform_values``, ``inv_log_uniform_values`` | Float(log) |
| ``log_uniform``, whose bounds are exponents | Float(e^min, e^max, log) |
| ``inv_log_uniform``, whose bounds are exponents | Float(e^-max, e^-min, log) |
| ``q_uniform`` | Int(step) or Float(step) over the multiples of q inside the bounds |
| ``q_log_uniform``, ``q_log_uniform_values`` | Int(log) where q is 1 and the bounds whole, else quantile |
| ``categorical_w_probabilities``, ``normal``, ``log_normal``, ``beta``, and these with ``q_`` | quantile |

*Quantile* means that Optuna searches u in [0, 1] and the value is the distribution's inverse cumulative
function at u, so any sampler of Optuna's works on it. A rounded (``q_``) value is the nearest multiple of q
that lies in the bounds. The defaults are W&B's: mu 0, sigma 1, a 1, b 1, q 1.

Source: W&B, "Sweep configuration options", Parameters; Optuna 5, ``optuna.distributions``.
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
    "MAX_EXACT",
    "POSITIVE_BOUNDS",
    "Distribution",
    "Span",
    "contains",
    "exp",
    "multiples",
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
    "log_uniform": _RANGE,
    "log_uniform_values": _RANGE,
    "inv_log_uniform": _RANGE,
    "inv_log_uniform_values": _RANGE,
    "q_log_uniform": _RANGE | _Q,
    "q_log_uniform_values": _RANGE | _Q,
    "normal": _NORMAL,
    "q_normal": _NORMAL | _Q,
    "log_normal": _NORMAL,
    "q_log_normal": _NORMAL | _Q,
    "beta": _BETA,
    "q_beta": _BETA | _Q,
}
"""The arguments of each distribution with W&B's defaults; None marks one that must be given."""

POSITIVE_BOUNDS = ("log_uniform_values", "inv_log_uniform_values", "q_log_uniform_values")
_MAX_GRID = 10_000
MAX_EXACT = 2**53
_LEAST_U = 2.0**-53
# An interior point at which no round number hides that a range over an integer option draws fractions.
_INTERIOR = 0.381966


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """What one parameter of a study may be.

    Attributes:
        name: W&B's name of the distribution.
        arguments: all of its arguments, defaults filled in.
        when: the arms it applies to, as the values that keys of the ablation must have; empty is all.

    Raises:
        ValueError: the arguments describe no distribution.
    """

    name: str
    arguments: Mapping[str, Any]
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.interval is None and self.name not in ("constant", "categorical"):
            for value in self.probes:
                if isinstance(value, float) and not math.isfinite(value):
                    raise ValueError(f"{self.name} reaches {value}; narrow it")

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
        if self.interval is None:
            return self._quantile(param)
        if found.integer:
            return int(param)
        return _multiple(round(param / found.step), found.step) if found.step else float(param)

    @cached_property
    def probes(self) -> tuple[Value, ...]:
        """Values that stand for the whole: both ends and one inside, or every choice."""
        if self.name == "constant":
            return (self.arguments["value"],)
        if self.name.startswith("categorical"):
            return tuple(self.arguments["values"])
        found = self.interval
        if found is None:
            return tuple(self._quantile(u) for u in (_INTERIOR, 0.0, 1.0))
        if found.log:
            inside = math.exp((1 - _INTERIOR) * math.log(found.low) + _INTERIOR * math.log(found.high))
        else:
            inside = (1 - _INTERIOR) * found.low + _INTERIOR * found.high
        if found.integer or found.step:
            step = found.step or 1
            inside = found.low + step * round((inside - found.low) / step)
        return tuple(self.value(point) for point in (inside, found.low, found.high))

    def grid(self) -> list[tuple[Any, Value]] | None:
        """Every value after the parameter that is Optuna's for it, or None where they cannot be counted."""
        if self.name == "categorical":
            values = self.arguments["values"]
            return [(index if self.by_index else value, value) for index, value in enumerate(values)]
        found = self.interval
        if found is None or found.log or not (found.integer or found.step):
            return None
        step = found.step or 1
        count = round((found.high - found.low) / step) + 1
        if count > _MAX_GRID:
            return None
        values = [self.value(found.low + step * index) for index in range(count)]
        return [(value, value) for value in values]

    @cached_property
    def by_index(self) -> bool:
        """Optuna's choices must be scalars that differ by ``==``, which 1, 1.0 and true do not."""
        values = self.arguments["values"]
        plain = all(value is None or isinstance(value, (bool, int, float, str)) for value in values)
        return not plain or any(a == b for a, b in itertools.combinations(values, 2))

    @cached_property
    def interval(self) -> Span | None:
        """The numbers that are searched; None where a share u in [0, 1] is, and the value is a quantile."""
        if "min" not in self.arguments:
            return None
        low, high = self.arguments["min"], self.arguments["max"]
        if self.name in ("log_uniform", "q_log_uniform"):
            low, high = exp(low), exp(high)
        elif self.name == "inv_log_uniform":
            low, high = exp(-high), exp(-low)
        if self.name == "int_uniform":
            return Span(low=low, high=high, integer=True)
        if self.name == "q_uniform":
            return self._stepped(low, high)
        if self.name.startswith("q_log_uniform"):
            return self._counted(low, high)
        return Span(low=float(low), high=float(high), log="log" in self.name)

    def _stepped(self, low: float, high: float) -> Span | None:
        q = self.arguments["q"]
        first, last = multiples(low, high, q)
        low, high = float(_multiple(first, q)), float(_multiple(last, q))
        integer = float(q).is_integer()
        # Optuna counts steps in decimals: where float noise would break the last one, search u instead.
        if not integer and (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(q)) != 0:
            return None
        return Span(low=low, high=high, integer=integer, step=int(q) if integer else q)

    def _counted(self, low: float, high: float) -> Span | None:
        near_low, near_high = round(low), round(high)
        whole = math.isclose(low, near_low, rel_tol=1e-9) and math.isclose(high, near_high, rel_tol=1e-9)
        if self.arguments["q"] == 1 and whole and near_low >= 1:
            return Span(low=near_low, high=near_high, integer=True, log=True)
        return None

    def _quantile(self, u: float) -> Value:
        """The value below which a share u of the distribution lies."""
        u = min(max(u, _LEAST_U), 1 - _LEAST_U)
        given = self.arguments
        if self.name == "categorical_w_probabilities":
            shares = list(itertools.accumulate(given["probabilities"]))
            likely = [index for index, share in enumerate(given["probabilities"]) if share > 0]
            index = min(bisect.bisect_right(shares, u * shares[-1]), likely[-1])
            return given["values"][index]  # type: ignore[no-any-return]
        q: float | None = given.get("q")
        if "min" in given:
            assert q is not None
            low, high = given["min"], given["max"]
            if self.name == "q_uniform":
                value = low + u * (high - low)
            else:
                if self.name == "q_log_uniform":
                    low, high = exp(low), exp(high)
                value = math.exp((1 - u) * math.log(low) + u * math.log(high))
            first, last = multiples(low, high, q)
            return _multiple(min(max(round(value / q), first), last), q)
        value = self._ppf(u)
        if q is None or not math.isfinite(value / q):
            return value
        return _multiple(round(value / q), q)

    def _ppf(self, u: float) -> float:
        from scipy import stats

        given = self.arguments
        if self.name.endswith("beta"):
            return float(stats.beta.ppf(u, given["a"], given["b"]))
        if self.name.endswith("log_normal"):
            exponent = float(stats.norm.ppf(u, given["mu"], given["sigma"]))
            return math.exp(exponent) if exponent < 709.0 else math.inf
        return float(stats.norm.ppf(u, given["mu"], given["sigma"]))


@dataclass(frozen=True, kw_only=True)
class Span:
    """The numbers from low to high, both included.

    Attributes:
        low: the least.
        high: the largest.
        integer: whether only whole numbers are meant.
        log: whether they are searched by their logarithm.
        step: distance between two of them from `low` up, or None where all are meant.
    """

    low: float
    high: float
    integer: bool = False
    log: bool = False
    step: float | None = None


def contains(values: tuple[Any, ...] | list[Any], value: Any) -> bool:
    """Whether `value` is one of the `values`, where true is not 1, as it is to Python's ``in``."""
    return any(known == value and isinstance(known, bool) == isinstance(value, bool) for known in values)


def exp(exponent: float) -> float:
    """e to the power of an exponent."""
    return math.exp(exponent)


def multiples(low: float, high: float, q: float) -> tuple[int, int]:
    """The first and the last k with low <= k q <= high, float noise forgiven.

    Args:
        low: least k q.
        high: largest k q.
        q: the step, positive.
    """
    return math.ceil(low / q - 1e-9), math.floor(high / q + 1e-9)


def _multiple(count: int, q: float) -> int | float:
    """count times q: an int where q is whole, and 0.3 rather than 0.30000000000000004 where it is not."""
    if float(q).is_integer():
        return count * int(q)
    return float(Decimal(count) * Decimal(str(q)))
