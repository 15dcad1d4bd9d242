"""Which files may call a function of another one, by their words: thousands of files are asked for hundreds of functions.

It knows bytes; it must not know syntax or what a call does.
"""

from __future__ import annotations

import functools
import re

from gradlint.regex import regex
from gradlint.static.sources import reading
from gradlint.static.syntax.flags import flag_of
from gradlint.static.understanding import Callee

_WORD = regex(rb"[\w\x80-\xff]+")
_IMPORT = regex(rb"\n[ \t\"]*(?:from|import)\b[^\n]*")
"""In a notebook a line is a string of JSON."""


def may_call(data: bytes, callees: frozenset[Callee]) -> bool:
    """Whether a file may call one of `callees`: by its name and, where its homes are told, by an import that has one of them.

    Some of them are flags: such a one is "called" where it is set.
    """
    if any(_setting_of(flag).search(data) for flag in _flags_of(callees)):
        return True
    anywhere, at_home = _by_homes(callees)
    if anywhere and reading.mentions_training(data) and not anywhere.isdisjoint([b"", *_WORD.findall(data)]):
        return True
    # Who imports it and hands it what others build need not know anything of training.
    imports = b"".join(_IMPORT.findall(b"\n" + data)) if at_home else b""
    imported = set(_WORD.findall(imports))
    named = (name for name, homes in at_home if not homes.isdisjoint(imported) and name in data)
    return any(_call_of(name).search(data) for name in named)


@functools.lru_cache(maxsize=8)
def _by_homes(callees: frozenset[Callee]) -> tuple[frozenset[bytes], list[tuple[bytes, frozenset[bytes]]]]:
    """Return the names of callees whose homes nobody told, and the others with their homes: every file is asked for the same ones."""
    named = [(each.name.encode(), frozenset(map(str.encode, each.homes))) for each in callees if not flag_of(each.name)]
    return frozenset(name for name, homes in named if not homes), [each for each in named if each[1]]


@functools.lru_cache(maxsize=8)
def _flags_of(callees: frozenset[Callee]) -> frozenset[str]:
    return frozenset(filter(None, (flag_of(callee.name) for callee in callees)))


@functools.cache
def _setting_of(flag: str) -> re.Pattern[bytes]:
    return re.compile(rb"\.%b\s*=[^=]|setattr\([^()]*[\"']%b[\"']" % (flag.encode(), flag.encode()))


@functools.cache
def _call_of(name: bytes) -> re.Pattern[bytes]:
    """Find where a name is called, or handed to somebody in the first place."""
    return re.compile(rb"\b%b\s*\(|\(\s*%b\b" % (name, name))
