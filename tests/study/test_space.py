"""Distributions of a sweep file against their definitions, and against what W&B's own package draws."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from harness.recipe.registry import Value
from harness.search.space import optuna_distribution, suggest
from harness.study.parameters import read_distribution
from harness.study.space import DISTRIBUTIONS, Distribution
from harness.study.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)

NUM_SAMPLES = 1500
NUM_RECORDED = 100_000


def read(spec: dict[str, Any]) -> Distribution:
    return read_distribution(spec, ("parameters", "x"))


def samples(found: Distribution, num_samples: int = NUM_SAMPLES) -> list[Value]:
    """Values that a random search draws, through Optuna, one parameter a sample."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=7))
    trial = study.ask()
    return [suggest(found, trial, f"x{index}") for index in range(num_samples)]


def rounded(cdf: Callable[[float], float], q: float) -> Callable[[float], float]:
    """The cumulative function of round(X / q) q."""
    return lambda x: cdf(x + q / 2)


LOG = stats.loguniform
CASES: dict[str, tuple[dict[str, Any], Callable[[float], float], float, float, type]] = {
    # name: the file's words, the cumulative function, lowest and highest value, type
    "int_uniform": ({"min": 2, "max": 9}, stats.randint(2, 10).cdf, 2, 9, int),
    "int_uniform named": (
        {"distribution": "int_uniform", "min": -3, "max": 4},
        stats.randint(-3, 5).cdf,
        -3,
        4,
        int,
    ),
    "uniform": ({"min": 0.5, "max": 2}, stats.uniform(0.5, 1.5).cdf, 0.5, 2, float),
    "uniform named": ({"distribution": "uniform", "min": 0, "max": 1}, stats.uniform(0, 1).cdf, 0, 1, float),
    "log_uniform_values": (
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        LOG(1e-5, 1e-1).cdf,
        1e-5,
        1e-1,
        float,
    ),
    "inv_log_uniform_values": (
        {"distribution": "inv_log_uniform_values", "min": 0.01, "max": 10},
        lambda x: 1 - float(stats.uniform(math.log(0.1), math.log(1000)).cdf(math.log(1 / x))),
        0.01,
        10,
        float,
    ),
    "q_uniform": (
        {"distribution": "q_uniform", "min": 0, "max": 40},
        rounded(stats.uniform(0, 40).cdf, 1),
        0,
        40,
        int,
    ),
    "q_uniform 8": (
        {"distribution": "q_uniform", "min": 10, "max": 70, "q": 8},
        rounded(stats.uniform(10, 60).cdf, 8),
        8,
        72,
        int,
    ),
    "q_uniform 0.1": (
        {"distribution": "q_uniform", "min": 0.1, "max": 0.9, "q": 0.1},
        rounded(stats.uniform(0.1, 0.8).cdf, 0.1),
        0.1,
        0.9,
        float,
    ),
    "q_log_uniform_values 1": (
        {"distribution": "q_log_uniform_values", "min": 32, "max": 256},
        rounded(LOG(32, 256).cdf, 1),
        32,
        256,
        int,
    ),
    "q_log_uniform_values 0.25": (
        {"distribution": "q_log_uniform_values", "min": 0.5, "max": 8, "q": 0.25},
        rounded(LOG(0.5, 8).cdf, 0.25),
        0.5,
        8,
        float,
    ),
    "q_log_uniform_values 10": (
        {"distribution": "q_log_uniform_values", "min": 15, "max": 205, "q": 10},
        rounded(LOG(15, 205).cdf, 10),
        20,
        200,
        int,
    ),
    "normal": ({"distribution": "normal"}, stats.norm(0, 1).cdf, -9, 9, float),
    "normal 2": ({"distribution": "normal", "mu": 3, "sigma": 0.1}, stats.norm(3, 0.1).cdf, 2, 4, float),
    "q_normal": (
        {"distribution": "q_normal", "mu": 50, "sigma": 5},
        rounded(stats.norm(50, 5).cdf, 1),
        0,
        100,
        int,
    ),
    "q_normal 0.5": (
        {"distribution": "q_normal", "q": 0.5},
        rounded(stats.norm(0, 1).cdf, 0.5),
        -9,
        9,
        float,
    ),
    "log_normal": (
        {"distribution": "log_normal", "mu": -7, "sigma": 0.5},
        stats.lognorm(s=0.5, scale=math.exp(-7)).cdf,
        0,
        0.1,
        float,
    ),
    "q_log_normal": (
        {"distribution": "q_log_normal", "mu": 4, "sigma": 0.3},
        rounded(stats.lognorm(s=0.3, scale=math.exp(4)).cdf, 1),
        0,
        1000,
        int,
    ),
    "beta": ({"distribution": "beta", "a": 2, "b": 5}, stats.beta(2, 5).cdf, 0, 1, float),
    "beta default": ({"distribution": "beta"}, stats.uniform(0, 1).cdf, 0, 1, float),
    "q_beta": (
        {"distribution": "q_beta", "a": 2, "b": 3, "q": 0.1},
        rounded(stats.beta(2, 3).cdf, 0.1),
        0,
        1,
        float,
    ),
}


def test_distribution_draws_what_wandb_documents(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case=case):
            spec, cdf, low, high, kind = CASES[case]
            found = read(spec)
            drawn = samples(found)
            assert {type(value) for value in drawn} == {kind}
            assert low - 1e-12 <= min(drawn)
            assert max(drawn) <= high + 1e-12
            values, counts = np.unique(np.asarray(drawn, dtype=float), return_counts=True)
            below = np.cumsum(counts) / len(drawn)
            distance = max(abs(float(cdf(x)) - share) for x, share in zip(values, below, strict=True))
            # Kolmogorov's distance at p = 0.001 for continuous values; a step function stays below it.
            assert distance < 1.95 / math.sqrt(len(drawn))


def test_value_is_rebuilt_from_a_journals_params(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case=case):
            found = read(CASES[case][0])
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
            for _ in range(5):
                trial = study.ask({"x": optuna_distribution(found)})
                stored = json.loads(json.dumps(trial.params["x"]))
                assert suggest(found, trial, "x") == found.value(stored)
                assert type(found.value(stored)) is type(found.value(trial.params["x"]))


def test_distribution_survives_its_own_words(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case=case):
            found = read(CASES[case][0])
            assert read(json.loads(json.dumps(found.spec()))) == found


def test_probes_hold_both_ends(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case=case):
            found = read(CASES[case][0])
            _, _, low, high, kind = CASES[case]
            assert all(type(probe) is kind for probe in found.probes)
            assert all(low - 1e-9 <= probe <= high + 1e-9 for probe in found.probes)
            drawn = samples(found, 200)
            assert min(found.probes) <= min(drawn)
            assert max(drawn) <= max(found.probes)


def test_every_distribution_of_the_table_is_tested() -> None:
    tested = {read(spec).name for spec, *_ in CASES.values()}
    assert tested | {"constant", "categorical", "categorical_w_probabilities"} == set(DISTRIBUTIONS)


RECORDED: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "wandb_draws.json").read_text(encoding="utf-8")
)["draws"]


def furthest(drawn: Sequence[Value], shares: Mapping[str, float]) -> float:
    """Kolmogorov's distance of draws from shares at or below some values, float noise forgiven."""
    ordered = np.sort(np.asarray(drawn, dtype=float))
    return max(
        abs(
            np.searchsorted(ordered, float(x) + 1e-9 * max(1.0, abs(float(x))), "right") / len(ordered)
            - share
        )
        for x, share in shares.items()
    )


def test_random_search_draws_what_wandbs_own_package_draws(subtests: pytest.Subtests) -> None:
    for case, recorded in RECORDED.items():
        with subtests.test(case=case):
            found = read(recorded["spec"])
            # At p = 0.001, for as many draws as here and for those recorded.
            assert furthest(samples(found), recorded["at_or_below"]) < 1.95 * math.sqrt(
                1 / NUM_SAMPLES + 1e-5
            )


def test_quantiles_are_those_of_what_wandbs_own_package_draws(subtests: pytest.Subtests) -> None:
    for case, recorded in RECORDED.items():
        with subtests.test(case=case):
            found = read(recorded["spec"])
            even = [found.at((index + 0.5) / 20_000) for index in range(20_000)]
            if found.name != "categorical":
                assert even == sorted(even, key=float)
            assert furthest(even, recorded["at_or_below"]) < 1.95 / math.sqrt(NUM_RECORDED)
            assert min(found.probes) <= recorded["least"] + 1e-5 * abs(recorded["least"])
            assert max(found.probes) >= recorded["largest"] - 1e-5 * abs(recorded["largest"])


def test_every_distribution_is_compared_with_wandbs_own_package() -> None:
    assert {read(recorded["spec"]).name for recorded in RECORDED.values()} == set(DISTRIBUTIONS) - {
        "constant"
    }


GRIDS = [
    # What `sweeps` 0.3.0 goes through, in its order.
    ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 2}, [1, 3, 5, 7, 9]),
    ({"distribution": "q_uniform", "min": 0.0, "max": 0.5, "q": 0.25}, [0.0, 0.25]),
    ({"distribution": "q_uniform", "min": 0.1, "max": 0.4, "q": 0.1}, [0.1, 0.2, 0.3, 0.4]),
    ({"distribution": "q_uniform", "min": 1, "max": 3}, [1, 2]),
    ({"min": 1, "max": 3}, [1, 2, 3]),
    ({"values": [1, 2, 1, 1.0, True]}, [1, 2, True]),
    ({"values": ["b", "a"]}, ["b", "a"]),
]


def test_a_grid_goes_through_the_values_of_wandbs(subtests: pytest.Subtests) -> None:
    for spec, expected in GRIDS:
        with subtests.test(spec=spec):
            found = dataclasses.replace(read(spec), in_grid=True)
            assert found.num_points == len(expected)
            points = [found.point(index) for index in range(len(expected))]
            assert [value for _, value in points] == expected
            assert [type(value) for _, value in points] == [type(value) for value in expected]
            assert [found.value(json.loads(json.dumps(param))) for param, _ in points] == expected


def test_a_grid_goes_through_no_other_distribution(subtests: pytest.Subtests) -> None:
    for case, recorded in RECORDED.items():
        with subtests.test(case=case):
            found = dataclasses.replace(read(recorded["spec"]), in_grid=True)
            countable = found.name in ("categorical", "int_uniform", "q_uniform")
            assert (found.num_points is not None) == countable


def test_a_value_listed_twice_is_drawn_twice_as_often() -> None:
    drawn = samples(read({"values": [64, 128, 64]}))
    assert drawn.count(64) / len(drawn) == pytest.approx(2 / 3, abs=0.05)


TABLE = [
    ({"distribution": "log_uniform_values", "min": 1e-5, "max": 0.1}, ("float", 1e-5, 0.1, True, None)),
    ({"min": 1, "max": 4}, ("int", 1, 4, False, 1)),
    ({"min": 1, "max": 4.0}, ("float", 1.0, 4.0, False, None)),
    ({"distribution": "q_uniform", "min": 0, "max": 9, "q": 3}, ("float", 0.0, 9.0, False, None)),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, ("float", 0.0, 1.0, False, None)),
    ({"distribution": "q_log_uniform_values", "min": 1, "max": 64}, ("float", 1.0, 64.0, True, None)),
    (
        {"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 2},
        ("float", 1.0, 64.0, True, None),
    ),
    ({"distribution": "normal"}, ("float", 0.0, 1.0, False, None)),
]


def test_optuna_is_given_the_distribution_of_the_table(subtests: pytest.Subtests) -> None:
    for spec, expected in TABLE:
        with subtests.test(spec=spec):
            space = optuna_distribution(read(spec))
            assert isinstance(
                space, (optuna.distributions.FloatDistribution, optuna.distributions.IntDistribution)
            )
            kind = "int" if isinstance(space, optuna.distributions.IntDistribution) else "float"
            assert (kind, space.low, space.high, space.log, space.step) == pytest.approx(expected)


def test_int_stays_int_all_the_way_into_the_recipe() -> None:
    study = Study.parse(
        "recipe: points-gan\nmetric: {name: sliced_w2}\nmethod: random\nrun_cap: 5\nparameters:\n"
        "  train.epochs: {distribution: q_log_uniform_values, min: 2, max: 64}\n"
        "  train.batch_size: {distribution: q_uniform, min: 16, max: 64, q: 16}\n"
        "  train.discriminator_steps: {min: 1, max: 5}\n"
        "  optimizer.lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-2}\n"
    )
    (arm,) = study.arms
    search = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(10):
        trial = search.ask({key: optuna_distribution(found) for key, found in study.space(arm).items()})
        recipe = study.trial_recipe(arm, json.loads(json.dumps(trial.params)))
        assert type(recipe.train.epochs) is int
        assert type(recipe.train.discriminator_steps) is int
        assert recipe.train.batch_size in (16, 32, 48, 64)
        assert recipe.generator_optimizer.options["lr"] == trial.params["optimizer.lr"]
        assert recipe.discriminator_optimizer.options["lr"] == trial.params["optimizer.lr"]


def search_of(parameters: str) -> Study:
    head = "recipe: points-gan\nmetric: {name: sliced_w2}\nmethod: random\nrun_cap: 4\nparameters:\n  "
    return Study.parse(head + parameters + "\n")


@pytest.mark.parametrize(
    "parameter",
    [
        "train.batch_size: {distribution: q_normal, mu: 64, sigma: 8, q: 8}",
        "train.epochs: {distribution: q_log_normal, mu: 3, sigma: 0.5}",
        "optimizer.momentum: {distribution: normal, mu: 0.5, sigma: 0.1}",
    ],
)
def test_what_one_draw_in_a_million_would_be_is_no_reason_to_refuse_a_search(parameter: str) -> None:
    assert search_of(parameter).kind == "search"


@pytest.mark.parametrize(
    ("drawn", "rounded"),
    [
        ("min: 16.0, max: 64.0", "min: 16.0, max: 64.0, distribution: q_uniform, q: 1"),
        (
            "distribution: log_uniform_values, min: 16, max: 64",
            "distribution: q_log_uniform_values, q: 1, min: 16, max: 64",
        ),
        ("distribution: normal, mu: 64, sigma: 8", "distribution: q_normal, q: 1, mu: 64, sigma: 8"),
        (
            "distribution: q_uniform, min: 16, max: 64, q: 0.5",
            "distribution: q_uniform, q: 1, min: 16, max: 64",
        ),
    ],
)
def test_fractions_for_a_whole_number_are_rounded_as_the_message_says(drawn: str, rounded: str) -> None:
    name = "|".join(re.findall(r"distribution: (\w+)", rounded))
    with pytest.raises(
        ValueError, match=rf"an integer, but got .* draws; write distribution: {name}, q: 1\."
    ):
        search_of(f"train.batch_size: {{{drawn}}}")
    found = search_of(f"train.batch_size: {{{rounded}}}").parameters["train.batch_size"]
    assert {type(value) for value in samples(found, 50)} == {int}


def test_categorical_draws_every_value_evenly() -> None:
    found = read({"values": ["a", "b", "c"]})
    drawn = samples(found)
    for value in ("a", "b", "c"):
        assert drawn.count(value) / len(drawn) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("values", [[1, True, 1.0], [0, False], [[1, 2], [3]], [{"a": 1}, {"a": 2}]])
def test_values_that_optuna_would_confuse_are_searched_by_index(values: list[Any]) -> None:
    found = read({"values": values})
    assert list(optuna_distribution(found).choices) == list(range(len(values)))  # type: ignore[attr-defined]
    assert [found.value(index) for index in range(len(values))] == values
    assert [type(found.value(index)) for index in range(len(values))] == [type(value) for value in values]


def test_categorical_with_probabilities_keeps_them() -> None:
    found = read({"values": ["a", "b", "never"], "probabilities": [0.8, 0.2, 0.0]})
    drawn = samples(found)
    assert drawn.count("a") / len(drawn) == pytest.approx(0.8, abs=0.05)
    assert "never" not in drawn
    assert found.value(0.0) == "a"
    assert found.value(1.0) == "b"


def test_a_constant_is_not_searched() -> None:
    found = read({"distribution": "constant", "value": 3})
    assert not found.is_searched
    assert found.probes == (3,)


def test_ends_of_u_give_finite_values() -> None:
    for name in ("normal", "log_normal", "beta", "q_normal"):
        found = read({"distribution": name})
        assert math.isfinite(float(found.value(0.0)))
        assert math.isfinite(float(found.value(1.0)))


ELSEWHERE = [
    ({"min": 1, "max": 4}, 5),
    ({"min": 1, "max": 4}, "2"),
    ({"min": 1, "max": 4}, True),
    ({"values": ["a"]}, "b"),
    ({"values": [1, 2]}, True),
    ({"values": [[1], [2]]}, 2),
    ({"distribution": "normal"}, 1.5),
]


def test_a_param_of_another_space_is_refused(subtests: pytest.Subtests) -> None:
    for spec, param in ELSEWHERE:
        with subtests.test(spec=spec, param=param), pytest.raises(ValueError, match=r"is no|outside"):
            read(spec).value(param)


WRONG = [
    ({"min": 3, "max": 1}, r"`parameters\.x\.min` must be below .* but got 3 and 1; swap them"),
    ({"min": 1, "max": 1}, r"must be below .*\{value: 1\}"),
    ({"min": 1}, r"`parameters\.x` has no `max`, which uniform needs"),
    ({"min": "a", "max": 1}, r"`parameters\.x\.min` must be a number, but got 'a'"),
    ({"min": "1e-5", "max": 1}, r"must be a number, but got '1e-5'; write 1e-5 without quotes\."),
    ({"min": True, "max": 2}, r"must be a number, but got True"),
    ({"min": 0.0, "max": math.inf}, r"`parameters\.x\.max` must be finite, but got inf"),
    ({"min": math.nan, "max": 1.0}, r"must be finite, but got nan"),
    ({"min": -1e308, "max": 1.7e308}, r"wider than numbers go"),
    ({"min": 0, "max": 2**60}, r"must be an integer up to 2\*\*53"),
    ({"min": 0, "max": 1, "q": 1}, r"add distribution: q_uniform"),
    ({"values": []}, r"must be a list of at least one value, but got \[\]"),
    ({"values": 3}, r"must be a list of at least one value, but got 3"),
    ({"values": list(range(5000))}, r"lists 5000 values; at most 1000 are read"),
    ({"values": [1, 2], "probabilities": [1]}, r"has 1 entries for 2 values"),
    ({"values": [1, 2], "probabilities": [0.5, 0.6]}, r"must add up to 1, but add up to 1\.1"),
    ({"values": [1, 2], "probabilities": [1.5, -0.5]}, r"must be zero or more, but got -0\.5"),
    (
        {"distribution": "unifrm", "min": 0, "max": 1},
        r"unknown distribution 'unifrm'; did you mean `uniform`",
    ),
    ({"distribution": ["a"]}, r"unknown distribution \['a'\]"),
    ({"distribution": "uniform", "min": 0, "mx": 1}, r"no argument `mx`; did you mean `max`"),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, r"must be positive, but got 0"),
    ({"distribution": "log_uniform", "min": 0, "max": 9999}, r"exponents.*log_uniform_values"),
    (
        {"distribution": "log_uniform"},
        r"log_uniform_values, as W&B asks too, with values as bounds\.",
    ),
    ({"distribution": "log_uniform", "min": "a", "max": 1}, r"exponents.*log_uniform_values"),
    ({"distribution": "log_unifrm", "min": 1, "max": 2}, r"did you mean `log_uniform_values`\?"),
    ({"distribution": "normal", "sigma": 0, "mu": 2}, r"`parameters\.x\.sigma` .* got 0: W&B .*\{value: 2\}"),
    ({"distribution": "log_normal", "sigma": 0}, r"draws nan; write \{value: 1\.0\}"),
    ({"distribution": "beta", "b": 0}, r"`parameters\.x\.b` .* draws nan; write b: 1"),
    ({"distribution": "normal", "sigma": -1}, r"must be zero or more, but got -1"),
    ({"distribution": "log_normal", "sigma": 500}, r"log_normal reaches inf; narrow it"),
    ({"distribution": "beta", "a": -1}, r"must be zero or more, but got -1"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, r"q` must be positive, but got 0"),
    (
        {"distribution": "q_uniform", "min": 1, "max": 2, "q": 10},
        r"`parameters\.x\.q` 10 is too coarse: W&B rounds all that it draws in \[1, 2\] to 0; make q smaller",
    ),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-300}, r"too fine"),
    ({"valeus": [1]}, r"unknown key `valeus`; did you mean `values`"),
    ({}, r"says nothing to search"),
    ([1, 2], r"must say what to search, but got \[1, 2\]; write \{values: \[1, 2\]\}"),
    (3, r"must say what to search, but got 3; write \{value: 3\}"),
]


def test_a_wrong_parameter_is_named_with_its_fix(subtests: pytest.Subtests) -> None:
    for spec, message in WRONG:
        with subtests.test(spec=spec):
            with pytest.raises(ValueError, match=message) as caught:
                read(spec)
            assert "\n" not in str(caught.value)


EXPONENTS = [
    # the file's words, the range of its bounds as exponents, the range as values
    ({"distribution": "log_uniform", "min": 0.0001, "max": 0.1}, (1.0001, 1.10517), (0.0001, 0.1)),
    ({"distribution": "log_uniform", "min": -12, "max": -3}, (6.14421e-06, 0.0497871), None),
    ({"distribution": "q_log_uniform", "min": 1, "max": 4, "q": 2}, (2.71828, 54.5982), (1, 4)),
    ({"distribution": "inv_log_uniform", "min": 1, "max": 4}, (0.0183156, 0.367879), (1, 4)),
    ({"distribution": "log_uniform", "min": 1e-9, "max": 2e-9}, (1 + 1e-9, 1 + 2e-9), (1e-9, 2e-9)),
]


def test_exponents_are_refused_with_the_range_of_either_reading_and_the_advice_works(
    subtests: pytest.Subtests,
) -> None:
    for spec, powers, values in EXPONENTS:
        with subtests.test(spec=spec):
            with pytest.raises(ValueError, match=r"the bounds of \w+ are exponents of e") as caught:
                read(spec)
            message = str(caught.value)
            by = f"by values {values[0]:g} to {values[1]:g};" if values else "by values nothing;"
            assert by in message
            advised = re.search(r"distribution: (\w+), as W&B.* min: (\S+), max: (\S+)\.$", message)
            assert advised is not None, message
            name, low, high = advised[1], float(advised[2]), float(advised[3])
            assert (low, high) == pytest.approx(powers, rel=1e-12)
            by_exponents = read(spec | {"distribution": name, "min": low, "max": high})
            assert (by_exponents.interval.low, by_exponents.interval.high) == (low, high)  # type: ignore[union-attr]
            if values:
                by_values = read(spec | {"distribution": name})
                assert (by_values.interval.low, by_values.interval.high) == values  # type: ignore[union-attr]
