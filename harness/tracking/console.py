"""Progress on the terminal: one run of `harness train`, and the standing of a whole sweep.

Both redraw in place on a terminal. Elsewhere (a file, a pipe, a batch job) they print a line now and then.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.tracking.history import STEP
from harness.tracking.status import SweepStatus
from harness.tracking.tracker import Histogram

__all__ = ["ConsoleTracker", "SweepDisplay"]

REDRAW_SEC = 0.2
MAX_RUNNING_SHOWN = 12


@final
class SweepDisplay:
    """Show a sweep's progress until the block it is used in ends.

    Args:
        study: Name of the study, the title.
        console: Where to; by default the standard output.
        line_every_sec: Without a terminal, how often a line is printed at least while the sweep goes on.
    """

    def __init__(self, study: str, *, console: Console | None = None, line_every_sec: float = 30.0) -> None:
        self._study = study
        self._console = console or Console()
        self._line_every_sec = line_every_sec
        self._started = time.monotonic()
        self._status: SweepStatus | None = None
        self._printed_at = -math.inf
        self._printed_done = -1
        self._drawn_at = -math.inf
        self._live: Live | None = None

    def __enter__(self) -> SweepDisplay:
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            if self._status is not None:
                self._live.update(self._render(self._status), refresh=True)
            self._live.stop()
            self._live = None
        elif self._status is not None:
            if self._status.done != self._printed_done:
                self._print_line(self._status)
            self._console.print(self._standing(self._status))

    def update(self, status: SweepStatus) -> None:
        """Show how the study stands now. Call it as often as you like; drawing is limited here."""
        self._status = status
        now = time.monotonic()
        if self._live is not None:
            if now - self._drawn_at >= REDRAW_SEC:
                self._drawn_at = now
                self._live.update(self._render(status), refresh=True)
            return
        # A finished run is news, but eight of them in a second are one piece of news.
        wait_sec = self._line_every_sec / (5 if status.done != self._printed_done else 1)
        if now - self._printed_at >= wait_sec:
            self._print_line(status)

    def say(self, message: str, *, alarming: bool = False) -> None:
        """Print a message above the display, on one line however long it is."""
        self._console.print(Text(message, style="red" if alarming else ""), soft_wrap=True)

    def _print_line(self, status: SweepStatus) -> None:
        self._printed_at, self._printed_done = time.monotonic(), status.done
        parts = [f"{self._study}: {status.done}/{status.total} runs"]
        if status.failed:
            parts.append(f"{status.failed} failed")
        if status.bad_verdicts:
            parts.append(f"verdicts: {_counts(status.bad_verdicts)}")
        if status.saved_steps:
            parts.append(f"{status.saved_steps:,} steps saved")
        if status.running:
            speed = sum(unit.steps_per_sec for unit in status.running)
            parts.append(
                f"{len(status.running)} in training" + (f" at {speed:,.0f} steps/s" if speed else "")
            )
        if status.best is not None and status.best.mean is not None:
            parts.append(f"{status.metric or 'score'} {_number(status.best.mean)} ({status.best.name}) leads")
        parts.append(self._times(status))
        self._console.print(Text(", ".join(parts)), soft_wrap=True)

    def _render(self, status: SweepStatus) -> RenderableType:
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(self._study, style="bold"),
            ProgressBar(total=max(status.total, 1), completed=status.done, width=30),
            Text(f"{status.done}/{status.total} runs"),
            Text(f"{status.failed} failed" if status.failed else "", style="red"),
            Text(self._times(status)),
        )
        parts: list[RenderableType] = [head, self._standing(status)]
        if status.running:
            running = Table.grid(padding=(0, 2))
            for unit in status.running[:MAX_RUNNING_SHOWN]:
                running.add_row(
                    Text(unit.label),
                    ProgressBar(total=max(unit.total_steps, 1), completed=unit.step, width=20),
                    Text(f"step {unit.step:,}/{unit.total_steps:,}"),
                    Text(f"{unit.steps_per_sec:,.0f} steps/s" if unit.steps_per_sec else ""),
                )
            parts.append(running)
            if len(status.running) > MAX_RUNNING_SHOWN:
                parts.append(Text(f"and {len(status.running) - MAX_RUNNING_SHOWN} more", style="dim"))
        return Group(*parts)

    def _standing(self, status: SweepStatus) -> Table:
        best = status.best
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("arm")
        table.add_column("runs", justify="right")
        table.add_column(f"mean {status.metric}".strip(), justify="right")
        table.add_column("failed", justify="right")
        if status.bad_verdicts:
            table.add_column("verdicts")
        if status.saved_steps:
            table.add_column("steps saved", justify="right")
        for arm in status.arms:
            leads = arm is best
            cells = [
                Text(arm.name),
                Text(f"{arm.done}/{arm.total}"),
                Text("" if arm.mean is None else _number(arm.mean), style="bold green" if leads else ""),
                Text(str(arm.failed) if arm.failed else "", style="red"),
            ]
            if status.bad_verdicts:
                cells.append(Text(_counts(arm.bad_verdicts), style="red"))
            if status.saved_steps:
                cells.append(Text(f"{arm.saved_steps:,}" if arm.saved_steps else ""))
            table.add_row(*cells)
        return table

    def _times(self, status: SweepStatus) -> str:
        elapsed = _duration(time.monotonic() - self._started)
        if status.done >= status.total or status.eta_sec is None:
            return elapsed
        return f"{elapsed}, {_duration(status.eta_sec)} to go"


@final
class ConsoleTracker:
    """Show the progress and the result of one run.

    Args:
        label: The run, as a person would name it: recipe and seed.
        total_steps: Training steps in all.
        metric: The score to show, such as `sliced_w2`.
        console: Where to; by default the standard output.
        num_lines: Without a terminal, about how many lines a run prints.
    """

    def __init__(
        self,
        *,
        label: str,
        total_steps: int,
        metric: str = "",
        console: Console | None = None,
        num_lines: int = 10,
    ) -> None:
        self._label = label
        self._total_steps = max(total_steps, 1)
        self._metric = metric
        self._console = console or Console()
        self._line_every_steps = self._total_steps / max(num_lines, 1)
        self._next_line_at = 0.0
        self._row: dict[str, float] = {}
        self._first: tuple[float, int] | None = None
        self._drawn_at = -math.inf
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def log(self, row: Mapping[str, float]) -> None:
        """Show a row's step, losses and score; see `Tracker.log`."""
        now = time.monotonic()
        self._row |= {key: float(value) for key, value in row.items()}
        step = int(row[STEP])
        self._first = self._first or (now, step)
        if self._live is not None:
            if now - self._drawn_at >= REDRAW_SEC:
                self._drawn_at = now
                self._live.update(self._render(), refresh=True)
        elif step >= self._next_line_at:
            while self._next_line_at <= step:
                self._next_line_at += self._line_every_steps
            self._console.print(Text("  ".join(self._parts())), soft_wrap=True)

    def image(self, key: str, path: Path, step: int) -> None:
        """Do nothing: a terminal shows no images."""

    def histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Do nothing: the means of the same scores are in the row of that step."""

    def alarm(self, title: str, text: str) -> None:
        """Print the line above the progress; see `Tracker.alarm`."""
        self._console.print(Text(text, style="red"), soft_wrap=True)

    def flush(self) -> None:
        """Do nothing."""

    def finish(self, result: Mapping[str, object]) -> None:
        """End the progress and print the outcome and the scores."""
        self.close()
        outcome, reason = str(result.get("outcome", "")), str(result.get("reason") or "")
        self._console.print(
            Text.assemble(
                (self._label, "bold"),
                " ",
                (outcome, "green" if outcome == "completed" else "red"),
                f" ({reason})" if reason else "",
            ),
            soft_wrap=True,
        )
        verdict = result.get("verdict")
        if isinstance(verdict, Mapping) and verdict:
            self._console.print(Text(f"{verdict['name']}: {verdict['rule']}"), soft_wrap=True)
        scores = result.get("scores")
        if isinstance(scores, Mapping) and scores:
            table = Table(box=None, pad_edge=False, header_style="bold")
            table.add_column("score")
            columns = ["first", "last", "best", "area"]
            for column in columns:
                table.add_column(column, justify="right")
            for name, values in scores.items():
                table.add_row(
                    Text(str(name)), *(_number(values[key]) if key in values else "" for key in columns)
                )
            self._console.print(table)
        selection = result.get("selection")
        if isinstance(selection, Mapping) and selection:
            self._console.print(
                Text(
                    f"best {selection['metric']}: of the checkpoint of step {selection['step']:,} (best.pt), "
                    "chosen on one half of the held-out samples and scored on the other; the best of any "
                    "other score is its curve's optimum, which flatters"
                ),
                soft_wrap=True,
            )

    def close(self) -> None:
        """End the progress."""
        if self._live is not None:
            self._live.update(self._render(), refresh=True)
            self._live.stop()
            self._live = None

    def _render(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._total_steps, completed=self._row.get(STEP, 0.0), width=30)
        label, step, *rest = self._parts()
        grid.add_row(bar, Text(f"{label}  {step}", no_wrap=True))
        return Group(grid, Text("  ".join(rest), no_wrap=True, overflow="ellipsis"))

    def _parts(self) -> list[str]:
        step = int(self._row.get(STEP, 0))
        parts = [self._label, f"step {step:,}/{self._total_steps:,}"]
        if "growth/size" in self._row:
            parts.append(_growing(self._row["growth/size"], self._row["growth/alpha"]))
        if self._first is not None:
            elapsed_sec, steps = time.monotonic() - self._first[0], step - self._first[1]
            if steps > 0 and elapsed_sec > 0:
                speed = steps / elapsed_sec
                left_sec = (self._total_steps - step) / speed
                parts.append(f"{speed:,.0f} steps/s" + (f", {_duration(left_sec)} to go" if left_sec else ""))
        shown = {"d_loss": "train/d_loss", "g_loss": "train/g_loss", self._metric: f"eval/{self._metric}"}
        parts += [f"{name} {_number(self._row[key])}" for name, key in shown.items() if key in self._row]
        return parts


def _number(value: float) -> str:
    return f"{value:.4g}"


def _growing(size: float, alpha: float) -> str:
    """`16×16`, or `16×16 fading in 40 %`."""
    return f"{size:.0f}×{size:.0f}" + (f" fading in {100 * alpha:.0f} %" if alpha < 1 else "")


def _counts(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in verdicts.items())


def _duration(seconds: float) -> str:
    minutes, secs = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
