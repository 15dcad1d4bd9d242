"""The format `json`: a list of objects in ruff's shape and more; rows and columns count from 1, in a notebook within the cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Related, Side
from gradlint.reporters import Context
from gradlint.rulebook import rule


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write `found` as one JSON list."""
    json.dump([_finding(item) for item in found], stream, indent=2)
    stream.write("\n")


def _finding(item: Diagnostic) -> dict[str, Any]:
    return {
        "code": item.code,
        "name": item.name,
        "severity": item.severity.value,
        "confidence": item.confidence.value,
        "side": item.side.value,
        "message": item.message,
        "help": item.help,
        **_place(item.location),
        "related": [_related(place) for place in item.related],
        "fix": _fix(item.fix) if item.fix else None,
        "url": rule(item.code).url,
        **({"count": item.count, "iteration": item.iteration} if item.side is Side.RUNTIME or item.count else {}),
        **({"ranks": list(item.ranks)} if item.ranks else {}),
        **({"verdict": item.verdict} if item.verdict else {}),
    }


def _place(place: Location) -> dict[str, Any]:
    """Return a place; one without an end is a point."""
    return {
        "filename": place.filename,
        **({"cell": place.cell} if place.cell else {}),
        "location": {"row": place.row, "column": place.column},
        "end_location": {"row": place.end_row or place.row, "column": place.end_column or place.column},
    }


def _related(place: Related) -> dict[str, Any]:
    return {**_place(place.location), "message": place.text}


def _fix(fix: Fix) -> dict[str, Any]:
    return {
        "message": fix.message,
        "applicability": "safe" if fix.safe else "unsafe",
        "edits": [_edit(edit) for edit in fix.edits],
    }


def _edit(edit: Edit) -> dict[str, Any]:
    return {**_place(edit.location), "content": edit.content}
