"""Parameters that are updated by hand, without an optimizer, and whose gradients nobody clears (GL115).

No hook tells of `w -= rate * w.grad`; but between two backward passes a leaf that no optimizer holds has moved along its
gradient, and the gradient is the very one that the last pass left. It takes values to see it, so it is looked for in the first
passes only, and not on devices that would be waited for. Knows the graph and gradients; must not know how torch is hooked.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import CodeType, FrameType
from typing import Any

import torch

from gradlint.diagnostics import Location
from gradlint.runtime.answers import has_values, is_waited_for
from gradlint.runtime.bytecode import growth_of, rows
from gradlint.runtime.gradients import is_zero, values_of, version_of
from gradlint.runtime.graph import leaves, named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import user_frames

_LEAVES = 4
_WALKS = 2
_LOOPS = 8
_LOOKS = 64
_NODES = 2_000
_AGAIN = 2
_CALLERS = 2
_VALUES = 16
_CLOSE = 1e-2
_ROUNDING = 5e-7  # a few times that of float32
_FAINT = 2e-4
_STEADY = 2e-3


@dataclass(slots=True)
class _Leaf:
    """A leaf that no optimizer holds, as the last backward pass left it."""

    tensor: weakref.ref[Any]
    values: Any
    grad: weakref.ref[Any] | None = None
    grad_version: int = 0
    spent: bool = False  # its gradient was used for an update, and is still there
    dirty: Location | None = None  # where more was added to it then
    wrong: int = 0
    change: Any = None  # what the last update has added
    factors: list[Any] = field(default_factory=list)  # by which it was made of gradients and others

    @property
    def readable(self) -> Any:
        """The leaf, None if it or its values are gone: FSDP stores those of a whole parameter only while they are used."""
        tensor = self.tensor()
        return tensor if tensor is not None and has_values(values_of(tensor)) else None

    def look(self) -> bool:
        """Take in what happened since the last pass; tell whether an update used gradients twice."""
        tensor = self.readable
        if tensor is None:
            return False
        kept = self._kept(tensor)
        moved = kept and self._descended(tensor)
        wrong = moved and self.dirty is not None
        if moved or not kept:
            self.spent, self.dirty = moved and not is_zero(tensor.grad), None
        self.wrong += wrong
        return wrong

    def remember(self, place: Location) -> None:
        """Take in what a backward pass at `place` has done to the gradient."""
        tensor = self.readable
        grad = None if tensor is None else tensor.grad
        if tensor is None or grad is None:
            return
        if self.spent and not self._kept(tensor):
            self.spent, self.dirty = False, place
        self.values = _some(tensor).clone()
        self.grad, self.grad_version = weakref.ref(grad), version_of(grad)

    def clipped(self) -> None:
        """The gradient is about to be scaled in place: it stays the one that the last pass left."""
        tensor = self.tensor()
        if tensor is not None and self._kept(tensor):
            self.grad_version += 1

    def _descended(self, tensor: Any) -> bool:
        """Tell whether the values have moved along the gradient, perhaps with momentum and weight decay.

        Averages and loaded weights move, too. A single value tells only in comparison with the last time.
        """
        before, change, along = self.change, _some(tensor) - self.values, _some(tensor.grad)
        self.change = change
        if len(change) > 1 and _factors(change, _CLOSE, along) is not None:
            return True
        last = self.factors
        self.factors = [
            _factors(change, self._slack(change), along, *others) for others in _beside(before, self.values)
        ]
        return any(now is not None and _alike(now, then) for now, then in zip(self.factors, last, strict=False))

    def _slack(self, change: Any) -> float:
        """Return by how much rounding may falsify a change of the values, in parts of it; none where it is all rounding."""
        size = float(change.norm())
        rounding = _ROUNDING * float(self.values.norm()) / size if size else _FAINT
        return max(_ROUNDING, rounding) if rounding < _FAINT else 0.0

    def _kept(self, tensor: Any) -> bool:
        last = None if self.grad is None else self.grad()
        return last is not None and last is tensor.grad and version_of(last) == self.grad_version


class ByHand(Observer):
    """Some leaves of the first graphs, as long as no optimizer holds them."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._leaves: dict[int, _Leaf] = {}
        self._walks: Counter[int] = Counter()  # by the places of backward passes
        self._looks = 0

    def before_backward(self, passing: Pass) -> None:
        """See what became of the leaves since the last pass, and of the gradients that it left."""
        if not passing.accumulates:
            return
        place = id(passing.place)
        if self._walks[place] < _WALKS and len(self._walks) <= _LOOPS:
            self._walks[place] += 1
            found = {id(tensor): leaf for tensor, leaf in self._found(passing) if id(tensor) not in self._leaves}
            self._leaves |= found
            self._looks = 0 if found else self._looks
        self._looks += bool(self._leaves)
        if self._looks > _LOOKS:
            self._leaves.clear()
        for each in list(self._leaves.values()):
            dirty = each.dirty
            if each.look() and dirty is not None and each.wrong >= _AGAIN:
                self._report(each, dirty, passing)
                return

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Take in what the pass did."""
        for each in self._leaves.values():
            each.remember(passing.place)

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """Some gradients are about to be clipped."""
        for parameter in parameters if self._leaves else ():
            if id(parameter) in self._leaves:
                self._leaves[id(parameter)].clipped()

    def made(self, watched: WatchedOptimizer, place: Location) -> None:
        """Leave to an optimizer what it holds."""
        for parameter in watched.parameters():
            self._leaves.pop(id(parameter), None)

    def _found(self, passing: Pass) -> Iterator[tuple[Any, _Leaf]]:
        owned = {id(parameter) for watched in self._registry for parameter in watched.parameters()}
        strays = (each for each in leaves(passing.roots, _NODES) if id(each) not in owned and _can_be_read(each))
        for tensor in islice(strays, _LEAVES):
            yield tensor, _Leaf(weakref.ref(tensor), _some(tensor).clone())

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Leave to an optimizer the gradients that it is given, whoever computed them."""
        given = {id(parameter.grad) for parameter in watched.parameters()} if self._leaves else set()
        for key, each in list(self._leaves.items()):
            if each.grad is not None and id(each.grad()) in given:
                del self._leaves[key]

    def _report(self, each: _Leaf, dirty: Location, passing: Pass) -> None:
        """Say it of the first leaf only: one loop updates them all."""
        self._leaves = {id(each.tensor()): each}
        name = named(each.tensor(), passing.frame) or "the parameter"
        place = _update_in(passing.frame, name) or passing.place
        self._ledger.report("GL115", place, (("dirty", dirty),), iteration=each.wrong + 1, subject=name)


def _beside(before: Any, values: Any) -> list[tuple[Any, ...]]:
    """Return what an update may be made of beside the gradient: the last update (momentum), the values (weight decay)."""
    return [(), (values,), *([] if before is None else [(before,), (before, values)])]


def _factors(change: Any, slack: float, along: Any, *others: Any) -> Any:
    """Return by which factors vectors add up to `change`, but for a part `slack`; None if they do not, or without `along`."""
    columns, wanted = torch.stack([along, *others], 1).double().cpu(), change.double().cpu()
    single = not others and len(wanted) == 1
    if not (single or len(wanted) >= 2 * len(columns[0])) or not bool(columns.isfinite().all()):
        return None
    factors = torch.linalg.lstsq(columns, wanted[:, None]).solution[:, 0]
    contributes = (factors[0] * columns[:, 0]).norm() > _CLOSE * wanted.norm()
    close = (columns @ factors - wanted).norm() < slack * wanted.norm()
    return factors if bool(contributes) and bool(close) else None


def _alike(now: Any, then: Any) -> bool:
    """Tell whether the factors of an update are those of the last one: rates and momentum stay what they are."""
    return then is not None and len(now) == len(then) and bool(((now - then).abs() <= _STEADY * now.abs()).all())


def _can_be_read(tensor: Any) -> bool:
    return has_values(values_of(tensor)) and not is_waited_for(tensor)


def _some(tensor: Any) -> Any:
    return values_of(tensor).reshape(-1)[:_VALUES]


def _update_in(frame: FrameType | None, name: str) -> Location | None:
    """Return the row of the user's functions that changes what is called `name`, or something that a gradient goes into."""
    for code in [each.f_code for each in user_frames(frame, _CALLERS)]:
        row = growth_of(code, name.rpartition(".")[2])[0] or next(_updates(code), None)
        if row is not None:
            return Location(code.co_filename, row)
    return None


def _updates(code: CodeType) -> Iterator[int]:
    """Yield the rows that write something with the help of a gradient, but not those that clear it."""
    for row, instructions in sorted(rows(code).items()):
        stores = {each.argval for each in instructions if each.opname.startswith("STORE")}
        names = {str(each.argval) for each in instructions}
        calls = {name for name in names if name.endswith("_") and name not in ("zero_", "__name__")}
        if "grad" in names and "grad" not in stores and (stores or calls):
            yield row
