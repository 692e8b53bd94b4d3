"""The commands, thin: read the line, call the harness, print. Heavy imports wait until a command runs."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from harness.cli import evaluate as cli_evaluate
from harness.cli import latent as cli_latent
from harness.cli import show as cli_show
from harness.cli.options import SEED, data_root, import_option, imported, read_settings, set_option
from harness.cli.options import directory as directory_option
from harness.recipe.registry import nearest
from harness.terminal import degrade_output, new_console, say
from harness.version import __version__
from harness.words import legible

if TYPE_CHECKING:
    from rich.console import Console

    from harness.planning.plan import Plan
    from harness.recipe import Recipe
    from harness.runs.job import PlannedRun
    from harness.study.study import Study
    from harness.tracking import Tracker

__all__ = ["main"]

_MOST_ROWS = 2000
KINDS = ("recipes", "generators", "discriminators", "losses", "optimizers", "datasets", "metrics", "sweeps")


_UNREAD = 141
"""The status of a command whose output is read no more, as if SIGPIPE had ended it: 128 and its number."""


def main() -> None:
    """Run the command line. A user's mistake is one line on stderr and exit status 2, never a traceback."""
    degrade_output()
    output = sys.stdout
    try:
        _run()
    except (SystemExit, BrokenPipeError) as error:
        # When a pipe is closed, rich and click end with status 1; click puts another stream in its place.
        if sys.stdout is output and BrokenPipeError not in (type(error), type(error.__context__)):
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                os.dup2(nowhere, stream.fileno())
        sys.exit(_UNREAD)


def _run() -> None:
    try:
        status = harness.main(standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if _is_memory(error):
            _fail("memory ran out; lower train.batch_size, evaluate.num_samples, widths or how many train.")
        if not isinstance(error, (ValueError, OSError)):
            raise
        _fail(_message(error))
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    say(f"error: {legible(' '.join(message.split()))}", err=True)
    sys.exit(2)


def _is_memory(error: Exception) -> bool:
    """Whether it is an allocation that failed.

    On a CPU, torch says so in the text of a RuntimeError; a mapping fails with the system's words, ENOMEM.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory")
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in text for word in words)
    )


def _message(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"cannot use {error.filename}: {error.strerror}."
    return str(error)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def harness() -> None:
    """Does this GAN design choice matter? Ablations with seeds, intervals and paired tests."""


harness.add_command(cli_evaluate.evaluate)
harness.add_command(cli_latent.generate)
harness.add_command(cli_latent.latent)
harness.add_command(cli_show.show)

_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
_smoke = click.option("--smoke", is_flag=True, help="The study's two-minute version.")
_seeds = click.option("--seeds", type=click.IntRange(min=1), help="Seeds an arm, in place of the file's.")


def _study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    workers = click.option(
        "--workers", type=click.IntRange(min=1), help="Worker processes; one a core on a CPU."
    )
    for option in (import_option, set_option, _device, directory_option, data_root, _smoke, _seeds, workers):
        command = option(command)
    return command


@harness.command("list")
@click.argument("kind", required=False)
@import_option
def list_entries(kind: str | None) -> None:
    """List what there is: recipes, networks, losses, optimisers, data sets, metrics or sweeps."""
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind `{kind}`{nearest(kind, KINDS) or '.'} Known: {', '.join(KINDS)}.")
    console = new_console()
    for name in (kind,) if kind else KINDS:
        table = Table(box=None, show_header=False, pad_edge=False)
        for entry, summary in _entries(name):
            table.add_row(f"[bold]{entry}[/bold]", summary)
        if kind is None:
            console.print(f"\n[underline]{name}[/underline]")
        console.print(table)


def _entries(kind: str) -> list[tuple[str, str]]:
    from harness.recipe import registry

    if kind == "sweeps":
        return _sweeps()
    found: dict[str, str] = getattr(registry, kind).summaries()
    return list(found.items())


def _sweeps() -> list[tuple[str, str]]:
    """Name and description of every sweep file: one's own, with their paths, before those shipped."""
    from harness.study.find import list_studies
    from harness.study.study import Study

    rows = []
    for name, path in list_studies().items():
        place = "" if path.is_absolute() else f" [dim]{escape(str(path))}[/dim]"
        try:
            study = Study.load(path)
        except ValueError as error:
            rows.append((name, f"[red]not readable:[/red] {escape(str(error))}"))
            continue
        title = name if study.name == name else f"{name} (study {study.name})"
        rows.append((title, escape(study.description) + place))
    return rows


@harness.command()
@click.argument("recipe")
@set_option
@click.option("--seed", type=SEED, default=0, show_default=True)
@_device
@directory_option
@data_root
@import_option
def train(recipe: str, settings: tuple[str, ...], seed: int, device: str, directory: Path) -> None:
    """Train one recipe with one seed, and print its scores. Run again to resume."""
    from harness.execution.single import train as train_run
    from harness.tracking import ConsoleTracker

    resolved = _recipe(recipe, settings)
    console = new_console()
    for line in resolved.warnings():
        console.print(f"[yellow]warning:[/yellow] {line}")
    shown: list[ConsoleTracker] = []

    def watch(_: PlannedRun, total_steps: int) -> Tracker:
        shown.append(
            ConsoleTracker(label=f"{resolved.name} seed {seed}", total_steps=total_steps, console=console)
        )
        return shown[-1]

    result = train_run(resolved, seed=seed, device=device, directory=directory / "train", watch=watch)
    if not shown:
        label = f"{resolved.name} seed {seed} was trained before:"
        ConsoleTracker(label=label, total_steps=1, console=console).finish(result.to_json())
    ledger = result.ledger
    steps = f"{ledger['discriminator_steps']:,} D and {ledger['generator_steps']:,} G steps"
    judged = f"; scores, verdicts and pictures took {ledger['diagnostics_sec']:.1f} s" if shown else ""
    console.print(f"{steps} in {ledger['elapsed_sec']:.1f} s{judged}", highlight=False)
    how = result.environment.get("iterations", "")
    if how.startswith("computed"):
        console.print(f"iterations: {how}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"files: {directory / 'train' / 'runs' / result.run_id}", highlight=False, soft_wrap=True)


@harness.command()
@click.argument("sweep")
@_study_options
@click.option(
    "--remeasure",
    is_flag=True,
    help="Measure again, and write the prices and the groups of runs not begun into the plan there is.",
)
def plan(
    sweep: str, device: str, directory: Path, workers: int | None, remeasure: bool, **options: Any
) -> None:
    """List every run of a study with its price; start nothing."""
    from harness.planning.plan_file import write_plan
    from harness.planning.planner import plan_study
    from harness.planning.size import TooLargeError
    from harness.study.folder import StudyFolder

    study, directory = _study(sweep, directory, **options)
    try:
        made = plan_study(study, directory=directory, workers=workers, device=device, remeasure=remeasure)
    except TooLargeError as error:
        say(error)
        return
    if remeasure and StudyFolder(made.directory).plan.exists():
        write_plan(made, anew=True)
    for line in made.remarks:
        say(line)
    _print_plan(made, new_console())


@harness.command()
@click.argument("sweep")
@_study_options
@click.option("--yes", is_flag=True, help="Begin however large it is, more than 10,000 runs or 30 days too.")
def sweep(sweep: str, device: str, directory: Path, workers: int | None, yes: bool, **options: Any) -> None:
    """Run a study and write its report. Run again to resume: finished runs are never redone."""
    from harness.analysis.findings import without_value
    from harness.execution.launch import WorkerError, run_study
    from harness.planning.size import LargeStudyError

    study, directory = _study(sweep, directory, **options)
    run = functools.partial(run_study, study, directory=directory, workers=workers, device=device)
    try:
        try:
            result = run(large=yes)
        except LargeStudyError as error:
            if not (sys.stdin.isatty() and sys.stdout.isatty()):
                raise
            if not click.confirm(f"{str(error).partition(';')[0]}. Begin?"):
                raise click.Abort from None
            result = run(large=True)
    except WorkerError as error:
        say(f"error: {error}", err=True)
        sys.exit(1)
    say(f"report: {result.report}")
    if lacking := without_value(result.summary):
        say(f"error: {lacking}", err=True)
        sys.exit(1)


@harness.command()
@click.argument("sweep")
@directory_option
@_smoke
@click.option("--judge-anew", is_flag=True, help="Judge finished runs by the rules of today first.")
@import_option
def report(sweep: str, directory: Path, smoke: bool, judge_anew: bool) -> None:
    """Write a study's report anew, from the runs that are finished.

    SWEEP is a sweep file, a study's folder, or the name of either.
    """
    from harness.planning.plan_file import read_plan
    from harness.report.page import write_report
    from harness.study.find import RUNS, find_folder, studies_in
    from harness.study.folder import StudyFolder
    from harness.words import listed, plural

    folder = find_folder(sweep, directory)
    if folder is not None and (not smoke or folder.name.endswith("-smoke")):
        _check_place(folder, directory, StudyFolder(folder).text)
        say(f"study: {folder}")
    else:
        study, directory = _study(sweep, directory, smoke=smoke, seeds=None, settings=())
        folder = directory / study.name
    if not StudyFolder(folder).plan.exists():
        there = listed([folder.with_name(name) for name in studies_in(folder.parent)], 10)
        run = f"harness sweep {sweep}{' --smoke' if smoke else ''}"
        run += f" --directory {directory}" if directory != RUNS and folder.parent == directory else ""
        others = f", or report one that is there: {there}" if there else ""
        raise ValueError(f"there is nothing to report in {folder}; run `{run}` first{others}.")
    for line in read_plan(folder, renew=True).remarks:
        say(line)
    if judge_anew:
        from harness.runs.judging import judge_study_anew

        changed = judge_study_anew(folder)
        say(f"judged anew: {plural(changed, 'run')} with another verdict at the end.")
    say(f"report: {write_report(folder) / 'index.html'}")


def _recipe(name: str, settings: tuple[str, ...]) -> Recipe:
    from harness.recipe import find_recipe

    return find_recipe(name).override(read_settings(settings))


def _study(
    sweep: str, directory: Path, *, smoke: bool, seeds: int | None, settings: tuple[str, ...]
) -> tuple[Study, Path]:
    """The study that a command names, and where it runs: a study's folder says so itself."""
    from harness.study.find import find_folder, find_study, read_instead
    from harness.study.study import Study

    overrides: dict[str, Any] = {**read_settings(settings)}
    if modules := imported():
        overrides["imports"] = modules
    path, folder = find_study(sweep, directory), find_folder(sweep, directory)
    say(f"study: {path}")
    if click.get_current_context().info_name != "report" and (told := read_instead(sweep)):
        say(f"note: {told}", err=True)
    study = Study.load(path, smoke=smoke, seeds=seeds, overrides=overrides)
    if folder is None:
        return study, directory
    _check_place(folder, directory, path)
    if study.name != (f"{folder.name}-smoke" if smoke else folder.name):
        raise ValueError(
            f"{folder} was renamed: the study in it is called {study.name.removesuffix('-smoke')}, and runs "
            f"in a folder of that name; rename it back, or name the file {path} to run the study anew."
        )
    return study, folder.parent


def _check_place(folder: Path, directory: Path, file: Path) -> None:
    """Refuse `--directory` beside a study's folder that lies elsewhere."""
    given = click.get_current_context().get_parameter_source("directory")
    if given is not click.core.ParameterSource.DEFAULT and not directory.resolve() == folder.resolve().parent:
        raise ValueError(
            f"{folder} is where its study runs, so `--directory` {directory} does not go with it; leave it "
            f"out, or name the file {file} to run the study anew there."
        )


def _print_plan(plan: Plan, console: Console) -> None:
    from harness.planning.size import is_large
    from harness.words import about

    if plan.is_search:
        table = Table("arm", "trials", "seeds a trial", "final seeds", "runs", box=None, pad_edge=False)
        for arm in plan.arms:
            trials, final = plan.study.num_trials(arm.asked), len(plan.seeds.get("final", ()))
            seeds = len(plan.study.seeds)
            table.add_row(arm.name, *(f"{n:,}" for n in (trials, seeds, final, trials * seeds + final)))
        console.print(table)
        console.print()
    prices = Table(
        "arm", "steps a run", "seconds a run", "trained together", "their memory", box=None, pad_edge=False
    )
    for arm in plan.arms:
        price = arm.price
        cost = (f"{price.steps:,}", about(price.run_sec)) if price else ("–", "–")
        memory = _bytes(price.memory_bytes) if price else "–"
        prices.add_row(arm.name, *cost, str(arm.population), memory)
    _print_ranges(plan.study, console)
    if not plan.is_search:
        runs = Table("run", "arm", "seed", "state", "steps", "seconds", "memory", box=None, pad_edge=False)
        priced = {arm.name: arm.price for arm in plan.arms}
        for run in plan.runs[:_MOST_ROWS]:
            done, price = run.run_id in plan.done, priced[run.arm]
            state = "exists" if done else "to do"
            asked = []
            if price and not done:
                asked = [f"{price.steps:,}", about(price.run_sec), _bytes(price.memory_bytes)]
            runs.add_row(run.run_id, run.arm, str(run.seed), state, *asked)
        console.print(runs)
        if len(plan.runs) > _MOST_ROWS:
            console.print(f"and {len(plan.runs) - _MOST_ROWS:,} runs more", highlight=False)
        console.print()
    console.print(prices)
    for arm in plan.arms:
        if arm.alone:
            console.print(
                f"{arm.name}: one run at a time, since torch cannot train several together: {arm.alone}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    left = plan.num_runs - plan.num_done
    line = f"\n{plan.num_runs:,} runs, {plan.num_done:,} of them exist"
    if left:
        line += (
            f"; {plan.total_steps:,} steps to go on {plan.device}: about {about(plan.eta_sec)} with "
            f"{plan.workers} workers of {plan.num_threads} threads, {_memory(plan)}"
        )
    early = plan.study.early_stop
    if left and early is not None:
        line += f". Early stopping ends hopeless runs sooner, from {early.warm_up:.0%} of their steps on"
    if is_large(plan):
        line += ". So large a study is begun only when asked, or with --yes"
    console.print(line + ".", highlight=False, soft_wrap=True)


def _print_ranges(study: Study, console: Console) -> None:
    """What each searched parameter can be, with the values below which a sixth, half ... of its draws lie."""
    from harness.planning.ranges import parameter_ranges

    ranges = parameter_ranges(study)
    if not ranges:
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("searched", "drawn", "range", "below: 1/6", "1/2", "5/6"):
        table.add_column(heading, overflow="fold")
    for found in ranges:
        table.add_row(*map(escape, (found.key, found.distribution, found.reach, *found.samples)))
    console.print(table)
    console.print()


def _memory(plan: Plan) -> str:
    """What all workers take of the machine's memory, and of the GPUs'."""
    if plan.device == "cpu" or not plan.host_bytes:
        return f"{_bytes(plan.host_bytes or plan.memory_bytes)} of memory"
    return f"{_bytes(plan.host_bytes)} of memory and {_bytes(plan.memory_bytes)} of the GPUs'"


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"
