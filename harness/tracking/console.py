"""Progress of one run on the terminal; elsewhere (a file, a pipe, a batch job) a line now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.terminal import new_console
from harness.tracking.history import STEP
from harness.tracking.mirror import absurd
from harness.tracking.tracker import Histogram
from harness.words import ABSURD, compact, duration, flagged, plural

__all__ = ["ConsoleTracker"]

REDRAW_SEC = 0.2
NUM_LINES = 10
"""About how many lines a run prints without a terminal."""


@final
class ConsoleTracker:
    """Show the progress and the result of one run.

    Args:
        label: The run, as a person would name it: recipe and seed.
        total_steps: Training steps in all.
        console: Where to; by default the standard output.
    """

    def __init__(self, *, label: str, total_steps: int, console: Console | None = None) -> None:
        self._label = label
        self._total_steps = max(total_steps, 1)
        self._console = console or new_console()
        self._line_every_steps = self._total_steps / NUM_LINES
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
            columns, any_absurd = ["first", "last", "best", "area"], False
            for column in columns:
                table.add_column(column, justify="right")
            for name, values in scores.items():
                known = {key: float(values[key]) for key in columns if key in values}
                broken = absurd(name, known)
                cells = [
                    flagged(compact(known[key]), key in broken) if key in known else "" for key in columns
                ]
                any_absurd |= bool(broken)
                table.add_row(Text(str(name)), *cells)
            self._console.print(table)
            if any_absurd:
                self._console.print(Text(ABSURD, style="yellow"), soft_wrap=True)
        failed = result.get("failed_scores")
        for name, failure in failed.items() if isinstance(failed, Mapping) else ():
            times = plural(int(failure["count"]), "evaluation")
            also = ", the last among them" if failure.get("at_end") else ""
            self._console.print(
                Text(
                    f"{name} is missing at {times}{also}: {failure['reason']}",
                    "" if failure.get("too_few") else "yellow",
                ),
                soft_wrap=True,
            )
        selection = result.get("best_checkpoint")
        if isinstance(selection, Mapping) and selection:
            self._console.print(
                Text(
                    f"best {selection['metric']}: of the checkpoint of step {selection['step']:,} (best.pt), "
                    "chosen on one half of the held-out samples and scored on the other"
                    f"{_last_beside(selection)}; the best of any other score is its curve's optimum, which "
                    "flatters"
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
                parts.append(f"{speed:,.0f} steps/s" + (f", {duration(left_sec)} to go" if left_sec else ""))
        shown = {"d_loss": "train/d_loss", "g_loss": "train/g_loss"}
        parts += [f"{name} {compact(self._row[key])}" for name, key in shown.items() if key in self._row]
        return parts


def _last_beside(chosen: Mapping[str, Any]) -> str:
    """The last checkpoint's score on the same half; nothing in results of before it was kept."""
    if "last" not in chosen:
        return ""
    latents = ", of latents that were new to both" if chosen.get("fresh") else ""
    return f", where the last checkpoint has {compact(chosen['last'])}{latents}"


def _growing(size: float, alpha: float) -> str:
    """`16×16`, or `16×16 fading in 40 %`."""
    return f"{size:.0f}×{size:.0f}" + (f" fading in {100 * alpha:.0f} %" if alpha < 1 else "")
