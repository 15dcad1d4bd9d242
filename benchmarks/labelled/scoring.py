"""What findings are worth against the labels.

A *case* is caught when a code is found near the mistake before the fix, and less often in the file after it. *Near* is
from `NEAR` rows before the first row of the mistake to `NEAR` rows after its last one, in a notebook within the cell.

A *loop* is flagged when an error or a warning stands in its rows; a `bug` also when one stands within `NEAR` rows of it.
A finding about a file as a whole is near every case in it, and is taken for one about the file's `bug`, if it has one,
else about its first loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from labelled.labels import VERDICTS, Case, Finding, Loop
from labelled.notebooks import cells_of, places_of

NEAR = 8
FLAGGING = frozenset({"error", "warning"})

Reader = Callable[[str], str]
"""Returns the text of a file, by its path."""


@dataclass(slots=True)
class Tally:
    """So many of so many."""

    hit: int = 0
    of: int = 0

    def count(self, hit: bool) -> None:
        """Count one more."""
        self.hit += hit
        self.of += 1

    def __str__(self) -> str:
        return f"{self.hit}/{self.of}"


@dataclass(slots=True)
class Score:
    """The figures of one tool; `details` tells each case and each loop that is not as it should be."""

    caught: dict[str, Tally] = field(default_factory=dict)
    loops: dict[str, Tally] = field(default_factory=lambda: {verdict: Tally() for verdict in VERDICTS})
    findings: int = 0
    details: list[str] = field(default_factory=list)

    def add_case(self, case: Case, codes: Sequence[str]) -> None:
        """Count a case, caught by these codes."""
        self.caught.setdefault(case.visible, Tally()).count(bool(codes))
        self.details.append(
            f"case {case.name} ({case.visible}): {'caught by ' + ', '.join(codes) if codes else 'missed'}"
        )

    def add_loop(self, loop: Loop, found: Sequence[Finding]) -> None:
        """Count a loop with the findings that are about it."""
        flags = [item for item in found if item.severity in FLAGGING]
        self.loops[loop.verdict].count(bool(flags))
        self.findings += len(found)
        if bool(flags) != (loop.verdict == "bug") or flags:
            what = "; ".join(f"{item.code} in row {item.row}" for item in flags) or "missed"
            self.details.append(f"{loop.verdict} {loop.repo} {loop.path} {loop.function} {loop.rows}: {what}")

    @property
    def recall(self) -> float:
        """Return the part of the cases and of the `bug` loops that was found."""
        tallies = [*self.caught.values(), self.loops["bug"]]
        return sum(each.hit for each in tallies) / max(sum(each.of for each in tallies), 1)

    @property
    def precision(self) -> float | None:
        """Return the part of the flagged loops, of those that are `bug` or `clean`, that is `bug`."""
        bug, clean = self.loops["bug"].hit, self.loops["clean"].hit
        return bug / (bug + clean) if bug + clean else None


def caught_by(case: Case, before: Iterable[Finding], after: Iterable[Finding], text: str) -> list[str]:
    """Return the codes that catch a case; `text` is that of the file before the fix."""
    earlier = [item for item in before if item.path == case.path]
    still = Counter(item.code for item in after if item.path == case.after_path)
    gone = Counter(item.code for item in earlier) - still
    places = places_of(case.rows, text) if case.path.endswith(".ipynb") else [(0, row) for row in case.rows]
    return sorted({item.code for item in earlier if item.code in gone and _near(item, places)})


def about(loops: Sequence[Loop], found: Sequence[Finding], read: Reader) -> list[list[Finding]]:
    """Return the findings that are about each loop; all are of one tree."""
    result = [[item for item in found if item.path == loop.path and _in(item, loop, read)] for loop in loops]
    for item in found:
        if item.row == 0 and (index := _spoken_of(item.path, loops)) is not None:
            result[index].append(item)
    return result


def _near(item: Finding, places: Sequence[tuple[int, int]]) -> bool:
    rows = [row for cell, row in places if cell == item.cell]
    return item.row == 0 or (bool(rows) and min(rows) - NEAR <= item.row <= max(rows) + NEAR)


def _in(item: Finding, loop: Loop, read: Reader) -> bool:
    first, last = loop.rows
    bug = loop.verdict == "bug" and loop.line and abs(item.row - loop.line) <= NEAR
    if not (first <= item.row <= last or (bug and item.row)):
        return False
    return not loop.path.endswith(".ipynb") or item.cell in cells_of(loop, read(loop.path))


def _spoken_of(path: str, loops: Sequence[Loop]) -> int | None:
    """Return the loop that a finding about the whole file is taken to be about."""
    here = [index for index, loop in enumerate(loops) if loop.path == path]
    return next((index for index in here if loops[index].verdict == "bug"), here[0] if here else None)
