"""Which methods of a module only run it: what their source does to modes.

It knows classes in sight; it must not know states or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.static.analysis import Analysis
from gradlint.static.attributes import MODULE_METHODS
from gradlint.static.nodes import walk
from gradlint.static.syntax import FunctionNode
from gradlint.static.tree import Event, Uid
from gradlint.static.values import Class, Function

_SWITCHES = frozenset(["eval", "train", "training"])
_MOST = 40
"""So many functions are looked through."""


def only_runs(analysis: Analysis, module: Uid, event: Event) -> bool:
    """Whether a forward is that of a method in sight which runs parts of the module, or all of it, and leaves modes alone."""
    cls = analysis.lowering.instances.get(module)
    name = event.name.rpartition(".")[2]
    method = analysis.lowering.method_of(cls, name) if cls is not None and name else None
    return cls is not None and isinstance(method, Function) and _runs_it(analysis, cls, method)


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
