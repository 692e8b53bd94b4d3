"""Claims about sweep files: one's own before those shipped, by the file's name or by the study's."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.main import harness
from harness.study.find import find_folder, find_study, list_studies, read_instead
from support.sweep_texts import GRID

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def write(path: Path, text: str = GRID) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_in_a_checkout_the_shipped_studies_are_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert find_study("optimizers") == Path("sweeps/optimizers.yaml")
    assert find_study("sweeps/optimizers.yaml") == Path("sweeps/optimizers.yaml")
    assert find_study("f-depth.yaml") == Path("sweeps/reports/f-depth.yaml")
    assert all(not path.is_absolute() for path in list_studies().values())


def test_elsewhere_the_shipped_studies_are_found_beside_ones_own(home: Path) -> None:
    write(home / "sweeps" / "mine.yaml")
    write(home / "sweeps" / "reports" / "asked.yaml")
    assert list(list_studies())[:2] == ["mine", "asked"]
    assert find_study("asked") == Path("sweeps/reports/asked.yaml")
    for name in ("optimizers", "f-depth"):
        assert find_study(name).is_relative_to(ROOT / "sweeps")


def test_a_folder_of_ones_own_without_sweeps_hides_nothing(home: Path) -> None:
    (home / "sweeps").mkdir()
    assert find_study("optimizers").samefile(ROOT / "sweeps/optimizers.yaml")


def test_ones_own_file_wins_over_a_shipped_one_of_its_name(home: Path) -> None:
    write(home / "sweeps" / "reports" / "optimizers.yaml")
    assert find_study("optimizers") == list_studies()["optimizers"] == Path("sweeps/reports/optimizers.yaml")


def test_a_study_is_found_by_the_name_in_its_file(home: Path) -> None:
    write(home / "sweeps" / "first.yaml", "name: depth\n" + GRID)
    write(home / "sweeps" / "broken.yaml", "name: [")
    assert find_study("depth") == Path("sweeps/first.yaml"), "one's own, though a file of ours has the name"
    write(home / "sweeps" / "depth.yaml")
    assert find_study("depth") == Path("sweeps/depth.yaml"), "a file's name before a study's"


def test_a_name_of_two_of_ones_own_studies_asks_for_a_path(home: Path) -> None:
    for name in ("first", "second"):
        write(home / "sweeps" / f"{name}.yaml", "name: twin\n" + GRID)
    with pytest.raises(
        ValueError, match=r"several studies; give a path: sweeps/first.yaml, sweeps/second.yaml"
    ):
        find_study("twin")


def test_a_name_in_both_folders_means_the_upper_file(home: Path) -> None:
    write(home / "sweeps" / "same.yaml")
    write(home / "sweeps" / "reports" / "same.yaml")
    assert find_study("same") == Path("sweeps/same.yaml")
    assert find_study("reports/same") == Path("sweeps/reports/same.yaml")


def test_an_unknown_name_says_what_there_is_and_what_cannot_be_read(home: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^unknown sweep 'optimisers'; did you mean `optimizers`\? Known in "
    ) as e:
        find_study("optimisers")
    assert "in `sweeps/`: none; shipped: depth-fc, depth, " in str(e.value)
    assert str(e.value).endswith("f-depth; or give a path.")
    write(home / "sweeps" / "file.yaml", "name: my-study\n" + GRID)
    write(home / "sweeps" / "broken.yaml", "name: [")
    with pytest.raises(
        ValueError, match=r"did you mean `my-study`\? Known in `sweeps/`: broken, file; shipped: "
    ) as e:
        find_study("my-studdy")
    assert "; not readable: sweeps/broken.yaml; or give a path." in str(e.value)


def test_the_list_shows_ones_own_beside_those_shipped_and_a_broken_one_with_its_error(home: Path) -> None:
    write(home / "sweeps" / "file.yaml", "name: my-study\ndescription: Mine [a].\n" + GRID)
    write(home / "sweeps" / "broken.yaml", "recipe: points-gan\nmetrik: 1\n")
    shown = CliRunner().invoke(harness, ["list", "sweeps"], catch_exceptions=False)
    lines = [line.rstrip() for line in shown.output.splitlines()]
    assert lines[0].startswith("broken ")
    assert "not readable: sweeps/broken.yaml:2:1: unknown key `metrik`; did you mean `metric`" in lines[0]
    assert lines[1].split(maxsplit=3)[:1] == ["file"]
    assert "(study my-study)" in lines[1]
    assert lines[1].endswith("Mine [a]. sweeps/file.yaml")
    assert {line.split()[0] for line in lines if line[:1].strip()} >= {"optimizers", "f-depth"}


def test_the_commands_that_read_a_study_say_from_which_file(home: Path) -> None:
    write(home / "sweeps" / "mine.yaml")
    for words in (["report", "mine"], ["report", "optimizers"]):
        shown = CliRunner().invoke(harness, words)
        expected = Path("sweeps/mine.yaml") if words[1] == "mine" else ROOT / "sweeps/optimizers.yaml"
        assert shown.output.splitlines() == [f"study: {expected}"]


def run_folder(path: Path) -> Path:
    """What tells a study's folder."""
    write(path / "plan.json", "{}")
    return path


def test_a_study_is_found_by_its_folder_and_by_its_name_where_studies_run(home: Path) -> None:
    folder = run_folder(home / "runs" / "by-script")
    for name in ("runs/by-script", "runs/by-script/", str(folder), "by-script"):
        assert find_study(name).resolve() == folder / "study.yaml"
        assert find_folder(name) in (folder, Path("runs/by-script"))
    elsewhere = run_folder(home / "elsewhere" / "other")
    assert find_study("other", Path("elsewhere")).resolve() == elsewhere / "study.yaml"
    with pytest.raises(ValueError, match=r"in `runs/`: by-script; or give a path"):
        find_study("other")


def test_a_file_of_a_name_wins_over_a_folder_of_it_and_a_path_over_both(home: Path) -> None:
    run_folder(home / "runs" / "optimizers")
    assert find_study("optimizers").samefile(ROOT / "sweeps/optimizers.yaml")
    assert find_folder("optimizers") is None
    file = write(home / "sweeps" / "mine.yaml", "name: asked\n" + GRID)
    run_folder(home / "runs" / "asked")
    assert find_study("asked").samefile(file)
    assert find_study("runs/asked") == Path("runs/asked/study.yaml")
    run_folder(home / "asked")
    assert find_study("asked") == Path("asked/study.yaml")


def test_a_folder_that_is_no_studys_says_so_and_a_name_nearly_right_is_offered(home: Path) -> None:
    run_folder(home / "runs" / "by-script")
    with pytest.raises(ValueError, match=r"^runs is not a study's folder: there is no plan.json in it\. "):
        find_study("runs")
    for name in ("by-scrip", "By-Script"):
        with pytest.raises(ValueError, match=rf"^unknown sweep '{name}'; did you mean `by-script`\?"):
            find_study(name)
    with pytest.raises(ValueError, match=r"^unknown sweep ''\. Known"):
        find_study("")


@pytest.mark.parametrize("path", ["here.yaml", "here.yml", "below/here.yml", "sweeps/here.yml"])
def test_a_file_of_the_name_asked_for_is_offered_wherever_it_may_lie(home: Path, path: str) -> None:
    write(home / path)
    asked = "below/here" if path.startswith("below") else "here"
    with pytest.raises(ValueError, match=rf"^unknown sweep '{asked}'; did you mean `{path}`\?"):
        find_study(asked)


def test_a_shipped_study_read_beside_sweeps_of_ones_own_is_told_with_what_is_there(home: Path) -> None:
    assert read_instead("optimizers") == ""
    write(home / "sweeps" / "optimiser.yaml", "name: my-study\n" + GRID)
    told = read_instead("optimizers")
    assert told.startswith(
        "`sweeps/` here has no study 'optimizers'; did you mean `optimiser`? The one shipped"
    )
    assert told.endswith(" with the harness is read. In `sweeps/`: optimiser.")
    assert read_instead("f-depth").startswith("`sweeps/` here has no study 'f-depth'. The one shipped")
    assert read_instead("optimiser") == read_instead("sweeps/optimiser.yaml") == ""
    done = CliRunner().invoke(harness, ["plan", "optimizers", "--smoke"])
    assert done.stderr.startswith("note: `sweeps/` here has no study 'optimizers'")
    assert f"study: {ROOT / 'sweeps' / 'optimizers.yaml'}" in done.stdout


def test_a_name_whose_file_lies_beside_is_told_the_path(home: Path) -> None:
    write(home / "mine.yml")
    with pytest.raises(ValueError, match=r"^unknown sweep 'mine'; did you mean `mine.yml`\? Known in "):
        find_study("mine")
    assert find_study("mine.yml") == Path("mine.yml")
