"""Steps behind a backward pass of nobody's but other models: GL104.

It knows names of one function, or of a script; it must not know events.
"""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.bearing import makes_module
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.nodes import base_name, called, children, own, own_of, walk_of
from gradlint.static.syntax.questions import FunctionNode
from gradlint.wordings.updates import OF_OTHERS, STRANGE

_Scope = ast.Module | FunctionNode
_FUNCTIONS = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)
_BINDING = frozenset(
    [ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.For, ast.comprehension, ast.withitem]
)
_MOVES = frozenset(["to", "cuda", "cpu", "train", "eval", "apply", "float", "half", "double"])
_WRAPS = frozenset(["DataParallel", "DistributedDataParallel", "DDP", "compile", "convert_sync_batchnorm"])
_HARMLESS = frozenset(["zero_grad", "step", "backward", "print", "clip_grad_norm_", "clamp_", "append", "update"])
"""What may be called for its own sake between clearing and stepping: it runs no other backward pass."""
_CUTS = frozenset(["detach", "item"])
"""Methods whose result has no graph."""


@check
def strangers(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL104: between clearing and stepping, all that runs backward is a loss in which no model of the optimizer has a part."""
    if not analysis.says(".zero_grad()") or not analysis.says(".backward("):
        return
    made = [node for node in analysis.nodes(ast.Assign) if makes_module(analysis, node.value)]
    models_in = Counter(analysis.scope_of(node) for node in made for _ in node.targets)
    for scope in analysis.scopes_with(".backward(") if made else ():
        models = _made(analysis, scope) if models_in[scope] > 1 else frozenset[str]()
        owned = _owned(analysis, scope, models) if len(models) > 1 else {}
        others = _others(scope, owned, models) if owned else {}
        blocks = _blocks(scope) if any(others.values()) else ()
        updates = [update for block in blocks for update in _updates(block, owned)]
        given = _given(scope) if updates else {}
        for step, name, loss in updates:
            reached = _behind(analysis, given, loss)
            if reached is not None and reached.isdisjoint(owned[name]) and reached & others[name]:
                whose = " and ".join(f"`{each}`" for each in sorted(owned[name]))
                found = compose("GL104", Side.STATIC, analysis.source.place(step), subject=name)
                what = STRANGE.format(subject=name, loss=ast.unparse(loss), whose=whose)
                yield replace(found, message=what, help=OF_OTHERS.format(whose=whose))


def _made(analysis: Analysis, scope: _Scope) -> frozenset[str]:
    """Return the names of the models that a scope makes; a criterion is none."""
    made = (node for node in own_of(scope, ast.Assign) if makes_module(analysis, node.value))
    found = (node for node in made if getattr(analysis.value(node.value), "kind", None) is not Kind.CRITERION)
    return frozenset(each.id for node in found for each in node.targets if isinstance(each, ast.Name))


def _others(scope: _Scope, owned: dict[str, frozenset[str]], models: frozenset[str]) -> dict[str, frozenset[str]]:
    """Return for each optimizer whose loss is none of its own: of who has an optimizer, or of any if nobody else knows its models."""
    passed, trained = _passed_on(scope), frozenset().union(*owned.values())
    return {name: (trained | (models if passed.isdisjoint(mine) else set())) - mine for name, mine in owned.items()}


def _owned(analysis: Analysis, scope: _Scope, models: frozenset[str]) -> dict[str, frozenset[str]]:
    """Return the optimizers that a scope makes once, with the models whose parameters they are given, which it makes once."""
    made: dict[str, list[ast.expr]] = {}
    for node in own_of(scope, ast.Assign):
        for target in node.targets:
            for name in _names(target) - _kept(node.value):
                made.setdefault(name, []).append(node.value if isinstance(target, ast.Name) else target)
    once = {name: values[0] for name, values in made.items() if len(values) == 1 and isinstance(values[0], ast.Call)}
    owned = {name: _models(analysis, value) for name, value in once.items() if isinstance(value, ast.Call)}
    if not any(owned.values()):
        return {}
    models |= {model for names in owned.values() for model in names}
    # One that is made of another shares its parameters, perhaps.
    single = {name for name in models if name in once and models.isdisjoint(_names(once[name]) - {name})}
    single -= {name for node in own(scope) for name in _handed(node)}
    return {name: names for name, names in owned.items() if names and names <= single}


def _passed_on(scope: _Scope) -> set[str]:
    """Return the names that a function inside of a scope, or a call, gets to know."""
    inner = (node for kind in _FUNCTIONS for node in walk_of(scope, kind) if node is not scope)
    given = (
        each
        for call in walk_of(scope, ast.Call)
        if called(call) not in ("print", "summary")
        for each in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(each, (ast.Name, ast.List, ast.Tuple, ast.Dict, ast.Starred))
    )
    return {name for node in (*inner, *given) for name in _names(node)}


def _handed(node: ast.AST) -> set[str]:
    """Return the names that a statement gives to somebody who may keep them: one of its attributes, or a call of its own."""
    match node:
        case ast.Assign([(ast.Attribute() | ast.Subscript()), *_], value):
            return _names(value)
        case ast.Expr(ast.Call(_, args, keywords) as call) if called(call) not in ("print", "summary"):
            given = [*args, *(each.value for each in keywords)]
            return {each.id for each in given if isinstance(each, ast.Name)}
        case _:
            return set()


def _kept(value: ast.expr) -> set[str]:
    """Return the name of what an assignment only moves or wraps: `net = net.cuda()`."""
    match value:
        case ast.Call(ast.Attribute(ast.Name(name), method)) if method in _MOVES:
            return {name}
        case ast.Call(_, [ast.Name(name), *_]) if called(value) in _WRAPS:
            return {name}
        case _:
            return set()


def _models(analysis: Analysis, call: ast.Call) -> frozenset[str]:
    """Return the names of the models whose parameters make up an optimizer, if that is all that it is given."""
    known = analysis.value(call)
    given = call.args[:1] or [each.value for each in call.keywords if each.arg == "params"]
    if not isinstance(known, Object) or known.kind is not Kind.OPTIMIZER or not given:
        return frozenset()
    asked = [node.func for node in walk_of(given[0], ast.Call) if called(node) == "parameters"]
    named = {each.value.id for each in asked if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name)}
    return frozenset(named if _names(given[0]) - named <= {"itertools", "chain", "list"} else ())


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in walk_of(node, ast.Name)}


def _blocks(scope: _Scope) -> Iterator[list[ast.stmt]]:
    """Yield the bodies of the loops of a scope, and those of what stands in them."""
    for loop in own(scope):
        if isinstance(loop, (ast.For, ast.While)):
            yield loop.body
            yield from (node.body for node in own(loop) if isinstance(node, (ast.If, ast.With)))


def _updates(block: list[ast.stmt], owned: dict[str, frozenset[str]]) -> Iterator[tuple[ast.Call, str, ast.expr]]:
    """Yield each step of a block before which its optimizer is cleared there, and one loss has run backward since."""
    cleared: dict[str, int] = {}
    clearing = _clearing(owned)
    for number, statement in enumerate(block):
        call, owner = _asked(statement, "zero_grad")
        cleared |= dict.fromkeys(clearing.get(owner, ()) if call is not None else (), number)
        step, name = _asked(statement, "step")
        if step is None or name not in cleared:
            continue
        between = block[cleared[name] + 1 : number]
        losses = [root for each in between for node in walk_of(each, ast.Call) for root in _root(node)]
        calls = [each.value for each in between if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
        plain = all(isinstance(each, (ast.Assign, ast.AugAssign, ast.Expr)) for each in between)
        if plain and len(losses) == 1 and all(called(call) in _HARMLESS for call in calls):
            yield step, name, losses[0]


def _clearing(owned: dict[str, frozenset[str]]) -> dict[str, list[str]]:
    """Return by name whom it clears: an optimizer itself, and one whose only model it is."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, models in owned.items():
        found[name].append(name)
        for model in models if len(models) == 1 else ():
            found[model].append(name)
    return found


def _asked(statement: ast.stmt, method: str) -> tuple[ast.Call | None, str]:
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name), asked), []) as call) if asked == method:
            return call, name
        case _:
            return None, ""


def _root(call: ast.Call) -> Iterator[ast.expr]:
    """Yield from what a call runs backward, if it does."""
    match call.func:
        case ast.Attribute(loss, "backward"):
            yield loss
        case _:
            return


def _switches_off(node: ast.With) -> bool:
    """Whether a block is computed without gradients, and no condition decides about it."""
    entered = [each.context_expr for each in node.items]
    return any(
        isinstance(each, ast.Call) and called(each) in ("no_grad", "inference_mode") and not each.args
        for each in entered
    )


def _given(scope: _Scope) -> dict[str, list[ast.AST]]:
    """Return what the names of a scope are given, or may be put into what they stand for: `fill(losses, model(x))`."""
    given: dict[str, list[ast.AST]] = defaultdict(list)
    cut = {each for node in own_of(scope, ast.With) if _switches_off(node) for each in own(node)}
    for node in own(scope):
        for name, value in _bindings(node) if type(node) in _BINDING and node not in cut else ():
            given[name].append(value)
    for node in own_of(scope, ast.Expr):
        if isinstance(node.value, ast.Call) and node not in cut:
            holders = {base_name(node.value.func), *(each.id for each in node.value.args if isinstance(each, ast.Name))}
            for name in holders & given.keys():
                given[name].append(node)
    return given


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a node binds, each with what it is given."""
    match node:
        case ast.Assign(targets, value):
            yield from ((name, value) for target in targets for name in _names(target))
        case ast.AugAssign(target, _, ast.expr() as value) | ast.AnnAssign(target, _, ast.expr() as value):
            yield from ((name, value) for name in _names(target))
        case ast.NamedExpr(target, value) | ast.For(target, value) | ast.comprehension(target, value):
            yield from ((name, value) for name in _names(target))
        case ast.withitem(value, ast.expr() as target):
            yield from ((name, value) for name in _names(target))


def _joined(node: ast.AST) -> Iterator[str]:
    """Yield the names in a node through which a backward pass may go: not those of what is detached there."""
    todo = [node]
    while todo:
        each = todo.pop()
        if isinstance(each, ast.Name):
            yield each.id
        if not isinstance(each, ast.Call) or not isinstance(each.func, ast.Attribute) or each.func.attr not in _CUTS:
            todo += children(each)


def _behind(analysis: Analysis, given: dict[str, list[ast.AST]], loss: ast.expr) -> frozenset[str] | None:
    """Return all names behind a loss, through what they are given and the functions that they are (None: not all are known)."""
    functions = {each.name: each for each in analysis.functions}
    todo: list[ast.AST] = [loss]
    seen: set[str] = set()
    while todo:
        for name in set(_joined(todo.pop())) - seen:
            seen.add(name)
            todo += given.get(name, [])
            todo += [functions[name]] if name in functions else []
    run = (functions[name] for name in seen & functions.keys())
    return None if "self" in seen or any("backward" in ast.unparse(each) for each in run) else frozenset(seen)
