"""The format `full`: a code frame per finding, with the places that explain it, as rustc and ruff do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from gradlint.diagnostics import Diagnostic, Related
from gradlint.reporters import Context
from gradlint.reporters.frame import frame
from gradlint.reporters.summary import plural, summary

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
    for item in found:
        stream.writelines(f"{line}\n" for line in _finding(item, context, paint))
        stream.write("\n")
    stream.write(f"{paint(summary(found, context.files, context.fixed), 'bold')}\n")
    if found:
        stream.write(f"{paint(f'`gradlint rule {found[0].code}` explains the rule.', 'dim')}\n")


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
        yield f"{margin} {paint('= note:', 'dim')} seen {plural(item.count, 'time')}{first}"
    if item.help:
        yield f"{margin} {paint('= help:', 'help')} {item.help}"
    if item.fix:
        way = "--fix" if item.fix.safe else "--unsafe-fixes --fix"
        yield f"{margin} {paint('= fix:', 'help')} {item.fix.message[:1].lower()}{item.fix.message[1:]} (with `{way}`)"


def _paint(text: str, style: str) -> str:
    return f"{_STYLES[style]}{text}{_RESET}"


def _plain(text: str, style: str) -> str:
    return text
