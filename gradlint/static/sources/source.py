"""The text of a file and the places in it."""

from __future__ import annotations

import ast
from functools import cached_property

from gradlint.diagnostics import Location


class Source:
    """A file's text; turns syntax nodes into locations (columns in characters, not bytes)."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self._places: dict[ast.AST, Location] = {}

    @cached_property
    def _plain(self) -> bool:
        return self.text.isascii()

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def place(self, node: ast.AST) -> Location:
        """Return the stretch of source that `node` covers."""
        known = self._places.get(node)
        if known is None:
            known = self._places[node] = self._place(node)
        return known

    def _place(self, node: ast.AST) -> Location:
        row = getattr(node, "lineno", 1)
        end_row = getattr(node, "end_lineno", None) or row
        start = self._column(row, getattr(node, "col_offset", 0))
        end = self._column(end_row, getattr(node, "end_col_offset", None) or 0)
        return Location(self.filename, row, start, end_row, end)

    def _column(self, row: int, offset: int) -> int:
        if self._plain or row > len(self._lines):
            return offset + 1
        return len(self._lines[row - 1].encode("utf-8")[:offset].decode("utf-8", "ignore")) + 1
