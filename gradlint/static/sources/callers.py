"""Which files may call a function of another one, by their words: thousands of files are asked for hundreds of functions.

It knows bytes; it must not know syntax or what a call does.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Mapping

from gradlint.regex import regex
from gradlint.static.sources import reading
from gradlint.static.syntax.flags import flag_of
from gradlint.static.understanding import Callee

_WORD = regex(rb"[\w\x80-\xff]+")
_IMPORT = regex(rb"^[ \t\"]*(?:from|import)\b[^\n]*", re.MULTILINE)
"""In a notebook a line is a string of JSON."""


def may_call(data: bytes, callees: frozenset[Callee]) -> bool:
    """Whether a file may call one of `callees`: by its name and, where its homes are told, by an import that has one of them.

    Some of them are flags: such a one is "called" where it is set.
    """
    if any(_setting_of(flag).search(data) for flag in _flags_of(callees)):
        return True
    homes_of = _homes_of(callees)
    said = {b"", *_WORD.findall(data)} & homes_of.keys()
    if any(not homes for name in said for homes in homes_of[name]) and reading.mentions_training(data):
        return True
    # Who imports it and hands it what others build need not know anything of training.
    imported = {word for line in _IMPORT.findall(data) for word in _WORD.findall(line)} if said else set()
    return any(_call_of(name).search(data) for name in said if any(homes & imported for homes in homes_of[name]))


@functools.lru_cache(maxsize=8)
def _homes_of(callees: frozenset[Callee]) -> Mapping[bytes, list[frozenset[bytes]]]:
    """Return the homes of the callees of each name: every file is asked for the same ones."""
    found: defaultdict[bytes, list[frozenset[bytes]]] = defaultdict(list)
    for callee in (each for each in callees if not flag_of(each.name)):
        found[callee.name.encode()].append(frozenset(home.encode() for home in callee.homes))
    return dict(found)


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
