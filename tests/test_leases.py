"""Claims about leases: exclusive between processes, and gone with whoever held them."""

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

from harness.leases import holder, locked, take_lease


def _hold(directory: Path, unit: str, told: Connection) -> None:
    lease = take_lease(directory, unit)
    told.send(lease is not None)
    time.sleep(60)


def _take_all(directory: Path, told: Connection) -> None:
    leases = {unit: take_lease(directory, str(unit)) for unit in range(50)}
    told.send([unit for unit, lease in leases.items() if lease is not None])
    told.recv()


def _count(path: Path, lock: Path, told: Connection) -> None:
    for _ in range(200):
        with locked(lock):
            path.write_text(str(int(path.read_text()) + 1))
    told.send(True)


def test_a_lease_is_taken_once_until_it_is_released(tmp_path: Path) -> None:
    lease = take_lease(tmp_path, "unit")
    assert lease is not None
    assert take_lease(tmp_path, "unit") is None
    found = holder(tmp_path, "unit")
    assert found["pid"] == os.getpid()
    lease.release()
    assert holder(tmp_path, "unit") == {}
    again = take_lease(tmp_path, "unit")
    assert again is not None
    again.release()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_loses_its_lease_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(tmp_path, "unit", there))
    process.start()
    assert here.recv() is True
    assert take_lease(tmp_path, "unit") is None
    found = holder(tmp_path, "unit")
    assert found["pid"] == process.pid
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    lease = take_lease(tmp_path, "unit")
    assert lease is not None
    lease.release()


def test_processes_that_race_for_leases_share_them_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(4)]
    processes = [context.Process(target=_take_all, args=(tmp_path, there)) for _, there in pipes]
    for process in processes:
        process.start()
    taken = [unit for here, _ in pipes for unit in here.recv()]
    for (here, _), process in zip(pipes, processes, strict=True):
        here.send(None)
        process.join()
    assert sorted(taken) == list(range(50))


def test_a_lock_lets_one_process_in_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    counter, lock = tmp_path / "counter", tmp_path / "lock"
    counter.write_text("0")
    pipes = [context.Pipe() for _ in range(4)]
    processes = [context.Process(target=_count, args=(counter, lock, there)) for _, there in pipes]
    for process in processes:
        process.start()
    assert all(here.recv() for here, _ in pipes)
    for process in processes:
        process.join()
    assert counter.read_text() == "800"
