"""A code frame: the lines that a finding is about, numbered, with a mark under each place and its words beside it.

 --> train.py:4:5
  |
3 |     loss.backward()
  |     --------------- added to by this backward
4 |     optimizer.step()
  |     ^^^^^^^^^^^^^^^^
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from gradlint.diagnostics import Location, Related

_CONTEXT = 2  # lines shown around a marked one
_BRIDGE = 1  # an ellipsis stands for more lines than this
_WIDTH = 160  # columns of source shown; generated code has lines of megabytes
_TAB = " " * 4

Paint = Callable[[str, str], str]


def frame(marks: Sequence[Related], lines: Callable[[str], Sequence[str]], paint: Paint) -> Iterator[str]:
    """Yield the frame of `marks`, the first of which is the finding itself, one part per file.

    `lines` gives the lines of a file by its name; a place whose file has none is named only.
    """
    gutter = len(str(max(mark.location.row for mark in marks)))
    primary = marks[0]
    own = primary.location
    ordered = sorted(
        marks,
        key=lambda mark: (
            mark.location.filename != own.filename,
            mark.location.cell != own.cell,
            mark.location.cell,
            mark.location,
        ),
    )
    for filename, group in groupby(ordered, key=lambda mark: mark.location.where):
        part = list(group)
        place = primary.location if primary in part else part[0].location
        arrow = "-->" if primary in part else ":::"
        yield f"{' ' * gutter}{paint(arrow, 'dim')} {filename}:{place.row}:{place.column}"
        yield from _part(part, primary, lines(filename), gutter, paint)


def _part(part: list[Related], primary: Related, lines: Sequence[str], gutter: int, paint: Paint) -> Iterator[str]:
    bar = paint(f"{' ' * gutter} |", "dim")
    visible = [mark for mark in part if mark.location.row <= len(lines) and not _empty(mark.location)]
    blocks = _blocks({mark.location.row for mark in visible}, lines)
    if blocks:
        yield bar
    for index, block in enumerate(blocks):
        if index:
            yield paint("...", "dim")
        for row in block:
            here = [mark for mark in visible if mark.location.row == row]
            window = _Window(lines[row - 1], min((mark.location.column for mark in here), default=1))
            yield f"{paint(f'{row:>{gutter}} |', 'dim')} {window.text}".rstrip()
            yield from (f"{bar} {_mark(mark, mark is primary, window, paint)}" for mark in here)
    if blocks:
        yield bar


def _empty(place: Location) -> bool:
    """Tell whether `place` is a point: it stands for its file, and there is nothing to underline."""
    return (place.row, place.column) == (place.end_row, place.end_column)


def _blocks(marked: set[int], lines: Sequence[str]) -> list[list[int]]:
    """Return the rows to show: the marked ones with context, where no block begins or ends with a blank line."""
    near = {row + step for row in marked for step in range(-_CONTEXT, _CONTEXT + 1)}
    blocks: list[list[int]] = []
    for row in sorted(near & set(range(1, len(lines) + 1))):
        if blocks and row <= blocks[-1][-1] + _BRIDGE + 1:
            blocks[-1].extend(range(blocks[-1][-1] + 1, row + 1))
        else:
            blocks.append([row])
    return [_trimmed(block, marked, lines) for block in blocks]


def _trimmed(block: list[int], marked: set[int], lines: Sequence[str]) -> list[int]:
    kept = [row for row in block if row in marked or lines[row - 1].strip()]
    return list(range(kept[0], kept[-1] + 1))


def _mark(mark: Related, is_primary: bool, window: _Window, paint: Paint) -> str:
    indent, width = window.span(mark.location)
    underline = ("^" if is_primary else "-") * width
    return f"{' ' * indent}{paint(f'{underline} {mark.text}'.rstrip(), 'primary' if is_primary else 'related')}"


class _Window:
    """A line of source as shown: tabs and control characters replaced, cut around the column `start` if it is long."""

    def __init__(self, line: str, start: int) -> None:
        self._line = line.rstrip("\n")
        self._from = 0 if len(self._line) <= _WIDTH else max(0, start - _WIDTH // 2)
        cut = self._line[self._from : self._from + _WIDTH]
        self.text = _visible(cut)

    def span(self, place: Location) -> tuple[int, int]:
        """Return where the mark of `place` begins and how wide it is, in columns of the terminal; at least one wide."""
        first = max(place.column - 1, len(self._line) - len(self._line.lstrip()))
        last = place.end_column - 1 if place.end_row == place.row else len(self._line.rstrip())
        start = max(first - self._from, 0)
        stop = min(last - self._from, _WIDTH)
        before = _visible(self._line[self._from : self._from + start])
        marked = _visible(self._line[self._from + start : self._from + stop])
        return _columns(before), max(_columns(marked), 1)


def _visible(text: str) -> str:
    """Replace what would move the cursor or hide itself."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text.replace("\t", _TAB))


def _columns(text: str) -> int:
    """Return the width of `text` on a terminal: East Asian characters take two columns, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
