"""How often runs end in each verdict, and how the report shows what became of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.findings import flags
from harness.analysis.rates import contrasts, finding, rate_of_wrong, rates
from harness.analysis.statistics import binomial_interval, fisher_test
from harness.analysis.summary import Summary, summarise
from harness.engine.bins import SCORE_EDGES
from harness.figures.style import VERDICT_STYLES
from harness.figures.verdicts import ScoreCounts, Strip, score_histogram, score_strips, verdict_timeline
from harness.report import outcomes
from harness.report.outcomes import failures
from harness.report.page import write_report
from harness.report.rates import rates_csv, rates_table
from harness.study.study import Study
from harness.tracking import Histogram, HistoryTracker
from harness.verdict.judge import VERDICTS
from support.synthetic_study import OPTIMIZERS, make_ablation

Pick = Callable[[str, int], str]


def judged(folder: Path, pick: Pick, **changes: Any) -> Path:
    """Give the runs of a study verdicts: `pick` names one for an arm and a seed, or none."""
    for path in sorted(folder.glob("runs/*/result.json")):
        result = json.loads(path.read_text())
        name = pick(result["arm"], result["seed"])
        if name:
            result["verdict"] = verdict(name)
        if name in ("collapsed", "d-saturated"):
            result |= changes
        path.write_text(json.dumps(result))
    return folder


def verdict(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "rule": f"a rule of {name} <b>fired</b>",
        "evidence": {"modes": 0.123456, "d_auc": 0.5},
        "flags": ["off-data"],
        "score": 0.5,
        "step": 8640,
        "since": 4320,
        "timeline": [[0, "immature"], [4320, name], [8640, name]],
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ablation(tmp_path_factory.mktemp("runs"), Study.parse(OPTIMIZERS))


def copied(plain: Path, tmp_path: Path) -> Path:
    folder = tmp_path / plain.name
    for path in plain.rglob("*"):
        target = folder / path.relative_to(plain)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def summary_of(plain: Path, tmp_path: Path, pick: Pick, **changes: Any) -> Summary:
    return summarise(judged(copied(plain, tmp_path), pick, **changes))


def arms(summary: Summary) -> Mapping[str, Any]:
    return {arm.name: arm for arm in summary.arms}


# Statistics


def test_an_exact_interval_is_that_of_clopper_and_pearson() -> None:
    none, all_, some = binomial_interval(0, 8), binomial_interval(8, 8), binomial_interval(2, 8)
    assert (none.low, all_.high) == (0, 1)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 8))  # its closed form
    assert all_.low == pytest.approx(0.025 ** (1 / 8))
    assert some.low == pytest.approx(0.0318540)
    assert some.high == pytest.approx(0.6508558)
    assert np.isnan(binomial_interval(0, 0).low)


def test_fishers_test_is_exact() -> None:
    assert fisher_test(8, 8, 0, 8) == pytest.approx(2 / 12870)  # 1 of 16 choose 8, on either side
    assert fisher_test(3, 3, 0, 3) == pytest.approx(0.1)
    assert fisher_test(4, 8, 4, 8) == pytest.approx(1)
    assert np.isnan(fisher_test(0, 0, 1, 2))


# Rates and sentences


def test_rates_count_every_seed_and_stopped_runs_too(plain: Path, tmp_path: Path) -> None:
    def pick(arm: str, seed: int) -> str:
        return {"adam": "collapsed" if seed < 6 else "healthy"}.get(arm, "healthy")

    summary = summary_of(plain, tmp_path, pick, outcome="stopped", stopped_by="verdict", reason="hopeless")
    adam = rates(arms(summary)["adam"])
    assert list(adam) == list(VERDICTS)
    assert (adam["collapsed"].count, adam["collapsed"].total, adam["healthy"].count) == (6, 8, 2)
    assert rate_of_wrong(arms(summary)["adam"]).share == 0.75
    rows = list(csv.DictReader(io.StringIO(rates_csv(summary))))
    assert len(rows) == 3 * (len(VERDICTS) + 1)
    row = next(row for row in rows if (row["arm"], row["verdict"]) == ("adam", "collapsed"))
    expected = binomial_interval(6, 8)
    assert (row["count"], row["num_runs"], row["rate"]) == ("6", "8", "0.75")
    assert float(row["ci_low"]) == pytest.approx(expected.low, rel=1e-5)
    assert rates_table(summary)[0] == ["arm", "runs", "healthy", "collapsed", "gone wrong", "95 % interval"]
    (worse,) = [found for found in contrasts(summary) if found.p_holm < 0.05]
    assert (worse.arm, worse.other) == ("adam", "rmsprop")
    assert worse.p_holm == pytest.approx(2 * fisher_test(6, 8, 0, 8))
    words = finding(summary)
    assert words[0] == "6 of 24 runs went wrong."
    assert "adam goes wrong more often than rmsprop: 6 of 8 runs against 0 of 8" in words[1]
    assert any("stopped as hopeless" in flag.label for flag in flags(summary))


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({}, ["No run went wrong: all 24 ended healthy or still learning."]),
        ({"adam": 2}, ["2 of 24 runs went wrong.", "is undecided: such differences come about by chance"]),
        ({"adam": 8, "sgd": 8, "rmsprop": 8}, ["All 24 runs went wrong."]),
    ],
)
def test_rates_that_do_not_differ_clearly_are_called_undecided(
    plain: Path, tmp_path: Path, bad: dict[str, int], expected: list[str]
) -> None:
    summary = summary_of(
        plain, tmp_path, lambda arm, seed: "collapsed" if seed < bad.get(arm, 0) else "immature"
    )
    found = finding(summary)
    assert len(found) == len(expected)
    assert all(part in sentence for part, sentence in zip(expected, found, strict=True))


def test_with_too_few_seeds_the_words_say_that_nothing_could_be_found(tmp_path: Path) -> None:
    study = Study.parse(OPTIMIZERS.replace("seeds: 8", "seeds: 2"))
    folder = make_ablation(tmp_path, study)
    summary = summarise(judged(folder, lambda arm, _: "diverged" if arm == "sgd" else "healthy"))
    assert "with so few seeds it would be even if all runs of one did" in finding(summary)[1]


def test_runs_from_before_verdicts_are_said_to_be_missing(plain: Path, tmp_path: Path) -> None:
    assert finding(summarise(plain)) == []
    assert rates_csv(summarise(plain)).count("\n") == 1
    summary = summary_of(plain, tmp_path, lambda arm, _: "healthy" if arm == "adam" else "")
    assert finding(summary)[-1] == "16 runs have no verdict, and are not counted here."
    assert [row[0] for row in rates_table(summary)[1:]] == ["adam"]


# The gallery of failures, and the page


def test_failures_are_grouped_by_verdict_capped_and_counted_and_every_arm_has_its_share(
    plain: Path, tmp_path: Path
) -> None:
    def pick(arm: str, seed: int) -> str:
        return "diverged" if arm == "sgd" and not seed else "healthy" if arm == "rmsprop" else "collapsed"

    summary = summary_of(plain, tmp_path, pick)
    groups = failures(summary, tmp_path)
    assert [(group.verdict, group.count, len(group.shown)) for group in groups] == [
        ("diverged", 1, 1),
        ("collapsed", 15, 6),
    ]
    assert [one.arm for one in groups[1].shown] == ["sgd"] * 3 + ["adam"] * 3
    one = groups[1].shown[0]
    assert one.rule.startswith("A rule of collapsed")
    assert one.when == "From step 4,320 on; trained to the end, 8,640 steps"
    assert one.numbers == (("modes", "0.123"), ("d auc", "0.500"))
    assert (one.samples, one.scores) == (None, None)


def test_the_page_shows_verdicts_and_escapes_what_they_say(plain: Path, tmp_path: Path) -> None:
    folder = judged(
        copied(plain, tmp_path),
        lambda arm, seed: "d-saturated" if arm == "sgd" and seed < 3 else "healthy",
        outcome="stopped",
        stopped_by="verdict",
        reason="hopeless",
    )
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        if result["outcome"] == "stopped":
            result["ledger"] |= {"discriminator_steps": 4320, "saved_steps": 4320}
            history = HistoryTracker(path.with_name("history.jsonl"), resume_step=10_000)
            counts = [0] * 30 + [5, 7] + [0] * 32
            some = Histogram.trimmed(counts, SCORE_EDGES.tolist())
            for step in (2000, 4320):
                history.histograms({"train/d_real_hist": some, "train/d_fake_hist": some}, step)
            history.close()
            path.write_text(json.dumps(result))
    page = (write_report(folder) / "index.html").read_text()
    assert "d-saturated: 3 runs" in page
    assert "A rule of d-saturated &lt;b&gt;fired&lt;/b&gt;." in page
    assert "<b>fired</b>" not in page
    assert "3 of 24 runs went wrong." in page
    assert "Stopped early: 3 as hopeless, which saved 12,960 discriminator" in page
    names = {path.stem for path in (folder / "report" / "figures").glob("*.png")}
    assert {"verdicts", "score_strips"} <= names
    assert len([name for name in names if name.startswith("scores_")]) == 3
    assert "verdicts" in {path.stem for path in (folder / "report" / "figures").glob("*.pdf")}
    assert r"\%" in (folder / "report" / "verdicts.tex").read_text()


def test_scores_of_runs_are_added_up_and_unknown_bins_left_alone() -> None:
    edges = SCORE_EDGES.tolist()
    first = {"train/d_real_hist": [(10, Histogram.trimmed([0, 2, 1, *[0] * 61], edges))]}
    second = {
        "train/d_real_hist": [(10, Histogram.trimmed([1, *[0] * 63], edges))],
        "train/d_fake_hist": [(20, Histogram.trimmed([*[0] * 63, 4], edges))],
    }
    found = outcomes._score_counts("arm", [first, second, {}])
    assert found is not None
    assert found.steps.tolist() == [10, 20]
    assert found.real[0, :3].tolist() == [1, 2, 1]
    assert (found.real.sum(), found.fake.sum(), found.fake[1, 63]) == (4, 4, 4)
    assert outcomes._score_counts("arm", [{}]) is None
    assert outcomes._score_counts("arm", [{"train/d_real_hist": [(1, Histogram((1,), (0.0, 0.7)))]}]) is None


# Figures


def test_every_verdict_has_a_look_that_grey_print_keeps_apart() -> None:
    assert set(VERDICT_STYLES) == set(VERDICTS)
    assert len({style.letter for style in VERDICT_STYLES.values()}) == len(VERDICTS)

    def luma(colour: str) -> float:
        red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    greys = sorted(luma(style.colour) for style in VERDICT_STYLES.values())
    assert min(np.diff(greys)) > 0.12


def test_figures_of_verdicts_and_scores_stand_odd_input_and_are_the_same_bytes_again(tmp_path: Path) -> None:
    strips = [
        Strip(arm="a", label="0", timeline=[(0, "immature"), (50, "healthy")], end=50, planned=50),
        Strip(arm="a", label="1", timeline=[(0, "diverged")], end=0, planned=0),
        Strip(
            arm="an arm with a very long name, longer than a line", label="0", timeline=[], end=0, planned=0
        ),
        Strip(arm="b", label="7", timeline=[(0, "immature"), (20, "collapsed")], end=30, planned=90),
    ]
    nothing = np.zeros((1, 64), dtype=np.int64)
    some = nothing.copy()
    some[0, [0, 63]] = 9
    for name in ("first", "again"):
        folder = tmp_path / name
        folder.mkdir()
        verdict_timeline(strips, folder / "verdicts")
        arms_ = [
            ScoreCounts(label="a", steps=np.array([5.0]), real=some, fake=nothing),
            ScoreCounts(label="b", steps=np.array([5.0]), real=nothing, fake=nothing),
        ]
        score_strips(arms_, SCORE_EDGES, folder / "strips")
        score_histogram(arms_[0], SCORE_EDGES, folder / "scores")
    written = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert written == [
        f"{stem}.{kind}" for stem in ("scores", "strips", "verdicts") for kind in ("pdf", "png")
    ]
    for name in written:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
