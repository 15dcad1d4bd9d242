"""gradlint inside other tools: one module for each, which knows that tool and `gradlint.watch`, and nothing else of the kind.

What they share is here. Importing this package must load neither torch nor a tool.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlint.diagnostics import Diagnostic


def text(found: Sequence[Diagnostic], output_format: str = "full") -> str:
    """Return findings as a report without colours, for whoever logs strings."""
    from gradlint.reporters import render

    stream = io.StringIO()
    render(found, stream, output_format)
    return stream.getvalue().rstrip("\n")
