"""Pieces: a document with cells as one module, whose order of cells says nothing of the order in which they run.

It knows statements and events; it must not know states or rules.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise

from gradlint.events import EventKind
from gradlint.static.flow.tree import Seq, Uid, events
from gradlint.static.lowering.algebra import graph_of, held
from gradlint.static.lowering.driven import Driven
from gradlint.static.lowering.frames import Grad
from gradlint.static.lowering.values import Kind, Unknown


class Pieces(Driven):
    """Lowers the cells of a document."""

    def by_piece(self, body: list[ast.stmt], pieces: tuple[int, ...]) -> None:
        """Lower the cells of a notebook; a file is one."""
        used: set[Uid] = set()
        self.abridged = bool(pieces)
        for statements in _by_piece(body, pieces):
            begin = len(self.out)
            if used and statements:
                self._forget_order(used, statements[0])
            self.block(statements)
            if pieces:
                self._use(used, Seq(tuple(self.out[begin:])))

    def _forget_order(self, used: set[Uid], node: ast.AST) -> None:
        """Forget in which order earlier cells did what: a cell may be run again, later, or not at all.

        Who is who stays known; a graph of an earlier cell may be another one by now.
        """
        self.emit(EventKind.ESCAPE, node, frozenset(used), roles=("piece",))
        for (owner, name), value in list(self.store.items()):
            if owner == self.module.path and graph_of((value,)):
                id_ = f"{'/'.join(owner)}/{name}@{getattr(node, 'lineno', 0)}"
                self.store[owner, name] = Unknown(id_, held((value,)))
        self.grad = self.grad if self.grad is Grad.ON else Grad.MAYBE

    def _use(self, used: set[Uid], piece: Seq) -> None:
        """Add to `used` whom the events of a cell leave other than they were built."""
        actors = [made for made in self.objects.values() if made.kind in (Kind.OPTIMIZER, Kind.SCHEDULER)]
        owned = {uid for made in actors for uid in made.of or ()} | set(self.objects) | set(self.instances)
        for event in events(piece):
            match event.kind:
                case EventKind.CREATE:
                    used -= event.targets or frozenset()
                case EventKind.BACKWARD:
                    used |= {made.uid for made in actors if made.kind is Kind.OPTIMIZER}
                case _:
                    targets = event.targets or frozenset()
                    used |= targets & owned
                    used |= {
                        made.uid
                        for made in actors
                        if event.kind is EventKind.STEP and targets & (made.of or frozenset())
                    }


def _by_piece(body: list[ast.stmt], pieces: tuple[int, ...]) -> Iterator[list[ast.stmt]]:
    """Yield the statements of each piece; all of them where there are no pieces."""
    for begin, end in pairwise((0, *pieces[1:], sys.maxsize)):
        yield [statement for statement in body if begin <= statement.lineno < end]
