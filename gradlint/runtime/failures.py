"""Which explanation an error of torch's has, chosen by its message.

Errors of a backward pass are explained where they are raised, others once they leave what is watched: no run pays for
them. Torch's own message is never touched.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from types import FrameType
from typing import Any

from gradlint.diagnostics import Location
from gradlint.runtime.changes import CHANGED, explain_change
from gradlint.runtime.failure import Failure
from gradlint.runtime.graph import leaves
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lost import LOST, explain_lost
from gradlint.runtime.refusals import explain_refusal
from gradlint.runtime.registry import Registry
from gradlint.runtime.reuse import Begun, explain_reuse

_REMEMBERED = 64
_NODES = 20_000
_FREED = "backward through the graph a second time"


class Failures:
    """Remembers the backward passes, and explains what fails."""

    def __init__(self, ledger: Ledger, registry: Registry) -> None:
        self._ledger = ledger
        self._registry = registry
        self.passes: deque[Begun] = deque(maxlen=_REMEMBERED)  # bare pairs are the fastest

    def failed(self, error: BaseException, roots: Sequence[Any], place: Location, frame: FrameType | None) -> None:
        """The backward pass that began last raised `error`."""
        message = str(error)
        earlier = list(self.passes)[:-1]
        failure = Failure(place, roots, frame, self._iteration(place, roots, earlier))
        if CHANGED in message:
            explain_change(failure, self._registry, self._ledger)
        elif _FREED in message:
            explain_reuse(failure, earlier, self._ledger)
        elif LOST in message:
            explain_lost(failure, self._ledger)

    def _iteration(self, place: Location, roots: Sequence[Any], earlier: Sequence[Begun]) -> int:
        """Return the turn of the loop: by the steps of the slowest optimizer that the graph leads to.

        Where it steps more than once in a turn, the place that has been passed most often counts them better.
        """
        reached = {id(tensor) for tensor in leaves(roots, _NODES)}
        steps = [each.steps for each in self._registry if any(id(owned) in reached for owned in each.parameters())]
        turns = min(steps, default=max((each.steps for each in self._registry), default=0))
        if len(earlier) < _REMEMBERED - 1:
            visits = Counter([place, *(where for where, _ in earlier)])
            turns = min(turns, max(visits.values()) - 1)
        return turns + 1

    def left(self, error: BaseException) -> None:
        """An error leaves what is watched."""
        explain_refusal(error, self._ledger)
