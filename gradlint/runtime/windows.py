"""Accumulated batches: gradients that are thrown away in every turn, though the step wants their sum (GL701).

Knows optimizers and the places of backward passes; must not know torch.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import reads_gradients
from gradlint.runtime.gradients import version_of
from gradlint.runtime.graph import is_parameter, leaves
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer, is_lbfgs
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_IN_A_ROW = 3
_NODES = 20_000


@dataclass(slots=True)
class _Window:
    """What happened to the gradients of one optimizer since its last step."""

    thrown_away: dict[int, tuple[Location, Location]] = field(default_factory=dict)  # by the place of the backward pass
    left: list[int] = field(default_factory=list)  # the versions in which the last backward pass left everything
    in_a_row: int = 0
    shared: bool = False  # a pass also served another optimizer, or somebody who reads gradients himself


class Windows(Observer):
    """The windows of all optimizers."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self._windows: weakref.WeakKeyDictionary[WatchedOptimizer, _Window] = weakref.WeakKeyDictionary()

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Remember how the pass left the gradients and the parameters."""
        for watched in fed:
            window = self._windows.setdefault(watched, _Window())
            window.left = _versions(watched)
            window.shared = window.shared or len(fed) > 1 or reads_gradients(passing.frame)
            if window.in_a_row == _IN_A_ROW - 1 and not window.shared:
                window.shared = self._wants_more(passing)

    def _wants_more(self, passing: Pass) -> bool:
        """Tell whether a pass also reaches an input: an attack wants its gradient, and throws those of the model away."""
        inputs = {id(each) for each in leaves(passing.roots, _NODES) if not is_parameter(each)}
        return any(inputs.difference(id(parameter) for each in self._registry for parameter in each.parameters()))

    def before_zero(self, owner: Optimizer | Module, place: Location) -> None:
        """Remember whose gradients are thrown away, unless somebody has used them or written them since."""
        for watched in self._registry.cleared_by(owner):
            fresh, window = watched.fresh_place(), self._windows.get(watched)
            if fresh is not None and window is not None and window.left == _versions(watched):
                window.thrown_away[id(fresh)] = (fresh, place)

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """Clipping changes gradients once, and is no use that anybody makes of them."""
        clipped = {id(parameter) for parameter in parameters if parameter.grad is not None}
        for watched, window in self._windows.items():
            if window.left == _versions(watched):
                once = [id(gradient.reference()) in clipped for gradient in watched.gradients]
                window.left = [left + change for left, change in zip_longest(window.left, map(int, once), fillvalue=0)]

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Judge a window: what it ends with must come from where the others came from that are gone."""
        window = self._windows.get(watched)
        if window is None or is_lbfgs(watched.optimizer):
            return
        gone = None
        if window.thrown_away and not window.shared:
            watched.changed_by_hand(place)
            fresh = watched.fresh_place()
            gone = window.thrown_away.get(id(fresh)) if window.left == _versions(watched) else None
        window.in_a_row = window.in_a_row + 1 if gone is not None else 0
        window.thrown_away, window.shared = {}, False
        if gone is not None and window.in_a_row >= _IN_A_ROW and not reads_gradients(frame):
            name = name_of(watched.optimizer, frame)
            marks = (("fresh", gone[0]), ("step", place))
            self._ledger.report("GL701", gone[1], marks, iteration=watched.steps + 1, subject=name, step=name)


def _versions(watched: WatchedOptimizer) -> list[int]:
    """Return the versions of the gradients that are looked at, and of their parameters; that of a cleared one is that of a new one."""
    parameters = (gradient.reference() for gradient in watched.gradients)
    return [
        *watched.versions(absent=0),
        *(0 if parameter is None else version_of(parameter) for parameter in parameters),
    ]
