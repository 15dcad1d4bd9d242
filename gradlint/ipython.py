"""IPython: what a piece of a document says to it and not to Python (`%magic`, `!shell`, `help?`), and what is said instead.

It knows the lines of one piece; it must not know where that stands, nor what is looked for in it.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

from gradlint.regex import regex

_OTHER_LANGUAGES = frozenset(
    [
        "bash",
        "bigquery",
        "cmd",
        "cython",
        "file",
        "html",
        "javascript",
        "js",
        "julia",
        "latex",
        "markdown",
        "perl",
        "powershell",
        "prql",
        "python2",
        "r",
        "ruby",
        "rust",
        "script",
        "sh",
        "sql",
        "svg",
        "system",
        "sx",
        "writefile",
    ]
)
"""Cell magics under which the cell is not this notebook's Python."""
_BARE = frozenset(
    ["cat", "cd", "conda", "cp", "env", "ls", "man", "mkdir", "mv", "pip", "pwd", "rm", "rmdir", "run", "uv"]
)
"""Commands that IPython takes without `%`."""
_TIMED = regex(r"(?P<indent>\s*)(?P<magic>%(?:time|timeit|prun|memit)(?:\s+-[a-z]\s*\d*)*\s+)(?P<code>\S.*)")
_COMMAND = regex(r"(?P<indent>\s*)(?:[%!?]|[\w.*\[\]\"']+\?{1,2}\s*$)")
_CAPTURED = regex(r"(?P<start>\s*[\w.\[\], \"']+=\s*)[%!]")


def as_python(source: Sequence[str]) -> list[str]:
    """Return a cell as Python, line for line; raises SyntaxError."""
    lines = list(source)
    if lines[0].startswith("%%"):
        magic = (lines[0][2:].split() or [""])[0].lower()
        lines[0] = ""
        if magic in _OTHER_LANGUAGES:
            return [""] * len(lines)
    while (error := _error(lines)) is not None:
        row = _beginning(lines, (error.lineno or 1) - 1)
        if _is_bare_magic(lines):
            return [""] * len(lines)
        if row >= len(lines) or (not _COMMAND.match(lines[row]) and not _CAPTURED.match(lines[row])):
            if source[0].startswith("%%") and not any(_COMMAND.match(line) for line in lines):
                return [""] * len(lines)  # An unknown magic may take anything.
            raise error
        _silence(lines, row)
    return lines


def _beginning(lines: Sequence[str], row: int) -> int:
    """Return where what a row continues begins: an error may be seen first amid the arguments of a command."""
    while 0 < row < len(lines) and lines[row - 1].rstrip().endswith("\\"):
        row -= 1
    return row


def _is_bare_magic(lines: Sequence[str]) -> bool:
    """Whether a cell is a single command without its `%`: IPython takes that if it is no Python."""
    told = [line.split() for line in lines if line.strip()]
    return len(told) == 1 and told[0][0] in _BARE


def _error(lines: Sequence[str]) -> SyntaxError | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse("\n".join(lines))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError) as error:
        return SyntaxError(str(error) or "too deeply nested")
    return None


def _silence(lines: list[str], row: int) -> None:
    """Replace a command by harmless code, with all its continuation lines."""
    line = lines[row]
    timed, captured = _TIMED.fullmatch(line), _CAPTURED.match(line)
    if timed and _error([timed["code"]]) is None:
        # `%time x = f()` runs its statement; what stands before it keeps its width.
        lines[row] = f"{timed['indent']}{'if 1:'.ljust(len(timed['magic']))}{timed['code']}"
        return
    lines[row] = f"{captured['start']}..." if captured else f"{line[: len(line) - len(line.lstrip())]}pass"
    while line.rstrip().endswith("\\") and row + 1 < len(lines):
        row += 1
        line, lines[row] = lines[row], ""
