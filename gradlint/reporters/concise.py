"""The format `concise`: one line per finding, for editors and grep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from gradlint.diagnostics import Diagnostic
from gradlint.reporters import Context
from gradlint.reporters.summary import summary


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write `file:row:column: code message` for each of `found`, then the summary."""
    for item in found:
        place = item.location
        stream.write(f"{place.where}:{place.row}:{place.column}: {item.code} {item.message}\n")
    stream.write(f"{summary(found, context.files, context.fixed)}\n")
