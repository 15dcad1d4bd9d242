"""What was understood of a file, as `gradlint events` tells it: subjects, and what happens to them line by line.

It knows neither how a file is understood nor how the story is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Location
from gradlint.documents import Document


@dataclass(frozen=True, slots=True)
class Subject:
    """An optimizer, scheduler or module that events are about; `of` names whom it acts on (None: not known)."""

    name: str
    kind: str
    origin: str
    place: Location | None
    of: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that an event breaks in the states `found`, but not in those of other paths, `others`."""

    code: str
    found: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """The states of a subject after an event: in the first iteration of the loops around it, and in later ones.

    Several states are several paths. `unknown_since` is where somebody unknown got it, if its state is not known.
    """

    subject: str
    first: tuple[str, ...]
    later: tuple[str, ...]
    unknown_since: tuple[Location, ...] = ()
    broken: tuple[Broken, ...] = ()

    @property
    def states(self) -> frozenset[str]:
        """All states that it may be in."""
        return frozenset(self.first + self.later)


@dataclass(frozen=True, slots=True)
class Happening:
    """One event as the source has it: who did it, in the user's own words, and what it changed."""

    kind: str
    what: str
    place: Location
    loops: tuple[int, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """The module or one function: `callers` are the rows that call it, none if nobody is seen to.

    `headers` are the rows of the loops, branches and functions around the happenings; `findings` is what is reported.
    """

    name: str
    row: int
    callers: tuple[int, ...]
    headers: tuple[int, ...]
    happenings: tuple[Happening, ...]
    findings: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """A whole file; `elsewhere` names the other files in which something happens.

    All rows are those of `lines`; in a `document` the file may call them otherwise.
    """

    filename: str
    lines: tuple[str, ...]
    subjects: tuple[Subject, ...]
    sections: tuple[Section, ...]
    elsewhere: tuple[str, ...] = ()
    document: Document | None = None

    def label(self, row: int) -> str:
        """Return what to call a row."""
        return self.document.label(row) if self.document else str(row)


def merged(happenings: Iterable[Happening]) -> list[Happening]:
    """Join what is one event in the source: of several calls, of first and later iterations."""
    known: dict[tuple[str, Location, str], Happening] = {}
    for each in happenings:
        key = (each.kind, each.place, each.what)
        known[key] = replace(known[key], changes=_joined(known[key].changes + each.changes)) if key in known else each
    return [replace(each, changes=_joined(each.changes)) for each in known.values()]


def _joined(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    known: dict[str, Change] = {}
    for each in changes:
        other = known.get(each.subject)
        known[each.subject] = each if other is None else _both(other, each)
    return tuple(known.values())


def _both(one: Change, two: Change) -> Change:
    found: dict[str, Broken] = {}
    for item in (*one.broken, *two.broken):
        same = found.get(item.code, item)
        found[item.code] = Broken(item.code, _union(same.found, item.found), _union(same.others, item.others))
    return Change(
        one.subject,
        _union(one.first, two.first),
        _union(one.later, two.later),
        tuple(sorted({*one.unknown_since, *two.unknown_since})),
        tuple(found.values()),
    )


def _union(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *two}))
