"""Bytes to source: reads and decodes a file as Python does, and says in one line why it cannot.

Must not know rules other than GL000.
"""

from __future__ import annotations

import io
import sys
import tokenize
from collections.abc import Sequence
from dataclasses import replace

from gradlint.diagnostics import Location, Side
from gradlint.documents import Broken, Document, NotReadable, read_document
from gradlint.messages import compose
from gradlint.regex import regex

UNREADABLE = "GL000"

_LEAVE_OUT = "leave the file out with `exclude`"
_PYTHON = f"Python {sys.version_info.major}.{sys.version_info.minor}"

# Without one of the first there is no code of torch or its kin, without one of the second no rule has anything to find.
_OURS = b"gradlint:"
_RESTORES = b"load_state_dict("
_KIN = (b"torch", b"zero_grad", b".backward", b"lightning", b"accelerate", b"deepspeed", _RESTORES, _OURS)
_ORDER = (b"backward", b"zero_grad", b".step", b"lr_scheduler", b".eval", b"no_grad", b"inference_mode")
_TRAINING = (*_ORDER, b".parameters", b"Module", b"torch.load(", _RESTORES, b"seed", _OURS)

_PYTHON_2 = regex(
    r"\s*(print\s+[^=(\s]|print\s*$|print\s*>>|exec\s+[\"'\w]|raise\s+\w+\s*,|except\s+[\w.()\s,]+,\s*\w+\s*:)|.*(<>|\b0\d+\b)"
)
_MAGIC = regex(r"\s*[%!?]")
_PROMPT = regex(r"\s*(>>>|\.\.\.|In\s*\[\d*\]:|Out\s*\[\d*\]:)\s")


class Unreadable(Exception):
    """A file that cannot be checked: `diagnostic` says why and what to do, and where unless `row` is 0."""

    def __init__(self, filename: str, what: str, remedy: str, row: int = 0, column: int = 1) -> None:
        super().__init__(what)
        place = Location(filename, row, max(column, 1)) if row else Location(filename, 1, 1, 1, 1)
        self.diagnostic = compose(UNREADABLE, Side.STATIC, place, what=what, remedy=remedy)


def read(path: str) -> bytes:
    """Return the content of `path`; raises Unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise Unreadable(path, "there is no such file or folder", "check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable(path, f"this file cannot be read: {reason}", "check its permissions") from error


def mentions_training(data: bytes, packages: frozenset[str] = frozenset()) -> bool:
    """Tell whether `data` can hold training code at all: a scan for words, to leave most files unparsed.

    `packages` are those that the project itself says train.
    """
    if any(package.encode() in data for package in packages):
        return True
    return any(word in data for word in _KIN) and any(word in data for word in _TRAINING)


def decode(data: bytes, filename: str) -> str:
    """Return the source in `data`, by its mark or coding comment (PEP 263), with plain newlines; raises Unreadable."""
    try:
        text = data.decode(encoding(data))
    except LookupError as error:
        raise Unreadable(filename, f"{error}", "save the file as UTF-8") from error
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not valid {error.encoding}"
        raise Unreadable(filename, what, "save the file as UTF-8 or declare its encoding", row) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encoding(data: bytes) -> str:
    """Return the encoding that `data` declares by its mark or coding comment; raises LookupError for an unknown one."""
    try:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    except SyntaxError as error:
        if error.msg.startswith("unknown encoding"):
            raise LookupError(error.msg) from error
        return "utf-8"


def document(text: str, filename: str) -> Document:
    """Return the document with the content `text`; raises Unreadable."""
    try:
        return read_document(text, filename)
    except NotReadable as error:
        raise Unreadable(filename, str(error), _LEAVE_OUT) from error


def no_cells(broken: Sequence[Broken]) -> Unreadable:
    """Return the report on the pieces of a document that do not parse, at the first; the others are checked all the same."""
    place, others = broken[0].place, [str(each.place.cell) for each in broken[1:]]
    what = f"{_PYTHON} cannot parse this cell, which is left out: {broken[0].reason}"
    if others:
        what += f"; left out as well: {'cell' if len(others) == 1 else 'cells'} {', '.join(others)}"
    report = Unreadable(place.filename, what, "mend the cell, or leave it", place.row, place.column)
    report.diagnostic = replace(report.diagnostic, location=place)
    return report


def no_python(error: SyntaxError, source: str, filename: str) -> Unreadable:
    """Return the report on a source that does not parse, with a remedy for what it seems to be."""
    row, column = error.lineno or 1, error.offset or 1
    lines = source.split("\n")
    line = lines[row - 1] if row <= len(lines) else ""
    if _PYTHON_2.match(line):
        what, remedy = "this is Python 2", f"convert it to Python 3, or {_LEAVE_OUT}"
    elif _MAGIC.match(line):
        what, remedy = "this line is a notebook command, not Python", "delete it or turn it into a comment"
    elif _PROMPT.match(line):
        what, remedy = "this is a transcript of a session, not Python", "delete the prompts and the output"
    else:
        what = f"{_PYTHON} cannot parse this line: {error.msg}"
        remedy = f"mend it (newer syntax: run gradlint under a newer Python), or {_LEAVE_OUT}"
    return Unreadable(filename, what, remedy, row, column)
