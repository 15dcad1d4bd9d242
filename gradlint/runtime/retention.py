"""Graphs that are kept for nobody: `retain_graph=True` whose graph no later pass wants (GL505).

Knows the graph; must not know how torch is hooked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from gradlint.runtime.graph import heads, leaf, nodes
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass

_NODES = 20_000
_LOOKS = 8
_IN_VAIN = 3


@dataclass(slots=True)
class _Keeping:
    """The graph that the last pass of one place has kept, and how the ones before it ended."""

    passing: Pass
    kept: set[int] = field(default_factory=set)
    in_vain: int = 0
    looks: int = 0
    wanted: bool = False


class Retention(Observer):
    """The places of the run that keep graphs."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._keepings: dict[int, _Keeping] = {}

    def before_backward(self, passing: Pass) -> None:
        """See which of the kept graphs this pass wants, and what it keeps itself."""
        open_ = [keeping for keeping in self._keepings.values() if keeping.kept]
        known = self._keepings.get(id(passing.place))
        keeps = (
            passing.retains and passing.accumulates and (known is None or (not known.wanted and known.looks < _LOOKS))
        )
        if not open_ and not keeps:
            return
        graph = {node._sequence_nr() for node in islice(nodes(heads(passing.roots)), _NODES) if leaf(node) is None}
        for keeping in open_:
            keeping.wanted = keeping.wanted or not keeping.kept.isdisjoint(graph)
        if keeps:
            keeping = self._keepings.setdefault(id(passing.place), _Keeping(passing))
            keeping.in_vain += bool(keeping.kept) and not keeping.wanted
            keeping.looks += 1
            keeping.kept = graph if len(graph) < _NODES and keeping.looks < _LOOKS else set()

    def ended(self) -> None:
        """Report the places whose graphs nobody ever wanted."""
        for keeping in self._keepings.values():
            if not keeping.wanted and keeping.in_vain >= _IN_VAIN:
                what = "the graph is kept after this backward pass, in every iteration, and nobody uses it again"
                remedy = "drop the argument"
                self._ledger.report("GL505", keeping.passing.place, what=what, remedy=remedy)
