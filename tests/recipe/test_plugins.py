"""Modules of other people: found, imported, and their code told apart."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest
from torch import nn

import harness
from harness.files import write_json
from harness.recipe import Recipe, find_recipe, plugins, run_id
from harness.recipe.plugins import ModuleMissing, changed, import_modules, import_recorded
from harness.recipe.registry import (
    generators,
    losses,
    recipes,
)
from harness.runs.folder import read_recipe
from support.plugin import as_before as as_before
from support.plugin import forget, write_plugin

pytestmark = pytest.mark.usefixtures("as_before")


def own_recipe() -> Recipe:
    return find_recipe("ring-gan").override({"generator.name": "own-mlp", "loss.name": "hinge-top-k"})


def test_a_module_beside_the_sweep_file_is_found_and_its_folder_comes_last(tmp_path: Path) -> None:
    write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    assert sys.path[-2:] == [str(tmp_path), str(Path.cwd())] or sys.path[-1] == str(tmp_path)
    assert "own-mlp" in generators
    assert list(losses.options("hinge-top-k")) == ["top_k"]


def test_a_recipe_names_the_modules_it_needs_and_reading_it_imports_them(tmp_path: Path) -> None:
    write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    recipe = own_recipe()
    written = recipe.to_json()
    (record,) = written["imports"]
    assert (record["module"], record["folder"]) == ("my_gan.nets", str(tmp_path))
    assert sorted(record["files"]) == ["my_gan/nets.py", "my_gan/sizes.py"]
    forget()
    assert "own-mlp" not in generators
    again = Recipe.from_json(written)
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint
    assert "imports" not in find_recipe("ring-gan").to_json()


@pytest.mark.parametrize("file", ["nets.py", "sizes.py"])
def test_code_beside_an_entry_counts_in_the_id_of_a_run(tmp_path: Path, file: str) -> None:
    package = write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    before, code = run_id(own_recipe(), 0), own_recipe().code
    assert changed(code) == []
    forget()
    (package / file).write_text((package / file).read_text() + "# another word\n")
    import_modules(["my_gan.nets"], folder=tmp_path)
    assert run_id(own_recipe(), 0) != before
    assert changed(code) == [f"my_gan/{file}"]


def test_code_of_a_metric_counts_for_every_recipe_that_it_scores(tmp_path: Path) -> None:
    metric = """from harness import register_metric

@register_metric("my_gap", goal="minimize", kind="points", description="The gap between means.")
def my_gap(samples, reals, labels):
    return float(abs(samples.mean() - reals.mean()))
"""
    (tmp_path / "my_gan").mkdir()
    (tmp_path / "my_gan" / "scores.py").write_text(metric)
    plain = run_id(find_recipe("ring-gan"), 0)
    import_modules(["my_gan.scores"], folder=tmp_path)
    first = run_id(find_recipe("ring-gan"), 0)
    forget()
    (tmp_path / "my_gan" / "scores.py").write_text(metric.replace("abs(", "2 * abs("))
    import_modules(["my_gan.scores"], folder=tmp_path)
    assert len({plain, first, run_id(find_recipe("ring-gan"), 0)}) == 3
    forget()
    assert run_id(find_recipe("ring-gan"), 0) == plain


def test_a_file_that_came_beside_an_entry_is_a_change(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    code = own_recipe().code
    forget()
    (package / "more.py").write_text("")
    import_modules(["my_gan.nets"], folder=tmp_path)
    assert changed(code) == ["my_gan/more.py"]


def test_where_the_code_lies_does_not_count(tmp_path: Path) -> None:
    ids = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_plugin(tmp_path / name)
        import_modules(["my_gan.nets"], folder=tmp_path / name)
        ids.append(run_id(own_recipe(), 0))
        sys.path.remove(str(tmp_path / name))
        forget()
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (["my_gun.nets"], "`imports`: cannot import `my_gun.nets`: there is no such module; put it in "),
        (
            ["my_gan/nets.py"],
            "`imports` must name modules, like my_gan.nets, but got 'my_gan/nets.py'; write my_gan.nets.",
        ),
        (["nets.py"], "`imports` must name modules, like my_gan.nets, but got 'nets.py'; write nets."),
        ([3], "`imports` must name modules, like my_gan.nets, but got 3."),
        (["my_gan.broken"], "`imports`: cannot import `my_gan.broken`: broken.py:2: ZeroDivisionError: "),
        (["my_gan.unclear"], "`imports`: cannot import `my_gan.unclear`: unclear.py:1: "),
        (["my_gan.poor"], "`imports`: cannot import `my_gan.poor`: it needs `no_such_package`, which is not"),
        (
            ["my_gan.wrong"],
            "`imports`: cannot import `my_gan.wrong`: wrong.py:3: generator `w` of ",
        ),
        (["my_gan.quits"], "`imports`: cannot import `my_gan.quits`: quits.py:2: SystemExit: 2; mend it"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_line(
    tmp_path: Path, modules: list[str], message: str
) -> None:
    package = write_plugin(tmp_path)
    (package / "broken.py").write_text("a = 1\nb = 1 / 0\n")
    (package / "unclear.py").write_text("def f(:\n")
    (package / "poor.py").write_text("import no_such_package\n")
    (package / "quits.py").write_text("import sys\nsys.exit(2)\n")
    (package / "wrong.py").write_text(
        "from harness import register_generator\n\n@register_generator('w')\ndef w(*, width: int): ...\n"
    )
    with pytest.raises(ValueError, match="`imports`") as caught:
        import_modules(modules, folder=tmp_path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_mended_can_be_imported_again(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    whole = (package / "nets.py").read_text()
    (package / "nets.py").write_text(whole + "\n1 / 0\n")
    with pytest.raises(ValueError, match="ZeroDivisionError"):
        import_modules(["my_gan.nets"], folder=tmp_path)
    (package / "nets.py").write_text(whole)
    import_modules(["my_gan.nets"], folder=tmp_path)
    broken = own_recipe().fingerprint
    forget()
    import_modules(["my_gan.nets"], folder=tmp_path)
    assert own_recipe().fingerprint == broken, "what was imported counts, not what failed"


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    (package / "nets.py").write_text((package / "nets.py").read_text().replace("from .sizes", "from sizes"))
    sys.path.append(str(package))
    import_modules(["my_gan.nets"], folder=tmp_path)
    with pytest.raises(ValueError, match=r"by `my_gan\.nets` and `nets`, which are one file"):
        import_modules(["nets"], folder=package)
    del sys.modules["sizes"]


def test_a_name_of_the_harness_is_taken_whoever_comes_first(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(
        "from harness import register_generator\n\n"
        "@register_generator('tiny-mlp')\n"
        "def tiny(*, sample_shape: tuple, num_classes: int, latent_dim: int = 2): ...\n"
    )
    with pytest.raises(ValueError, match=r"`tiny-mlp` is registered twice, by `gan_sweep_models\.\w+` and"):
        import_modules(["alone"], folder=tmp_path)


def test_a_module_that_another_of_its_name_hides_is_refused(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        write_plugin(tmp_path / name)
    import_modules(["my_gan.nets"], folder=tmp_path / "here")
    with pytest.raises(ValueError, match=r"`my_gan.nets` is .*here.*, which is found before .*there"):
        import_modules(["my_gan.nets"], folder=tmp_path / "there")


def test_a_module_named_like_one_of_python_s_own_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ValueError, match=r"`random` is .*, which is found before .*; give yours another name"
    ):
        import_modules(["random"])


def test_a_record_whose_module_is_gone_says_how_to_give_it(tmp_path: Path) -> None:
    write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    written = own_recipe().to_json()
    forget()
    (tmp_path / "my_gan").rename(tmp_path / "elsewhere")
    with pytest.raises(ModuleMissing) as caught:
        Recipe.from_json(written)
    assert str(caught.value) == (
        "needs module `my_gan.nets`: cannot import `my_gan.nets`: there is no such module; it was in "
        f"{tmp_path}; give it with `--import my_gan.nets` from the folder that holds it."
    )


def test_a_run_whose_code_has_lost_an_entry_is_told_by_the_file_that_changed(tmp_path: Path) -> None:
    package = write_plugin(tmp_path)
    import_modules(["my_gan.nets"], folder=tmp_path)
    write_json(tmp_path / "recipe.json", own_recipe().to_json())
    forget()
    (package / "nets.py").write_text((package / "nets.py").read_text().replace('"own-mlp"', '"other-mlp"'))
    with pytest.raises(
        ValueError, match=r"does not fit `my_gan/nets\.py`, changed since .*`own-mlp`.*bring back"
    ):
        read_recipe(tmp_path)


def test_a_damaged_record_is_refused() -> None:
    with pytest.raises(ValueError, match="`imports` must be a list"):
        import_recorded({"module": "my_gan"})


def test_an_entry_of_a_script_counts_by_its_own_source_and_cannot_be_imported() -> None:
    class Own(nn.Module):
        def __init__(self, *, sample_shape: tuple[int, ...], num_classes: int, latent_dim: int = 2) -> None:
            super().__init__()

    source = plugins.source_of("__main__", None, Own)
    assert source is not None
    assert not source.importable
    (name,) = source.files
    assert name.endswith(".Own")
    record = source.to_json()
    import_recorded([record])
    plugins._files.clear()
    with pytest.raises(ModuleMissing, match=r"Own`, which a script or a notebook registered: put"):
        import_recorded([record])


def test_an_entry_point_is_loaded_at_the_first_look_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path)
    sys.path.append(str(tmp_path))
    point = metadata.EntryPoint(name="mine", value="my_gan.nets", group="gan_sweep_harness")
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [point] if group == point.group else [])
    plugins.load_entry_points()
    assert "own-mlp" in generators
    forget()
    (tmp_path / "my_gan" / "nets.py").write_text("import nothing_like_it")
    with pytest.raises(ValueError, match=r"^entry point `mine` of a package: cannot import `my_gan\.nets`"):
        plugins.load_entry_points()


def test_every_registry_is_open_at_the_front_door() -> None:
    for kind in ("dataset", "discriminator", "generator", "loss", "metric", "optimizer", "recipe"):
        assert callable(getattr(harness, f"register_{kind}"))


def test_a_recipe_made_from_another_has_its_own_name_and_is_the_same_experiment() -> None:
    @recipes.register("mine")
    def mine() -> Recipe:
        """The ring, mine.

        And more.
        """
        return find_recipe("ring-gan")

    found = find_recipe("mine")
    assert (found.name, found.description) == ("mine", "The ring, mine.")
    assert found.flat() == find_recipe("ring-gan").flat()
    assert found.fingerprint == find_recipe("ring-gan").fingerprint
