"""Latent edits, walks, finished runs and the commands on them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from harness.cli.main import main
from harness.figures import write_png
from harness.figures.grids import read_grid
from harness.files import write_json
from harness.latent import (
    choose_dims,
    edit,
    edit_figure,
    effects,
    finding,
    generate,
    interpolate,
    walk_figure,
)
from harness.runs.load import find_run, load_run
from harness.runs.result import RunResult
from harness.runs.sampling import draw_latents, sample
from support.untrained_runs import DIMS, make_recipe, make_run

STRENGTHS = torch.tensor([0.01, 0.0, 0.05, 0.02, 0.04, 0.03])


def linear(z: Tensor) -> Tensor:
    """A linear generator of 4×4 images whose dimension d moves every pixel by STRENGTHS[d] a unit."""
    signs = torch.tensor([1.0, -1.0]).repeat(8)
    return ((z @ STRENGTHS)[:, None] * signs).view(-1, 1, 4, 4)


def latents(num: int = 8) -> Tensor:
    return draw_latents(num, DIMS, seed=3)


def test_a_figure_of_edits_is_fifteen_by_eight_dimension_by_dimension(tmp_path: Path) -> None:
    z = latents()
    table = edit(linear, z, (4, 0, 2, 3, 5), all_rows=True)
    assert table.edited.shape == (15, 8, 1, 4, 4)
    for row, (dim, factor) in enumerate((d, f) for d in (4, 0, 2, 3, 5) for f in (2.0, 0.0, -1.0)):
        moved = z.clone()
        moved[:, dim] *= factor
        assert torch.equal(table.edited[row], linear(moved))
    write_png(edit_figure(table), tmp_path / "edits.png")
    shown = read_grid(tmp_path / "edits.png")
    assert len(shown) == 16 * 8
    expected = torch.cat([table.originals, table.edited.flatten(0, 1)])
    assert (shown == expected.add(1).mul(127.5).round().numpy()).all()


def test_each_row_of_edits_says_how_much_the_edited_image_changed() -> None:
    for all_rows in (False, True):
        table = edit(linear, latents(), (4, 0), all_rows=all_rows, row=3)
        changes = (table.edited - table.originals).abs().mean((2, 3, 4))
        expected = changes.mean(1) if all_rows else changes[:, 3]
        labels = json.loads(edit_figure(table).info["layout"])["labels"]
        assert labels[0] == "originals\npixels in [−1, 1]"
        assert labels[1] == f"z[4] × 2\nchange {expected[0]:.2g} a pixel"
        assert [float(label.split()[-3]) for label in labels[1:]] == pytest.approx(
            expected.tolist(), rel=0.06
        )


@pytest.mark.parametrize("all_rows", [False, True])
def test_edits_are_collinear_with_factors_one_minus_one_and_minus_two(all_rows: bool) -> None:
    z = latents()
    table = edit(linear, z, (2, 5), all_rows=all_rows, row=6)
    change = (table.edited - table.originals).view(2, 3, 8, -1)
    assert torch.allclose(change[:, 1], -change[:, 0], atol=1e-6)
    assert torch.allclose(change[:, 2], 2 * change[:, 1], atol=1e-6)
    for place, dim in enumerate((2, 5)):
        rows = slice(None) if all_rows else slice(6, 7)
        unit = torch.zeros_like(z)
        unit[rows, dim] = z[rows, dim]
        assert torch.allclose(change[place, 0].view(8, 1, 4, 4), linear(unit), atol=1e-6)
        size = z[rows, dim].abs()
        for number, factor in enumerate((1, 1, 2)):
            assert torch.allclose(table.shifts[3 * place + number, rows], factor * size)


def test_of_a_linear_generator_all_edits_have_the_same_effect_per_unit() -> None:
    table = edit(linear, latents(), (4, 1, 2), all_rows=True)
    assert torch.allclose(table.per_unit, STRENGTHS[[4, 1, 2], None].expand(3, 3), atol=1e-6)


def test_one_number_of_one_latent_changes_one_image() -> None:
    table = edit(linear, latents(), (2,), row=5)
    assert (table.changes[:, 5] > 0).all()
    assert not table.changes[:, [0, 1, 2, 3, 4, 6, 7]].any()
    assert table.largest_leak == 0.0
    assert (
        "changed image 5 alone; the other 7 are the same to the last bit"
        in finding(table, effects(linear, latents()))[0]
    )


def test_a_generator_that_mixes_its_batch_is_found_out() -> None:
    def mixing(z: Tensor) -> Tensor:
        return linear(z) + linear(z).mean(0)

    table = edit(mixing, latents(), (2,))
    assert table.largest_leak > 0.001
    assert "mixes the samples of a batch" in finding(table, effects(mixing, latents()))[0]


def test_batch_norm_does_not_leak_and_the_modules_mode_is_given_back() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(DIMS, 16), nn.BatchNorm1d(16), nn.Unflatten(1, (1, 4, 4))).train()
    module[0].eval()
    table = edit(module, latents(), (2,))
    assert table.largest_leak == 0.0
    assert [m.training for m in module.modules()] == [True, False, True, True]
    assert int(module[1].num_batches_tracked) == 0


def test_a_dimension_in_all_latents_changes_all_images() -> None:
    table = edit(linear, latents(), (2,), all_rows=True)
    assert (table.changes > 0).all()
    assert "changed 8 of 8 images" in finding(table, effects(linear, latents()))[0]


def test_the_known_effects_of_a_linear_generator_are_measured_and_ranked() -> None:
    found = effects(linear, latents(20))
    assert [effect.dim for effect in found.ranked] == [2, 4, 5, 3, 0, 1]
    assert [effect.rank for effect in found.ranked] == [1, 2, 3, 4, 5, 6]
    for effect in found.ranked:
        assert effect.per_unit == pytest.approx(float(STRENGTHS[effect.dim]), abs=1e-6)
        assert effect.error < 1e-6
    chosen = effects(linear, latents(20), dims=(0, 3))
    assert [effect.dim for effect in chosen.ranked] == [3, 0]
    assert chosen.of(3).per_unit == pytest.approx(0.02, abs=1e-6)


def test_a_planted_dimension_of_a_random_network_is_found_and_named() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Linear(50, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )
    with torch.no_grad():
        network[0].weight[:, 31] *= 10
        network[0].weight[:, 7] = 0
    z = draw_latents(16, 50, seed=0)
    found = effects(network, z)
    assert found.ranked[0].dim == 31
    assert found.ranked[-1].dim == 7
    words = finding(edit(network, z[:8], (31, 7)), found)
    assert any("z[31] moves the image most" in line and "It stands out." in line for line in words)
    assert any("1 of them do nothing at all: z[7]." in line for line in words)
    assert any("z[31] 1, z[7] 50" in line for line in words)


def test_the_finding_says_that_the_edits_are_one_direction() -> None:
    table = edit(linear, latents(), (2, 4), all_rows=True)
    line = finding(table, effects(linear, latents()))[1]
    assert "Δz = +z_d (double), −z_d (zero), −2·z_d (negate)" in line
    assert "one direction at several distances" in line
    assert "a factor of 1.00 at most" in line


def test_a_generator_that_ignores_its_latent_is_said_to() -> None:
    def constant(z: Tensor) -> Tensor:
        return torch.zeros(len(z), 1, 4, 4)

    assert "ignores its latent" in finding(edit(constant, latents(), (0,)), effects(constant, latents()))[2]


def test_labels_go_to_generators_that_take_them() -> None:
    def conditional(z: Tensor, labels: Tensor) -> Tensor:
        return linear(z) + labels.view(-1, 1, 1, 1) / 10

    labels = torch.arange(8)
    table = edit(conditional, latents(), (2,), labels=labels)
    assert torch.equal(table.originals, conditional(latents(), labels))
    assert effects(conditional, latents(), labels=labels).ranked[0].dim == 2
    walk = interpolate(latents()[:2], latents()[2:4], steps=3)
    assert walk_figure(conditional, walk, labels=labels[:2]).size == walk_figure(linear, walk).size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": (6,)}, r"`dims` must be in 0…5, the latent's dimensions, but got 6"),
        ({"dims": ()}, r"`dims` must be in 0…5, the latent's dimensions, but got none"),
        ({"dims": (1,), "edits": ("half",)}, "`edits` must be of double, zero, negate, but got half"),
        ({"dims": (1,), "row": 8}, "`row` must be in 0…7, but got 8"),
    ],
)
def test_edits_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        edit(linear, latents(), **arguments)


def test_dimensions_are_chosen_by_count_by_strength_or_by_number() -> None:
    ranked = effects(linear, latents())
    drawn = choose_dims("4", ranked, seed=1)
    assert drawn == choose_dims("4", ranked, seed=1)
    assert len(set(drawn)) == 4
    assert {choose_dims("4", ranked, seed=seed) for seed in range(5)} != {drawn}
    assert choose_dims("top3", ranked) == (2, 4, 5)
    assert choose_dims("5,0,5", ranked) == (5, 0)
    assert choose_dims("3,", ranked) == (3,)
    for text in ("x", "top", "-1", "1,b", ",", ""):
        with pytest.raises(ValueError, match="takes a number, top5, or a list"):
            choose_dims(text, ranked)
    for text in ("0", "7", "top7"):
        with pytest.raises(ValueError, match=f"must be in 1…6, the latent's dimensions, but got {text}"):
            choose_dims(text, ranked)
    with pytest.raises(ValueError, match="but got 6"):
        choose_dims("1,6", ranked)


@pytest.mark.parametrize("mode", ["linear", "spherical"])
def test_walks_begin_and_end_at_their_latents_exactly(mode: Any) -> None:
    a, b = draw_latents(5, 100, seed=0), draw_latents(5, 100, seed=1)
    walk = interpolate(a, b, steps=7, mode=mode)
    assert walk.shape == (5, 7, 100)
    assert torch.equal(walk[:, 0], a)
    assert torch.equal(walk[:, -1], b)
    back = interpolate(b, a, steps=7, mode=mode)
    assert torch.allclose(walk, back.flip(1), atol=1e-5)


def test_linear_walks_are_straight_and_even() -> None:
    a, b = draw_latents(5, 100, seed=0), draw_latents(5, 100, seed=1)
    walk = interpolate(a, b, steps=5, mode="linear")
    assert torch.allclose(walk[:, 2], (a + b) / 2, atol=1e-6)
    assert torch.allclose(walk.diff(dim=1), ((b - a) / 4)[:, None].expand(-1, 4, -1), atol=1e-6)
    assert (walk[:, 2].norm(dim=1) < 0.85 * a.norm(dim=1)).all()


def test_spherical_walks_turn_and_lengthen_evenly() -> None:
    a, b = draw_latents(5, 100, seed=0), 2 * draw_latents(5, 100, seed=1)
    walk = interpolate(a, b, steps=6, mode="spherical").double()
    lengths = walk.norm(dim=2)
    assert torch.allclose(lengths.diff(dim=1).std(1), torch.zeros(5, dtype=torch.float64), atol=1e-5)
    turns = torch.acos((walk[:, 1:] * walk[:, :-1]).sum(2) / (lengths[:, 1:] * lengths[:, :-1]))
    assert torch.allclose(turns, turns.mean(1, keepdim=True).expand(-1, 5), atol=1e-5)


def test_spherical_walks_between_parallel_latents_are_straight() -> None:
    a = draw_latents(3, 10, seed=0)
    assert torch.allclose(
        interpolate(a, 3 * a, steps=5), interpolate(a, 3 * a, steps=5, mode="linear"), atol=1e-5
    )
    assert torch.allclose(interpolate(a, a, steps=4), a[:, None].expand(-1, 4, -1))


def test_walks_that_cannot_be_are_refused() -> None:
    a = draw_latents(3, 10, seed=0)
    for first, last, options, message in (
        (a, a[:2], {}, r"must both be \(N, Z\)"),
        (a, a, {"steps": 1}, "`steps` must be at least 2"),
        (a, a, {"mode": "cubic"}, "`mode` must be linear or spherical, but got 'cubic'"),
        (a, -a, {}, "two opposite latents"),
        (a, 0 * a, {}, "a latent of zeros"),
    ):
        with pytest.raises(ValueError, match=message):
            interpolate(first, last, **{"steps": 5, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("averaged", [False, True])
def test_a_run_gives_its_generator_back_the_averaged_one_if_there_is_one(
    tmp_path: Path, averaged: bool
) -> None:
    folder, generator = make_run(tmp_path, make_recipe(), averaged=averaged)
    state = torch.get_rng_state()
    run = load_run(folder)
    assert torch.equal(torch.get_rng_state(), state)
    assert (run.seed, run.step, run.averaged, run.num_classes) == (4, 120, averaged, 10)
    assert run.run_id == folder.name
    assert not run.generator.training
    assert torch.equal(sample(run.generator, latents()), sample(generator, latents()))


def test_batches_do_not_change_samples(tmp_path: Path) -> None:
    folder, generator = make_run(tmp_path, make_recipe("cgan"))
    run = load_run(folder)
    z, labels = draw_latents(300, DIMS, seed=0), run.cycle_labels(300)
    assert labels is not None
    with torch.no_grad():
        assert torch.allclose(sample(run.generator, z, labels), generator(z, labels), atol=1e-6)


def test_runs_are_found_by_folder_and_by_the_beginning_of_their_id(tmp_path: Path) -> None:
    first, _ = make_run(tmp_path, make_recipe(), seed=1)
    second, _ = make_run(tmp_path, make_recipe(), seed=2, study="other")
    assert find_run(str(first)) == first
    assert find_run(str(tmp_path / "other")) == second
    assert find_run(second.name[:5], directory=tmp_path) == second
    again, _ = make_run(tmp_path, make_recipe(), seed=1, study="repeated")
    (again / "result.json").write_text("{}")
    assert find_run(first.name, directory=tmp_path) == again


def test_runs_that_cannot_be_found_are_told_with_what_there_is(tmp_path: Path) -> None:
    names = sorted(make_run(tmp_path, make_recipe(), seed=seed)[0].name for seed in range(3))
    with pytest.raises(ValueError, match=f"beginning of a run's id in .*; runs there: {', '.join(names)}"):
        find_run("zzz", directory=tmp_path)
    with pytest.raises(ValueError, match="is a study of 3 runs; choose one of them"):
        find_run(str(tmp_path / "train"))
    with pytest.raises(ValueError, match=r"is not a run's folder: there is no recipe\.json in it"):
        find_run(str(tmp_path))
    with pytest.raises(ValueError, match="there are no runs"):
        find_run("abc", directory=tmp_path / "nothing")
    with pytest.raises(ValueError, match="neither a run's folder"):
        find_run("../train", directory=tmp_path)
    twin = tmp_path / "train" / "runs" / f"{names[0][:6]}ffffff"
    twin.mkdir()
    (twin / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match="is the beginning of 2 runs' ids; give more digits"):
        find_run(names[0][:6], directory=tmp_path)


def test_runs_that_cannot_be_used_say_why_on_one_line(tmp_path: Path) -> None:
    def broken(name: str, change: Callable[[Path], object]) -> str:
        folder, _ = make_run(tmp_path / name, make_recipe())
        change(folder)
        with pytest.raises(ValueError, match=r"\S") as caught:
            load_run(folder)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def rewrite(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
        def apply(folder: Path) -> None:
            content = json.loads((folder / "recipe.json").read_text())
            change(content)
            (folder / "recipe.json").write_text(json.dumps(content))

        return apply

    assert "no recipe.json" in broken("none", lambda f: (f / "recipe.json").unlink())
    assert "not valid JSON" in broken("json", lambda f: (f / "recipe.json").write_text("{"))
    older = broken("older", rewrite(lambda c: c["generator"].pop("slope")))
    assert "no recipe of this version" in older
    assert "no recipe of this version" in broken("list", lambda f: (f / "recipe.json").write_text("[]"))
    assert "has not finished" in broken("unfinished", lambda f: (f / "checkpoint.pt").unlink())
    assert "not a checkpoint" in broken("cut", lambda f: (f / "checkpoint.pt").write_bytes(b"PK"))
    assert "another version of the harness" in broken(
        "wide", rewrite(lambda c: c["generator"].update(width=2.0))
    )

    def diverge(folder: Path) -> None:
        (folder / "checkpoint.pt").unlink()
        result = RunResult(
            run_id=folder.name,
            study="train",
            arm="arm",
            overrides={},
            seed=4,
            phase="ablate",
            trial=None,
            outcome="diverged",
            reason="a loss was not finite",
            scores={},
            ledger={},
            recipe="",
            environment={},
        )
        write_json(folder / "result.json", result.to_json())

    assert "the run diverged and left no networks (a loss was not finite)" in broken("diverged", diverge)


def test_generate_writes_a_grid_and_every_image(tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path, make_recipe())
    run = load_run(folder)
    made = generate(run, 300, directory=tmp_path / "out", seed=5)
    files = sorted(made.folder.iterdir())
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(300)]
    expected = sample(run.generator, draw_latents(300, DIMS, seed=5)).add(1).mul(127.5).round()
    for i in (0, 255, 256, 299):
        with Image.open(files[i]) as image:
            assert (np.asarray(image) == expected[i, 0].numpy()).all()
    assert (read_grid(made.grid) == expected.numpy()).all()
    again = generate(run, 300, directory=tmp_path / "out", seed=5)
    assert (read_grid(again.grid) == expected.numpy()).all()


def test_generate_keeps_away_from_other_pictures(tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path, make_recipe())
    run = load_run(folder)
    generate(run, 5, directory=tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds 3 other PNGs \(00002\.png is one\)"):
        generate(run, 2, directory=tmp_path / "out")
    with pytest.raises(ValueError, match="`num` must be at least 1, but got 0"):
        generate(run, 0, directory=tmp_path / "out")


def test_generate_gives_classes_columns_or_captions(tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path, make_recipe("cgan"))
    run = load_run(folder)
    every = generate(run, 20, directory=tmp_path / "every")
    assert sorted(path.name for path in every.folder.iterdir())[11] == "00011_class1.png"
    few = generate(run, 6, directory=tmp_path / "few", labels=[3, 7])
    assert [path.name[-10:-4] for path in sorted(few.folder.iterdir())] == ["class3", "class7"] * 3
    z = draw_latents(6, DIMS, seed=0)
    expected = sample(run.generator, z, torch.tensor([3, 7] * 3)).add(1).mul(127.5).round()
    assert (read_grid(few.grid) == expected.numpy()).all()
    with pytest.raises(ValueError, match="`labels` must be classes of digits, 0 to 9, but got 10"):
        generate(run, 6, directory=tmp_path / "no", labels=[3, 10])
    for wrong in ("3", 1.5, True):
        with pytest.raises(
            ValueError, match=f"`labels` must be classes of digits, 0 to 9, but got {wrong!r}"
        ):
            run.cycle_labels(2, [wrong])  # type: ignore[list-item]


Command = Callable[..., tuple[str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command line in this process: its output, or the one line of a refusal."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert (stopped.value.code == 0) == (not printed.err)
        if printed.err:
            assert stopped.value.code == 2
            assert len(printed.err.strip().splitlines()) == 1, printed.err
        return printed.out, printed.err

    return run


def test_the_edit_command_writes_figure_table_and_finding(command: Command, tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path / "runs", make_recipe())
    out, error = command("latent", "edit", folder.name[:6])
    assert not error
    assert "change per unit of z" in out
    assert "the rows of a batch are independent" in out
    assert "Δz = +z_d (double), −z_d (zero), −2·z_d (negate)" in out
    assert len(read_grid(folder / "latent" / "edits.png")) == 16 * 8
    with (folder / "latent" / "effects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["dimension"]) for row in rows) == list(range(DIMS))
    changes = [float(row["change_per_unit"]) for row in rows]
    assert changes == sorted(changes, reverse=True)
    command("latent", "edit", folder.name, "--all-rows", "--dims", "top2", "--edits", "zero", "--out", "o")
    assert len(read_grid(tmp_path / "o" / "edits_all_rows.png")) == 3 * 8


def test_the_interpolate_and_generate_commands_write_their_files(command: Command, tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path / "runs", make_recipe("cgan"))
    out, error = command("latent", "interpolate", str(folder), "--mode", "linear", "--steps", "4")
    assert not error
    walks = folder / "latent" / "interpolate_linear-steps4.png"
    assert str(walks) in out
    assert len(read_grid(walks)) == 6 * 4
    command("latent", "edit", str(folder), "--dims", "1,", "--labels", "7,3")
    with Image.open(walks) as file:
        assert json.loads(file.info["layout"])["labels"] == [str(number) for number in range(6)]
    with Image.open(folder / "latent" / "edits-labels7,3-dims1,.png") as file:
        headers = json.loads(file.info["layout"])["headers"]
    assert [header.splitlines()[-1] for header in headers] == ["7", "3"] * 4
    out, error = command("generate", str(folder), "--num", "7", "--labels", "1, 2", "--out", "made")
    assert not error
    assert "7 images: made/images" in out
    assert len(list((tmp_path / "made" / "images").iterdir())) == 7


def test_no_choice_of_options_replaces_what_another_has_drawn(command: Command, tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path / "runs", make_recipe("cgan"))
    made: dict[Path, bytes] = {}
    for words in (
        *(("generate", "--num", "2"), ("generate", "--num", "2", "--seed", "1")),
        *(("generate", "--num", "2", "--labels", "1"), ("generate", "--num", "2", "--labels", "1, 2")),
        *(("latent", "interpolate", "--num", "1", "--seed", seed) for seed in ("0", "1")),
        ("latent", "interpolate", "--num", "1", "--mode", "linear"),
        *(("latent", "edit", "--dims", dims) for dims in ("5", "top1", "1,", "0,1,2,3,4,5," + "1," * 60)),
        *(("latent", "edit", "--dims", "top1", *more) for more in (("--row", "2"), ("--all-rows",))),
        *(
            ("latent", "sefa", "--attribute-latents", "0", "--num-directions", "1", *more)
            for more in (
                ("--seed", "1"),
                ("--num-samples", "2"),
                ("--variant", "original"),
                ("--layers", "0"),
            )
        ),
    ):
        command(*words[: 1 + (words[0] == "latent")], str(folder), *words[1 + (words[0] == "latent") :])
        files = {
            p: p.read_bytes()
            for part in ("generated*", "latent")
            for f in folder.glob(part)
            for p in f.rglob("*.*")
        }
        assert made.items() <= files.items(), words
        assert len(files) > len(made), words
        made = files


def test_the_pictures_of_a_studys_run_go_to_wandb_each_kind_apart(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, _ = make_run(tmp_path / "runs", make_recipe(), study="found")
    seen: dict[str, tuple[dict[str, Path], dict[str, Any]]] = {}

    def log(study: Path, name: str, run: str, **given: Any) -> None:
        assert (study, name, given["step"]) == ((tmp_path / "runs" / "found").resolve(), "found", 120)
        seen[run.removesuffix(f"-{folder.name}")] = given["pictures"], given["config"]

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("harness.tracking.log_pictures", log)
    command("latent", "edit", str(folder), "--dims", "2,", "--seed", "5")
    command("latent", "interpolate", str(folder), "--num", "1", "--steps", "2")
    command("generate", str(folder), "--num", "1")
    shown = {name: {key: file.name for key, file in pictures.items()} for name, (pictures, _) in seen.items()}
    assert shown == {
        "edits-seed5-dims2,": {"samples/latent_edit": "edits-seed5-dims2,.png"},
        "interpolate-spherical-steps2-num1": {
            "samples/latent_interpolate": "interpolate_spherical-steps2-num1.png"
        },
        "generated-num1": {"samples/generated": "grid.png"},
    }
    config = seen["edits-seed5-dims2,"][1]
    assert (config["run"], config["seed"], config["dims"]) == (folder.name, 5, [2])
    (tmp_path / "apart").mkdir()
    folder = folder.rename(tmp_path / "apart" / folder.name)
    seen.clear()
    command("generate", str(folder), "--num", "1")
    assert not seen


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("latent", "edit", "zzz"), "neither a run's folder nor the beginning"),
        (("latent", "edit", "RUN", "--dims", "99"), "`--dims` must be in 1…6"),
        (("latent", "edit", "RUN", "--edits", "half"), "`edits` must be of double, zero, negate"),
        (("latent", "edit", "RUN", "--edits", ","), "`edits` must be of double, zero, negate, but got none"),
        (("latent", "edit", "RUN", "--row", "8"), "8 is not in the range"),
        (("latent", "interpolate", "RUN", "--mode", "cubic"), "'cubic' is not one of"),
        (("generate", "RUN", "--labels", "3"), "takes no labels"),
        (("generate", "RUN", "--labels", "boot"), "takes no labels"),
        (("generate", "RUN", "--num", "0"), "0 is not in the range"),
        (("generate", "POINTS"), "makes samples of shape (2,), not images"),
        (("latent", "edit", "POINTS"), "makes samples of shape (2,), not images"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_two(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    recipes = {"RUN": make_recipe(), "POINTS": make_recipe("tiny-mlp", "ring")}
    folders = {name: str(make_run(tmp_path / "runs", recipe)[0]) for name, recipe in recipes.items()}
    _, error = command(*(folders.get(word, word) for word in arguments))
    assert error.startswith("error: ")
    assert message in error


def test_an_unknown_class_name_lists_the_known_ones(command: Command, tmp_path: Path) -> None:
    folder, _ = make_run(tmp_path / "runs", make_recipe("cgan"))
    _, error = command("generate", str(folder), "--labels", "boot")
    assert "unknown class `boot`. Known: 0, 1, 2" in error


HEAVY = {"torch", "numpy", "scipy", "optuna", "wandb", "matplotlib", "PIL"}


@pytest.mark.parametrize("arguments", [("--help",), ("latent", "--help"), ("latent", "sefa", "--help")])
def test_help_on_runs_loads_no_heavy_library(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "harness", *arguments],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "Usage" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert {"harness", "click"} <= loaded
    assert not loaded & HEAVY
