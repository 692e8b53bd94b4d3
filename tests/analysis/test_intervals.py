"""What `harness.analysis.statistics` and the page say of coverage is what the simulation gives."""

from __future__ import annotations

import html
import math
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks import intervals

import harness.report
from harness.analysis import statistics

NUM = 1500


def _documented(heading: str) -> dict[str, list[float]]:
    """The rows of a table of the module's docstring, by their first words."""
    table = (statistics.__doc__ or "").split(heading)[1].split("\n\n")[0]
    rows = [re.match(r" {4,6}(\S.*?)((?: {2,}\d+\.\d+)+)$", line) for line in table.splitlines()]
    return {row[1].strip(): [float(cell) for cell in row[2].split()] for row in rows if row}


MEANS = _documented("hold the mean, in percent, at n =")
IQMS = _documented("hold the interquartile mean, in percent, at n =")


def _agrees(found: float, percent: float, num: int, documented_num: int) -> bool:
    """Whether two simulated shares are within three standard errors of their difference."""
    share = min(max(percent / 100, 0.01), 0.99)
    return abs(found - share) <= 3.2 * math.sqrt(share * (1 - share) * (1 / num + 1 / documented_num)) + 0.001


def test_every_world_is_documented_at_every_number_of_seeds() -> None:
    assert set(MEANS) - {"at most"} == set(IQMS) == set(intervals.WORLDS)
    assert {len(row) for row in (*MEANS.values(), *IQMS.values())} == {len(intervals.NUM_SEEDS)}


def test_the_simulated_candidate_is_the_interval_that_reports_show() -> None:
    for world in intervals.WORLDS.values():
        for n in (3, 7, 20):
            x = world.draw(np.random.default_rng(n), 20, n)
            ours = [statistics.interval_of_mean(row) for row in x]
            low, high = intervals.chosen_for_means(x)
            assert low == pytest.approx([one.low for one in ours], abs=1e-9)
            assert high == pytest.approx([one.high for one in ours], abs=1e-9)


@pytest.mark.parametrize("title", intervals.WORLDS)
def test_documented_coverage_of_means_is_what_a_smaller_simulation_gives(title: str) -> None:
    for n, percent in zip(intervals.NUM_SEEDS, MEANS[title], strict=True):
        found, _ = intervals.coverage(intervals.chosen_for_means, intervals.WORLDS[title], n, num=NUM)
        assert _agrees(found, percent, NUM, 10_000), (n, found, percent)


@pytest.mark.parametrize("title", intervals.WORLDS)
def test_documented_coverage_of_interquartile_means_is_what_a_smaller_simulation_gives(title: str) -> None:
    for n, percent in zip(intervals.NUM_SEEDS, IQMS[title], strict=True):
        found, _ = intervals.coverage(intervals.chosen_for_iqm, intervals.WORLDS[title], n, num=400, of="iqm")
        assert _agrees(found, percent, 400, 2_000), (n, found, percent)


def test_no_interval_of_values_alone_covers_failures_far_off_more_often_than_they_are_seen() -> None:
    world = intervals.WORLDS["10 % fail, 100 sd off"]
    documented = [100 * intervals.ceiling(world, n) for n in intervals.NUM_SEEDS]
    assert MEANS["at most"] == pytest.approx(documented, abs=0.06)
    for n in (8, 20):
        for name, candidate in intervals.CLOSED.items():
            found, _ = intervals.coverage(candidate, world, n, num=NUM)
            assert found <= intervals.ceiling(world, n) + 0.04, name


def test_the_chosen_interval_has_the_highest_worst_coverage_but_for_an_equal_that_is_wider() -> None:
    chosen = "farther of t and Hall's by G₁ (chosen)"
    worst = {
        name: min(
            intervals.coverage(candidate, intervals.WORLDS[title], n, num=4000)[0]
            for title in intervals.JUDGED
            for n in (3, 5, 8, 20)
        )
        for name, candidate in intervals.CLOSED.items()
    }
    for name, lowest in worst.items():
        if name not in (chosen, "t at 99 %"):
            assert lowest <= worst[chosen] + 0.01, name
    normal = intervals.WORLDS["normal"]
    assert intervals.coverage(intervals.CLOSED["t at 99 %"], normal, 5, num=4000)[0] > 0.98
    widths = [
        intervals.coverage(intervals.CLOSED[name], normal, 8, num=4000)[1]
        for name in (chosen, "farther of t and Hall's by 2 g₁")
    ]
    assert widths[0] < 0.9 * widths[1]


@pytest.mark.parametrize("kind", intervals.KINDS)
def test_equal_arms_are_told_apart_in_at_most_5_percent_of_studies_and_intervals_say_the_same(
    kind: str,
) -> None:
    for n in (7, 10):
        false, _, disagreeing = intervals.decisions(kind, n, num=300, arms=2)
        assert disagreeing == 0
        assert false <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_interval_of_skewed_differences_holds_their_pseudo_median_and_not_their_mean() -> None:
    for n, documented in ((6, 0.967), (20, 0.941)):
        middle, _, stated = intervals.held(n, 1.0, num=600)
        assert stated == 0.95
        assert abs(middle - documented) < 0.03
    assert abs(intervals.held(20, 1.0, num=600)[1] - 0.810) < 0.06


def test_documented_curse_of_the_winner_is_what_a_smaller_simulation_gives() -> None:
    curse = _documented("The winner's curse")
    worse, failing = curse["worse by"], curse["worse by, 10 % failing"]
    for spread, documented, with_failures in zip(intervals.SPREADS, worse, failing, strict=True):
        loss, share, _ = intervals.selection(spread, num=4000)
        assert loss == pytest.approx(documented, abs=0.06)
        assert share > 0.5
        assert intervals.selection(spread, num=4000, failing=0.1)[0] == pytest.approx(with_failures, abs=0.15)


def test_the_page_shows_the_documented_numbers() -> None:
    page = html.unescape(Path(harness.report.__path__[0], "page.html.jinja").read_text(encoding="utf-8"))
    table = page.split('<table class="coverage">')[1].split("</table>")[0]
    rows = [re.findall(r"<t[hd]>(.*?)</t[hd]>", line) for line in table.splitlines() if "<tr>" in line]
    header, *shown = rows
    places = [intervals.NUM_SEEDS.index(int(n)) for n in header[1:]]
    titles = (
        "normal", "log-normal, σ = 1", "t, 2 degrees", "10 % fail, 10 sd off", "10 % fail, 100 sd off"
    )  # fmt: skip
    lowest = [min(IQMS[title][place] for title in titles) for place in range(len(intervals.NUM_SEEDS))]
    expected = [*(MEANS[title] for title in titles), lowest]
    assert [[int(cell) for cell in row[1:]] for row in shown] == [
        [math.floor(row[place] + 0.5) for place in places] for row in expected
    ]
    curse = _documented("The winner's curse")["worse by"]
    words = " ".join(page.split())
    assert "from simulated searches of 12 trials of 2 seeds: fresh seeds are worse" in words
    for place in (0, 2, 4):
        assert f"{curse[place]:.2f}" in words
