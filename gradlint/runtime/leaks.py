"""Losses whose graphs outlive their iteration: found by how many stay alive, named by who holds them.

Each backward pass leaves a token in the metadata of its root; the token dies with the graph.
Knows graph nodes and frames; must not know how torch is hooked.
"""

from __future__ import annotations

import dis
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import CodeType, FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.graph import bindings, nodes, tensors_in
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.sites import Origin, frames, origin_of

_KEY = "gradlint"
_MANY = 16
_FEW = 3
_SEARCHES = frozenset({3, 8, _MANY})
_NEAR = 64


class _Token:
    """Lives as long as one backward root."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class _Holder:
    """A variable that keeps graphs alive, and the lines that add to it and create it."""

    name: str
    adds: Location | None
    creates: Location | None


@dataclass(slots=True)
class _Roots:
    """The roots of the backward passes at one place."""

    place: Location
    total: int = 0
    alive: list[weakref.ref[_Token]] = field(default_factory=list)
    made: Location | None = None
    holder: _Holder | None = None
    reported: bool = False


class Leaks:
    """The roots of all backward passes that are still alive."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._roots: dict[int, _Roots] = {}

    def backward(self, root: Any, place: Location, frame: FrameType | None) -> None:
        """A backward pass from `root` ended at `place`."""
        node = root.grad_fn
        roots = self._roots.get(id(place))
        if roots is None:
            roots = self._roots[id(place)] = _Roots(place)
        if node is None or roots.reported:
            return
        alive = roots.alive = [each for each in roots.alive if each() is not None]
        if len(alive) in _SEARCHES and frame is not None:
            roots.holder = _find_holder(frame, {id(each()) for each in alive}) or roots.holder
        if len(alive) >= _MANY:
            self._report(roots)
        token = _Token()
        node.metadata[_KEY] = token
        alive.append(weakref.ref(token))
        roots.total += 1
        roots.made = made_at(node) or roots.made

    def ended(self) -> None:
        """Report the loops that were too short for the general threshold, but let go of nothing at all."""
        for roots in self._roots.values():
            alive = sum(each() is not None for each in roots.alive)
            if not roots.reported and alive >= _FEW and alive >= roots.total - 1 and roots.holder is not None:
                self._report(roots)

    def _report(self, roots: _Roots) -> None:
        roots.reported = True
        roots.alive.clear()
        holder = roots.holder or _Holder("something", None, None)
        marks = [("made", roots.made or roots.place)]
        if holder.creates is not None:
            marks.append(("created", holder.creates))
        self._ledger.report("GL501", holder.adds or roots.place, marks, subject=holder.name)


def _find_holder(frame: FrameType, tokens: set[int]) -> _Holder | None:
    """Return the user's variable that holds several of the roots that carry `tokens`."""
    for caller in islice((each for each in frames(frame) if origin_of(each.f_code) is Origin.USER), 3):
        for name, value in bindings(caller):
            if len(set(_tokens_of(value)) & tokens) > 1:
                adds, creates = _lines_of(caller.f_code, name.rpartition(".")[2])
                return _Holder(name, adds, creates)
    return None


def _tokens_of(value: object) -> Iterator[int]:
    for tensor in tensors_in(value):
        for node in islice(nodes([tensor.grad_fn]), _NEAR):
            token = node.metadata.get(_KEY)
            if token is not None:
                yield id(token)


def _lines_of(code: CodeType, name: str) -> tuple[Location | None, Location | None]:
    """Return the first line of `code` that adds to `name` (by `+=`, `append` or the like) and the one that creates it."""
    adds = creates = None
    for row, instructions in _rows(code):
        mine = [each.opname for each in instructions if each.argval == name]
        loads, stores = any(op.startswith("LOAD") for op in mine), any(op.startswith("STORE") for op in mine)
        grows = stores or any(each.argval in _GROWING or each.opname == "STORE_SUBSCR" for each in instructions)
        if loads and grows:
            adds = adds or Location(code.co_filename, row)
        elif stores:
            creates = creates or Location(code.co_filename, row)
    return adds, creates


_GROWING = ("append", "extend", "add", "appendleft", "insert", "update", "setdefault")


def _rows(code: CodeType) -> Iterable[tuple[int, list[dis.Instruction]]]:
    rows: dict[int, list[dis.Instruction]] = {}
    starts = {start: row for start, _, row in code.co_lines() if row}
    row = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        row = starts.get(instruction.offset, row)
        rows.setdefault(row, []).append(instruction)
    return sorted(rows.items())
