"""The format `github`: workflow commands, which GitHub Actions shows beside the lines of a pull request.

Source: https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Severity
from gradlint.reporters import Context
from gradlint.reporters.summary import placed

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_IN_TEXT = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_IN_PROPERTY = {**_IN_TEXT, **str.maketrans({":": "%3A", ",": "%2C"})}


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write one command for each of `found`."""
    for item in found:
        told = ",".join(f"{name}={value.translate(_IN_PROPERTY)}" for name, value in _properties(item).items())
        stream.write(f"::{_COMMANDS[item.severity]} {told}::{placed(item).translate(_IN_TEXT)}\n")


def _properties(item: Diagnostic) -> Mapping[str, str]:
    place, title = item.location, f"{item.code} {item.name}"
    if place.cell:  # Rows of a cell are none of the file.
        return {"file": place.filename, "title": title}
    end = {"endLine": str(place.end_row)} if place.end_row else {}
    # Columns are for places within one line only.
    columns = {"col": str(place.column), "endColumn": str(place.end_column)} if place.end_row == place.row else {}
    return {"file": place.filename, "line": str(place.row), **end, **columns, "title": title}
