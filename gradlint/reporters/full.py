"""The format `full`: a code frame per finding, with the places that explain it, as rustc and ruff do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Related, Side
from gradlint.reporters import Context
from gradlint.reporters.frame import frame
from gradlint.reporters.summary import named, plural, summary

_RESET = "\x1b[0m"
_STYLES = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "info": "\x1b[1;36m",
    "related": "\x1b[36m",
    "help": "\x1b[1;32m",
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
}

Paint = Callable[[str, str], str]


def render(found: Sequence[Diagnostic], stream: TextIO, context: Context) -> None:
    """Write each of `found` with its code frame, then the summary."""
    paint = _paint if context.color else _plain
    unseen = [item for item in found if item.verdict and item.side is Side.STATIC]
    for item in (each for each in found if each not in unseen):
        stream.writelines(f"{line}\n" for line in _finding(item, context, paint))
        stream.write("\n")
    for item in unseen:
        stream.write(f"{_line(item, paint)}\n")
    stream.write(f"{paint(summary(found, context.files, context.fixed), 'bold')}\n")
    stream.writelines(f"{paint(line, 'dim')}\n" for line in _ways_on(found))


def _ways_on(found: Sequence[Diagnostic]) -> Iterator[str]:
    """Yield what a reader may want to do next."""
    mended = [item for item in found if item.fix]
    if mended:
        way = "--diff" if all(item.fix.safe for item in mended if item.fix) else "--unsafe-fixes --diff"
        where = _around([item.location.filename for item in mended])
        yield f"{plural(len(mended), 'finding')} can be mended: `gradlint {way} {where}` shows how."
    if found:
        yield f"`gradlint rule {found[0].code}` explains the rule."


def _around(files: list[str]) -> str:
    """Return the file, or the innermost folder around all of them."""
    try:
        return os.path.commonpath(files) or "."
    except ValueError:  # Some are absolute, or on another drive.
        return "."


def _line(item: Diagnostic, paint: Paint) -> str:
    """Return one line for what was read in the source and not seen in the run."""
    place, level = item.location, item.severity.value
    head = f"{place.where}:{place.row}:{place.column}: {paint(f'{level}[{item.code}]', level)} {item.message}"
    return f"{head} {paint(f'({item.verdict})', 'dim')}"


def _finding(item: Diagnostic, context: Context, paint: Paint) -> Iterator[str]:
    level = item.severity.value
    yield f"{paint(f'{level}[{item.code}]', level)}{paint(f': {item.message}', 'bold')}"
    # The finding's own place may explain it too, by what it did an iteration earlier.
    own = ", ".join(related.text for related in item.related if related.location == item.location)
    marks = (Related(item.location, own), *(related for related in item.related if related.location != item.location))
    margin = " " * len(str(max(mark.location.row for mark in marks)))
    yield from frame(marks, context.lines, lambda text, style: paint(text, level if style == "primary" else style))
    if item.count:
        first = f", first in iteration {item.iteration}" if item.iteration else ""
        where = f" on {named(item.ranks)}" if item.ranks else ""
        verdict = f"{item.verdict}, " if item.verdict else ""
        yield f"{margin} {paint('= note:', 'dim')} {verdict}seen {plural(item.count, 'time')}{where}{first}"
    if item.help:
        yield f"{margin} {paint('= help:', 'help')} {item.help}"
    if item.fix:
        way = "--fix" if item.fix.safe else "--unsafe-fixes --fix"
        yield f"{margin} {paint('= fix:', 'help')} {item.fix.message[:1].lower()}{item.fix.message[1:]} (with `{way}`)"


def _paint(text: str, style: str) -> str:
    return f"{_STYLES[style]}{text}{_RESET}"


def _plain(text: str, style: str) -> str:
    return text
