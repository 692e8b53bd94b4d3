"""A study's distributions as Optuna's."""

from __future__ import annotations

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import BaseTrial

from harness.recipe.registry import Value
from harness.study.space import Distribution, Span

__all__ = ["optuna_distribution", "suggest"]


def optuna_distribution(found: Distribution) -> BaseDistribution:
    """The distribution that Optuna samples; see the table of `harness.study.space`."""
    assert found.is_searched
    if found.name == "categorical":
        values = found.arguments["values"]
        return CategoricalDistribution(list(range(len(values))) if found.by_index else values)
    span = found.interval or Span(low=0.0, high=1.0)
    if span.integer:
        return IntDistribution(int(span.low), int(span.high))
    return FloatDistribution(span.low, span.high, log=span.log)


def suggest(found: Distribution, trial: BaseTrial, key: str) -> Value:
    """Ask a trial for a parameter.

    Args:
        found: what the parameter may be.
        trial: the trial.
        key: the parameter's name in the trial.

    Returns:
        The recipe's value, of the type that the distribution draws.
    """
    space = optuna_distribution(found)
    if isinstance(space, CategoricalDistribution):
        return found.value(trial.suggest_categorical(key, space.choices))
    if isinstance(space, IntDistribution):
        return found.value(trial.suggest_int(key, space.low, space.high))
    assert isinstance(space, FloatDistribution)
    return found.value(trial.suggest_float(key, space.low, space.high, log=space.log))
