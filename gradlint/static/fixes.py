"""How findings are mended: for each rule that can be, which statement has to go where.

It reads the code with `ast` and leaves the writing to libcst; it must not know protocols or how findings are made. A fix
that cannot be built exactly is none: what stands in doubt is left to the user.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from gradlint.diagnostics import Diagnostic, Fix, Location
from gradlint.static.outline import Loop, Outline, begin, own, parts, written
from gradlint.static.rewriting import Change, Enter, Insert, Move, rewrite
from gradlint.wordings import WORDINGS

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
_TRAINING = frozenset(["backward", "step", "train", "zero_grad", "requires_grad", "requires_grad_", "enable_grad"])


@dataclass(frozen=True, slots=True)
class _Remedy:
    """What a fix does, in words and as a change."""

    message: str
    change: Change
    safe: bool = False


_Builder: TypeAlias = Callable[[Diagnostic, Outline], _Remedy | None]


def with_fixes(found: Sequence[Diagnostic], source: str) -> list[Diagnostic]:
    """Return `found`, all of them in one file with the text `source`, with the fixes that can be built."""
    if not found:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outline = Outline(source, found[0].location.filename)
    return [item if item.fix else replace(item, fix=_fix(item, outline)) for item in found]


def _fix(item: Diagnostic, outline: Outline) -> Fix | None:
    builder = _BUILDERS.get(item.code)
    remedy = builder(item, outline) if builder else None
    if remedy is None:
        return None
    edits = rewrite(outline.lines, _rows(remedy.change, outline), outline.filename, remedy.change)
    return Fix(remedy.message, edits, remedy.safe) if edits else None


def _rows(change: Change, outline: Outline) -> range:
    match change:
        case Insert(_, place):
            return outline.rows(place.row, place.row)
        case Move(place, to):
            return outline.rows(min(place.row, to.row), max(place.row, to.row))
        case Enter(place):
            statement = outline.at(place, ast.Expr)
            assert statement is not None
            return outline.rows(place.row, outline.place(outline.block(statement)[-1]).end_row)


def _related(item: Diagnostic, role: str) -> Location | None:
    """Return the place that the finding names in this role."""
    words = WORDINGS[item.code].roles[role]
    return next((related.location for related in item.related if related.text.startswith(words)), None)


def _subject(item: Diagnostic, step: ast.Call) -> ast.expr | None:
    """Return the optimizer of a step as it is spelled there, `scaler.step(optimizer)` included."""
    receiver = [step.func.value] if isinstance(step.func, ast.Attribute) else []
    named = (node for node in (*receiver, *step.args) if f"`{ast.unparse(node)}`" in item.message)
    return next((node for node in named if _plain(node)), None)


def _plain(node: ast.expr) -> bool:
    """Whether an expression can be repeated: it has no effect and means the same again."""
    return all(
        isinstance(inner, (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.expr_context))
        for inner in ast.walk(node)
    )


def _clear_in_loop(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL101 and GL107: clear at the start of each iteration."""
    loop, step = _ring(item, outline)
    subject = _subject(item, step) if step else None
    if loop is None or subject is None or parts(subject) & written(loop.body):
        return None
    call = f"{outline.spelled(subject)}.zero_grad()"
    return _Remedy(f"Insert `{call}` into the loop", Insert(call, outline.place(loop.body[0])))


def _ring(item: Diagnostic, outline: Outline) -> tuple[Loop | None, ast.Call | None]:
    """Return the loop of which each iteration is one update, and the step in it."""
    step = outline.at(item.location, ast.Call)
    backward = outline.at(_related(item, "dirty"), ast.Call)
    if step is None or backward is None or backward.lineno > step.lineno:
        return None, step
    loop = outline.loop(step, backward)
    return (None if loop is None or _accumulates(outline, loop, step, backward) else loop), step


def _accumulates(outline: Outline, loop: Loop, step: ast.Call, backward: ast.Call) -> bool:
    """Whether some iterations may come to the backward pass and not to the step."""
    around = set(outline.above(backward))
    between = [node for node in outline.above(step) if node not in around]
    windows = [item.context_expr for node in outline.above(step) if isinstance(node, ast.With) for item in node.items]
    if _mentions(windows, {"accumulate"}):
        return True
    return any(not isinstance(node, (ast.Expr, ast.Assign, ast.With, ast.Call)) for node in between) or any(
        isinstance(node, ast.Continue) and backward.lineno <= node.lineno <= step.lineno for node in ast.walk(loop)
    )


def _move_into_loop(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL102: clear in the loop, not around it."""
    loop, _ = _ring(item, outline)
    clearing = _clearing(item, outline)
    if loop is None or clearing is None:
        return None
    outer = outline.sibling(loop, outline.block(clearing))
    if outer is None or outline.scope(clearing) is not outline.scope(loop) or outer.lineno <= clearing.lineno:
        return None
    if parts(clearing) & written([outer]):
        return None
    change = Move(outline.place(clearing), outline.place(loop.body[0]))
    return _Remedy(f"Move `{ast.unparse(clearing)}` into the loop", change)


def _clearing(item: Diagnostic, outline: Outline) -> ast.Expr | None:
    """Return the statement that clears, if it is no more than that call."""
    return _alone(outline, outline.at(_related(item, "cleared"), ast.Call))


def _alone(outline: Outline, call: ast.Call | None) -> ast.Expr | None:
    statement = outline.statement(call) if call is not None else None
    return statement if isinstance(statement, ast.Expr) and statement.value is call else None


def _clear_first(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL103: clear before the backward pass."""
    clearing = _clearing(item, outline)
    backward, step = outline.at(_related(item, "fresh"), ast.Call), outline.at(item.location, ast.Call)
    if clearing is None or backward is None or step is None:
        return None
    block = outline.block(clearing)
    passed, stepped = outline.statement(backward), outline.statement(step)
    if passed not in block or stepped not in block:
        return None
    first, second, third = (block.index(statement) for statement in (passed, clearing, stepped))
    if not first < second < third or parts(clearing) & written(block[first:second]):
        return None
    if _mentions([*block[first + 1 : second], *block[second + 1 : third]], {"backward", "step"}):
        return None  # Which of the passes is meant, and whose step, is not known.
    change = Move(outline.place(clearing), outline.place(passed))
    return _Remedy(f"Move `{ast.unparse(clearing)}` before the backward pass", change)


def _clear_in_closure(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL402: clear at the start of each evaluation."""
    step, closure = outline.at(item.location, ast.Call), outline.at(_related(item, "closure"), ast.FunctionDef)
    subject = _subject(item, step) if step else None
    first = begin(closure.body) if closure else None
    if step is None or closure is None or subject is None or first is None:
        return None
    bound = written(closure.body) | {node.arg for node in ast.walk(closure.args) if isinstance(node, ast.arg)}
    if outline.scope(step) is not outline.scope(closure) or parts(subject) & bound:
        return None
    call = f"{outline.spelled(subject)}.zero_grad()"
    return _Remedy(f"Begin the closure with `{call}`", Insert(call, outline.place(first)))


def _return_loss(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL404: return what the closure's backward pass began at."""
    closure = outline.at(_related(item, "closure"), ast.FunctionDef)
    if closure is None or any(isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) for node in own(closure)):
        return None
    match [node for node in own(closure) if _is_backward(node)]:
        case [ast.Call(ast.Attribute(ast.Name(loss)), []) as backward]:
            passed = outline.sibling(backward, closure.body)
        case _:
            return None
    if (
        passed is None
        or not _always(outline, backward, closure)
        or any(key.arg == "gradient" for key in backward.keywords)
    ):
        return None
    if loss in written(closure.body[closure.body.index(passed) + 1 :]):
        return None
    end = closure.body[-1]
    return _Remedy(
        f"End the closure with `return {loss}`", Insert(f"return {loss}", outline.place(end), behind=True), safe=True
    )


def _is_backward(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"


def _always(outline: Outline, node: ast.AST, function: ast.FunctionDef) -> bool:
    """Whether nothing but `with` stands between a function and a statement in it."""
    around = list(outline.above(node))
    return all(isinstance(item, (ast.Expr, ast.With)) for item in around[: around.index(function)])


def _init_first(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL804: let the base class get ready before anything else."""
    assigned = outline.at(item.location, ast.Assign)
    init = outline.scope(assigned) if assigned else None
    first = begin(init.body) if isinstance(init, ast.FunctionDef) else None
    if first is None or not isinstance(init, ast.FunctionDef):
        return None
    late, cls = _related(item, "super"), outline.scope(init)
    if late is not None:
        return _super_moved(outline, outline.at(late, ast.Expr), init, first)
    if not isinstance(cls, ast.ClassDef) or not _needs_nothing(outline, cls):
        return None
    change = Insert("super().__init__()", outline.place(first))
    return _Remedy("Begin `__init__` with `super().__init__()`", change, safe=True)


def _super_moved(outline: Outline, late: ast.Expr | None, init: ast.FunctionDef, first: ast.stmt) -> _Remedy | None:
    match late:
        case ast.Expr(ast.Call(ast.Attribute(ast.Call(ast.Name("super"), _, []), "__init__"))):
            made = written(init.body[: init.body.index(late)])
        case _:
            return None
    if parts(late) & made:
        return None
    change = Move(outline.place(late), outline.place(first))
    return _Remedy(f"Begin `__init__` with `{ast.unparse(late)}`", change, safe=True)


def _needs_nothing(outline: Outline, cls: ast.ClassDef) -> bool:
    """Whether the `__init__` of the only base is known to take no arguments: it is torch's own Module."""
    local = any(isinstance(node, ast.ClassDef) and node.name == "Module" for node in ast.walk(outline.tree))
    match cls.bases:
        case [ast.Attribute(_, "Module")]:
            return True
        case [ast.Name("Module")]:
            return not local
        case _:
            return False


def _enter(item: Diagnostic, outline: Outline) -> _Remedy | None:
    """GL307: enter the mode for the rest of the block."""
    statement = outline.at(item.location, ast.Expr)
    if statement is None:
        return None
    block = outline.block(statement)
    rest = block[block.index(statement) + 1 :]
    if not rest or _definitions(rest, outline, statement) or _trains(rest, outline) or _leaks(rest, outline, statement):
        return None
    message = f"Enter it for the rest of the block: `with {ast.unparse(statement)}:`"
    return _Remedy(message, Enter(item.location))


def _definitions(rest: list[ast.stmt], outline: Outline, statement: ast.Expr) -> bool:
    """Whether a module goes on with other things than a script."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return isinstance(outline.scope(statement), (ast.Module, ast.ClassDef)) and any(
        isinstance(node, kinds) for outer in rest for node in ast.walk(outer)
    )


def _trains(rest: list[ast.stmt], outline: Outline) -> bool:
    """Whether something may want gradients there: directly, or in a function of this file."""
    functions = [node for node in ast.walk(outline.tree) if isinstance(node, _Function)]
    known = set(_TRAINING)
    while more := {node.name for node in functions if node.name not in known and _mentions(node.body, known)}:
        known |= more
    return _mentions(rest, known)


def _mentions(body: Sequence[ast.AST], names: set[str]) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names) or (isinstance(node, ast.Name) and node.id in names)
        for outer in body
        for node in ast.walk(outer)
    )


def _leaks(rest: list[ast.stmt], outline: Outline, statement: ast.Expr) -> bool:
    """Whether something that is assigned there is used elsewhere, where it may be expected to have a graph."""
    made = written(rest)
    if any(not name.isidentifier() for name in made) or any(
        isinstance(node, (ast.Global, ast.Nonlocal)) for outer in rest for node in ast.walk(outer)
    ):
        return True
    inside = {node for outer in rest for node in ast.walk(outer)}
    first, scope = rest[0].lineno, outline.scope(statement)
    looped = any(isinstance(node, Loop) for node in outline.above(statement))
    return any(
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in made and node not in inside
        for node in ast.walk(scope)
        if looped or getattr(node, "lineno", 0) >= first
    )


_BUILDERS: Mapping[str, _Builder] = {
    "GL101": _clear_in_loop,
    "GL102": _move_into_loop,
    "GL103": _clear_first,
    "GL107": _clear_in_loop,
    "GL307": _enter,
    "GL402": _clear_in_closure,
    "GL404": _return_loss,
    "GL804": _init_first,
}
