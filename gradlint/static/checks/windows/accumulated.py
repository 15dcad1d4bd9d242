"""Models, and numbers of batches, that Accelerate is not told of: GL714.

It knows names of one function; it must not know events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.facts.prepared import accumulates_nothing
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.nodes import own, own_of, walk
from gradlint.static.syntax.questions import FunctionNode

_Scope = ast.Module | FunctionNode

_OWN_LENGTH = regex(r"((self\.)?(args|opt|cfg|config|hparams)\.)?(grad(ient)?s?_)?accum\w*_steps")
"""How a script spells the number of batches that it wants to accumulate."""


@check
def not_accumulated(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL714: of several models that are prepared and put into training mode together, a window names only some."""
    if not analysis.says(".accumulate("):
        return
    for scope in analysis.scopes_with(".accumulate("):
        windows, together = list(_windows(analysis, scope)), _prepared(analysis, scope)
        told = [_given(call, scope, set().union(*together)) for call, _ in windows]
        for (call, around), given in zip(windows, told, strict=True):
            prepared = {name for names in together if names & given for name in names}
            # Two that train against each other have a window each.
            missing = sorted((prepared & _trained(around)) - set().union(*told))
            if missing:
                (be, whose, them) = ("is", "its", "it") if len(missing) == 1 else ("are", "their", "them")
                what = (
                    f"{_listed(missing)} {be} prepared and trained, but not accumulated: the processes exchange {whose}"
                )
                what += " gradients in each batch, not only in the last one of a window"
                place, remedy = analysis.source.place(call), f"pass {them} to `{ast.unparse(call.func)}`, too"
                found = compose("GL714", Side.STATIC, place, what=what, remedy=remedy)
                yield replace(found, severity=Severity.INFO)


@check
def never_accumulated(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL714: a function counts with windows of several batches, and its accelerator is not told of their length."""
    if not analysis.says(".accumulate(") or analysis.says("ACCELERATE_GRADIENT_ACCUMULATION"):
        return
    for scope in analysis.scopes_with(".accumulate("):
        length = next(_lengths(scope), None)
        for call, _ in _windows(analysis, scope) if length is not None and not _decided(analysis, length) else ():
            for made in _untold(analysis, call):
                told = f"gradient_accumulation_steps={ast.unparse(length)}" if length is not None else ""
                what = f"nothing is accumulated: unless the launcher tells `{made}` how many batches a window has, it has one"
                found = compose(
                    "GL714", Side.STATIC, analysis.source.place(call), what=what, remedy=f"build `{made}({told})`"
                )
                yield replace(found, severity=Severity.WARNING)


def _untold(analysis: Analysis, window: ast.Call) -> Iterator[str]:
    """Yield the class of the accelerator that opens a window, if nothing may tell it a length."""
    owner = analysis.value(window.func.value) if isinstance(window.func, ast.Attribute) else None
    if isinstance(owner, Object) and accumulates_nothing(owner):
        yield ast.unparse(owner.calls[0].node.func)


def _lengths(scope: _Scope) -> Iterator[ast.expr]:
    """Yield by what a function multiplies or divides that is called the number of accumulated batches."""
    for node in own_of(scope, ast.BinOp):
        if isinstance(node.op, (ast.Mult, ast.FloorDiv)):
            yield from (side for side in (node.left, node.right) if _OWN_LENGTH.fullmatch(ast.unparse(side)))


def _decided(analysis: Analysis, length: ast.expr) -> bool:
    """Whether somebody else decides: the accelerator is asked for the length or told of it later, or windows are made by hand."""
    name = ast.unparse(length).rpartition(".")[2]
    asked = any("accelerator" in ast.unparse(node.value) for node in analysis.nodes(ast.Attribute) if node.attr == name)
    stored = any(isinstance(node.ctx, ast.Store) for node in analysis.nodes(ast.Attribute) if node.attr == name)
    by_hand = (
        node for node in analysis.nodes(ast.BinOp) if isinstance(node.op, ast.Mod) and name in ast.unparse(node.right)
    )
    return asked or stored or any(by_hand) or any(name in ast.unparse(node.test) for node in analysis.nodes(ast.Assert))


def _listed(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)


def _windows(analysis: Analysis, scope: _Scope) -> Iterator[tuple[ast.Call, ast.AST]]:
    """Yield the calls that open a window in a loop of a function, each with the outermost loop around it."""
    calls = [node for node in own_of(scope, ast.Call) if _asks(analysis, node, "accumulate")]
    loops = sorted((*own_of(scope, ast.For), *own_of(scope, ast.While)), key=lambda loop: loop.lineno) if calls else []
    for call in calls:
        around = next((loop for loop in loops if loop.lineno < call.lineno <= (loop.end_lineno or 0)), None)
        if around is not None:
            yield call, around


def _asks(analysis: Analysis, call: ast.Call, method: str) -> bool:
    if not isinstance(call.func, ast.Attribute) or call.func.attr != method:
        return False
    owner = analysis.value(call.func.value)
    return isinstance(owner, Object) and owner.kind is Kind.ENGINE and owner.origin.startswith("accelerate.")


def _prepared(analysis: Analysis, scope: _Scope) -> list[set[str]]:
    """Return the names that an accelerator prepares together."""
    calls = (node for node in own_of(scope, ast.Call) if _asks(analysis, node, "prepare"))
    return [{arg.id for arg in call.args if isinstance(arg, ast.Name)} for call in calls]


def _trained(loop: ast.AST) -> set[str]:
    """Return the names that a loop puts into training mode."""
    return {
        node.func.value.id
        for node in own_of(loop, ast.Call)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "train" and isinstance(node.func.value, ast.Name)
    }


def _given(call: ast.Call, scope: _Scope, prepared: set[str]) -> set[str]:
    """Return the models that a window is told of, by name or in a list (none: not all are known)."""
    found: set[str] = set()
    for arg in call.args:
        inner = arg.value if isinstance(arg, ast.Starred) else arg
        names = {inner.id} if isinstance(inner, ast.Name) and inner.id in prepared else _elements(inner, scope)
        if not names:
            return set()
        found |= names
    return found


def _elements(node: ast.expr, scope: _Scope) -> set[str]:
    """Return the names that a list holds, if it is written out wherever it is made."""
    match node:
        case ast.List(elements) | ast.Tuple(elements):
            return {each.id for each in elements if isinstance(each, ast.Name)}
        case ast.Name(name):
            made = [each.value for each in own_of(scope, ast.Assign) if _binds(each, name)]
            if not made or not all(isinstance(value, (ast.List, ast.Tuple)) for value in made):
                return set()
            parts = [*made, *_added(scope, name)]
            return {each.id for part in parts for each in walk(part) if isinstance(each, ast.Name)}
        case _:
            return set()


def _binds(statement: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in statement.targets)


def _added(scope: _Scope, name: str) -> Iterator[ast.expr]:
    """Yield what is added to a list."""
    for node in own(scope):
        match node:
            case ast.Call(ast.Attribute(ast.Name(owner), "append" | "extend" | "insert"), args) if owner == name:
                yield from args
            case ast.AugAssign(ast.Name(owner), _, value) if owner == name:
                yield value
            case _:
                continue
