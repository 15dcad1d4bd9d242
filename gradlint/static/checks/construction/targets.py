"""Target networks, copies that follow the model that is trained, which run with gradients: GL822.

It knows names of one function and of the class around it; it must not know events.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.construction.bystanders import with_gradients
from gradlint.static.lowering.values import Class
from gradlint.static.syntax.nodes import called, own_of, spelled, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_Scope = ast.Module | FunctionNode
_ASKED = frozenset(["load_state_dict", "state_dict", "eval", "train", "to", "cuda", "forward"])
"""What is asked of a copy, and leaves its parameters as they are."""
_FOLLOWING = regex(r"zip|print|soft|hard|update|sync|polyak|copy", re.IGNORECASE)
"""Calls that a copy, or its parameters, can be given to: they let it follow."""
_GRAPHLESS = regex(r"detach|\.data\b|\.item\(|numpy|arg(max|min|sort)|no_grad|\[1\]|indices|\.long\(|>|<|==")
"""What cuts a graph, or has none."""


@check
def targets(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL822: a loss goes back through a copy that only ever takes over the weights of the model that is trained."""
    frozen = analysis.says("requires_grad", "inference_mode", "set_grad_enabled")
    if frozen or not analysis.says("load_state_dict") or not analysis.says("backward"):
        return
    classes = {method: cls for cls in analysis.nodes(ast.ClassDef) for method in cls.body}
    for scope in analysis.scopes_with("backward"):
        around = classes.get(scope, scope) if isinstance(scope, FunctionNode) else scope
        copies = set(_copies(around))
        terms = _terms(scope) if copies and not _is_whole(analysis, around) and not _has_no_gradients(scope) else []
        copies = {name for name in copies if _is_left_alone(around, name)} if terms else set()
        for name, call in with_gradients(analysis, scope) if copies else ():
            if name in copies and any(call is node for term in terms for node in walk_of(term, ast.Call)):
                yield compose("GL822", Side.STATIC, analysis.source.place(call), subject=name)
                copies.remove(name)


def _is_whole(analysis: Analysis, around: ast.AST) -> bool:
    """Whether a class is a module itself: its parameters, which an optimizer may have, are those of its copies, too."""
    lowering = analysis.lowering
    return isinstance(around, ast.ClassDef) and lowering.is_module(Class(around, lowering.module.path))


def _has_no_gradients(scope: _Scope) -> bool:
    told = scope.decorator_list if isinstance(scope, FunctionNode) else []
    return any("no_grad" in ast.unparse(each) for each in told)


def _copies(around: ast.AST) -> Iterator[str]:
    """Yield who takes over the whole state of somebody else: `target.load_state_dict(model.state_dict())`."""
    for node in walk_of(around, ast.Call):
        match node:
            case ast.Call(
                ast.Attribute(target, "load_state_dict"), [ast.Call(ast.Attribute(source, "state_dict"), [], [])], []
            ) if _is_name(target) and _is_name(source):
                if spelled(target) != spelled(source) and _is_made(around, spelled(target)):
                    yield spelled(target)


def _is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and spelled(node).startswith("self."))


def _is_made(around: ast.AST, name: str) -> bool:
    """Whether a copy is made there, by one call: it is no part of somebody else."""
    made = [node.value for node in walk_of(around, ast.Assign) for each in node.targets if spelled(each) == name]
    return len(made) == 1 and isinstance(made[0], ast.Call)


def _is_left_alone(around: ast.AST, name: str) -> bool:
    """Whether nobody may train or freeze a copy: it is run, and follows."""
    for node in walk_of(around, ast.Attribute):
        if node.attr not in _ASKED and spelled(node.value) == name and not _is_followed(around, node):
            return False
    for call in walk_of(around, ast.Call):
        given = any(spelled(arg) == name for arg in (*call.args, *(each.value for each in call.keywords)))
        if given and not _FOLLOWING.search(called(call)):
            return False
    return True


def _is_followed(around: ast.AST, asked: ast.Attribute) -> bool:
    """Whether parameters are only asked for to let a copy follow, together with those of the model: `zip(...)`."""
    if asked.attr not in ("parameters", "named_parameters"):
        return False
    calls = (node for node in walk_of(around, ast.Call) if _FOLLOWING.search(called(node)))
    return any(asked is each for call in calls for each in walk_of(call, ast.Attribute))


def _terms(scope: _Scope) -> list[ast.expr]:
    """Return the expressions of which a loss is made that runs backward, with those of what they name; none without a graph."""
    todo = [
        node.func.value
        for node in own_of(scope, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
    ]
    cut = {spelled(node.value) for node in own_of(scope, ast.Attribute) if node.attr in ("detach_", "volatile")}
    found, seen, given = list[ast.expr](), cut, _given(scope) if todo else {}
    while todo:
        term = todo.pop()
        if _GRAPHLESS.search(ast.unparse(term)):
            continue
        found.append(term)
        for name in {node.id for node in walk(term) if isinstance(node, ast.Name)} - seen:
            seen.add(name)
            values = given.get(name, [])
            if not any(_GRAPHLESS.search(ast.unparse(value)) for value in values):
                todo += values
    return found


def _given(scope: _Scope) -> dict[str, list[ast.expr]]:
    """Return what the names of a function are given."""
    given: dict[str, list[ast.expr]] = {}
    for node in own_of(scope, ast.Assign):
        for name in (part.id for target in node.targets for part in walk(target) if isinstance(part, ast.Name)):
            given.setdefault(name, []).append(node.value)
    return given
