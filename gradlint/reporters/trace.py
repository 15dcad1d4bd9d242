"""A run as a Chrome trace, which Perfetto (ui.perfetto.dev) and chrome://tracing open: a slice for each event.

Ranks are processes, threads are threads; iterations have a row of their own, as have the learning rates and the living
graphs. Knows recordings and streams; must not know how a run is recorded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from gradlint.timeline import Event, Iteration, Recording

_ITERATIONS = 1_000_000  # the number of the row of iterations: no thread has it
_COLOURS = {  # names of chrome://tracing's palette; Perfetto has its own
    "zero": "grey",
    "forward": "thread_state_runnable",
    "backward": "thread_state_iowait",
    "step": "good",
    "schedule": "yellow",
}


def render(recordings: Sequence[Recording], stream: TextIO) -> None:
    """Write the trace of all ranks."""
    events = [event for recording in recordings for event in _recording(recording)]
    json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, stream, allow_nan=False)
    stream.write("\n")


def _recording(recording: Recording) -> Iterator[dict[str, Any]]:
    rank = recording.rank
    yield _name("process_name", rank, 0, f"rank {rank}: {recording.program}")
    yield _name("thread_name", rank, _ITERATIONS, "iterations")
    threads = sorted({event.thread for iteration in recording.iterations for event in iteration.events})
    yield from (_name("thread_name", rank, thread, f"thread {thread}") for thread in threads)
    for iteration in recording.iterations:
        yield from _iteration(recording, iteration)


def _name(kind: str, rank: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": rank, "tid": thread, "args": {"name": name}}


def _iteration(recording: Recording, iteration: Iteration) -> Iterator[dict[str, Any]]:
    events = iteration.events
    if events:
        start = min(event.start for event in events)
        end = max(event.start + event.duration for event in events)
        letters = " ".join(event.act.letter for event in events[:32])
        args = {"iteration": iteration.number, "signature": letters}
        yield _slice(
            f"iteration {iteration.number}", "iteration", recording.rank, _ITERATIONS, start, end - start, args
        )
    for event in events:
        yield _event(recording, iteration, event)
        yield from _counters(recording.rank, event)


def _event(recording: Recording, iteration: Iteration, event: Event) -> dict[str, Any]:
    act = event.act
    args: dict[str, Any] = {
        "line": f"{act.place.where}:{act.place.row}",
        "iteration": iteration.number,
        "gradients": {group.label: state for group, state in zip(recording.groups, event.states, strict=False)},
    }
    if event.nodes:
        args["graph"] = {"nodes": event.nodes, "alive": event.graphs}
    found = [recording.findings[index] for index in recording.marks(event)]
    if found:
        args["findings"] = [f"{finding.code} {finding.message}" for finding in found]
    kind = act.kind.value
    name = act.words + "".join(f" [{finding.code}]" for finding in found)
    made = _slice(name, kind, recording.rank, event.thread, event.start, event.duration, args)
    colour = "terrible" if found else _COLOURS.get(kind)
    return {**made, "cname": colour} if colour else made


def _slice(name: str, kind: str, rank: int, thread: int, start: int, length: int, args: Any) -> dict[str, Any]:
    """Return a slice; one without a length would not be seen."""
    times = {"ts": start, "dur": max(length, 1)}
    return {"ph": "X", "name": name, "cat": kind, "pid": rank, "tid": thread, **times, "args": args}


def _counters(rank: int, event: Event) -> Iterator[dict[str, Any]]:
    if event.nodes:
        yield {"ph": "C", "name": "graphs alive", "pid": rank, "ts": event.start, "args": {"graphs": event.graphs}}
    rates = {f"group {index}": rate for index, rate in enumerate(event.rates) if math.isfinite(rate)}
    if rates:
        yield {"ph": "C", "name": f"lr {event.act.subject}", "pid": rank, "ts": event.start, "args": rates}
