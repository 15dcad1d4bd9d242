"""Models that a method evaluates amid the training of its class, and that nobody switches back: GL304.

It goes by what the methods of one class say, for trainers whose optimizer somebody unknown steps, or updates somebody unknown; where it is
known who steps whom, modes are followed by events. It must not know states.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

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
        switches = {call: said for method in methods.values() for call, said in _switches(method)}
        for method in methods.values() if switches else ():
            for loop in (node for node in own(method) if isinstance(node, _LOOPS)):
                yield from _lapses(analysis, methods, switches, method, loop)


def _steps_are_seen(analysis: Analysis) -> bool:
    steps = (event for found in analysis.events.values() for event in found if event.kind is EventKind.STEP)
    objects = analysis.lowering.objects
    return any(uid not in objects or objects[uid].of for event in steps for uid in event.targets or ())


def _lapses(
    analysis: Analysis,
    methods: dict[str, FunctionNode],
    switches: dict[ast.Call, str],
    method: FunctionNode,
    loop: ast.For | ast.AsyncFor | ast.While,
) -> Iterator[Diagnostic]:
    before = (node for node in own(method) if isinstance(node, ast.Call) and node.lineno < loop.lineno)
    begun = set(_told(before, switches, "train").values())
    called = list(_reached(loop, methods)) if begun else []
    passes = [call for call in called if isinstance(call.func, ast.Attribute) and call.func.attr in _PASSES]
    if not passes:
        return
    restored = set(_told(called, switches, "train", any_arguments=True).values())
    shown = _shown(method, loop)
    for call, said in _told(called, switches, "eval").items():
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


def _switches(method: FunctionNode) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls of a method that put a model of its object into a mode, and which attribute that is."""
    aliases = _aliases(method)
    for node in own(method):
        match node:
            case ast.Call(ast.Attribute(owner, "train" | "eval")):
                said = aliases.get(owner.id, "") if isinstance(owner, ast.Name) else ast.unparse(owner)
                if said.startswith("self"):
                    yield node, said
            case _:
                continue


def _aliases(method: FunctionNode) -> dict[str, str]:
    """Return the names that stand for an attribute of the method's own object throughout, as it is or wrapped."""
    bound: Counter[str] = Counter()
    given: dict[str, list[ast.expr]] = defaultdict(list)
    for node in own(method):
        match node:
            case ast.Name(name, ast.Store()) | ast.arg(name):
                bound[name] += 1
            case ast.Assign([ast.Name(name)], value):
                given[name].append(value)
    return {
        name: ast.unparse(first)
        for name, (first, *later) in given.items()
        if bound[name] == len(later) + 1
        and isinstance(first, ast.Attribute)
        and all(isinstance(each, ast.Call) and _is_given(each, name) for each in later)
    }


def _is_given(call: ast.Call, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in call.args)


def _told(
    nodes: Iterable[ast.AST], switches: dict[ast.Call, str], mode: str, *, any_arguments: bool = False
) -> dict[ast.Call, str]:
    """Return the calls among these that put a model into a mode, and which one."""
    calls = (node for node in nodes if isinstance(node, ast.Call) and node in switches)
    return {call: switches[call] for call in calls if _says(call, mode) and (any_arguments or not call.args)}


def _says(call: ast.Call, mode: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == mode


def _shown(method: FunctionNode, loop: ast.AST) -> set[str]:
    """Return the attributes that a loop mentions, by themselves or by a name that stands for them."""
    aliases = _aliases(method)
    names = {aliases[node.id] for node in own(loop) if isinstance(node, ast.Name) and node.id in aliases}
    return names | {ast.unparse(node) for node in own(loop) if isinstance(node, ast.Attribute)}


def _goes_on(scope: ast.AST, switch: ast.Call, methods: dict[str, FunctionNode]) -> bool:
    """Whether the loop goes on behind the statement that leads to a switch: it is not left there."""
    for block in blocks_in(scope):
        for index, statement in enumerate(block):
            if switch in _reached(statement, methods) and not any(
                isinstance(node, ast.stmt) for node in own(statement)
            ):
                return not any(isinstance(each, _LEAVES) for each in block[index + 1 :])
    return False
