"""Studies that name modules of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.search.search import Search
from harness.search.storage import open_storage
from harness.study.study import Study
from support.plugin import as_before as as_before
from support.plugin import forget, write_plugin

pytestmark = pytest.mark.usefixtures("as_before")


def test_a_sweep_file_s_modules_are_imported_before_its_words_are_read(tmp_path: Path) -> None:
    write_plugin(tmp_path)
    study = Study.load(tmp_path / "own.yaml")
    assert study.imports == ("my_gan.nets",)
    assert [arm.recipe.flat()["loss.top_k"] for arm in study.arms] == [1.0, 0.5]
    assert Study.from_json(study.to_json()) == study
    assert set(study.sources) == {"generator `own-mlp`", "loss `hinge-top-k`"}
    assert sorted(study.code) == ["my_gan/nets.py", "my_gan/sizes.py"]


def test_modules_of_the_command_line_are_kept_with_the_study_and_make_no_other_study(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    (package / "more.py").write_text("")
    study = Study.load(tmp_path / "own.yaml")
    with_more = Study.load(tmp_path / "own.yaml", overrides={"imports": ["my_gan.more"]})
    assert with_more.imports == ("my_gan.nets", "my_gan.more")
    assert study.difference(with_more) == []


def test_a_study_made_from_keywords_imports_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path)
    monkeypatch.chdir(tmp_path)
    study = Study(
        name="own",
        recipe="ring-gan",
        metric="sliced_w2",
        imports=["my_gan.nets"],
        parameters={"generator.name": "own-mlp"},
    )
    assert study.arms[0].recipe.generator.name == "own-mlp"


def test_an_option_of_a_loss_can_be_searched(tmp_path: Path) -> None:
    write_plugin(tmp_path)
    text = (tmp_path / "own.yaml").read_text().partition("ablate:")[0]
    (tmp_path / "own.yaml").write_text(
        f"{text}  loss.top_k: {{min: 0.1, max: 1.0}}\nmethod: random\nrun_cap: 3\n"
    )
    study = Study.load(tmp_path / "own.yaml")
    (arm,) = study.arms
    assert study.trial_recipe(arm, {"loss.top_k": 0.25}).loss.options == {"top_k": 0.25}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("imports: [my_gun.nets]", "1:10: `imports`: cannot import `my_gun.nets`: there is no such"),
        (
            "imports: 3",
            "1:10: `imports` must list modules, but got 3; write imports: [my_gan.nets].",
        ),
        (
            "imports: [a/b.py]",
            "1:10: `imports` must name modules, like my_gan.nets, but got 'a/b.py'",
        ),
    ],
)
def test_a_module_that_is_not_there_is_one_line_with_its_place(
    tmp_path: Path, line: str, message: str
) -> None:
    write_plugin(tmp_path)
    text = (tmp_path / "own.yaml").read_text().replace("imports: [my_gan.nets]", line)
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(ValueError, match="imports") as caught:
        Study.load(tmp_path / "own.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_with_other_code_the_trials_of_a_study_are_asked_anew(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    text = (tmp_path / "own.yaml").read_text().partition("ablate:")[0]
    (tmp_path / "own.yaml").write_text(
        f"{text}  loss.top_k: {{min: 0.1, max: 1.0}}\nmethod: random\nrun_cap: 3\n"
    )
    counts = []
    for width in (8, 8, 9):
        forget()
        (package / "sizes.py").write_text(f"WIDTH = {width}\n")
        study = Study.load(tmp_path / "own.yaml")
        search = Search(open_storage(tmp_path), study, study.arms[0], tmp_path)
        counts.append(len(search.trials()))
        search.ask(3)
    assert counts == [0, 1, 0]
