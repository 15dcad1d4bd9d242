"""The rule pages as data: `rules/GL101-missing-zero-grad.md` is documentation, specification and test.

A page is an H1, a fenced `toml` block and sections. Code and name come from its file name.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

from gradlint.data import NamedTuple
from gradlint.diagnostics import Severity, Side
from gradlint.regex import regex

_FILE_NAME = regex(r"(GL\d{3}|GL000)-([a-z0-9-]+)\.md")
_META = regex(r"^```toml\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


class Rule(NamedTuple):
    """One rule: its code, its name (the bad pattern), its metadata and its whole page."""

    code: str
    name: str
    severity: Severity
    status: str
    since: str
    sides: frozenset[Side]
    fix: str
    summary: str
    page: str

    @property
    def url(self) -> str:
        """Where the page can be read: the file's name in the rules folder."""
        return f"rules/{self.code}-{self.name}.md"


def rules_folder() -> str:
    """Return the folder of the pages: inside the installed package, else beside it in a checkout.

    Raises FileNotFoundError if neither is there.
    """
    package = os.path.dirname(__file__)
    for home in (package, os.path.dirname(package)):
        folder = os.path.join(home, "rules")
        if os.path.isdir(folder):
            return folder
    raise FileNotFoundError(f"gradlint's rule pages are neither in {package} nor beside it: reinstall gradlint")


@functools.cache
def rules() -> Mapping[str, Rule]:
    """Return all rules by code, in order of code."""
    return {code: rule(code) for code in _pages()}


@functools.cache
def rule(code: str) -> Rule:
    """Return the rule `code`; raises KeyError if there is none."""
    return _read(_pages()[code])


@functools.cache
def _pages() -> Mapping[str, str]:
    names = sorted(os.listdir(rules_folder()))
    return {named[1]: name for name in names if (named := _FILE_NAME.fullmatch(name))}


_DIGITS = str.maketrans("OIL", "011")
"""Letters that are taken for digits in a code."""


def nearest(word: str) -> str | None:
    """Return the code that a user most likely meant by `word`, a misspelt code or the name of a rule."""
    named = {name: rule.code for rule in rules().values() for name in (rule.name, rule.code)}
    word = "GL" + word[2:].upper().translate(_DIGITS) if word[:2].lower() == "gl" else word
    import difflib  # Only mistakes need it.

    close = difflib.get_close_matches(word, named, n=len(named), cutoff=0.7)
    # Codes differ in so few characters that many are equally close: the one with most of them in place is meant.
    return named[max(close, key=lambda name: sum(map(str.__eq__, name, word)))] if close else None


def _read(name: str) -> Rule:
    matched = _FILE_NAME.fullmatch(name)
    assert matched is not None
    with open(os.path.join(rules_folder(), name), encoding="utf-8") as file:
        page = file.read()
    found = _META.search(page)
    if found is None:
        raise ValueError(f"{name}: a rule page needs a fenced toml block")
    from gradlint import toml

    meta: dict[str, Any] = toml.loads(found[1])
    return Rule(
        code=matched[1],
        name=matched[2],
        severity=Severity(meta["severity"]),
        status=meta["status"],
        since=meta["since"],
        sides=frozenset(Side(side) for side in meta["sides"]),
        fix=meta["fix"],
        summary=_summary(page),
        page=page,
    )


def _summary(page: str) -> str:
    """Return the first sentence of the section "What it does"."""
    _, _, rest = page.partition("## What it does\n")
    paragraph = rest.strip().split("\n\n", 1)[0]
    return " ".join(paragraph.split())
