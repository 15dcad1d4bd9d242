"""Statistics that keep one graph among values that are detached: GL501.

Who returns a loss and, beside it, its statistics has others collect these. The loop that does may be out of sight; that
all entries but one are cut off tells what was meant.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import field

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.syntax.dataflow import Dataflow, base, is_cut
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.questions import FunctionNode

_STATISTICS = regex(r"stat|metric|log(?!it|p)|info|record|hist|summar|track|monitor", re.IGNORECASE)
_DETACHED = frozenset(["detach()"])
_FEW = 2
"""So many entries must be detached on purpose."""


@check
def undetached(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL501: an entry of statistics with the graph of the loss that is returned beside them."""
    contents = analysis.contents
    for function in analysis.nodes(ast.FunctionDef) if analysis.says(*_DETACHED) else ():
        if function.name not in ("forward", "__call__") and contents.says(_DETACHED, function):
            yield from _of_function(analysis, function)


@dataclass()
class _Records:
    """The entries of the dicts of a function, by the name of the dict."""

    entries: dict[str, list[ast.expr]] = field(default_factory=lambda: defaultdict(list))

    def read(self, statement: ast.stmt) -> None:
        """Add the entries that a statement makes."""
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if _STATISTICS.search(name):
                self.entries[name] += _values(statement.value)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]) if _STATISTICS.search(name):
                self.entries[name].append(statement.value)
            case _:
                return


def _values(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the values of a dict, those of dicts in it included."""
    match node:
        case ast.Dict(values=values):
            found = values
        case ast.Call(ast.Name("dict"), [], keywords):
            found = [keyword.value for keyword in keywords]
        case _:
            return
    for value in found:
        inner = list(_values(value))
        yield from inner or (value,)


def _of_function(analysis: Analysis, function: FunctionNode) -> Iterator[Diagnostic]:
    flow, records = Dataflow(function), _Records()
    for statement in flow.statements:
        records.read(statement)
    if not any(sum(map(is_cut, found)) >= _FEW for found in records.entries.values()):
        return
    for name, entries in records.entries.items():
        losses = [each for each in _beside(flow, name) if not flow.is_number(each)]
        returned = {each.id for loss in losses for each in walk(loss) if isinstance(each, ast.Name)}
        cut = [entry for entry in entries if is_cut(entry)]
        if len(cut) >= _FEW and losses and _has_graph(flow, cut, returned):
            carriers = frozenset.union(*(flow.carriers(loss, loss=True) for loss in losses)) - returned
            for entry in entries:
                kept = None if is_cut(entry) else base(entry)
                if kept is not None and kept.id in carriers:
                    marks = [("beside", analysis.source.place(cut[0]))]
                    yield compose("GL501", Side.STATIC, analysis.source.place(entry), marks, subject=kept.id)


def _beside(flow: Dataflow, name: str) -> list[ast.expr]:
    """Return what a function returns beside the statistics `name`."""
    return [
        other
        for statement in flow.statements
        if isinstance(statement, ast.Return) and isinstance(statement.value, ast.Tuple)
        if any(_mentions(each, name) for each in statement.value.elts)
        for other in statement.value.elts
        if not _mentions(other, name)
    ]


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in walk(node))


def _has_graph(flow: Dataflow, cut: list[ast.expr], returned: set[str]) -> bool:
    """Whether what is returned has a graph: it comes from what is detached for the statistics."""
    sources = flow.sources(returned)
    detached = (base(entry) for entry in cut if "detach()" in ast.unparse(entry))
    return any(name is not None and name.id in sources for name in detached)
