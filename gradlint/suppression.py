"""Suppression comments: `# gradlint: ignore[GL101] reason`, `# gradlint: ignore-file[GL101]`, `# noqa: GL101`.

Terms. A suppression covers the *logical line* it stands in (a statement with all its continuation lines, or the header
of a compound one), or the whole file. One that hides no finding is *unused* (GL001). Comments are found with `tokenize`,
so that a string which looks like one does not count. Must not know how findings are made.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.rulebook import nearest, rules

UNUSED = "GL001"

_OURS = re.compile(r"#\s*gradlint:\s*(?P<scope>ignore-file|ignore)\b\s*(?:\[(?P<codes>[^\]]*)\])?")
_NOQA = re.compile(r"#\s*(?P<scope>noqa)\b(?:\s*:\s?(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*))?", re.IGNORECASE)
# Other tools have codes such as GL08: of a noqa, only what looks like one of our codes is ours.
_CODE = regex(r"GL\d{3}")
_LAYOUT = frozenset({tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING})
_EVERYWHERE = range(2**31)


class Suppression(NamedTuple):
    """A comment that hides `codes` (none: all of them) in `rows`."""

    text: str
    codes: tuple[str, ...]
    rows: range
    location: Location
    noqa: bool

    def hides(self, found: Diagnostic) -> bool:
        """Tell whether `found` is one of those that this comment is about."""
        named = found.code in self.codes or (self.noqa and not self.codes)
        return named and found.location.row in self.rows


def suppressions(source: str, filename: str) -> tuple[Suppression, ...]:
    """Return the suppressions of `source`; none where it cannot be split into tokens."""
    if not any(_is_ours(found) for pattern in (_OURS, _NOQA) for found in pattern.finditer(source)):
        return ()
    try:
        return tuple(
            suppression for comment, rows in comments(source) for suppression in _read(comment, rows, filename)
        )
    except (tokenize.TokenError, SyntaxError):
        return ()


def _is_ours(found: re.Match[str]) -> bool:
    """Whether something like a comment is about us; taking a source apart for those of others would take long."""
    return found.re is _OURS or not found["codes"] or "GL" in found["codes"].upper()


def apply(found: Sequence[Diagnostic], comments: Sequence[Suppression]) -> list[Diagnostic]:
    """Return what the comments of a file leave of what was `found` in it, and a GL001 for each that is no use."""
    shown = [item for item in found if not any(comment.hides(item) for comment in comments)]
    kept = [comment for comment in comments if UNUSED in comment.codes]
    useless = [item for comment in comments for item in _useless(comment, found)]
    return shown + [item for item in useless if not any(comment.hides(item) for comment in kept)]


def comments(source: str) -> Iterator[tuple[tokenize.TokenInfo, range]]:
    """Yield the comments with the rows of the logical line that each stands in."""
    waiting: list[tokenize.TokenInfo] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row = token.start[0]
        match token.type:
            case tokenize.COMMENT if first:
                waiting.append(token)
            case tokenize.COMMENT:
                yield token, range(row, row + 1)
            case tokenize.NEWLINE:
                yield from ((comment, range(first, row + 1)) for comment in waiting)
                waiting, first = [], 0
            case kind if kind not in _LAYOUT:
                first = first or row


def _read(comment: tokenize.TokenInfo, rows: range, filename: str) -> Iterator[Suppression]:
    row, column = comment.start
    for pattern in (_OURS, _NOQA):
        for found in pattern.finditer(comment.string):
            foreign, listed = pattern is _NOQA, found["codes"]
            codes = tuple(word.upper() if foreign else word for word in re.split(r"[,\s]+", listed or "") if word)
            ours = tuple(code for code in codes if _CODE.fullmatch(code)) if foreign else codes
            if foreign and codes and not ours:
                continue
            place = Location(filename, row, column + found.start() + 1, row, column + found.end() + 1)
            covered = _EVERYWHERE if found["scope"] == "ignore-file" else rows
            yield Suppression(found[0], ours, covered, place, noqa=foreign)


def _useless(comment: Suppression, found: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    if not comment.codes and not comment.noqa:
        what = f"`{comment.text}` names no rule and hides nothing"
        yield _unused(comment, what, "name the rules: `# gradlint: ignore[GL101] reason`")
    hidden = {item.code for item in found if comment.hides(item)}
    for code in comment.codes:
        if code not in rules():
            yield _unused(comment, f"there is no rule `{code}` to suppress", _right(code))
        elif code not in hidden and code != UNUSED and Side.STATIC in rules()[code].sides:
            yield _unused(
                comment, f"nothing to suppress: {code} is not found here", f"delete `{code}` from the comment"
            )


def _right(code: str) -> str:
    near = nearest(code)
    return f"did you mean `{near}`?" if near else "`gradlint rule --all` lists the rules"


def _unused(comment: Suppression, what: str, remedy: str) -> Diagnostic:
    return compose(UNUSED, Side.STATIC, comment.location, what=what, remedy=remedy)
