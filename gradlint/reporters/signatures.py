"""Iterations in a few letters: what a pattern is called, how it differs from the usual one, and what is found in it.

Knows recordings; must not know how they are shown.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import groupby

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.timeline import WORDS, Act, Pattern, Recording

_NAMED = 4  # iterations named
_ACTS = 24  # parts of a signature shown
_SAID = 3  # differences named


def several(recording: Recording) -> set[EventKind]:
    """Return the kinds that several subjects have: there the letter does not tell whose it is."""
    subjects = {(act.kind, act.subject) for pattern in recording.patterns for act in pattern.acts}
    return {kind for kind, count in Counter(kind for kind, _ in subjects).items() if count > 1}


def spanned(pattern: Pattern) -> str:
    """Return which iterations are of a pattern."""
    if pattern.count == pattern.last - pattern.first + 1 and pattern.count > 1:
        return f"{pattern.first} to {pattern.last}, all"
    if pattern.count <= _NAMED:
        return f"at {', '.join(map(str, pattern.at))}"
    return f"{pattern.first} to {pattern.last}"


def signature(pattern: Pattern, named: Collection[EventKind] = ()) -> str:
    """Return the letters of a pattern; what a step's closure does stands in parentheses, repetitions once.

    Acts of the kinds `named` are given the names of their subjects.
    """
    parts: list[str] = []
    for inside, group in groupby(zip(pattern.acts, pattern.inside, strict=True), key=lambda pair: pair[1]):
        letters = [f"{act.letter}:{act.subject}" if act.kind in named else act.letter for act, _ in group]
        folded = _folded(letters)
        parts += [f"({' '.join(folded)})"] if inside else folded
    return " ".join(parts) if len(parts) <= _ACTS else f"{' '.join(parts[:_ACTS])} ... ({len(parts)} acts)"


def _folded(letters: list[str]) -> list[str]:
    """Return letters with what repeats itself at least three times in a row written once: `f b f b f b` is `(f b)x3`."""
    folded: list[str] = []
    position = 0
    while position < len(letters):
        size, times = _repetition(letters, position)
        part = letters[position : position + size]
        folded += [f"({' '.join(part)})x{times}"] if times > 1 else part
        position += size * times
    return folded


def _repetition(letters: list[str], start: int) -> tuple[int, int]:
    """Return the size and number of the equal pieces that begin at `start`; (1, 1) if there are less than three."""
    best = (1, 1)
    for size in range(1, min(8, (len(letters) - start) // 3) + 1):
        times = 1
        while letters[start + size * times : start + size * (times + 1)] == letters[start : start + size]:
            times += 1
        if times > 2 and size * times > best[0] * best[1]:
            best = (size, times)
    return best


def notes(recording: Recording, pattern: Pattern, main: Pattern) -> list[str]:
    """Return how a pattern differs from the usual one, and what is found in it."""
    notes = [] if pattern is main else [note for note in (_difference(pattern, main),) if note]
    example = recording.example(recording.patterns.index(pattern))
    found: dict[str, str] = {}
    for event in example.events if example else ():
        for index in recording.marks(event):
            finding = recording.findings[index]
            found.setdefault(finding.code, f"{finding.code} at {WORDS[event.act.kind]}, {where(event.act.place)}")
    return [*notes, *found.values()]


def _difference(pattern: Pattern, main: Pattern) -> str:
    """Say what a pattern has more or less than the usual one, if that is short to say."""
    more: list[Act] = []
    fewer: list[Act] = []
    for tag, start, end, first, last in SequenceMatcher(None, main.acts, pattern.acts, autojunk=False).get_opcodes():
        if tag != "equal":
            fewer += main.acts[start:end]
            more += pattern.acts[first:last]
    said = [*_listed("more", more), *_listed("less", fewer)]
    return "; ".join(said[:_SAID]) + (f"; and {len(said) - _SAID} more such" if len(said) > _SAID else "")


def _listed(word: str, acts: Sequence[Act]) -> Iterator[str]:
    for act, count in Counter(acts).items():
        yield f"{'one' if count == 1 else count} {word} {WORDS[act.kind]}, {where(act.place)}"


def where(place: Location) -> str:
    """Return a place as people say it: the name of the file without its folder, and the line."""
    return f"{os.path.basename(place.where)}:{place.row}"
