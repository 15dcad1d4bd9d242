"""The format `sarif`: the interchange format of analysers, which code scanning and editors read, with pages and fixes.

Source: SARIF 2.1.0, https://docs.oasis-open.org/sarif/sarif/v2.1.0/. Columns count characters, as ours do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from gradlint import __version__
from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Severity
from gradlint.reporters import Context
from gradlint.reporters.summary import placed
from gradlint.rulebook import Rule, rule

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write `found` as the log of one run."""
    codes = sorted({item.code for item in found})
    driver = {
        "name": "gradlint",
        "version": __version__,
        "rules": [_rule(rule(code)) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(item, codes.index(item.code)) for item in found],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    json.dump({"$schema": schema, "version": "2.1.0", "runs": [run]}, stream, indent=2)
    stream.write("\n")


def _rule(known: Rule) -> dict[str, Any]:
    return {
        "id": known.code,
        "name": known.name,
        "shortDescription": {"text": known.summary},
        "help": {"text": known.page, "markdown": known.page},
        "defaultConfiguration": {"level": _LEVELS[known.severity]},
    }


def _result(item: Diagnostic, index: int) -> dict[str, Any]:
    related = [{**_place(each.location), "message": {"text": each.text}} for each in item.related]
    return {
        "ruleId": item.code,
        "ruleIndex": index,
        "level": _LEVELS[item.severity],
        "message": {"text": placed(item)},
        "locations": [_place(item.location)],
        **({"relatedLocations": related} if related else {}),
        **({"fixes": [_fix(item.fix)]} if item.fix else {}),
        "properties": {"confidence": item.confidence.value, "side": item.side.value},
    }


def _place(place: Location) -> dict[str, Any]:
    artifact = {"artifactLocation": {"uri": _uri(place.filename)}}
    # Rows of a cell are none of the file.
    return {"physicalLocation": artifact if place.cell else {**artifact, "region": _region(place)}}


def _region(place: Location) -> dict[str, int]:
    """Return a place; one without an end is a point."""
    return {
        "startLine": place.row,
        "startColumn": place.column,
        "endLine": place.end_row or place.row,
        "endColumn": place.end_column or place.column,
    }


def _uri(filename: str) -> str:
    path = Path(filename)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _fix(fix: Fix) -> dict[str, Any]:
    [name] = {edit.location.filename for edit in fix.edits}
    changes = {"artifactLocation": {"uri": _uri(name)}, "replacements": [_replacement(edit) for edit in fix.edits]}
    return {"description": {"text": fix.message}, "artifactChanges": [changes]}


def _replacement(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": _region(edit.location), "insertedContent": {"text": edit.content}}
