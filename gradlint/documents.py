"""Documents that hold Python in pieces: the cells of a notebook, the code blocks of a Markdown or reStructuredText file.

Terms. A document is read as *one* module, its *text*: the pieces in order, all else blank. What a piece says to
IPython and not to Python (`%magic`, `!shell`, `help?`) is replaced by something harmless that is as long (`ipython`). It must
not know what is looked for in a document.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Location, Related
from gradlint.ipython import as_python
from gradlint.regex import regex

NOTEBOOK = ".ipynb"
TEXTS = (".md", ".markdown", ".rst")

_PYTHON = frozenset(["py", "py3", "pycon", "python", "python3", "ipython", "ipython3"])
_DIRECTIVES = frozenset(["code", "code-block", "code-cell", "sourcecode"])

_FENCE = regex(r"^(?P<indent>\s*)(?P<ticks>`{3,}|~{3,})(?P<info>[^`]*)$")
_DIRECTIVE = regex(r"^(?P<indent>\s*)\.\. (?:code|code-block|sourcecode|testcode|jupyter-execute)::(?P<info>.*)$")
_PROMPT = regex(r"\s*(?:>>>|\.\.\.)(?: |$)")


class NotReadable(ValueError):
    """A document that is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A piece that Python cannot parse, and where."""

    place: Location
    reason: str


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a document, and how places in it become places in the file.

    `starts` are the rows of the text at which pieces begin; `cells` their numbers in a notebook (all cells count, from 1),
    nothing where rows are those of the file; `shifts` is how many columns a row of the text has lost at its beginning.
    """

    text: str
    starts: tuple[int, ...]
    cells: tuple[int, ...] = ()
    shifts: Mapping[int, int] = field(default_factory=dict)
    broken: tuple[Broken, ...] = ()

    def place(self, place: Location) -> Location:
        """Return the place in the file of a place in the text."""
        start, end = self.shifts.get(place.row, 0), self.shifts.get(place.end_row, 0)
        if start or end:
            place = replace(place, column=place.column + start, end_column=place.end_column + end)
        if not self.cells:
            return place
        piece = max((index for index, row in enumerate(self.starts) if row <= place.row), default=0)
        before = self.starts[piece] - 1
        end_row = max(place.end_row - before, 0)
        return replace(place, row=place.row - before, end_row=end_row, cell=self.cells[piece])

    def label(self, row: int) -> str:
        """Return what to call a row of the text: its number, in a notebook the cell's and its own."""
        place = self.place(Location("", row))
        return f"{place.cell}:{place.row}" if place.cell else str(place.row)

    def placed(self, found: Diagnostic) -> Diagnostic:
        """Return a finding in the text as one in the file; it cannot be fixed."""
        own = found.location.filename
        related = tuple(
            Related(self.place(item.location), item.text) if item.location.filename == own else item
            for item in found.related
        )
        return replace(found, location=self.place(found.location), related=related, fix=None)


def is_document(filename: str) -> bool:
    """Tell whether a file of that name holds Python in pieces."""
    return os.path.splitext(filename)[1].lower() in (NOTEBOOK, *TEXTS)


def read_document(text: str, filename: str) -> Document:
    """Return the document in the content of a file; raises NotReadable."""
    suffix = os.path.splitext(filename)[1].lower()
    if suffix == NOTEBOOK:
        return _notebook(text, filename)
    blocks = _directives(text.split("\n")) if suffix == ".rst" else _fences(text.split("\n"))
    return _texts(text, blocks)


@functools.lru_cache(maxsize=8)
def cell_lines(text: str, cell: int) -> Sequence[str]:
    """Return the lines of a cell of the notebook with the content `text`; none if there is no such cell."""
    try:
        return dict(_cells(text)).get(cell, [])
    except NotReadable:
        return []


# Notebooks ----------------------------------------------------------------------------------------


def _notebook(text: str, filename: str) -> Document:
    starts, cells, lines, broken = [], [], list[str](), list[Broken]()
    shifts = dict[int, int]()
    for number, source in _cells(text):
        block, lost = _dedented(source)
        try:
            plain = as_python(block)
        except SyntaxError as error:
            row = min(error.lineno or 1, len(lost))
            place = Location(filename, row, max(error.offset or 1, 1) + lost[row - 1], cell=number)
            broken.append(Broken(place, error.msg))
            continue
        starts.append(len(lines) + 1)
        cells.append(number)
        shifts |= {row: columns for row, columns in enumerate(lost, len(lines) + 1) if columns}
        lines += plain
    return Document("\n".join([*lines, ""]), tuple(starts), tuple(cells), shifts, tuple(broken))


def _cells(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the lines of each cell with Python code; raises NotReadable."""
    try:
        import json  # Few files are notebooks.

        notebook = json.loads(text)
        metadata = notebook.get("metadata") or {}
        sheets = notebook.get("worksheets") or [notebook]
        cells = [cell for sheet in sheets for cell in sheet.get("cells", [])]
        kernel = (metadata.get("kernelspec") or {}).get("language") or (metadata.get("language_info") or {}).get("name")
        sources = [_source(cell) for cell in cells]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise NotReadable(f"this is no notebook: {error}") from error
    if not isinstance(kernel, str) or kernel.lower() in _PYTHON:
        yield from ((number, lines) for number, lines in enumerate(sources, 1) if lines)


def _source(cell: Mapping[str, Any]) -> list[str]:
    if cell.get("cell_type") != "code":
        return []
    source = cell.get("source", cell.get("input", ""))
    text = "".join(source) if isinstance(source, list) else source
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _dedented(source: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return a cell without the indentation of its first line, as IPython reads it, and what each line has lost."""
    first = next((line for line in source if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip())]
    lost = [len(indent) if indent and line.startswith(indent) else 0 for line in source]
    return [line[count:] for line, count in zip(source, lost, strict=True)], lost


# Texts --------------------------------------------------------------------------------------------


def _texts(text: str, blocks: Iterator[range]) -> Document:
    """Return a text in which all but the blocks that are Python is blank; what cannot be parsed is a fragment."""
    source = text.split("\n")
    lines = [""] * len(source)
    starts, shifts = [], dict[int, int]()
    for rows in blocks:
        block, lost = _stripped([source[row] for row in rows])
        try:
            plain = as_python(block) if block else []
        except SyntaxError:
            continue
        if plain:
            starts.append(rows.start + 1)
            lines[rows.start : rows.stop] = plain
            shifts |= {row + 1: columns for row, columns in zip(rows, lost, strict=True) if columns}
    return Document("\n".join(lines), tuple(starts), shifts=shifts)


def _stripped(block: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return a block without its indentation and its prompts, and how many columns each line has lost."""
    if any(line.lstrip().startswith(">>> ") for line in block):
        ends = [found.end() if (found := _PROMPT.match(line)) else len(line) for line in block]
    else:
        indents = [len(line) - len(line.lstrip()) for line in block if line.strip()]
        ends = [min(indents, default=0)] * len(block)
    return [line[end:] for line, end in zip(block, ends, strict=True)], ends


def _fences(lines: Sequence[str]) -> Iterator[range]:
    """Yield the rows (from 0) inside the fences of a Markdown text that are Python or of no language."""
    ticks, begin, python = "", 0, False
    for row, line in enumerate(lines):
        found = _FENCE.match(line)
        if found is None:
            continue
        if not ticks:
            ticks, begin, python = found["ticks"], row + 1, _is_python(found["info"])
        elif found["ticks"].startswith(ticks) and not found["info"].strip():
            ticks = ""
            if python and row > begin:
                yield range(begin, row)


def _is_python(info: str) -> bool:
    words = re.findall(r"[\w-]+", info.lower())
    if words and words[0] in _DIRECTIVES:
        words = words[1:]
    return not words or words[0] in _PYTHON


def _directives(lines: Sequence[str]) -> Iterator[range]:
    """Yield the rows (from 0) of the code blocks of a reStructuredText file that are Python."""
    row = 0
    while row < len(lines):
        found = _DIRECTIVE.match(lines[row])
        row += 1
        if found is None:
            continue
        indent, begin = len(found["indent"]), row
        while row < len(lines) and (not lines[row].strip() or len(lines[row]) - len(lines[row].lstrip()) > indent):
            row += 1
        while begin < row and (not lines[begin].strip() or lines[begin].lstrip().startswith(":")):
            begin += 1
        if begin < row and _is_python(found["info"]):
            yield range(begin, row)
