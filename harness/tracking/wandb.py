"""A mirror of the runs in Weights & Biases.

`history.jsonl` is the record and W&B shows it: nothing here may stop or slow a training. So every call is
guarded and counted, tables and artifacts are left out (both raise into training when a server dies, and both
are lost when an offline folder moves), and a server that does not answer costs one time-out a process.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, final

from harness.tracking.history import STEP, replay
from harness.tracking.mode import Mode, has_key, wandb_mode

if TYPE_CHECKING:
    import wandb

__all__ = ["WandbTracker", "log_summary"]

Notify: TypeAlias = Callable[[str], None]
T = TypeVar("T")

PROJECT = "gan-sweep-harness"
INIT_TIMEOUT_SEC = 15.0
FINISH_TIMEOUT_SEC = 60.0
ABANDONED_FINISH_SEC = 2.0  # a finish's share once the server has failed to answer one


@dataclass
class _Session:
    """What this process has learnt about the server, so that it waits for it once and says so once."""

    num_open: int = 0
    unreachable: bool = False
    said: set[str] = field(default_factory=set)

    def say(self, message: str, notify: Notify | None) -> None:
        if message not in self.said:
            self.said.add(message)
            (notify or _print_to_stderr)(f"W&B: {message}")


_session = _Session()


@final
class WandbTracker:
    """Mirror one run as one W&B run, in the group of its study.

    The W&B id is made of study and run id, so a resumed run finds itself again. Offline, the folder that an
    interrupted run left is dropped and the history logged anew, so that no row is lost or doubled; online,
    the rows that the server already has are passed over.

    Args:
        directory: The study's folder; W&B's files go to its `wandb/` (to WANDB_DIR's, if that is set).
        study: Name of the study: the group.
        run_id: The run's id.
        cell: The run's arm; with the seed it names the W&B run, `<cell>-s<seed>`.
        seed: The run's seed.
        config: The resolved recipe as nested JSON. `study`, `cell`, `seed` and `overrides` are added.
        overrides: What the cell changes: dotted key → value.
        tags: Tags of the run, such as its phase.
        job_type: W&B's job type.
        history: The run's `history.jsonl`. Its rows and images are mirrored first, so pass it after
            `HistoryTracker` has cut it back to the checkpoint; an empty one means a fresh run.
        mode: See `wandb_mode`.
        notify: Takes the few messages a user should see, each once a process; by default stderr.

    Raises:
        ValueError: If the mode is unknown.
    """

    def __init__(
        self,
        *,
        directory: Path,
        study: str,
        run_id: str,
        cell: str,
        seed: int,
        config: Mapping[str, object],
        overrides: Mapping[str, object] | None = None,
        tags: Sequence[str] = (),
        job_type: str = "train",
        history: Path | None = None,
        mode: str = "auto",
        notify: Notify | None = None,
    ) -> None:
        resumed = history is not None and history.is_file() and history.stat().st_size > 0
        self._mirror = _Mirror(
            directory=Path(directory),
            mode=wandb_mode(mode),
            notify=notify,
            identity=_identity(study, run_id),
            init={
                "group": study,
                "job_type": job_type,
                "name": f"{cell}-s{seed}",
                "tags": _tags(tags),
                "config": {
                    **config,
                    "study": study,
                    "cell": cell,
                    "seed": seed,
                    "overrides": _nested(overrides or {}),
                },
                # Unset, a fresh run replaces an older one of the same id instead of adding to it.
                "resume": "allow" if resumed else None,
            },
        )
        self._known = self._mirror.num_known_rows
        if resumed and history is not None and self._mirror.mode != "disabled":
            replay(history, self)

    @property
    def mode(self) -> Mode:
        """How the run is mirrored in fact; `disabled` also if W&B could not be started at all."""
        return self._mirror.mode

    @property
    def failures(self) -> Mapping[str, int]:
        """Which calls failed, and how often."""
        return dict(self._mirror.failures)

    @property
    def url(self) -> str | None:
        """The run's page, if it is mirrored online."""
        return self._mirror.url

    def log(self, row: Mapping[str, float]) -> None:
        """Mirror one row of numbers; see `Tracker.log`."""
        if not self._is_known():
            self._mirror.log(lambda _: {key: _finite_or_nan(value) for key, value in row.items()})

    def image(self, key: str, path: Path, step: int) -> None:
        """Mirror one image; see `Tracker.image`."""
        if not self._is_known():
            self._mirror.log(lambda library: {STEP: step, key: library.Image(str(path))}, what="image")

    def flush(self) -> None:
        """Do nothing: what W&B has not written when the process dies is replayed from the history."""

    def finish(self, result: Mapping[str, object]) -> None:
        """Put outcome, scores, ledger and environment into the summary and end the W&B run.

        Returns after the time-out at the latest, uploaded or not.

        Args:
            result: `outcome`, `reason`, `scores`, `ledger`, `environment`, each where there is one.
        """
        summary = {
            key: result[key] for key in ("outcome", "reason", "scores", "environment") if key in result
        }
        ledger = result.get("ledger")
        if isinstance(ledger, Mapping):
            summary |= {f"ledger/{key}": value for key, value in ledger.items()}
        self._mirror.summarise(summary)
        self._mirror.finish(exit_code=0)

    def close(self) -> None:
        """End the W&B run without a result; resuming the run takes it up again."""
        self._mirror.finish(exit_code=1)

    def _is_known(self) -> bool:
        """Whether the server has this row from before the run was interrupted; rows come in one order."""
        if self._known > 0:
            self._known -= 1
            return True
        return False


def log_summary(
    directory: Path,
    study: str,
    *,
    scalars: Mapping[str, float | str] | None = None,
    images: Mapping[str, Path] | None = None,
    files: Sequence[Path] = (),
    config: Mapping[str, object] | None = None,
    tags: Sequence[str] = (),
    mode: str = "auto",
    notify: Notify | None = None,
) -> Mapping[str, int]:
    """Mirror a study's report as one W&B run named `summary`, replacing the one of an earlier report.

    Tables go as scalars and files, because W&B's own tables are lost when an offline folder moves.

    Args:
        directory: The study's folder.
        study: Name of the study: the group.
        scalars: Key, such as `table/adam/mean`, → value; they go to the run's summary.
        images: Key, such as `figures/arms`, → image file.
        files: Files to keep with the run, such as the tables and the page.
        config: What the study asks, nested.
        tags: Tags of the run.
        mode: See `wandb_mode`.
        notify: Takes the few messages a user should see; by default stderr.

    Returns:
        Which calls failed, and how often: empty if all went well.

    Raises:
        ValueError: If the mode is unknown.
    """
    mirror = _Mirror(
        directory=Path(directory),
        mode=wandb_mode(mode),
        notify=notify,
        identity=_identity(study, "summary"),
        init={
            "group": study,
            "job_type": "summary",
            "name": "summary",
            "tags": _tags(tags),
            "config": {**(config or {}), "study": study},
        },
    )
    if images:
        mirror.log(
            lambda library: {STEP: 0, **{key: library.Image(str(path)) for key, path in images.items()}}
        )
    for file in files:
        mirror.save(Path(file))
    mirror.summarise(scalars or {})
    mirror.finish(exit_code=0)
    return dict(mirror.failures)


@final
class _Mirror:
    """One open W&B run. No method raises; what fails is counted."""

    def __init__(
        self, *, directory: Path, mode: Mode, notify: Notify | None, identity: str, init: Mapping[str, Any]
    ) -> None:
        self.failures: Counter[str] = Counter()
        self._notify = notify
        self._run: wandb.Run | None = None
        self._root = Path(os.environ.get("WANDB_DIR") or directory).absolute()
        if mode == "online" and _session.unreachable:
            mode = "offline"
        elif mode == "online" and not has_key():
            self._say("no API key found, so runs are logged offline. Run `wandb login` to log online.")
            mode = "offline"
        self.mode: Mode = mode
        if mode == "online" and not self._open(identity, init):
            _session.unreachable = True
            self.mode = "offline"
        if self.mode == "offline" and not self._open(identity, init):
            self._say("could not be started, so runs are not mirrored. Their history.jsonl is complete.")
            self.mode = "disabled"

    @property
    def num_known_rows(self) -> int:
        """How many rows of this run the server already has."""
        return (
            self._guard("resume", lambda: int(self._require_run().step)) or 0 if self.mode == "online" else 0
        )

    @property
    def url(self) -> str | None:
        return self._run.url if self._run is not None else None

    def log(self, row: Callable[[Any], Mapping[str, object]], *, what: str = "log") -> None:
        if self._run is not None:
            self._guard(what, lambda: self._require_run().log(dict(row(_library()))))

    def save(self, file: Path) -> None:
        if self._run is not None:
            self._guard(
                "save", lambda: self._require_run().save(str(file), base_path=str(file.parent), policy="end")
            )

    def summarise(self, values: Mapping[str, object]) -> None:
        if self._run is not None:
            self._guard("summary", lambda: self._require_run().summary.update(_plain(values)))

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
            self._say(
                f"the server did not take everything within {FINISH_TIMEOUT_SEC:.0f} s. The rest is kept, "
                f"and further runs are logged offline. Upload them later with "
                f"`wandb sync {self._root / 'wandb'}/*run-*`."
            )
        except Exception as error:
            self._count("finish", error)

    def _open(self, identity: str, init: Mapping[str, Any]) -> bool:
        before = set(_segments(self._root, identity))
        for folder in before:
            if folder.name.startswith("offline-run-"):
                shutil.rmtree(folder, ignore_errors=True)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with _kept_under(self._root / "wandb"):
                library = _library()
                run = library.init(
                    project=os.environ.get("WANDB_PROJECT") or PROJECT,
                    id=identity,
                    mode=self.mode,
                    dir=str(self._root),
                    reinit="create_new",
                    settings=library.Settings(
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
                    ),
                    **init,
                )
                run.define_metric("*", step_metric=STEP)
        except Exception as error:
            self._count("init", error)
            if self.mode == "online":
                self._say(f"the server cannot be used ({_first_line(error)}), so runs are logged offline.")
                if _session.num_open == 0:  # the library's service keeps the id of a run that did not start
                    self._guard("init", lambda: _library().teardown())
                for folder in set(_segments(self._root, identity)) - before:
                    shutil.rmtree(folder, ignore_errors=True)
            return False
        self._run = run
        _session.num_open += 1
        return True

    def _require_run(self) -> wandb.Run:
        assert self._run is not None
        return self._run

    def _guard(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except Exception as error:
            self._count(what, error)
            return None

    def _count(self, what: str, error: Exception) -> None:
        self.failures[what] += 1
        if what != "init":
            self._say(
                f"a call failed ({what}: {_first_line(error)}); training goes on, history.jsonl is complete."
            )

    def _say(self, message: str) -> None:
        _session.say(message, self._notify)


def _finish_quietly(run: wandb.Run, exit_code: int) -> None:
    with suppress(Exception):
        run.finish(exit_code=exit_code)


def _library() -> Any:
    """The wandb library, imported when first needed: it takes 0.3 s."""
    import wandb

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


def _segments(root: Path, identity: str) -> list[Path]:
    """The folders that hold parts of this run, one for each time it was opened."""
    return [log.parent for log in (root / "wandb").glob("*/run-*.wandb") if log.stem == f"run-{identity}"]


def _identity(study: str, run_id: str) -> str:
    """A W&B id that no other study's run has: at most 128 characters, and none that W&B refuses."""
    wanted = f"{study}-{run_id}"
    identity = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in wanted
    )
    if identity != wanted or len(identity) > 128:
        identity = f"{identity[:60]}-{sha256(wanted.encode()).hexdigest()[:12]}"
    return identity


def _tags(tags: Sequence[str]) -> list[str]:
    return [tag[:64] for tag in dict.fromkeys(tags) if tag]


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    """Dotted keys as nested dicts, the form W&B groups and filters by."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *outer, last = key.split(".")
        inner = nested
        for part in outer:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return nested


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return _finite_or_nan(value) if isinstance(value, float) else value


def _finite_or_nan(value: float) -> float:
    return value if math.isfinite(value) else math.nan


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _print_to_stderr(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
