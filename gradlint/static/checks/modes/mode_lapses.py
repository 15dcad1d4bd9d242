"""Models that a method evaluates amid the training of its class, and that nobody switches back: GL304.

It goes by what the methods of one class say, for trainers whose optimizer somebody unknown steps; where a step is seen, modes are followed
by events. It must not know states.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic
from gradlint.events import EventKind
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.modes.left_off import left_off
from gradlint.static.syntax.nodes import blocks_in, own
from gradlint.static.syntax.questions import FunctionNode
from gradlint.wordings.modes import AFTER_EVALUATION

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_LEAVES = (ast.Break, ast.Return, ast.Raise)
_PASSES = frozenset(["backward", "manual_backward"])


@check
def evaluated_amid_training(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL304: `self.model.train()` before a loop, `self.model.eval()` in what the loop calls, and nothing after it."""
    text = analysis.source.text
    if ".eval(" not in text or ".train(" not in text or "backward" not in text or _steps_are_seen(analysis):
        return
    for cls in analysis.nodes(ast.ClassDef):
        methods = {each.name: each for each in cls.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for method in methods.values():
            for loop in (node for node in own(method) if isinstance(node, _LOOPS)):
                yield from _lapses(analysis, methods, method, loop)


def _steps_are_seen(analysis: Analysis) -> bool:
    return any(event.kind is EventKind.STEP and event.targets for found in analysis.events.values() for event in found)


def _lapses(
    analysis: Analysis, methods: dict[str, FunctionNode], method: FunctionNode, loop: ast.For | ast.AsyncFor | ast.While
) -> Iterator[Diagnostic]:
    begun = {said for said, call in _switches(own(method), "train") if call.lineno < loop.lineno}
    called = list(_reached(loop, methods)) if begun else []
    passes = [call for call in called if isinstance(call.func, ast.Attribute) and call.func.attr in _PASSES]
    restored = {said for said, _ in _switches(called, "train", any_arguments=True)}
    shown = {ast.unparse(node) for node in own(loop) if isinstance(node, ast.Attribute)}
    for said, call in _switches(called, "eval") if passes else ():
        back = any(said == each or said.startswith(f"{each}.") for each in restored)
        if said in begun and said in shown and not back and _goes_on(loop, call, methods):
            marks = (("step", analysis.source.place(passes[0])),)
            place = analysis.source.place(call)
            yield left_off(analysis, None, place, marks, said, AFTER_EVALUATION)
            return


def _reached(scope: ast.AST, methods: dict[str, FunctionNode]) -> Iterator[ast.Call]:
    """Yield the calls in a scope, and in the methods that it calls of its own object."""
    todo, seen = [scope], set[str]()
    while todo:
        for node in own(todo.pop()):
            if isinstance(node, ast.Call):
                yield node
                name = _own_method(node)
                if name in methods and name not in seen:
                    seen.add(name)
                    todo.append(methods[name])


def _own_method(call: ast.Call) -> str:
    match call.func:
        case ast.Attribute(ast.Name("self"), name):
            return name
        case _:
            return ""


def _switches(
    nodes: Iterator[ast.AST] | list[ast.Call], mode: str, *, any_arguments: bool = False
) -> Iterator[tuple[str, ast.Call]]:
    """Yield who is put into a mode, as it is spelled, and the call that does so."""
    for node in nodes:
        match node:
            case ast.Call(ast.Attribute(owner, name), args) if name == mode and (any_arguments or not args):
                said = ast.unparse(owner)
                if said.startswith("self"):
                    yield said, node
            case _:
                continue


def _goes_on(scope: ast.AST, switch: ast.Call, methods: dict[str, FunctionNode]) -> bool:
    """Whether the loop goes on behind the statement that leads to a switch: it is not left there."""
    for block in blocks_in(scope):
        for index, statement in enumerate(block):
            if switch in _reached(statement, methods) and not any(
                isinstance(node, ast.stmt) for node in own(statement)
            ):
                return not any(isinstance(each, _LEAVES) for each in block[index + 1 :])
    return False
