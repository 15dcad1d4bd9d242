"""The story of a file, as text or as JSON: each line with the events that happen there and the states after them.

It knows stories and streams; it must not know how a story is found.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from gradlint.diagnostics import Location
from gradlint.story import Broken, Change, Happening, Section, Story, Subject

_SOURCE = 64  # columns of source shown

MEANINGS = {
    "new": "nothing has happened to it yet",
    "absent": "it has not been built yet",
    "clean": "its gradients are cleared",
    "fresh": "its gradients are waiting to be used",
    "discarded": "its gradients were cleared before a step used them",
    "spent": "its gradients have been used by a step",
    "dirty": "a backward added to gradients that a step has used already",
    "unknown": "somebody unknown had hands on it; unknown is silent",
    "unknown-fresh": "unknown, and then a backward",
    "ready": "its optimizer has stepped",
    "scheduled": "the schedule has moved on",
    "train": "in training mode",
    "eval": "in evaluation mode",
    "lapsed": "trained, and then put into evaluation mode",
    "unbuilt": "no graph yet",
    "live": "the graph can run backward",
    "freed": "a backward has used the graph up",
    "none": "there is no gradient",
    "set": "there is a gradient",
    "planned": "the rate is the one that the schedule has set",
    "written": "the rate was written by hand",
    "told": "it was told the epoch",
    "drawn": "batches were drawn in the order of the epoch that it knows",
    "built": "the optimizer holds the parameters of the model",
    "stale": "the model has other parameters by now",
}
"""What a state says, in the order of the legend."""


def render(story: Story, stream: TextIO, output_format: str) -> None:
    """Write a story; `output_format` is `full` or `json`."""
    if output_format == "json":
        json.dump(_json(story), stream, indent=2)
        stream.write("\n")
        return
    stream.writelines(f"{line.rstrip()}\n" for line in _text(story))


# Text ---------------------------------------------------------------------------------------------


def _text(story: Story) -> Iterator[str]:
    yield story.filename
    if story.subjects:
        yield from ("", "subjects", *_table([_cells(subject, story) for subject in story.subjects]))
    for section in story.sections:
        yield from ("", _title(section, story), *_section(section, story))
    if not story.sections:
        yield from ("", "No training happens here.")
    seen = {state for section in story.sections for each in section.happenings for state in _states(each)}
    legend = [(state, meaning) for state, meaning in MEANINGS.items() if state in seen]
    if legend:
        yield from ("", "states", *_table(legend))
    if story.elsewhere:
        yield from ("", f"More happens in {', '.join(story.elsewhere)}.")


def _cells(subject: Subject, story: Story) -> tuple[str, ...]:
    of = ""
    if subject.kind in ("optimizer", "scheduler"):
        verb = "updates" if subject.kind == "optimizer" else "drives"
        of = f"{verb} {', '.join(subject.of) if subject.of else 'somebody unknown'}"
    built = f"built at {_place(subject.place, story)}" if subject.place else ""
    return subject.name, subject.kind, subject.origin, built, of


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def _title(section: Section, story: Story) -> str:
    if not section.row:
        return section.name
    if not section.callers:
        return f"{section.name}, which nobody is seen to call"
    return f"{section.name}, called at {', '.join(map(story.label, section.callers))}"


def _section(section: Section, story: Story) -> Iterator[str]:
    notes = _notes(section, story)
    rows = sorted({*section.headers, *notes})
    shown = {row: _source(story.lines, row) for row in rows}
    width = max(map(len, shown.values()), default=0)
    labels = {row: story.label(row) for row in rows}
    gutter = max(map(len, labels.values()), default=0)
    for row in rows:
        first, *more = notes.get(row, [""])
        yield f"{labels[row]:>{gutter}}  {shown[row].ljust(width)}  | {first}"
        yield from (f"{'':{gutter}}  {'':{width}}  | {note}" for note in more)


def _source(lines: Sequence[str], row: int) -> str:
    text = lines[row - 1].rstrip().replace("\t", "    ") if row <= len(lines) else ""
    return text if len(text) <= _SOURCE else f"{text[: _SOURCE - 3]}..."


def _notes(section: Section, story: Story) -> dict[int, list[str]]:
    """Return what stands beside each row: its events, the rules that they break, and other findings."""
    notes: dict[int, list[str]] = defaultdict(list)
    reported = {(finding.code, finding.location.row) for finding in section.findings}
    for each in section.happenings:
        row = each.place.row
        notes[row].append(_happening(each, story))
        for broken in (broken for change in each.changes for broken in change.broken):
            notes[row].append(_breach(broken, (broken.code, row) in reported))
            reported.discard((broken.code, row))
    for code, row in sorted(reported):
        notes[row].append(f"! {code}: reported")
    return notes


def _breach(broken: Broken, reported: bool) -> str:
    but = f", not if {'|'.join(broken.others)}" if broken.others else ""
    mark, verdict = ("!", "reported") if reported else ("?", "not reported")
    return f"{mark} {broken.code} if {'|'.join(broken.found)}{but}: {verdict}"


def _happening(each: Happening, story: Story) -> str:
    own = [change for change in each.changes if f".{change.subject}." in f".{each.what}"]
    own = own or [change for change in each.changes if each.what.startswith(f"{change.subject} ")]
    head = f"{each.what}: {_change(own[0], story)}" if own else each.what
    others = [f"{change.subject}: {_change(change, story)}" for change in each.changes if change not in own[:1]]
    if not each.changes:
        return f"{head}: {'reaches no known optimizer' if each.kind == 'backward' else 'receiver unknown'}"
    return f"{head} -> {'; '.join(others)}" if others else head


def _change(change: Change, story: Story) -> str:
    first, later = "|".join(change.first), "|".join(change.later)
    text = first if first == later or not later else f"{first}, later {later}" if first else f"later {later}"
    if not change.unknown_since:
        return text
    places = (_place(place, story) for place in change.unknown_since)
    return f"{text} (unknown since {', '.join(places)})"


def _place(place: Location, story: Story) -> str:
    return story.label(place.row) if place.filename == story.filename else f"{place.filename}:{place.row}"


def _states(each: Happening) -> Iterator[str]:
    for change in each.changes:
        yield from change.states
        for broken in change.broken:
            yield from (*broken.found, *broken.others)


# JSON ---------------------------------------------------------------------------------------------


def _json(story: Story) -> dict[str, Any]:
    return {
        "filename": story.filename,
        "subjects": [
            {
                "name": subject.name,
                "kind": subject.kind,
                "origin": subject.origin,
                "row": subject.place.row if subject.place else None,
                "of": None if subject.of is None else list(subject.of),
            }
            for subject in story.subjects
        ],
        "sections": [_json_section(section) for section in story.sections],
        "elsewhere": list(story.elsewhere),
    }


def _json_section(section: Section) -> dict[str, Any]:
    return {
        "name": section.name,
        "row": section.row or None,
        "callers": list(section.callers),
        "events": [
            {
                "event": each.kind,
                "source": each.what,
                "location": {"row": each.place.row, "column": each.place.column},
                "loops": list(each.loops),
                "changes": [_json_change(change) for change in each.changes],
            }
            for each in section.happenings
        ],
        "findings": [{"code": item.code, "row": item.location.row} for item in section.findings],
    }


def _json_change(change: Change) -> dict[str, Any]:
    return {
        "subject": change.subject,
        "first": list(change.first),
        "later": list(change.later),
        "unknown_since": [{"filename": place.filename, "row": place.row} for place in change.unknown_since],
        "broken": [{"code": item.code, "if": list(item.found), "not_if": list(item.others)} for item in change.broken],
    }
