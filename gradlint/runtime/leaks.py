"""Losses whose graphs outlive their iteration: found by how many stay alive, named by who holds them.

Each backward pass leaves a token in the metadata of its root, and of the losses that were added up or scaled to make
it: the root of `(loss / 4).backward()` dies at once, whoever keeps `loss`. The token dies with the graph.
Knows graph nodes and frames; must not know how torch is hooked.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from types import FrameType, FunctionType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import growth_of
from gradlint.runtime.graph import bindings, leaf, nodes, tensors_in
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.sites import Origin, frames, origin_of, user_frames

_KEY = "gradlint"
_MANY = 16
_FEW = 3
_SOME = 8
_LOOPS = 2  # whose losses were all kept to the end
_SEARCHES = frozenset({3, 8, _MANY})
_NEAR = 64
_TERMS = 16
_KINDS = 4
_ARITHMETIC = frozenset({"AddBackward0", "SubBackward0", "MulBackward0", "DivBackward0", "NegBackward0"})


class _Token:
    """Lives as long as one backward root, or a loss that it was made of."""

    __slots__ = ("__weakref__",)


@dataclass(frozen=True, slots=True)
class _Holder:
    """A variable that keeps graphs alive, and the lines that add to it and create it; what is `bounded` keeps a few for good."""

    name: str
    adds: Location | None
    creates: Location | None
    bounded: bool = False


@dataclass(slots=True)
class _Roots:
    """The roots of the backward passes at one place."""

    place: Location
    total: int = 0
    alive: list[weakref.ref[_Token]] = field(default_factory=list)
    made: Location | None = None
    holder: _Holder | None = None
    reported: bool = False
    before: int = 0  # how many there were when the loop over a loader began
    kept: int = 0  # how many of those of the loop were alive at its last pass, itself among them
    loops: int = 0
    heaps: int = 0  # how often many that were kept have died together


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
        if roots.kept - len(alive) > _FEW:
            self._let_go(roots)
        if len(alive) in _SEARCHES and frame is not None:
            roots.holder = _find_holder(frame, {id(each()) for each in alive}) or roots.holder
        if len(alive) >= _MANY:
            self._report(roots)
        token = _Token()
        for each in _terms(node):
            each.metadata.setdefault(_KEY, token)
        alive.append(weakref.ref(token))
        roots.total += 1
        roots.kept = len(alive)
        roots.made = made_at(node) or roots.made

    def loop_begins(self) -> None:
        """A loop over a loader begins, which ends the one before: if all its losses were kept, a longer one would keep more."""
        for roots in self._roots.values():
            passes, roots.before = roots.total - roots.before, roots.total
            if passes:
                whole = _FEW < passes <= roots.kept and roots.holder is not None and roots.holder.adds is not None
                roots.loops = roots.loops + 1 if whole else 0
                if roots.loops >= _LOOPS and not roots.reported:
                    self._report(roots)

    def _let_go(self, roots: _Roots) -> None:
        """Many losses died between two passes: they were kept together, and a longer loop would have kept more."""
        if roots.holder is not None and roots.holder.adds is not None:
            roots.heaps += 1
            if roots.heaps >= _LOOPS:
                self._report(roots)

    @property
    def suspicious(self) -> bool:
        """Tell whether some loop seems to keep its graphs."""
        return any(len(roots.alive) >= _FEW and not roots.reported for roots in self._roots.values())

    def ended(self) -> None:
        """Report the loops that were too short for the general threshold, but let go of nothing at all."""
        for roots in self._roots.values():
            alive = sum(each() is not None for each in roots.alive)
            # What a function has kept is gone with it: then all that was alive at the last pass counts.
            kept = alive if len(roots.alive) < _SOME else len(roots.alive)
            if not roots.reported and kept >= _FEW and kept >= roots.total - 1 and roots.holder is not None:
                self._report(roots)

    def _report(self, roots: _Roots) -> None:
        roots.reported = True
        roots.alive.clear()
        holder = roots.holder or _Holder("something", None, None)
        if holder.bounded:
            return
        marks = [("made", roots.made or roots.place)]
        if holder.creates is not None:
            marks.append(("created", holder.creates))
        self._ledger.report("GL501", holder.adds or roots.place, marks, subject=holder.name)


def _terms(root: Any) -> list[Any]:
    """Return the root of a backward pass and the nodes below it, down to the losses of which it is the sum."""
    terms = [root]
    for node in terms:
        if node.name() in _ARITHMETIC:
            below = (each for each, _ in node.next_functions if each is not None and leaf(each) is None)
            terms += [each for each in below if each not in terms]
        if len(terms) >= _TERMS:
            break
    return terms


def _find_holder(frame: FrameType, tokens: set[int]) -> _Holder | None:
    """Return the user's variable that holds several of the roots that carry `tokens`, or an attribute of a trainer."""
    for caller in user_frames(frame, 3):
        for name, value in (*bindings(caller), *_attributes(caller)):
            if len(set(_tokens_of(value)) & tokens) > 1:
                bounded = isinstance(value, deque) and value.maxlen is not None
                return replace(_holder(caller, name, _key_of(value, tokens)), bounded=bounded)
    within = takewhile(lambda each: each is not frame, frames(sys._getframe()))
    for caller in (each for each in within if origin_of(each.f_code) is Origin.LIBRARY):
        for name, value in _attributes(caller):
            kept = len(set(_tokens_of(value)) & tokens) > 1
            holder = _holder(caller, name, _key_of(value, tokens)) if kept else None
            if holder is not None and holder.adds is not None:
                return holder
    return None


def _attributes(frame: FrameType) -> Iterator[tuple[str, object]]:
    """Yield the attributes of the object whose method a frame is in, and of its classes: it may be a kind of a library's."""
    owner = frame.f_locals.get("self")
    if hasattr(owner, "__dict__"):
        for holder in (owner, *type(owner).__mro__[:_KINDS]):
            yield from ((f"self.{key}", each) for key, each in list(vars(holder).items()))


def _key_of(value: object, tokens: set[int]) -> str:
    """Return the key under which a dict has the roots ("": it has them under several, or is none)."""
    found = [key for key, each in value.items() if set(_tokens_of(each)) & tokens] if isinstance(value, dict) else []
    return found[0] if len(found) == 1 and isinstance(found[0], str) else ""


def _holder(frame: FrameType, name: str, key: str) -> _Holder:
    """Return the holder called `name`; an attribute may be added to in the methods of its owner."""
    owner, _, last = name.rpartition(".")
    codes = [frame.f_code]
    if owner:
        methods = vars(type(frame.f_locals[owner])).values()
        codes += [method.__code__ for method in methods if isinstance(method, FunctionType)]
    adds, creates = None, None
    for code in (each for each in codes if origin_of(each) is Origin.USER):
        more, made = growth_of(code, last, key)
        adds = adds or (Location(code.co_filename, more) if more else None)
        creates = creates or (Location(code.co_filename, made) if made else None)
    return _Holder(name, adds, creates)


def _tokens_of(value: object) -> Iterator[int]:
    for tensor in tensors_in(value):
        for node in islice(nodes([tensor.grad_fn]), _NEAR):
            token = node.metadata.get(_KEY)
            if token is not None:
                yield id(token)
