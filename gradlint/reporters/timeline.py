"""The text timeline of a run: its distinct iterations, how often each came, and what the usual one does line by line.

Knows recordings and streams; must not know how a run is recorded.

Example:

    train.py: 400 iterations, each up to a step of `optimizer`; 12.3 s

        x398  0 to 399   z f b s
          x2  at 45, 99  z f b b s   <-- one more b, train.py:31
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TextIO

from gradlint.diagnostics import Location
from gradlint.reporters import source_lines
from gradlint.reporters.signatures import notes, several, signature, spanned, where
from gradlint.reporters.summary import plural
from gradlint.timeline import Act, Event, Pattern, Recording, usual

_ROWS = 12  # patterns shown
_NAMED = 4  # iterations named
_ACTS = 24  # parts of a signature shown
_SOURCE = 48  # columns of source shown


def render(recordings: Sequence[Recording], stream: TextIO) -> None:
    """Write the timelines of the ranks of a run."""
    for recording in recordings:
        stream.writelines(f"{line.rstrip()}\n" for line in _lines(recording))


def _lines(recording: Recording) -> Iterator[str]:
    rank = f", rank {recording.rank} of {recording.ranks}" if recording.ranks > 1 else ""
    up_to = f", each up to a step of `{recording.anchor}`" if recording.anchor else ""
    yield f"{recording.program}{rank}: {plural(recording.total, 'iteration')}{up_to}; {recording.duration:.1f} s"
    main = usual(recording.patterns)
    if main is None:
        yield "  nothing of a training loop was seen"
        return
    yield ""
    yield from _patterns(recording, main)
    yield ""
    yield from _usual(recording, main)
    yield from _rates(recording)
    yield from _graphs(recording)
    yield ""


# The patterns --------------------------------------------------------------------------------------


def _patterns(recording: Recording, main: Pattern) -> Iterator[str]:
    """Yield a row for each pattern, the earliest first; among too many the rarest are left out."""
    shown = sorted(recording.patterns, key=lambda each: -each.count)[:_ROWS]
    shown.sort(key=lambda each: each.first)
    named = several(recording)
    rows = [(f"x{each.count}", spanned(each), signature(each, named), notes(recording, each, main)) for each in shown]
    counts, numbers, texts = (max(len(row[column]) for row in rows) for column in range(3))
    for count, number, text, noted in rows:
        head = f"  {count:>{counts}}  {number:<{numbers}}  {text:<{texts}}"
        yield f"{head}   <-- {noted[0]}" if noted else head
        yield from (f"{'':{len(head)}}   <-- {note}" for note in noted[1:])
    left = len(recording.patterns) - len(shown)
    if left:
        yield f"  and {plural(left, 'rarer kind')} of iterations"


# The usual iteration -------------------------------------------------------------------------------


def _usual(recording: Recording, main: Pattern) -> Iterator[str]:
    """Yield the acts of the usual iteration, each with its line and what it does to the gradients."""
    example = recording.example(recording.patterns.index(main))
    if example is None:
        return
    yield f"  the usual iteration, here number {example.number}"
    rows: list[tuple[str, str, str, str]] = []
    seen: set[Act] = set()
    before = example.events[0].states if example.events else ()
    for event in example.events:
        if event.act in seen and event.inside:
            continue
        effect = _effect(recording, event, before, first=not seen)
        before = event.states
        if event.act in seen and not effect:
            continue
        seen.add(event.act)
        rows.append((_told(event), where(event.act.place), _source(event.act.place), effect))
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for told, line, source, effect in rows[:_ACTS]:
        yield f"    {told:<{widths[0]}}  {line:<{widths[1]}}  {source:<{widths[2]}}  {effect}"
    if len(rows) > _ACTS:
        yield f"    and {len(rows) - _ACTS} more"


def _told(event: Event) -> str:
    return f"{'  ' if event.inside else ''}{event.act.letter}  {event.act.words}"


def _source(place: Location) -> str:
    lines = source_lines(place.where)
    text = lines[place.row - 1].strip() if place.row <= len(lines) else ""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= _SOURCE else f"{text[: _SOURCE - 3]}..."


def _effect(recording: Recording, event: Event, before: Sequence[str], *, first: bool) -> str:
    """Return the states of the gradients where they are new, and what is found."""
    before = (*before, *("" for _ in event.states[len(before) :]))
    changed: dict[str, list[str]] = {}
    for group, was, now in zip(recording.groups, before, event.states, strict=False):
        if was != now or first:
            changed.setdefault(now, []).append(group.label)
    told = [f"{', '.join(groups) if len(recording.groups) > 1 else 'gradients'}: {s}" for s, groups in changed.items()]
    codes = {recording.findings[index].code for index in recording.marks(event)}
    return "; ".join(told) + (f"  <-- {', '.join(sorted(codes))}" if codes else "")


# The whole run -------------------------------------------------------------------------------------


def _rates(recording: Recording) -> Iterator[str]:
    """Yield the course of the learning rate of each group; equal ones once."""
    courses: dict[tuple[float, ...], list[str]] = {}
    for index, group in enumerate(recording.groups):
        rates = [point.rates[index] for point in recording.points if index < len(point.rates)]
        known = [rate for rate in rates if not math.isnan(rate)]
        if known:
            courses.setdefault((known[0], min(known), max(known), known[-1]), []).append(group.label)
    schedules = recording.points[-1].schedules if recording.points else 0
    for (start, low, high, end), labels in courses.items():
        span = (
            f"{start:.3g} throughout" if low == high else f"{start:.3g} to {end:.3g} (from {low:.3g} up to {high:.3g})"
        )
        shown = ", ".join(labels[:_NAMED]) + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
        yield f"  learning rate of {shown}: {span}"
    if schedules:
        yield f"  scheduler steps: {schedules} in {plural(recording.total, 'iteration')}"


def _graphs(recording: Recording) -> Iterator[str]:
    """Yield how large graphs were, and how many were alive at the beginning and at the end."""
    points = [point for point in recording.points if point.nodes]
    if not points:
        return
    small, large = min(point.nodes for point in points), max(point.nodes for point in points)
    size = f"{large} nodes" if small == large else f"{small} to {large} nodes"
    alive = (points[0].graphs, points[-1].graphs)
    grown = "  <-- they pile up" if points[-1].graphs > 8 and points[-1].graphs >= 4 * points[0].graphs else ""
    yield f"  graph: {size}; alive at a backward: {alive[0]} at first, {alive[1]} at last{grown}"
