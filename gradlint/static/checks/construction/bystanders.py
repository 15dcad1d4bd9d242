"""Pretrained models that run with gradients beside the one that is trained, though nobody updates them: GL822.

It knows names of one function; it must not know events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.lowering.values import Library
from gradlint.static.sources.library import role_of, words
from gradlint.static.syntax.nodes import called, children, own_of, walk_of
from gradlint.static.syntax.questions import FunctionNode

_Scope = ast.Module | FunctionNode
_LOOPS = frozenset([ast.For, ast.While])
_MOVES = frozenset(["to", "cuda", "half", "eval"])
"""What is asked of models, and not of tokenizers."""
_TRAINED = frozenset(
    ["parameters", "named_parameters", "requires_grad_", "requires_grad", "train", "load_adapter", "add_adapter"]
)
"""What is asked of a model that is frozen, or trained as a whole or in part."""
_READERS = frozenset(["from_pretrained", "unwrap_model", "print", "info", "len", "isinstance", "is_compiled_module"])
"""Calls that a model can be given to, and stays as it is."""


@check
def bystanders(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL822: in a loop that runs backward, a pretrained model runs with gradients that no optimizer in sight can use."""
    if not analysis.says("from_pretrained") or not analysis.says("backward"):
        return
    trains = set(analysis.scopes_with("backward"))
    for scope in filter(trains.__contains__, analysis.scopes_with("from_pretrained")):
        steps = any(_called(node) == "step" for node in own_of(scope, ast.Call))
        loops = list(filter(_runs_backward, _loops(scope))) if steps else []
        models = _models(analysis, scope) if loops else {}
        alone = _left_alone(scope, set(models)) if models else set()
        models = {name: made for name, made in models.items() if name in alone}
        run = {name: call for loop in loops for name, call in with_gradients(analysis, loop)} if models else {}
        for name in models:
            if name in run:
                marks = (("run", analysis.source.place(run[name])),)
                yield compose("GL822", Side.STATIC, analysis.source.place(models[name]), marks, subject=name)


def _loops(scope: _Scope) -> list[ast.For | ast.While]:
    return sorted((*own_of(scope, ast.For), *own_of(scope, ast.While)), key=lambda loop: loop.lineno)


def _runs_backward(loop: ast.AST) -> bool:
    return any(_called(node) == "backward" for node in walk_of(loop, ast.Call))


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _models(analysis: Analysis, scope: _Scope) -> dict[str, ast.Assign]:
    """Return the names of a function that are given a pretrained model of a library once, and where."""
    given: dict[str, list[ast.Assign]] = {}
    for node in own_of(scope, ast.Assign):
        match node.targets:
            case [ast.Name(id=name)]:
                given.setdefault(name, []).append(node)
            case _:
                continue
    bound = [node.id for node in own_of(scope, ast.Name) if isinstance(node.ctx, ast.Store)]
    return {
        name: nodes[0]
        for name, nodes in given.items()
        if len(nodes) == 1 and bound.count(name) == 1 and _is_pretrained(analysis, nodes[0].value)
    }


def _is_pretrained(analysis: Analysis, node: ast.expr) -> bool:
    match node:
        case ast.Call(ast.Attribute(attr="from_pretrained") as callee):
            known = analysis.value(callee)
            return isinstance(known, Library) and known.name.split(".")[0] in words("pretrained", "evaluating")
        case ast.Call(ast.Attribute(made, method)) if method in _MOVES:
            return _is_pretrained(analysis, made)
        case _:
            return False


def with_gradients(analysis: Analysis, node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield who is run below a node, but for what is in a function of its own or where gradients are off."""
    for child in children(node):
        if isinstance(child, (ast.With, ast.AsyncWith)) and any(_is_off(analysis, item) for item in child.items):
            continue
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        match child:
            case ast.Call(ast.Name(callee) | ast.Attribute(ast.Name(callee), "encode" | "forward")):
                yield callee, child
            case ast.Call(
                ast.Attribute(ast.Name("self"), callee)
                | ast.Attribute(ast.Attribute(ast.Name("self"), callee), "forward")
            ):
                yield f"self.{callee}", child
        yield from with_gradients(analysis, child)


def _is_off(analysis: Analysis, item: ast.withitem) -> bool:
    """Whether a context is not known to leave gradients on."""
    context = item.context_expr
    callee = context.func if isinstance(context, ast.Call) else context
    known = analysis.value(callee)
    if isinstance(known, Library) and role_of(known.name) in ("no-grad", "set-grad"):
        return True
    if known == Library("builtins.open"):
        return False
    return not (isinstance(callee, ast.Attribute) and callee.attr in ("accumulate", "autocast", "no_sync", "profile"))


def _left_alone(scope: _Scope, names: set[str]) -> set[str]:
    """Return those of `names` that a function moves and calls, and does nothing else with that could freeze or train them."""
    attributes, calls = own_of(scope, ast.Attribute), own_of(scope, ast.Call)
    trained = {_beginning(node.value) for node in attributes if node.attr in _TRAINED}
    moved = {node.value.id for node in attributes if node.attr in _MOVES and isinstance(node.value, ast.Name)}
    alone = names & (moved | set(_given_moved(scope))) - trained
    if not alone:
        return alone
    harmless: set[ast.AST] = {node.value for node in attributes}
    for call in calls:
        harmless.add(call.func)
        if isinstance(call.func, (ast.Name, ast.Attribute)) and called(call) in _READERS:
            harmless.update([*call.args, *(keyword.value for keyword in call.keywords)])
    harmless.update(node.test for node in own_of(scope, ast.If))
    harmless.update(node.left for node in own_of(scope, ast.Compare))
    reads = (node for node in own_of(scope, ast.Name) if not isinstance(node.ctx, ast.Store))
    return alone - {read.id for read in reads if read not in harmless}


def _given_moved(scope: _Scope) -> Iterator[str]:
    """Yield the names that are given what a method that moves returns."""
    for node in own_of(scope, ast.Assign):
        match node:
            case ast.Assign(value=ast.Call(func=ast.Attribute(attr=attr)), targets=[ast.Name(id=name)]) if (
                attr in _MOVES
            ):
                yield name
            case _:
                continue


def _beginning(node: ast.expr) -> str:
    """Return the name with which an expression begins that is a name, or what methods of it return."""
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
