import base64
import csv
import io
import json
import math
import re
import shlex
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.analysis.findings import answers, choices, flags, headline
from harness.analysis.statistics import (
    interquartile_mean,
    interval_of_iqm,
    interval_of_mean,
    pseudo_median,
    signed_rank_interval,
    signed_rank_test,
)
from harness.analysis.summary import summarise
from harness.cli.options import read_settings
from harness.planning.plan_file import read_planned
from harness.recipe import find_recipe, run_id
from harness.report.page import write_report
from harness.study.study import Study
from harness.words import in_words, rounded
from support.synthetic_study import (
    OPTIMIZERS,
    SEARCH,
    TUNED,
    end_score,
    make_ablation,
    make_search,
    plan_study,
)

BYTES = (
    "table.csv",
    "table.md",
    "table.tex",
    "comparisons.csv",
    "verdicts.csv",
    "verdicts.md",
    "verdicts.tex",
)


@pytest.fixture(scope="module")
def optimizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished ablation of 24 runs, without pictures; not to be changed."""
    folder = make_ablation(tmp_path_factory.mktemp("runs"), Study.parse(OPTIMIZERS))
    write_report(folder)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "img":
            self.images.append(values["src"] or "")
            assert values.get("alt")
        for key in ("href", "src"):
            if key in values and tag != "img":
                self.links.append(values[key] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style",):
            self.text += data


def _page(folder: Path) -> _Page:
    return _Page((folder / "report" / "index.html").read_text())


def test_report_leaves_every_file_that_is_promised(optimizers: Path) -> None:
    report = optimizers / "report"
    assert {path.name for path in report.iterdir()} == {*BYTES, "figures", "index.html"}
    stems = ("arms", "cost", "score_curves", "loss_curves", "metric_curves")
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")}
    assert {path.name for path in (report / "figures").iterdir()} == expected


def test_table_has_the_values_that_its_columns_name(optimizers: Path) -> None:
    rows = {row["arm"]: row for row in _rows(optimizers / "report" / "table.csv")}
    assert list(rows) == ["rmsprop", "sgd", "adam"]
    for arm, row in rows.items():
        values = [end_score(arm, seed) for seed in range(8)]
        assert row["optimizer.name"] == arm
        assert (row["num_seeds"], row["num_failed"]) == ("8", "0")
        assert float(row["mean"]) == pytest.approx(sum(values) / 8, rel=1e-5)
        assert float(row["iqm"]) == pytest.approx(interquartile_mean(values), rel=1e-5)
        assert float(row["ci_low"]) < float(row["mean"]) < float(row["ci_high"])
        around = interval_of_iqm(values)
        assert float(row["iqm_ci_low"]) == pytest.approx(around.low, rel=1e-5)
        assert float(row["iqm_ci_high"]) == pytest.approx(around.high, rel=1e-5)
        assert row["sliced_w2_last"] == row["mean"]
        assert float(row["sliced_w2_best"]) <= float(row["mean"])
        assert float(row["sliced_w2_area"]) > 0
        assert (row["modes_mean"], row["modes_ci_low"], row["modes_ci_high"]) == ("4", "4", "4")
        assert 0 < float(row["coverage_iqm"]) <= 1


def test_the_last_score_on_the_half_of_the_best_stands_beside_it_and_says_so(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS), diverged={("adam", 2)})
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        halves = {"select": 0.2, "report": 0.3, "last": 0.4, "fresh": result["outcome"] == "completed"}
        result["best_checkpoint"] = {"metric": "sliced_w2", "step": 27, **halves}
        path.write_text(json.dumps(result))
    write_report(folder)
    rows = {row["arm"]: row for row in _rows(folder / "report" / "table.csv")}
    assert rows["sgd"]["sliced_w2_last_on_half"] == "0.4"
    # The failed run counts with its untrained score, here as everywhere.
    assert float(rows["adam"]["sliced_w2_last_on_half"]) == pytest.approx((7 * 0.4 + 0.59) / 8)
    _, _, caption, _, header, *_ = (folder / "report" / "table.md").read_text().splitlines()
    assert "| at the end (half) | best (half) | over training |" in header
    assert "In 23 of 24 runs both are scored on latents that had no part in the choice." in caption


def test_comparisons_have_the_columns_promised_and_the_paired_values(optimizers: Path) -> None:
    rows = _rows(optimizers / "report" / "comparisons.csv")
    columns = "baseline,arm,num_pairs,difference,ci_low,ci_high,ci_level,mean_difference,p_value,p_holm"
    assert list(rows[0]) == [*columns.split(","), "probability_of_improvement", "decision", "absurd"]
    assert [(row["baseline"], row["arm"], row["decision"]) for row in rows] == [
        ("rmsprop", "sgd", "worse"),
        ("rmsprop", "adam", "worse"),
    ]
    differences = [end_score("adam", seed) - end_score("rmsprop", seed) for seed in range(8)]
    assert float(rows[1]["difference"]) == pytest.approx(pseudo_median(differences), rel=1e-5)
    assert float(rows[1]["mean_difference"]) == pytest.approx(sum(differences) / 8, rel=1e-5)
    ends = signed_rank_interval(differences, level=0.025)
    assert (float(rows[1]["ci_low"]), float(rows[1]["ci_high"])) == pytest.approx(
        (ends.low, ends.high), rel=1e-5
    )
    assert [row["ci_level"] for row in rows] == ["0.975", "0.975"]  # the two p-values are equal
    assert [row["num_pairs"] for row in rows] == ["8", "8"]
    assert float(rows[1]["p_value"]) == signed_rank_test(differences) == 2**-7
    assert float(rows[1]["p_holm"]) == 2**-6


def test_tables_are_the_same_bytes_whenever_and_wherever_they_are_written(
    optimizers: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / "optimizers"
    shutil.copytree(optimizers, copy, ignore=shutil.ignore_patterns("report"))
    for path in copy.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        result["ledger"]["elapsed_sec"] *= 7
        path.write_text(json.dumps(result))
    write_report(copy)
    for name in BYTES:
        assert (copy / "report" / name).read_bytes() == (optimizers / "report" / name).read_bytes()


def test_page_is_self_contained_well_formed_and_shows_every_figure(optimizers: Path) -> None:
    page = _page(optimizers)
    assert not page.open
    assert len(page.images) == 5
    assert all(image.startswith("data:image/png;base64,") for image in page.images)
    figures = {path.read_bytes() for path in (optimizers / "report" / "figures").glob("*.png")}
    assert {base64.b64decode(image.partition(",")[2]) for image in page.images} == figures
    for link in page.links:
        assert not re.match(r"[a-z]+:|//", link), f"{link} leaves the study"
        assert (optimizers / "report" / link).exists()


def test_page_answers_in_words(optimizers: Path) -> None:
    text = " ".join(_page(optimizers).text.split())
    assert "sgd and adam are worse than rmsprop; sgd is worst by far." in text
    assert "sgd is worse than rmsprop. worse" in text
    assert "sliced_w2 0.500 against 0.0285, mean of 8 seeds. Tested is the typical difference" in text
    ends = "97.5 % interval +0.461 to +0.480"
    assert f"seed by seed (pseudo-median): +0.471, {ends}; the mean difference is +0.471." in text
    assert "p = 0.0156 after correction" in text
    assert "harness train points-gan --set optimizer.lr=5e-05 --set optimizer.name=sgd --seed 0" in text
    assert "nan" not in text.split()


def test_arm_that_hardly_moved_and_lags_behind_is_flagged(optimizers: Path) -> None:
    found = {(flag.arm, flag.label): flag.text for flag in flags(summarise(optimizers))}
    assert set(found) == {("sgd", "worst by far"), ("sgd", "barely moved")}
    text = " ".join(found["sgd", "barely moved"].split())
    assert "went from 0.590 untrained to 0.500, 16 % of the way that rmsprop went" in text


def test_arm_that_got_worse_than_untrained_is_flagged(tmp_path: Path) -> None:
    study = Study.parse(OPTIMIZERS)
    folder = make_ablation(tmp_path, study, end=lambda arm, seed: {"adam": 0.9}.get(arm, 0.03) + seed / 1e4)
    found = {flag.arm: flag.text for flag in flags(summarise(folder)) if flag.label == "barely moved"}
    assert list(found) == ["adam"]
    assert "did not improve on its untrained generator" in found["adam"]


def test_diverged_runs_count_as_untrained_and_are_flagged(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS), diverged={("adam", 2), ("adam", 5)})
    write_report(folder)
    row = next(row for row in _rows(folder / "report" / "table.csv") if row["arm"] == "adam")
    values = [0.59 if seed in (2, 5) else end_score("adam", seed) for seed in range(8)]
    assert (row["num_seeds"], row["num_failed"]) == ("8", "2")
    assert float(row["mean"]) == pytest.approx(sum(values) / 8, rel=1e-5)
    text = _page(folder).text
    assert "2 of 8 diverged" in text
    assert "seed 2, 5: the generator's loss was not finite at step 4050" in text


def test_notes_on_the_data_are_on_the_page_each_once(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS))
    for number, path in enumerate(sorted(folder.glob("runs/*/result.json"))):
        result = json.loads(path.read_text())
        result["environment"]["data_notes"] = ["1 image had a palette", f"{2 + number % 2} files <b>ü</b>"]
        path.write_text(json.dumps(result))
    write_report(folder)
    text = _page(folder).text
    told = "1 image had a palette; {} files <b>ü</b>; {} files <b>ü</b>"
    assert sum(text.count(told.format(*order)) for order in ((2, 3), (3, 2))) == 1
    assert text.count("had a palette") == 1


def test_unfinished_study_is_reported_as_far_as_it_is_and_says_so(tmp_path: Path) -> None:
    missing = {("adam", seed) for seed in range(8)} | {("sgd", 7)}
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS), missing=missing)
    write_report(folder)
    rows = {row["arm"]: row for row in _rows(folder / "report" / "table.csv")}
    assert (rows["sgd"]["num_seeds"], rows["adam"]["num_seeds"]) == ("7", "0")
    assert rows["adam"]["mean"] == rows["adam"]["ci_low"] == ""
    decisions = {row["arm"]: row["decision"] for row in _rows(folder / "report" / "comparisons.csv")}
    assert decisions == {"sgd": "worse", "adam": "too-few-seeds"}
    text = " ".join(_page(folder).text.split())
    assert "This study is not complete: 15 of 24 runs have finished." in text
    assert "7 of 8 runs of sgd have finished" in text
    paired = sum(end_score("rmsprop", seed) for seed in range(7)) / 7
    assert f"against {rounded(paired)}, mean of 7 seeds" in text
    assert "no seed has finished in both adam and rmsprop yet" in text
    assert "Not complete: 15 of 24" in (folder / "report" / "table.md").read_text()


def test_a_study_whose_runs_all_lack_the_metric_says_so_and_not_that_none_has_finished(
    tmp_path: Path,
) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS))
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        del result["scores"]["sliced_w2"]
        failed = {"count": 9, "reason": "it came out as nan.", "at_end": True}
        path.write_text(json.dumps(result | {"failed_scores": {"sliced_w2": failed}}))
    said = "No arm can be judged: 24 of 24 finished runs have no sliced_w2: it came out as nan."
    assert headline(summarise(folder)) == said
    write_report(folder)
    text = " ".join(_page(folder).text.split())
    assert said in text
    assert "No run has finished" not in text


def test_where_no_trial_has_the_metric_the_page_says_so_before_any_final_run(tmp_path: Path) -> None:
    folder = make_search(tmp_path, Study.parse(TUNED), num_trials=2)
    assert headline(summarise(folder)).startswith("No run has finished yet")  # that arms are compared by
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        failed = {"count": 9, "reason": "it came out as nan.", "at_end": True}
        path.write_text(json.dumps(result | {"scores": {}, "failed_scores": {"sliced_w2": failed}}))
    assert "finished runs have no sliced_w2: it came out as nan." in headline(summarise(folder))


def test_a_score_that_only_lacks_samples_raises_no_flag_unless_it_is_the_metric(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS))
    lacking = {"count": 4, "reason": "only 12 are clear.", "at_end": True, "too_few": True}
    for path in folder.glob("runs/*/result.json"):
        result = json.loads(path.read_text())
        failed = {"class_surplus": lacking, "sliced_w2": lacking | {"count": 1, "at_end": False}}
        failed["w2"] = {"count": 2, "reason": "it came out as nan.", "at_end": False}
        path.write_text(json.dumps(result | {"failed_scores": failed}))
    labels = {flag.label for flag in flags(summarise(folder)) if flag.label.endswith("missing")}
    assert labels == {"sliced_w2 missing", "w2 missing"}


def test_what_the_command_line_changed_stands_at_the_top_of_the_page_and_below_the_tables_title(
    tmp_path: Path,
) -> None:
    for number, seeds in enumerate((3, [5, 6])):
        study = Study.parse(OPTIMIZERS, seeds=seeds, overrides={"train.epochs": 2, "train.batch_size": 64})
        folder = make_ablation(tmp_path / str(number), study)
        write_report(folder)
        said = "train.epochs is 2, train.batch_size is 64, seeds is " + ("3" if seeds == 3 else "5, 6")
        text = " ".join(_page(folder).text.split())
        assert 0 < text.index(f"Changed from its file. {said}.") < text.index(headline(summarise(folder)))
        caption = (folder / "report" / "table.md").read_text().splitlines()[2].replace("\\", "")
        assert f"Changed from its file: {said}." in caption
        assert read_planned(folder)[1].changed == dict(study.changed)
        again = Study.load(folder / "study.yaml", overrides={"train.ema": 0.5})
        assert list(again.changed) == ["train.epochs", "train.batch_size", "seeds", "train.ema"]
    plain = make_ablation(tmp_path / "plain", Study.parse(OPTIMIZERS))
    write_report(plain)
    assert "Changed from its file" not in _page(plain).text


def test_study_without_any_run_has_a_page_and_empty_tables(tmp_path: Path) -> None:
    folder = plan_study(tmp_path, Study.parse(OPTIMIZERS))
    write_report(folder)
    assert len(_rows(folder / "report" / "table.csv")) == 3
    text = _page(folder).text
    assert "No run has finished yet" in text
    assert "0 of 24 runs" in text


def test_too_few_seeds_are_named_with_the_number_it_takes(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS, seeds=3))
    write_report(folder)
    assert {row["decision"] for row in _rows(folder / "report" / "comparisons.csv")} == {"too-few-seeds"}
    text = " ".join(_page(folder).text.split())
    assert "no outcome whatever of the test that decides (exact signed-rank, Holm-corrected)" in text
    assert "it takes 7 seeds whose two values differ. Run the study with `--seeds 7` or more." in text
    assert "3 seeds are too few to decide between sgd and rmsprop; it takes at least 7" in text
    assert "+0.475, +0.465 to +0.482 in the widest interval that 3 seeds can give, of 75 %" in text
    assert {row["ci_level"] for row in _rows(folder / "report" / "comparisons.csv")} == {"0.75"}
    assert "(75 %)" in (folder / "report" / "table.md").read_text()
    assert r"(75 \%)" in (folder / "report" / "table.tex").read_text()


def test_seeds_that_are_equal_in_both_arms_are_named_where_they_leave_too_few(tmp_path: Path) -> None:
    def end(arm: str, seed: int) -> float:
        return 0.03 + 0.001 * seed * (arm == "adam" and seed > 2) + 0.5 * (arm == "sgd")

    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS), end=end)
    write_report(folder)
    decisions = {row["arm"]: row["decision"] for row in _rows(folder / "report" / "comparisons.csv")}
    assert decisions == {"sgd": "worse", "adam": "too-few-seeds"}
    text = " ".join(_page(folder).text.split())
    assert "adam and rmsprop are equal at 3 of 8 seeds, and 5 that differ are too few" in text
    assert "could tell adam from the baseline: it takes 6 seeds whose two values differ" in text
    assert "more seeds, or compare by a metric that ties less often" in text


def test_interval_of_a_distance_does_not_reach_below_zero(tmp_path: Path) -> None:
    def end(arm: str, seed: int) -> float:
        return 0.02 if seed else 0.4

    summary = summarise(make_ablation(tmp_path, Study.parse(OPTIMIZERS, seeds=3), end=end))
    values = list(summary.arms[0].values("sliced_w2", "last").values())
    assert interval_of_mean(values).low < 0
    found = summary.estimates["rmsprop"]
    assert found.interval.low == found.iqm_interval.low == 0.0
    assert found.interval.high == interval_of_mean(values).high


def test_seed_without_a_value_leaves_its_arm_untested_and_the_claim_says_so(tmp_path: Path) -> None:
    def end(arm: str, seed: int) -> float:
        return math.nan if (arm, seed) == ("adam", 3) else 0.03 + 0.01 * seed * (arm == "adam")

    summary = summarise(make_ablation(tmp_path, Study.parse(OPTIMIZERS), end=end))
    told = {answer.arm: answer for answer in answers(summary)}
    assert told["adam"].claim == "adam could not be tested against rmsprop: a seed has no finite value."
    assert told["adam"].evidence.endswith("no test, for a seed has no finite value.")


def test_mean_that_speaks_against_the_decision_is_flagged(tmp_path: Path) -> None:
    def end(arm: str, seed: int) -> float:
        return 0.03 if arm == "rmsprop" else 5.0 if seed == 0 else 0.02 - 0.0001 * seed

    study = Study.parse(OPTIMIZERS.replace("[rmsprop, sgd, adam]", "[rmsprop, adam]"), seeds=12)
    summary = summarise(make_ablation(tmp_path, study, end=end))
    (found,) = (flag for flag in flags(summary) if flag.label == "mean disagrees")
    assert found.arm == "adam"
    assert "Seed by seed adam is better" in found.text
    assert "the mean of the differences is +0.40" in found.text


def test_equal_arms_are_undecided_and_not_called_equal(tmp_path: Path) -> None:
    folder = make_ablation(tmp_path, Study.parse(OPTIMIZERS), end=lambda arm, seed: 0.03 + 0.001 * seed)
    summary = summarise(folder)
    assert {comparison.decision for comparison in summary.comparisons} == {"undecided"}
    assert headline(summary) == "sgd and adam cannot be told apart from rmsprop."
    assert "does not mean that they are equal" in answers(summary)[1].claim


def test_metric_to_be_maximised_turns_the_decisions_round(tmp_path: Path) -> None:
    study = Study.parse(OPTIMIZERS.replace("sliced_w2, at: last", "coverage, goal: maximize, at: area"))
    folder = make_ablation(tmp_path, study)
    write_report(folder)
    summary = summarise(folder)
    assert [arm.name for arm in summary.ranking] == ["rmsprop", "adam", "sgd"]
    assert summary.comparisons[0].decision == "worse"
    assert summary.comparisons[0].difference < 0
    row = _rows(folder / "report" / "table.csv")[0]
    assert row["mean"] == row["coverage_area"]
    assert row["coverage_area"] != row["coverage_last"]
    assert "sliced_w2_mean" in row


def test_grid_without_a_baseline_is_ranked_and_has_no_comparisons(tmp_path: Path) -> None:
    text = "name: grid\nrecipe: points-gan\nmetric: {name: sliced_w2}\nseeds: 2\nmethod: grid\n"
    study = Study.parse(text + "parameters: {optimizer.lr: {values: [0.001, 0.0001]}}\n")
    folder = make_ablation(tmp_path, study, end=lambda arm, seed: 0.02 if "0.0001" in arm else 0.2)
    write_report(folder)
    comparisons = (folder / "report" / "comparisons.csv").read_text()
    assert comparisons.startswith("baseline,arm,")
    assert comparisons.count("\n") == 1
    assert "The best of 2 arms is lr=0.0001." in _page(folder).text


def test_command_on_the_page_trains_one_of_the_runs(tmp_path: Path) -> None:
    text = "name: norm\nrecipe: points-gan\nmetric: {name: sliced_w2}\nseeds: 1\nparameters:\n"
    text += "  generator.batch_norm: {values: [true]}\n  optimizer.lr: {value: 0.00012345678}\n"
    folder = make_ablation(tmp_path, Study.parse(f"{text}  data.name: {{value: ring}}\nmethod: grid\n"))
    write_report(folder)
    line = next(line for line in _page(folder).text.splitlines() if line.startswith("harness train"))
    _, _, name, *words = shlex.split(line)
    recipe = find_recipe(name).override(read_settings(tuple(words[1:-2:2])))
    assert [path.name for path in (folder / "runs").iterdir()] == [run_id(recipe, int(words[-1]))]


def test_tuned_arms_are_compared_by_their_fresh_seeds_only(tmp_path: Path) -> None:
    folder = make_search(tmp_path, Study.parse(TUNED))
    write_report(folder)
    rows = _rows(folder / "report" / "table.csv")
    assert [(row["arm"], row["num_seeds"]) for row in rows] == [("rmsprop", "8"), ("sgd", "8")]
    assert float(rows[0]["optimizer.lr"]) > 0
    trials = _rows(folder / "report" / "trials.csv")
    assert len(trials) == 12
    best = min((row for row in trials if row["arm"] == "sgd"), key=lambda row: float(row["value"]))
    assert best["optimizer.lr"] == rows[1]["optimizer.lr"]
    assert {"trials.png", "trials.pdf"} <= {path.name for path in (folder / "report" / "figures").iterdir()}
    text = _page(folder).text
    assert "What tuning chose" in text
    (chosen, other) = choices(summarise(folder))
    assert (chosen.arm, other.arm, chosen.num_fresh) == ("rmsprop", "sgd", 8)
    assert chosen.fresh is not None
    assert chosen.loss == pytest.approx(chosen.fresh.mean - chosen.trial.value)
    shown = " ".join(text.split())
    assert f"{rounded(chosen.trial.value)} (2 seeds) {rounded(chosen.fresh.mean)} (8 seeds)" in shown
    assert "12 trials, each arm's best first" in text
    assert summarise(folder).is_complete


def test_search_ranks_its_trials_and_warns_of_luck(tmp_path: Path) -> None:
    folder = make_search(tmp_path, Study.parse(SEARCH), num_trials=3)
    write_report(folder)
    rows = _rows(folder / "report" / "table.csv")
    assert [row["arm"] for row in rows] == ["trial 0", "trial 1", "trial 2"]
    summary = summarise(folder)
    assert not summary.is_complete
    assert (summary.num_finished, summary.num_planned) == (6, 10)
    best = min(rows, key=lambda row: float(row["mean"]))["arm"]
    text = " ".join(_page(folder).text.split())
    assert f"The best of 3 trials is {best}." in text
    assert "luck helped to choose it" in text


def test_final_panels_and_films_of_the_median_runs_are_on_the_page(tmp_path: Path) -> None:
    text = OPTIMIZERS.replace("[rmsprop, sgd, adam]", "[rmsprop, sgd]")
    folder = make_ablation(tmp_path, Study.parse(text, seeds=1), pictures=True)
    write_report(folder)
    page = _page(folder)
    films = [image for image in page.images if image.startswith("data:image/gif;base64,")]
    assert {base64.b64decode(film.partition(",")[2]) for film in films} == {
        path.read_bytes() for path in folder.glob("runs/*/samples/run.gif")
    }
    assert (folder / "report" / "figures" / "final.pdf").exists()
    assert "What was learnt" in page.text


def test_median_run_is_the_one_in_the_middle(optimizers: Path) -> None:
    summary = summarise(optimizers)
    for arm in summary.arms:
        run = summary.median_run(arm)
        assert run is not None
        values = sorted(arm.values("sliced_w2", "last").values())
        assert run.scores["sliced_w2"]["last"] == values[3]


def test_names_from_a_sweep_file_are_escaped_everywhere(tmp_path: Path) -> None:
    text = OPTIMIZERS.replace("trained with", "<script>alert(1)</script> 100% & $y_1$ trained with")
    folder = make_ablation(tmp_path, Study.parse(text, seeds=1))
    write_report(folder)
    assert "<script" not in (folder / "report" / "index.html").read_text()
    tex = (folder / "report" / "table.tex").read_text()
    assert r"sliced\_w2" in tex
    assert not re.search(r"(?<!\\)[_%#]", tex)
    body = tex[tex.index(r"\hline") : tex.rindex(r"\hline")]
    columns = tex.split(r"\begin{tabular}{")[1].split("}")[0]
    for line in body.splitlines()[1:]:
        if line.strip() not in ("", r"\hline"):
            assert line.count("&") == len(columns) - 1
            assert line.endswith(r"\\")


def test_folder_without_a_study_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no study \(there is no plan.json\)"):
        write_report(tmp_path)
    (tmp_path / "plan.json").write_text('{"version": 2}')
    with pytest.raises(ValueError, match=r"plan.json cannot be used by this harness \(it lacks 'study'\)"):
        write_report(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match=r"plan.json is not valid JSON"):
        write_report(tmp_path)


def test_report_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    folder = plan_study(tmp_path, Study.parse(OPTIMIZERS))
    (folder / "report").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=r"cannot write the report to .*report: "):
        write_report(folder)


def test_measurements_have_three_digits_and_settings_no_more_than_they_need() -> None:
    assert [rounded(x) for x in (0.5, 123.4, 1234.0, 1e-5, 0.0)] == [
        "0.500",
        "123",
        "1.23e3",
        "1.00e-5",
        "0.00",
    ]
    assert [rounded(x, sign=True) for x in (0.5, -0.5)] == ["+0.500", "−0.500"]
    assert rounded(math.nan) == ""
    assert [in_words(x) for x in (5e-5, 0.9, 4, True, "adam", None)] == [
        "5e-5",
        "0.9",
        "4",
        "true",
        "adam",
        "",
    ]


def test_page_of_many_arms_spells_out_only_what_was_decided_or_is_shown(tmp_path: Path) -> None:
    text = "name: grid\nrecipe: points-gan\nmetric: {name: sliced_w2}\nseeds: 1\nmethod: grid\n"
    values = [round(1e-4 * (1 + index), 6) for index in range(14)]
    study = Study.parse(f"{text}parameters: {{optimizer.lr: {{values: {values}}}}}\n")
    folder = make_ablation(tmp_path, study, end=lambda arm, seed: 0.02 + float(arm.partition("=")[2]))
    write_report(folder)
    text = " ".join(_page(folder).text.split())
    assert "8 of 14 arms: those that were decided" in text
    assert "the best and the worst are shown, 8 in all" in text
    assert len(_rows(folder / "report" / "table.csv")) == 14


@pytest.mark.slow
def test_report_of_a_thousand_runs_takes_no_more_than_30_seconds(tmp_path: Path) -> None:
    values = ", ".join(f"{5e-5 * 1.05**i:.6g}" for i in range(125))
    text = OPTIMIZERS.replace("optimizer.name: [rmsprop, sgd, adam]", f"optimizer.lr: [5.0e-05, {values}]")
    text = text.replace("baseline: {optimizer.name: rmsprop}", "baseline: {optimizer.lr: 5.0e-05}")
    text = text[: text.index("parameters:\n  optimizer.lr: {value")].replace("[5.0e-05, 5e-05,", "[5.0e-05,")
    folder = make_ablation(tmp_path, Study.parse(text))
    start = time.perf_counter()
    write_report(folder)
    assert time.perf_counter() - start < 30
    assert len(_rows(folder / "report" / "table.csv")) == 125
