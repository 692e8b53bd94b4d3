"""Progress of a study on the terminal, in a notebook in one place; elsewhere a line now and then."""

from __future__ import annotations

import importlib
import io
import math
import time
from html import escape
from types import TracebackType
from typing import Any, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.execution.status import StudyStatus
from harness.terminal import new_console
from harness.words import ABSURD, compact, counted, duration, flagged

__all__ = ["SweepDisplay"]

REDRAW_SEC = 0.2
NOTEBOOK_REDRAW_SEC = 2.0
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
        self._console = console or new_console()
        self._line_every_sec = line_every_sec
        self._started = time.monotonic()
        self._status: StudyStatus | None = None
        self._printed_at = -math.inf
        self._printed_done = -1
        self._drawn_at = -math.inf
        self._live: Live | _Cell | None = None

    def __enter__(self) -> SweepDisplay:
        self._started = time.monotonic()
        if self._console.is_jupyter:
            self._live = _Cell()
        elif self._console.is_terminal:
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
        if self._status is not None and any(arm.is_absurd for arm in self._status.arms):
            self.say(ABSURD)

    def update(self, status: StudyStatus) -> None:
        """Show how the study stands now. Call it as often as you like; drawing is limited here."""
        self._status = status
        now = time.monotonic()
        if self._live is not None:
            if now - self._drawn_at >= (NOTEBOOK_REDRAW_SEC if self._console.is_jupyter else REDRAW_SEC):
                self._drawn_at = now
                self._live.update(self._render(status), refresh=True)
            return
        # A finished run is news, but eight of them in a second are one piece of news.
        wait_sec = self._line_every_sec / (5 if status.done != self._printed_done else 1)
        if now - self._printed_at >= wait_sec:
            self._print_line(status)

    def say(self, message: str, *, alarming: bool = False) -> None:
        """Print a message above the display, on one line however long it is.

        Args:
            message: the text.
            alarming: print it in red.
        """
        self._console.print(Text(message, style="red" if alarming else ""), soft_wrap=True)

    def _print_line(self, status: StudyStatus) -> None:
        self._printed_at, self._printed_done = time.monotonic(), status.done
        parts = [f"{self._study}: {status.done}/{status.total} runs"]
        if status.failed:
            parts.append(f"{status.failed} failed")
        if status.bad_verdicts:
            parts.append(f"verdicts: {counted(status.bad_verdicts)}")
        if status.saved_steps:
            parts.append(f"{status.saved_steps:,} steps saved")
        if status.running:
            speed = sum(group.steps_per_sec for group in status.running)
            parts.append(
                f"{len(status.running)} in training" + (f" at {speed:,.0f} steps/s" if speed else "")
            )
        if status.best is not None and status.best.mean is not None:
            metric = status.target.metric if status.target else "score"
            mean = flagged(compact(status.best.mean), status.best.is_absurd)
            parts.append(f"{metric} {mean} ({status.best.name}) leads")
        parts.append(self._times(status))
        self._console.print(Text(", ".join(parts)), soft_wrap=True)

    def _render(self, status: StudyStatus) -> RenderableType:
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
            for group in status.running[:MAX_RUNNING_SHOWN]:
                running.add_row(
                    Text(group.label),
                    ProgressBar(total=max(group.total_steps, 1), completed=group.step, width=20),
                    Text(f"step {group.step:,}/{group.total_steps:,}"),
                    Text(f"{group.steps_per_sec:,.0f} steps/s" if group.steps_per_sec else ""),
                )
            parts.append(running)
            if len(status.running) > MAX_RUNNING_SHOWN:
                parts.append(Text(f"and {len(status.running) - MAX_RUNNING_SHOWN} more", style="dim"))
        return Group(*parts)

    def _standing(self, status: StudyStatus) -> Table:
        best = status.best
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("arm")
        table.add_column("runs", justify="right")
        table.add_column(f"mean {status.target.metric}" if status.target else "mean", justify="right")
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
                Text(
                    "" if arm.mean is None else flagged(compact(arm.mean), arm.is_absurd),
                    style="bold green" if leads else "",
                ),
                Text(str(arm.failed) if arm.failed else "", style="red"),
            ]
            if status.bad_verdicts:
                cells.append(Text(counted(arm.bad_verdicts), style="red"))
            if status.saved_steps:
                cells.append(Text(f"{arm.saved_steps:,}" if arm.saved_steps else ""))
            table.add_row(*cells)
        return table

    def _times(self, status: StudyStatus) -> str:
        elapsed = duration(time.monotonic() - self._started)
        if status.done >= status.total or status.eta_sec is None:
            return elapsed
        return f"{elapsed}, {duration(status.eta_sec)} to go"


@final
class _Cell:
    """A place below a notebook's cell that is drawn over, as `Live` draws over lines of a terminal."""

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display")  # in a notebook it is there
        self._handle = self._display.DisplayHandle()
        self._is_shown = False

    def update(self, renderable: RenderableType, *, refresh: bool) -> None:
        """Draw over what was there."""
        console = Console(file=io.StringIO(), record=True, width=110, force_jupyter=False)
        console.print(renderable)
        page = self._display.HTML(f"<pre>{escape(console.export_text())}</pre>")
        if self._is_shown:
            self._handle.update(page)
        else:
            self._handle.display(page)
        self._is_shown = True

    def stop(self) -> None:
        """Leave what was drawn last."""
