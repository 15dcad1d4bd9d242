"""Parameters, and rows of them, that are kept from training by their gradients alone, and are changed by the step all the same (GL813).

Whatever has a gradient of zeros, and not None, is decayed, and follows its momentum. Values are compared in the first steps of an
optimizer, and later for what was frozen; a device is only waited for once it has told that something was cleared.
Knows optimizers and tensors; must not know how torch is hooked.
"""

from __future__ import annotations

import ast
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch

from gradlint.diagnostics import Location
from gradlint.runtime.answers import Answer, ask, has_values, is_waited_for
from gradlint.runtime.gradients import values_of
from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import name_of, user_frames
from gradlint.runtime.sources import source_of
from gradlint.wordings.construction import FREEZE, FROZEN, ROWS_DECAY, STOP_DECAY

_LOOKS = 6
_IN_A_ROW = 2  # and a third one, in which the change can be seen to last
_CALLERS = 3
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(slots=True)
class _Kept:
    """What of a parameter gets no gradient by the user's will, and its values before the step."""

    rows: Any
    values: Any = None
    times: int = 0
    moved: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Rows of a parameter that may be kept from training: those that were cleared, or all of one that is frozen.

    `matters` tells, on its device, whether there are any.
    """

    parameter: Any
    rows: Any
    matters: Any


@dataclass(slots=True)
class _Seen:
    """The parameters of one optimizer: the sizes of the rows of their gradients after a backward pass, and what is kept."""

    sizes: dict[int, tuple[weakref.ref[Any], Any]] = field(default_factory=dict)
    kept: dict[int, _Kept] = field(default_factory=dict)
    looks: int = 0
    in_vain: int = 0  # looks at frozen parameters that have got gradients by hand
    asked: list[Answer] | None = None  # of a device: whether any rows were cleared
    suspect: bool = False  # some were: it is worth to wait for it
    told: bool = False

    def doubt(self, candidates: Sequence[_Candidate]) -> None:
        """Ask a device whether any of them matter, and hear what it was asked at an earlier step."""
        if self.asked is None:
            self.asked = ask(each.matters for each in candidates)
        elif all(answer.is_there for answer in self.asked):
            self.suspect = any(any(answer.read()) for answer in self.asked)
            self.asked = None
            if self.suspect:
                self.looks = self.in_vain = 0


class Decayed(Observer):
    """Compares gradients before and after the user's hand, and what is kept before and after a step."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: weakref.WeakKeyDictionary[WatchedOptimizer, _Seen] = weakref.WeakKeyDictionary()

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Note which rows have got a gradient, as long as nobody is known to leave them alone."""
        for watched in fed:
            seen = self._seen.setdefault(watched, _Seen())
            if seen.looks < _LOOKS:
                seen.sizes = {
                    id(parameter): (weakref.ref(parameter.grad), _sizes(grad)) for parameter, grad in _decaying(watched)
                }

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """See what the user has cleared since, and whether what was kept so far is still changed."""
        seen = self._seen.setdefault(watched, _Seen())
        if seen.told:
            return
        seen.looks += bool(seen.sizes)
        before, seen.kept = seen.kept, {}
        for parameter, rows in self._kept_ones(watched, seen):
            kept = self._kept(parameter, rows, before.get(id(parameter)))
            seen.kept[id(parameter)] = kept
            if kept.times >= _IN_A_ROW:
                seen.told = True
                self._report(watched, parameter, place, frame)
                return
        seen.sizes = {}

    def _kept_ones(self, watched: WatchedOptimizer, seen: _Seen) -> list[tuple[Any, Any]]:
        """Return the parameters of which something is kept from training, with these rows."""
        frozen = list(_frozen(watched)) if seen.in_vain < _LOOKS else []
        candidates = [*_cleared(watched, seen.sizes), *frozen]
        found: list[tuple[Any, Any]] = []
        if any(is_waited_for(each.matters) for each in candidates) and not seen.suspect:
            seen.doubt(candidates)
        else:
            found = [(each.parameter, each.rows) for each in candidates if bool(each.matters)]
        seen.in_vain += bool(frozen) and not found
        return found

    def _kept(self, parameter: Any, rows: Any, last: _Kept | None) -> _Kept:
        """Go on from the last step with the same rows, if what it changed was not put back."""
        values = values_of(parameter)
        times = 0
        if last is not None and last.moved and bool((last.rows == rows).all()):
            times = (last.times + 1) * bool((values[rows] != last.values).any())
        return _Kept(rows, values[rows].clone(), times)

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """See whether the step has changed what is kept."""
        seen = self._seen.get(watched)
        if seen is None or seen.told or not seen.kept:
            return
        for parameter in watched.parameters():
            kept = seen.kept.get(id(parameter))
            if kept is not None:
                kept.moved = bool((values_of(parameter)[kept.rows] != kept.values).any())

    def _report(self, watched: WatchedOptimizer, parameter: Any, place: Location, frame: FrameType | None) -> None:
        step = name_of(watched.optimizer, frame)
        subject = named(parameter, frame) or f"a parameter of {step}"
        if parameter.requires_grad:
            where = next(_clearings(frame), place)
            what, remedy = ROWS_DECAY.format(subject=subject, step=step), STOP_DECAY
        else:
            where, what, remedy = place, FROZEN.format(subject=subject, step=step), FREEZE.format(subject=subject)
        marks = (("step", place),) if where != place else ()
        self._ledger.report("GL813", where, marks, iteration=watched.steps + 1, what=what, remedy=remedy)


def _decaying(watched: WatchedOptimizer) -> Iterator[tuple[Any, torch.Tensor]]:
    """Yield the parameters with a gradient whose weights decay, and the values of the gradient."""
    optimizer = watched.optimizer
    for group in () if optimizer is None else optimizer.param_groups:
        decay = group.get("weight_decay")
        if isinstance(decay, float | int) and decay:
            for parameter in group["params"]:
                grad = _rows(parameter) if parameter.requires_grad else None
                if grad is not None:
                    yield parameter, grad


def _frozen(watched: WatchedOptimizer) -> Iterator[_Candidate]:
    """Yield the parameters that are frozen and have a gradient, which matters if it is zero."""
    for parameter in watched.parameters():
        grad = None if parameter.requires_grad else _rows(parameter)
        if grad is not None:
            sizes = _sizes(grad)
            yield _Candidate(parameter, torch.ones_like(sizes, dtype=torch.bool), ~sizes.any())


def _cleared(watched: WatchedOptimizer, sizes: dict[int, tuple[weakref.ref[Any], Any]]) -> Iterator[_Candidate]:
    """Yield the rows of each parameter that had a gradient after the backward pass and have none now."""
    same: list[tuple[Any, Any, Any]] = []
    for parameter in watched.parameters() if sizes else ():
        known = sizes.get(id(parameter))
        grad = None if known is None else known[0]()
        if known is not None and grad is not None and id(grad) == id(parameter.grad):
            same.append((parameter, known[1], _sizes(values_of(grad))))
    for parameter, before, now in same if _may_be_cleared(same) else ():
        if _rows(parameter) is not None:
            rows = (before > 0) & before.isfinite() & (now == 0)
            yield _Candidate(parameter, rows, rows.any())


def _may_be_cleared(sizes: Sequence[tuple[Any, Any, Any]]) -> bool:
    """Tell whether some rows have no gradient now; True where it would be waited for."""
    return any(is_waited_for(now) or not float(now.min()) > 0 for _, _, now in sizes)


def _rows(parameter: Any) -> torch.Tensor | None:
    """Return the values of a parameter's gradient, if all of them and of the parameter are here, in rows."""
    if parameter.grad is None:
        return None
    value, grad = values_of(parameter), values_of(parameter.grad)
    plain = grad.dtype in _TYPES and value.shape == grad.shape and value.dim() > 0 and has_values(value)
    return grad if plain else None


def _sizes(grad: torch.Tensor) -> torch.Tensor:
    """Return the largest value of each row, without a copy of the tensor."""
    others = tuple(range(1, grad.dim()))
    sizes: torch.Tensor = torch.linalg.vector_norm(grad, torch.inf, dim=others) if others else grad.abs()
    return sizes


def _clearings(frame: FrameType | None) -> Iterator[Location]:
    """Yield the statements around a step that clear a part of a gradient."""
    for caller in user_frames(frame, _CALLERS):
        source = source_of(caller.f_code)
        for node in () if source is None else source.own():
            match node:
                case ast.Assign(targets=[ast.Subscript(value=owner)]) | ast.AugAssign(target=owner, op=ast.Mult()):
                    told = ast.unparse(owner)
                case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=verb))) if verb.endswith("_"):
                    told = ast.unparse(owner)
                case _:
                    continue
            if source is not None and "grad" in told and not told.endswith("requires_grad"):
                yield source.place(node)
