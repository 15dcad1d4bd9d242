"""What of a text, in bytes, is code, and what a comment or a string over several rows: a text that is to be parsed perhaps.

It knows how Python parts a text; it must not know words or syntax.
"""

from __future__ import annotations

import functools
import re

from gradlint.regex import regex

_APART = regex(
    rb"""[#][^\r\n]*
    | (?P<long>\"{3}[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"{3}|\'{3}[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*\'{3})
    | "[^"\\\n]*(?:\\.[^"\\\n]*)*"
    | '[^'\\\n]*(?:\\.[^'\\\n]*)*'""",
    re.DOTALL | re.VERBOSE,
)
"""Comments and strings: a quote in a comment or in another string begins none."""


def is_code(data: bytes, start: int) -> bool:
    """Tell whether what begins at `start` may be code: it stands in no comment, and in no string over several rows."""
    row = data[max(data.rfind(b"\n", 0, start), data.rfind(b"\r", 0, start)) + 1 : start]
    if b"#" in row and any(found[0].startswith(b"#") for found in _APART.finditer(row)):
        return False
    # Where quotes are in pairs, nobody needs to know which belong together.
    paired = all(data.count(quote, 0, start) % 2 == 0 for quote in (b'"""', b"'''"))
    return paired or not any(begin <= start < end for begin, end in _quoted(data))


@functools.lru_cache(maxsize=1)
def _quoted(data: bytes) -> list[tuple[int, int]]:
    """Return where the strings over several rows begin and end, but for those that are formatted: these hold code."""
    found = (each for each in _APART.finditer(data) if each["long"])
    return [each.span() for each in found if b"f" not in data[max(each.start() - 2, 0) : each.start()].lower()]
