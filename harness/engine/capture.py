"""Whole iterations as CUDA graphs: recorded once for each kind of iteration, and replayed.

Launching an operation takes the host longer than small networks take to compute it. A graph launches all
operations of an iteration at once, in the same order, with the same numbers, at the same addresses. What
changes from one iteration to the next is therefore found on the device: its input and where its statistics
go, by a counter that counts itself on; what the networks and the optimisers remember, in place. A number that
Python knows is recorded as it is: whatever can change one between two iterations (the phase of networks that
grow, G's loss early on) is part of the `key` that an iteration is recorded under.

The random state that layers draw from is the device's default one, which torch hands to every graph; it is
set between replays only. All graphs of a population share one pool of memory.

What cannot be recorded, because it asks the host for something say, is computed operation by operation, and
`Replays.obstacle` says why. What would be another thing replayed than computed is found out before it is
trusted: a few iterations are computed, then replayed from the same state, and compared to the last bit.

There is no `torch.compile`: on a CPU it gains nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from harness.engine.meter import Meter, MeterRows
from harness.engine.population import Population
from harness.engine.streams import Iteration, Streams
from harness.machine import is_short_of_memory
from harness.seeding import random_states, set_random_states

__all__ = ["Recorder", "Replays", "recorder_for"]

_TRIED = 3  # iterations before one is recorded: libraries set themselves up in the first ones

Body = Callable[[], None]
Iterate = Callable[[Iteration, Meter | MeterRows], None]
"""One iteration, from its input; it tells its statistics to whom it is given."""


class Recorder(Protocol):
    """Makes of something that is computed something that is replayed."""

    def aside(self) -> AbstractContextManager[None]:
        """Where it is computed first, as it will be when it is recorded."""

    def record(self, body: Body) -> Body:
        """What computes again all that the body computes, without running it."""


@final
class _Graphs:
    """CUDA graphs of one population.

    Args:
        device: where it is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A stream of its own, on which whatever waits for the device is an error: no graph could hold it."""
        before, current = torch.cuda.get_sync_debug_mode(), torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                with warnings.catch_warnings(action="ignore"):  # it says that it finds most, and not all
                    torch.cuda.set_sync_debug_mode("error")
                yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
            current.wait_stream(self._stream)

    def record(self, body: Body) -> Body:
        """The body as a graph. Other threads, those that fetch samples say, may use the device meanwhile."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream(self._device)),  # torch 2.11 stays aside if it fails
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            body()
        replay: Body = graph.replay
        return replay


def recorder_for(device: torch.device) -> Recorder | None:
    """What records iterations on a device; None where they are computed as they come."""
    return _Graphs(device) if device.type == "cuda" else None


class _Program:
    """One kind of iteration, recorded.

    Args:
        replay: computes it.
        rows: where it leaves its statistics.
    """

    def __init__(self, replay: Body, rows: MeterRows) -> None:
        self.replay = replay
        self.rows = rows


class Replays:
    """The iterations of a population whose rows stay: each kind recorded at its first, replayed from then on.

    Args:
        population: what is trained.
        streams: its input, whose blocks stay where they are.
        recorder: how to record; with None everything is computed.

    Attributes:
        obstacle: why iterations are not replayed, in one line; empty while they are, or before the first.
    """

    def __init__(self, population: Population, streams: Streams, recorder: Recorder | None) -> None:
        self._population = population
        self._streams = streams
        self._recorder = recorder
        self._position = torch.zeros(1, dtype=torch.int64, device=population.device)
        self._next = 0
        self._programs: dict[Hashable, _Program] = {}
        self.obstacle = ""

    def run(self, number: int, key: Hashable, iterate: Iterate, meter: Meter) -> None:
        """One iteration.

        Args:
            number: of the iteration, from 0.
            key: all that Python knows and decides by in it.
            iterate: computes it.
            meter: told its statistics.
        """
        self._streams.bring(number)
        if number != self._next:
            self._position.fill_(number)
        self._next = number + 1
        if self._recorder is not None and key not in self._programs:
            self._prepare(self._recorder, number, key, iterate)
        program = self._programs.get(key)
        if program is None:
            iterate(self._streams.at(self._position), meter)
            self._position.add_(1)
        else:
            program.replay()
            program.rows.tell(number, meter)

    def _prepare(self, recorder: Recorder, number: int, key: Hashable, iterate: Iterate) -> None:
        """Record one kind of iteration, and leave everything else as it was."""
        rows = MeterRows()

        def body() -> None:
            iterate(self._streams.at(self._position), rows)
            rows.write(self._position)
            self._position.add_(1)

        population, device = self._population, self._population.device
        state, drawn = population.state_dict(), random_states(device)

        def go_back() -> None:
            population.load_state_dict(state)
            set_random_states(drawn, device)
            self._position.fill_(number)

        try:
            with recorder.aside():
                for _ in range(_TRIED):
                    body()
            computed = self._reached()
            go_back()
            replay = recorder.record(body)
            go_back()
            for _ in range(_TRIED):
                replay()
            if not all(map(_same_bits, computed, self._reached())):
                raise ValueError("replayed, it does not give the numbers that it gives when it is computed")
            self._programs[key] = _Program(replay, rows)
        except Exception as error:  # whatever is wrong with it shows when it is computed
            self.obstacle = _reason(error)
            self._recorder = None
            self._programs.clear()
        finally:
            go_back()

    def _reached(self) -> list[Any]:
        """All that training changes, copied."""
        return [*tree_leaves(self._population.state_dict()), *random_states(self._population.device)]


def _same_bits(left: Any, right: Any) -> bool:
    """Whether two values are equal to the last bit, what is not a number included."""
    if not isinstance(left, Tensor):
        return bool(left == right)
    return torch.equal(*(value.reshape(-1).view(torch.uint8) for value in (left, right)))


def _reason(error: BaseException) -> str:
    """What went wrong, in one line. Of a recording that breaks off, torch says only that it did."""
    while isinstance(error, RuntimeError) and error.__context__ is not None:
        error = error.__context__
    if is_short_of_memory(error):
        return "memory does not hold it"
    return " ".join(str(error).split()) or type(error).__name__
