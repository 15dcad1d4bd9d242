"""A recording as JSON: what a process writes down, and what a page draws. Acts, places and states are kept once.

Must not know how recordings are made or drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradlint.diagnostics import Diagnostic, Location
from gradlint.events import EventKind
from gradlint.records import decode, encode
from gradlint.timeline import Act, Event, Group, Iteration, Pattern, Point, Recording

VERSION = 2


class _Table:
    """Values that occur often, each kept once."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def index(self, value: Any) -> int:
        """Return the number of a value."""
        return self._known.setdefault(value, len(self._known))

    @property
    def rows(self) -> list[Any]:
        """The values, in the order of their numbers."""
        return list(self._known)


def to_json(recording: Recording) -> dict[str, Any]:
    """Return a recording as what `json.dumps` takes."""
    acts, states = _Table(), _Table()
    patterns = [
        {
            "acts": [acts.index(act) for act in pattern.acts],
            "inside": list(pattern.inside),
            "count": pattern.count,
            "first": pattern.first,
            "last": pattern.last,
            "at": list(pattern.at),
        }
        for pattern in recording.patterns
    ]
    iterations = [
        [each.number, each.pattern, each.dropped, [_event(event, acts, states, recording) for event in each.events]]
        for each in recording.iterations
    ]
    return {
        "version": VERSION,
        "program": recording.program,
        "rank": recording.rank,
        "ranks": recording.ranks,
        "total": recording.total,
        "duration": recording.duration,
        "anchor": recording.anchor,
        "groups": [[group.optimizer, group.index, group.tensors] for group in recording.groups],
        "patterns": patterns,
        "iterations": iterations,
        "points": [_point(point) for point in recording.points],
        "findings": [encode(finding) for finding in recording.findings],
        "acts": [[act.kind.value, act.subject, *_place(act.place)] for act in acts.rows],
        "states": [list(each) for each in states.rows],
    }


def from_json(data: dict[str, Any]) -> Recording:
    """Return the recording that `to_json` wrote; raises ValueError if another version did."""
    if data.get("version") != VERSION:
        raise ValueError(f"a recording of version {data.get('version')}, not {VERSION}")
    acts = [Act(EventKind(kind), subject, Location(*place)) for kind, subject, *place in data["acts"]]
    states = [tuple(each) for each in data["states"]]
    return Recording(
        program=data["program"],
        rank=data["rank"],
        ranks=data["ranks"],
        total=data["total"],
        duration=data["duration"],
        anchor=data["anchor"],
        groups=tuple(Group(*group) for group in data["groups"]),
        patterns=tuple(
            Pattern(
                tuple(acts[index] for index in each["acts"]),
                tuple(each["inside"]),
                each["count"],
                each["first"],
                each["last"],
                tuple(each["at"]),
            )
            for each in data["patterns"]
        ),
        iterations=tuple(
            Iteration(number, pattern, tuple(_read_event(event, acts, states) for event in events), dropped)
            for number, pattern, dropped, events in data["iterations"]
        ),
        points=tuple(
            Point(number, pattern, _numbers(rates), *rest) for number, pattern, rates, *rest in data["points"]
        ),
        findings=tuple(decode(Diagnostic, finding) for finding in data["findings"]),
    )


def _event(event: Event, acts: _Table, states: _Table, recording: Recording) -> list[Any]:
    """Return the row of an event; the marks at its end are for the page, which need not compute them."""
    return [
        acts.index(event.act),
        event.start,
        event.duration,
        event.thread,
        int(event.inside),
        states.index(event.states),
        _nulls(event.rates),
        event.nodes,
        event.graphs,
        list(event.broken),
        list(recording.marks(event)),
    ]


def _read_event(row: list[Any], acts: Sequence[Act], states: Sequence[tuple[str, ...]]) -> Event:
    act, start, duration, thread, inside, state, rates, nodes, graphs, broken, _ = row
    return Event(
        acts[act],
        start,
        duration,
        thread,
        bool(inside),
        states[state],
        _numbers(rates),
        nodes,
        graphs,
        tuple(broken),
    )


def _point(point: Point) -> list[Any]:
    return [point.number, point.pattern, _nulls(point.rates), point.schedules, point.nodes, point.graphs]


def _nulls(rates: Sequence[float]) -> list[float | None]:
    """Return numbers as JSON has them, which knows neither nan nor infinity."""
    return [rate if math.isfinite(rate) else None for rate in rates]


def _numbers(rates: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(math.nan if rate is None else rate for rate in rates)


def _place(place: Location) -> list[Any]:
    return [place.filename, place.row, place.column, place.end_row, place.end_column, place.cell]
