"""The one door to the W&B library: a run of its own kind that can neither stop nor slow a training.

Every call is guarded and counted, and a server that does not answer costs one time-out a process.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from harness.files import encodable
from harness.tracking.history import STEP
from harness.tracking.mode import Mode, has_key
from harness.tracking.segments import claim_id, drop_segment, find_segments, is_first_alert, settle_id
from harness.words import legible

if TYPE_CHECKING:
    import wandb

__all__ = ["WandbRun", "finite_or_nan", "media", "plain", "short_tags"]

T = TypeVar("T")

PROJECT = "gan-sweep-harness"
INIT_TIMEOUT_SEC = 15.0
FINISH_TIMEOUT_SEC = 60.0
REOPEN_SEC = 5.0
ABANDONED_FINISH_SEC = 2.0  # how long to wait at the end of a run once the server has failed to answer


@dataclass
class _Session:
    """What this process has learnt about the server, so that it waits for it once and says so once."""

    num_open: int = 0
    unreachable: bool = False
    said: set[str] = field(default_factory=set)

    def say(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            print(f"W&B: {legible(message)}", file=sys.stderr, flush=True)


_session = _Session()


@final
class WandbRun:
    """One open W&B run. No method raises; what fails is counted.

    Args:
        directory: Whose `wandb/` takes W&B's files, unless WANDB_DIR is set.
        study: Name of the study.
        run_id: The run's id within the study.
        resumed: Whether its training goes on from a checkpoint.
        mode: How to open it. `online` becomes `offline` without a key or an answering server.
        init: What else `wandb.init` is given.
    """

    def __init__(
        self,
        *,
        directory: Path,
        study: str,
        run_id: str,
        resumed: bool,
        mode: Mode,
        init: Mapping[str, Any],
    ) -> None:
        self.failures: Counter[str] = Counter()
        self._run: wandb.Run | None = None
        self._root = Path(os.environ.get("WANDB_DIR") or directory).absolute()
        self._folder = self._root / "wandb"
        self._identity = ""
        if mode == "online" and _session.unreachable:
            mode = "offline"
        elif mode == "online" and not has_key():
            _session.say("no API key found, so runs are logged offline. Run `wandb login` to log online.")
            mode = "offline"
        self.mode: Mode = mode
        if mode == "disabled":
            return
        if encodable(str(self._root)) != str(self._root):
            _session.say(
                f"runs are not mirrored, for W&B takes no folder whose name is not UTF-8, {self._root}; set "
                "WANDB_DIR to another. Their history.jsonl is complete."
            )
            self.failures["init"] += 1
            self.mode = "disabled"
            return
        claimed = self._guard("init", lambda: claim_id(self._folder, study, run_id, resumed=resumed))
        self._identity = claimed or ""
        if mode == "online" and claimed and not self._open(init):
            _session.unreachable = True
            self.mode = "offline"
        if not claimed or (self.mode == "offline" and not self._open(init)):
            _session.say("could not be started, so runs are not mirrored. Their history.jsonl is complete.")
            self.mode = "disabled"

    @property
    def num_known_rows(self) -> int:
        """How many rows of this run the server already had when it was opened; every log call makes one."""
        return self._run.starting_step if self._run is not None and self.mode == "online" else 0

    def log(self, row: Callable[[Any], Mapping[str, object]], *, what: str = "log") -> None:
        """Log a row.

        Args:
            row: makes the row, given the library ``wandb``.
            what: what is logged, for the message if it fails.
        """
        if (run := self._run) is not None:
            self._guard(what, lambda: run.log(dict(row(_library()))))

    def save(self, file: Path) -> None:
        """Keep a copy of a file with the run."""
        if (run := self._run) is not None:
            self._guard("save", lambda: run.save(str(file), base_path=str(file.parent), policy="end"))

    def summarise(self, values: Mapping[str, object]) -> None:
        """Put values into the run's summary."""
        if (run := self._run) is not None:
            self._guard("summary", lambda: run.summary.update(dict(values)))

    def add_tag(self, tag: str) -> None:
        """Give the run one more tag."""
        if (run := self._run) is not None:
            self._guard("tag", lambda: setattr(run, "tags", tuple(dict.fromkeys((*(run.tags or ()), tag)))))

    def alert(self, title: str, text: str) -> None:
        """Have the server tell the user, once in the life of the run; offline there is nobody to tell.

        Args:
            title: the message's subject.
            text: the message.
        """
        run = self._run
        if run is None or self.mode != "online":
            return
        if self._guard("alert", lambda: is_first_alert(self._folder, self._identity)):
            self._guard("alert", lambda: run.alert(title=title, text=text, level="WARN"))

    def settle(self) -> None:
        """Note that the run has its result, so that training it anew makes another W&B run."""
        if self._identity:
            self._guard("finish", lambda: settle_id(self._folder, self._identity))

    def finish(self, *, exit_code: int) -> None:
        """End the run: wait for the server until the time-out, and hardly at all once one has passed."""
        run, self._run = self._run, None
        if run is None:
            return
        _session.num_open -= 1
        if not (self.mode == "online" and _session.unreachable):
            self._finish(run, exit_code)
            return
        # The run's own time-out was fixed when it was opened, so a thread waits it out.
        thread = threading.Thread(target=_finish_quietly, args=(run, exit_code), daemon=True)
        thread.start()
        thread.join(ABANDONED_FINISH_SEC)
        if thread.is_alive():
            self.failures["finish"] += 1

    def _finish(self, run: wandb.Run, exit_code: int) -> None:
        try:
            run.finish(exit_code=exit_code)
        except TimeoutError:
            self.failures["finish"] += 1
            _session.unreachable = True
            _session.say(
                f"the server did not take everything within {FINISH_TIMEOUT_SEC:.0f} s. The rest is kept, "
                f"and further runs are logged offline. Upload them later with "
                f"`wandb sync {self._folder}/*run-*`."
            )
        except Exception as error:
            self._count("finish", error)

    def _open(self, init: Mapping[str, Any]) -> bool:
        before = set(find_segments(self._folder, self._identity))
        for segment in before:
            if not segment.name.startswith("run-"):
                drop_segment(segment)
        try:
            self._run = self._start(init)
        except Exception as error:
            self._count("init", error)
            if self.mode == "online":
                _session.say(f"the server cannot be used ({_first_line(error)}), so runs are logged offline.")
                if _session.num_open == 0:  # the library's service keeps the id of a run that did not start
                    self._guard("init", lambda: _library().teardown())
                for segment in set(find_segments(self._folder, self._identity)) - before:
                    drop_segment(segment)
            return False
        _session.num_open += 1
        return True

    def _start(self, init: Mapping[str, Any]) -> wandb.Run:
        with _kept_under(self._folder):
            library = _library()
            settings = library.Settings(
                symlink=False,
                use_dot_wandb=False,
                init_timeout=INIT_TIMEOUT_SEC,
                finish_timeout=FINISH_TIMEOUT_SEC,
                finish_timeout_raises=True,
                silent=True,
                console="off",
                disable_git=True,  # the result records the commit
                disable_code=True,
                save_code=False,
                x_save_requirements=False,  # 34 ms a run; the result records the versions
                x_disable_stats=True,  # every run of a population would sample the same machine
            )
            deadline = time.monotonic() + REOPEN_SEC
            while True:
                try:
                    run: wandb.Run = library.init(
                        project=os.environ.get("WANDB_PROJECT") or PROJECT,
                        id=self._identity,
                        resume="allow",
                        mode=self.mode,
                        dir=str(self._root),
                        reinit="create_new",
                        settings=settings,
                        **plain(init),
                    )
                    run.define_metric("*", step_metric=STEP)
                    return run
                except Exception as error:
                    # The service still writes out the same run, which this process has just ended.
                    if "is in use" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)

    def _guard(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:
            self._count(what, error)
            return None

    def _count(self, what: str, error: Exception) -> None:
        self.failures[what] += 1
        if what != "init":
            _session.say(
                f"a call failed ({what}: {_first_line(error)}); training goes on, history.jsonl is complete."
            )


def _finish_quietly(run: wandb.Run, exit_code: int) -> None:
    with suppress(Exception):
        run.finish(exit_code=exit_code)


def _library() -> Any:
    """The wandb library, imported when first needed: it takes 0.3 s."""
    import wandb

    # It would load pandas, another 0.3 s, to ask of each image whether it is a table; it then asks by name.
    wandb.util.pd_available = False
    return wandb


@contextmanager
def _kept_under(folder: Path) -> Iterator[None]:
    """Start the library quiet, its caches and logs in a folder of ours, where the user has not chosen."""
    defaults = {
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_DATA_DIR": str(folder / "cache"),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
    }
    added = {key: value for key, value in defaults.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_FILMS = {".gif": "gif", ".mp4": "mp4"}


def media(library: Any, path: Path) -> object:
    """The image `path` as `library`, wandb, keeps it; a GIF is a film, for as an image it would stay open."""
    kind = _FILMS.get(path.suffix)
    return library.Video(str(path), format=kind) if kind else library.Image(str(path))


def short_tags(tags: Iterable[str]) -> list[str]:
    """Tags as the server takes them: each once, of at most 64 characters."""
    return [tag[:64] for tag in dict.fromkeys(tags) if tag]


def plain(value: Any) -> Any:
    """Values that W&B takes: keys as text, text as UTF-8, numbers that are not finite as NaN."""
    if isinstance(value, Mapping):
        return {encodable(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return encodable(value)
    return finite_or_nan(value) if isinstance(value, float) else value


def finite_or_nan(value: float) -> float:
    """The number, or NaN for one that is not finite: JSON, which the server keeps, has no infinity."""
    return value if math.isfinite(value) else math.nan
