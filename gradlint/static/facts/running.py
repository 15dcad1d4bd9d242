"""Running a module by its own methods: which of them only run it, and from where.

It knows classes in sight; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import dataclass
from gradlint.diagnostics import Location
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.attributes import MODULE_METHODS
from gradlint.static.lowering.values import Class, Function, Instance
from gradlint.static.syntax.nodes import walk
from gradlint.static.syntax.questions import FunctionNode

_SWITCHES = frozenset(["eval", "train", "training"])
_MOST = 40
"""So many functions are looked through."""


def only_runs(analysis: Analysis, module: Uid, event: Event) -> bool:
    """Whether a forward is that of a method in sight which runs parts of the module, or all of it, and leaves modes alone."""
    cls = analysis.lowering.instances.get(module)
    name = event.name.rpartition(".")[2]
    method = analysis.lowering.method_of(cls, name) if cls is not None and name else None
    return cls is not None and isinstance(method, Function) and _runs_it(analysis, cls, method)


@dataclass(frozen=True, slots=True)
class Run:
    """Where a model is run from outside of its own methods, as what, and in which frame."""

    place: Location
    name: str
    frame: Uid


def run_of(analysis: Analysis, event: Event) -> Run:
    """Return where a forward is asked for: at the call of the model's own method that holds it, if one does."""
    place, name, frame = event.place, event.name, analysis.lowering.frames.get(event.frame)
    if "method" in event.roles:
        name = name.rpartition(".")[0]
    path = event.frame
    while (
        frame is not None
        and frame.callers
        and isinstance(model := frame.receiver, Instance)
        and analysis.lowering.is_module(model.cls)
        and isinstance(call := frame.callers[-1][1], ast.Call)
        and isinstance(call.func, ast.Attribute)
    ):
        place, name, path = analysis.source.place(call), ast.unparse(call.func.value), frame.path[:-1]
        frame = analysis.lowering.frames.get(path)
    return Run(place, name, path)


def _runs_it(analysis: Analysis, cls: Class, method: Function) -> bool:
    todo, seen, runs = [method], set[ast.AST](), False
    syntax = analysis.lowering.syntax
    while todo:
        node = todo.pop().node
        if node in seen:
            continue
        seen.add(node)
        if not isinstance(node, FunctionNode) or node.decorator_list or len(seen) > _MOST:
            return False
        if syntax.mentioned(node) & _SWITCHES:
            return False
        for name in _asked_of_itself(node):
            called = analysis.lowering.method_of(cls, name)
            if isinstance(called, Function):
                todo.append(called)
            # What is no method of the class, and none of torch's, is a part of it.
            runs = runs or (called is None and name not in MODULE_METHODS)
    return runs


def _asked_of_itself(method: FunctionNode) -> Iterator[str]:
    """Yield what a method calls of its own object; to call that is to run `forward`."""
    for node in walk(method):
        match node:
            case ast.Call(ast.Attribute(ast.Name("self"), name)):
                yield name
            case ast.Call(ast.Name("self")):
                yield "forward"
            case _:
                continue
