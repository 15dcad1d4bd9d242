"""Declared intent: `# gradlint: accumulate=4` on a loop says that its optimizer steps once in four batches, on purpose.

Terms. A declaration holds for the loop whose header, with all its continuation lines, it stands in. One that gives no
number, or stands on no loop, cannot be followed. Must not know how findings are made.
"""

from __future__ import annotations

import re
import tokenize

from gradlint.data import NamedTuple
from gradlint.diagnostics import Location
from gradlint.regex import regex
from gradlint.suppression import comments

_DECLARED = regex(r"#\s*gradlint:\s*(?P<word>accumul\w*)(?:\s*=\s*(?P<steps>[^\s#,;]+))?")


class Declaration(NamedTuple):
    """A comment that declares how many batches a step of the loop in `rows` takes (None: it does not say)."""

    text: str
    rows: range
    location: Location
    steps: int | None


def declarations(source: str, filename: str) -> tuple[Declaration, ...]:
    """Return the declarations of `source`; none where it cannot be split into tokens."""
    if "gradlint:" not in source:
        return ()
    try:
        found = [(token, rows, match) for token, rows in comments(source) for match in _DECLARED.finditer(token.string)]
    except (tokenize.TokenError, SyntaxError):
        return ()
    return tuple(_declaration(token, rows, match, filename) for token, rows, match in found)


def _declaration(token: tokenize.TokenInfo, rows: range, match: re.Match[str], filename: str) -> Declaration:
    row, column = token.start
    place = Location(filename, row, column + match.start() + 1, row, column + match.end() + 1)
    given = match["steps"] or ""
    known = match["word"] == "accumulate" and given.isdecimal() and int(given) > 0
    return Declaration(match[0], rows, place, int(given) if known else None)
