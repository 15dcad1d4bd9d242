"""Applies fixes: one at a time, each of them re-checked before it counts, and files replaced as a whole.

It knows files and findings; it must not know rules or how a fix is built. A fix is *sound* if the result can be read, all
comments are still there, its finding is gone and none has come.
"""

from __future__ import annotations

import ast
import difflib
import io
import os
import re
import shutil
import tempfile
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from gradlint.config import Settings
from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Edit
from gradlint.regex import regex
from gradlint.static.engine import check_source, report
from gradlint.static.report import Report
from gradlint.static.sources import reading
from gradlint.static.sources.reading import Unreadable

_NOTHING: Mapping[str, bytes | None] = {}
_LINE = regex(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Mended:
    """A text after `fixed` fixes, and the findings that are left in it."""

    text: str
    left: tuple[Diagnostic, ...]
    fixed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What fixing did: the report on what is left, how many findings are gone, and how the files change."""

    report: Report
    fixed: int
    diff: str


def mend(source: str, filename: str, settings: Settings, *, unsafe: bool = False) -> Mended:
    """Apply the sound fixes of the findings in `source`, the safe ones only unless `unsafe`."""
    fixed = 0
    while True:
        found = check_source(source, filename, settings)
        better = next(_sound_results(source, filename, found, unsafe), None)
        if better is None:
            return Mended(source, tuple(found), fixed)
        source, fixed = better[0], fixed + better[1]


def mend_bytes(data: bytes, filename: str, settings: Settings, *, unsafe: bool = False) -> tuple[Mended, str]:
    """Mend an undecoded source, and return its former text as well; both have the newlines of `data`."""
    before = data.decode(reading.encoding(data))
    mended = mend(reading.decode(data, filename), filename, settings, unsafe=unsafe)
    return replace(mended, text=_with_newlines(mended.text, before)), before


def mend_report(
    checked: Report,
    settings: Settings,
    *,
    unsafe: bool = False,
    write: bool = True,
    texts: Mapping[str, bytes | None] = _NOTHING,
) -> Outcome:
    """Mend the files of a report; without `write` only say how they would change.

    `texts` are the contents of what is no file, by name. A file that cannot be written is a GL000 finding, and keeps its
    others.
    """
    names = {item.location.filename for item in checked.diagnostics if item.fix and (item.fix.safe or unsafe)}
    found = [item for item in checked.diagnostics if item.location.filename not in names]
    fixed, diffs = 0, []
    for name in sorted(names):
        try:
            data = texts.get(name) or reading.read(name)
            mended, before = mend_bytes(data, name, settings, unsafe=unsafe)
            if write and mended.fixed:
                _replace(name, mended.text.encode(reading.encoding(data)))
        except Unreadable as error:
            found += [error.diagnostic, *(item for item in checked.diagnostics if item.location.filename == name)]
            continue
        found += mended.left
        fixed += mended.fixed
        diffs.append(diff(before, mended.text, name))
    return Outcome(report(found, checked.files), fixed, "".join(diffs))


def diff(before: str, after: str, filename: str) -> str:
    """Return the change as a unified diff that `patch -p0` takes."""
    lines = difflib.unified_diff(_LINE.findall(before), _LINE.findall(after), filename, filename)
    return "".join(line if line.endswith(("\n", "\r")) else f"{line}\n\\ No newline at end of file\n" for line in lines)


def edited(source: str, edits: Sequence[Edit]) -> str:
    """Return `source` after `edits`, which do not overlap."""
    starts = [0]
    for line in io.StringIO(source, newline="\n"):
        starts.append(starts[-1] + len(line))

    def offset(row: int, column: int) -> int:
        return starts[row - 1] + column - 1 if row <= len(starts) else len(source)

    pieces, done = [], 0
    for edit in sorted(edits, key=lambda edit: edit.location):  # Insertions at one place stay in order.
        place = edit.location
        pieces += [source[done : offset(place.row, place.column)], edit.content]
        done = offset(place.end_row, place.end_column)
    return "".join([*pieces, source[done:]])


def _sound_results(source: str, filename: str, found: Sequence[Diagnostic], unsafe: bool) -> Iterator[tuple[str, int]]:
    """Yield each text that a sound fix leads to, and how many findings that mends."""
    fixable = [item for item in found if item.fix is not None and (item.fix.safe or unsafe)]
    if not fixable:
        return
    # What is not selected counts too: mending one mistake must not make another.
    before = check_source(source, filename)
    # Two optimizers that are both left uncleared can be mended together only: one alone becomes another finding.
    # From the back, so that what is inserted at one place stands in the order of the findings.
    for group in (*([item] for item in reversed(fixable)), fixable):
        edits = [edit for item in group if item.fix for edit in item.fix.edits]
        if not _overlap(edits):
            after = edited(source, edits)
            if sound(source, after, group, before):
                yield after, len(group)


def _overlap(edits: Sequence[Edit]) -> bool:
    places = sorted(edit.location for edit in edits)
    return any((one.end_row, one.end_column) > (two.row, two.column) for one, two in pairwise(places))


def sound(before: str, after: str, mended: Sequence[Diagnostic], found: Sequence[Diagnostic]) -> bool:
    """Tell whether `after` can stand for `before`, in which all of `found` were found and `mended` are to be gone."""
    if not _readable(after) or _comments(before) != _comments(after):
        return False
    rows = _moved_rows(before, after)
    allowed = Counter((item.code, rows.get(item.location.row)) for item in found)
    allowed.subtract((item.code, rows.get(item.location.row)) for item in mended)
    left = Counter((item.code, item.location.row) for item in check_source(after, mended[0].location.filename))
    return all(count <= allowed[key] for key, count in left.items())


def _readable(source: str) -> bool:
    from gradlint.static.fixes.rewriting import reads

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return reads(source)


def _comments(source: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


def _moved_rows(before: str, after: str) -> dict[int, int]:
    """Return where each row of `before` is in `after`, if it is still there or has been replaced one for one."""
    rows = {}
    for tag, start, end, new, new_end in _opcodes(before.split("\n"), after.split("\n")):
        if tag == "equal" or end - start == new_end - new:
            rows.update({old + 1: old + 1 - start + new for old in range(start, end)})
    return rows


def _with_newlines(source: str, like: str) -> str:
    """Give `source`, which has plain newlines, those of the text that it comes from."""
    old = _LINE.findall(like)
    plain = [re.sub(r"\r\n|\r", "\n", line) for line in old]
    usual = Counter(line[len(line.rstrip("\r\n")) :] for line in old).most_common(1)[0][0] if old else "\n"
    result: list[str] = []
    new = list(io.StringIO(source, newline="\n"))
    for tag, start, end, first, last in _opcodes(plain, new):
        result += old[start:end] if tag == "equal" else [line.replace("\n", usual or "\n") for line in new[first:last]]
    return "".join(result)


def _opcodes(before: list[str], after: list[str]) -> Sequence[tuple[str, int, int, int, int]]:
    return difflib.SequenceMatcher(None, before, after).get_opcodes()


def _replace(path: str, data: bytes) -> None:
    """Replace the content of a file at once, and keep its mode; raises Unreadable."""
    target = os.path.realpath(path)
    try:
        if not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied")
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(target), prefix=".gradlint-")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Unreadable(path, f"this file cannot be written: {error.strerror}", "check its permissions") from error
