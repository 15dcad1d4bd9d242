"""How findings are mended: for each rule that can be, which statement has to go where, and which text has to change.

It reads the code with `ast` and leaves the moving of statements to libcst; it must not know protocols or how findings are
made. A fix that cannot be built exactly is none: what stands in doubt is left to the user.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix
from gradlint.static.fixes import (
    clearing,
    closures,
    construction,
    grad_modes,
    modes,
    scaling,
    schedules,
    updates,
    values,
    windows,
)
from gradlint.static.fixes.changes import Change, Enter, Insert, Move, Wrap
from gradlint.static.fixes.remedy import Builder
from gradlint.static.syntax.outline import Outline

__all__ = ["with_fixes"]

_FAMILIES = (clearing, closures, construction, grad_modes, modes, scaling, schedules, updates, values, windows)
_BUILDERS: Mapping[str, Builder] = {code: build for family in _FAMILIES for code, build in family.BUILDERS.items()}


def with_fixes(found: Sequence[Diagnostic], source: str) -> list[Diagnostic]:
    """Return `found`, all of them in one file with the text `source`, with the fixes that can be built."""
    if not found:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outline = Outline(source, found[0].location.filename)
    return [item if item.fix else replace(item, fix=_fix(item, outline)) for item in found]


def _fix(item: Diagnostic, outline: Outline) -> Fix | None:
    builder = _BUILDERS.get(item.code)
    remedy = builder(item, outline) if builder else None
    parts = [_edits(change, outline) for change in remedy.changes] if remedy else []
    if remedy is None or not all(parts):
        return None
    return Fix(remedy.message, tuple(edit for edits in parts for edit in edits), remedy.safe)


def _edits(change: Change | Edit, outline: Outline) -> tuple[Edit, ...]:
    """Return the edits that make a change; none if it has no exact form."""
    if isinstance(change, Edit):
        return (change,)
    from gradlint.static.fixes.rewriting import rewrite  # It loads libcst, which takes longer than checking a file.

    return rewrite(outline.lines, _rows(change, outline), outline.filename, change) or ()


def _rows(change: Change, outline: Outline) -> range:
    match change:
        case Move(place, to):
            return outline.rows(min(place.row, to.row), max(place.row, to.row))
        case Enter(place):
            statement = outline.at(place, ast.Expr)
            assert statement is not None
            return outline.rows(place.row, outline.place(outline.block(statement)[-1]).end_row)
        case Insert(_, place) | Wrap(_, place):
            return outline.rows(place.row, place.row)
