"""How findings are shown: one module per output format, each with one `render`.

Reporters know diagnostics and streams; they must not know how findings are made.
"""

from __future__ import annotations

import importlib
import linecache
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TextIO

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic

FORMATS = ("full", "concise", "json", "github", "gitlab", "junit", "sarif")
WITH_FIXES = frozenset(["full", "json", "sarif"])
"""The formats that tell of fixes: for the others none need be built."""


def source_lines(where: str, texts: Mapping[str, str] | None = None) -> Sequence[str]:
    """Return the lines of a file by its name, or of a cell of a notebook by the name of both.

    `texts` are the contents of what is no file, by name.
    """
    filename, separator, cell = where.rpartition(":cell ")
    if separator and cell.isdigit():
        from gradlint.documents import cell_lines  # Most reports need no notebook.

        return cell_lines(_content(filename, texts), int(cell))
    known = (texts or {}).get(where)
    return linecache.getlines(where) if known is None else known.splitlines()


def _content(filename: str, texts: Mapping[str, str] | None) -> str:
    known = (texts or {}).get(filename)
    return "".join(linecache.getlines(filename)) if known is None else known


@dataclass(frozen=True, slots=True)
class Context:
    """What a reporter may use: the lines of a file by its name, and colour; and what the summary says.

    That is how many files were checked (None: not counted) and how many findings were fixed (None: nobody tried).
    """

    lines: Callable[[str], Sequence[str]] = source_lines
    color: bool = False
    files: int | None = None
    fixed: int | None = None


class Reporter(Protocol):
    """A module of this package."""

    def render(self, found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
        """Write `found` to `stream`."""


def render(
    found: Sequence[Diagnostic],
    stream: TextIO,
    output_format: str = "full",
    *,
    files: int | None = None,
    lines: Callable[[str], Sequence[str]] = source_lines,
    color: bool | None = None,
    fixed: int | None = None,
) -> None:
    """Write `found` to `stream`.

    `output_format` is one of FORMATS; `files` is how many files were checked, for the summary; `lines` gives the lines
    of a file by its name; `color` None means: on a terminal, unless NO_COLOR is set; `fixed` is how many findings are
    gone because they were fixed.
    """
    reporter: Reporter = importlib.import_module(f"gradlint.reporters.{output_format}")
    reporter.render(found, stream, Context(lines, wants_color(stream) if color is None else color, files, fixed))


def wants_color(stream: TextIO) -> bool:
    """Tell whether `stream` is a terminal whose user has not declined colour (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
