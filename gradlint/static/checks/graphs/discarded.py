"""Results that are thrown away: GL522."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check, local_check
from gradlint.static.checks.losses.losses import torch_loss
from gradlint.static.flow.tree import Uid
from gradlint.static.lowering.values import Library, Tensor, Value
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import asks_for, called, own_named, own_of, walk_of, words

_RETURNING = frozenset(["detach", "to", "cuda", "cpu", "float", "half", "double", "contiguous"])
"""Methods of a tensor that only return another one."""
_WITH_TWINS = frozenset(["add", "clamp", "clip", "div", "masked_fill", "mul", "nan_to_num", "sub"])
"""Methods of a tensor that return another one, and have a twin with `_` at its end that changes it."""
_KEEPING = frozenset(
    [
        "float",
        "long",
        "int",
        "double",
        "half",
        "bool",
        "view",
        "reshape",
        "squeeze",
        "unsqueeze",
        "repeat",
        "expand",
        "t",
    ]
) | frozenset(
    ["to", "cuda", "cpu", "permute", "transpose", "clone", "detach", "contiguous", "flatten", "requires_grad_"]
)
"""Methods by which a tensor becomes another one."""
_JOINING = frozenset(["torch.cat", "torch.stack", "torch.as_tensor"])
_TIMING = frozenset(
    ["time", "perf_counter", "process_time", "timeit", "synchronize", "elapsed_time", "record", "Timer"]
)
_TWINS = "the methods with `_` at the end of their names do"
_YIELDING_PARAMETERS = ("parameters", "named_parameters")


@local_check
@by_words
def discarded_tensor(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL522: `target.detach()` as a statement, of a name that its function uses as a tensor: whoever calls it."""
    for node, owner in _thrown_away(analysis):
        used = _is_used_as_tensor(analysis, owner) or _is_detached_term(analysis, node.value)
        if used or _is_parameter(analysis, ast.unparse(owner), node.value):
            yield _unchanged(analysis, node, owner)


@check
@by_words
def discarded_result(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL522: `hidden.detach()` as a statement, and `state_dict` where `load_state_dict` is meant."""
    for node, owner in _thrown_away(analysis):
        if _is_tensor(analysis, analysis.value(owner)):
            yield _unchanged(analysis, node, owner)
    for node in analysis.nodes(ast.Expr):
        match node.value:
            case ast.Call(ast.Attribute(owner, "state_dict"), [given], []) if _is_state(given) or _is_last_use(
                analysis, given, node
            ):
                subject = ast.unparse(owner)
                what = f"`{subject}` stays as it is: `state_dict` only reads, and the state that it is given is thrown away"
                remedy = f"load it: `{subject}.load_state_dict({ast.unparse(given)})`"
                yield compose("GL522", Side.STATIC, analysis.source.place(node), what=what, remedy=remedy)
            case ast.Call(ast.Attribute(attr=name)) as call if name in _WITH_TWINS and not _is_shown(analysis, node):
                kept = _meant_to_change(analysis, call)
                if kept is None:
                    continue
                subject, function = ast.unparse(kept), ast.unparse(call.func)
                what = f"`{subject}` stays as it is: `{function}` returns another tensor, which is thrown away"
                place, remedy = analysis.source.place(node), f"change it in place: {_TWINS}"
                yield compose("GL522", Side.STATIC, place, what=what, remedy=remedy)
            case _:
                continue


def _meant_to_change(analysis: Analysis, call: ast.Call) -> ast.Attribute | None:
    """Return the gradient, or the values of a parameter, from which a call computes something that replaces neither."""
    match call:
        case ast.Call(
            ast.Attribute(ast.Name("torch"), "clamp" | "clip"), [ast.Attribute(attr="grad" | "data") as kept, *_]
        ):
            return None if any(each.arg == "out" for each in call.keywords) else kept
        case ast.Call(ast.Attribute(ast.Attribute(attr="grad") as kept, name)) if name in _WITH_TWINS:
            return kept
        case ast.Call(ast.Attribute(ast.Attribute(ast.Name(owner), "data") as kept, name)) if name in _WITH_TWINS:
            # Sets and frames of data have such methods, too.
            return kept if _is_parameter(analysis, owner, call) else None
        case ast.Call(ast.Attribute(ast.Call() as inner, name)) if name in _WITH_TWINS:
            return _meant_to_change(analysis, inner)
        case _:
            return None


def _is_parameter(analysis: Analysis, name: str, call: ast.AST) -> bool:
    """Whether a name is that of a loop over parameters, in which it is used here, and nothing else gets it."""
    around = (loop for loop in analysis.nodes(ast.For) if any(each is call for each in walk_of(loop, ast.Call)))
    return any(
        name in words(loop.target)
        and any(asks_for(loop.iter, each) for each in _YIELDING_PARAMETERS)
        and sum(each.id == name and isinstance(each.ctx, ast.Store) for each in walk_of(loop, ast.Name)) == 1
        for loop in around
    )


def _thrown_away(analysis: Analysis) -> Iterator[tuple[ast.Expr, ast.expr]]:
    """Yield the statements that ask a tensor, if it is one, for another, and whom they ask."""
    for node in analysis.nodes(ast.Expr):
        match node.value:
            case ast.Call(func=ast.Attribute(owner, name)) if name in _RETURNING and not _is_shown(analysis, node):
                yield node, owner
            case _:
                continue


def _unchanged(analysis: Analysis, node: ast.Expr, owner: ast.expr) -> Diagnostic:
    call = ast.unparse(node)
    remedy = f"keep what it returns: `{ast.unparse(owner)} = {call}`"
    what = f"`{call}` changes nothing: it returns another tensor, which is thrown away"
    return compose("GL522", Side.STATIC, analysis.source.place(node), what=what, remedy=remedy)


def _is_shown(analysis: Analysis, node: ast.AST) -> bool:
    """Whether a statement is the last one of a notebook's cell, which shows what it returns."""
    body = analysis.tree.body if analysis.pieces else []
    if node not in body:
        return False
    after = body[body.index(node) + 1 :]
    row = getattr(node, "lineno", 0)
    return not after or any(row < begin <= after[0].lineno for begin in analysis.pieces)


def _is_used_as_tensor(analysis: Analysis, owner: ast.expr) -> bool:
    """Whether a name is certainly that of a tensor, by where its value comes from or goes to in the same function.

    What torch's own losses are given is one, and so is what is computed by operators and has such methods, and a parameter.
    """
    while isinstance(owner, ast.Attribute) and owner.attr in ("data", "grad"):
        owner = owner.value
    if not isinstance(owner, ast.Name):
        return False
    scope, row = analysis.function_in(owner.lineno) or analysis.tree, owner.lineno
    named = own_named(scope, owner.id)
    bound = sorted(node.lineno for node in named if not isinstance(node.ctx, ast.Load))
    last = max((each for each in bound if each < row), default=0)
    if any(loop.target.lineno == last and owner.id in _tensors_of(loop) for loop in own_of(scope, ast.For)):
        return True
    following = min((each for each in bound if each > row), default=sys.maxsize)
    computed = [each.value for each in own_of(scope, ast.Assign) if each.lineno == last and _names(each, owner.id)]
    used = any(row < each.lineno <= following and isinstance(each.ctx, ast.Load) for each in named)
    if used and any(_is_made(analysis, value) for value in computed) and not _is_timed(scope):
        return True
    return any(isinstance(value, ast.BinOp) for value in computed) or any(
        torch_loss(analysis, call) or _is_made_there(analysis, call.func)
        for call in own_of(scope, ast.Call)
        if row < call.lineno < following
        and any(isinstance(each, ast.Name) and each.id == owner.id for each in call.args)
    )


def _is_detached_term(analysis: Analysis, call: ast.expr) -> bool:
    """Whether what is detached is a term or factor, as no handler is, before its function gives the name another value."""
    match call:
        case ast.Call(ast.Attribute(ast.Name(name), "detach"), [], []):
            scope, row = analysis.function_in(call.lineno) or analysis.tree, call.lineno
        case _:
            return False
    named = [each for each in own_named(scope, name) if each.lineno > row]
    following = min((each.lineno for each in named if isinstance(each.ctx, ast.Store)), default=sys.maxsize)
    terms = {id(side) for each in own_of(scope, ast.BinOp) for side in (each.left, each.right)}
    return any(id(each) in terms for each in named if each.lineno <= following)


def _is_made(analysis: Analysis, value: ast.expr) -> bool:
    """Whether a value is a tensor that torch makes, or joins, right there, in whatever shape."""
    match value:
        case ast.Call(ast.Attribute(ast.Call() as inner, name)) if name in _KEEPING:
            return _is_made(analysis, inner)
        case ast.Call(callee):
            made = analysis.lowering.seen_from(analysis.lowering.module.path, callee)
            return isinstance(made, Library) and (role_of(made.name) == "fresh-tensor" or made.name in _JOINING)
        case _:
            return False


def _is_timed(scope: ast.AST) -> bool:
    """Whether a function looks at a clock: how long it takes to move a tensor is what it is about."""
    return any(called(call) in _TIMING for call in own_of(scope, ast.Call))


def _tensors_of(loop: ast.For) -> frozenset[str]:
    """Return the names that a loop gives to parameters, buffers or what a state holds: tensors of whatever module."""
    match loop.target, loop.iter:
        case ast.Name(name), ast.Call(ast.Attribute(attr="parameters" | "buffers")):
            return frozenset([name])
        case ast.Name(name), ast.Call(ast.Attribute(ast.Call(ast.Attribute(attr="state_dict")), "values")):
            return frozenset([name])
        case ast.Tuple([_, ast.Name(name)]), ast.Call(ast.Attribute(attr="named_parameters" | "named_buffers")):
            return frozenset([name])
        case ast.Tuple([_, ast.Name(name)]), ast.Call(
            ast.Attribute(ast.Call(ast.Attribute(attr="state_dict")), "items")
        ):
            return frozenset([name])
        case _:
            return frozenset()


def _is_made_there(analysis: Analysis, callee: ast.expr) -> bool:
    """Whether what is called is a loss of torch that is made to be called: `nn.MSELoss()(output, target)`."""
    if not isinstance(callee, ast.Call):
        return False
    made = analysis.lowering.seen_from(analysis.lowering.module.path, callee.func)
    return isinstance(made, Library) and made.name.startswith("torch.nn.") and role_of(made.name) == "criterion"


def _names(assignment: ast.Assign, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in assignment.targets)


def _is_state(given: ast.expr) -> bool:
    """Whether an argument is the state of another model, or one that was saved."""
    match given:
        case ast.Call(ast.Attribute(attr="state_dict")) | ast.Call(ast.Attribute(ast.Name("torch"), "load")):
            return True
        case _:
            return False


def _is_last_use(analysis: Analysis, given: ast.expr, node: ast.Expr) -> bool:
    """Whether a dict that its function has filled goes nowhere else: nobody reads what `state_dict` might put into it."""
    function = analysis.function_in(node.lineno)
    if not isinstance(given, ast.Name) or not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    filled = {id(each.value) for each in walk_of(function, ast.Subscript) if isinstance(each.ctx, ast.Store)}
    uses = [each for each in walk_of(function, ast.Name) if each.id == given.id and each is not given]
    within = [id(each) in filled for each in uses if not isinstance(each.ctx, ast.Store)]
    return bool(within) and all(within) and max(each.lineno for each in uses) < node.lineno


def _is_tensor(analysis: Analysis, value: Value) -> bool:
    """Whether a value is certainly a tensor: a batch, or a part of what an unknown module returned, may be anything.

    What a class in sight returns is one, unless a state of its own may know how to be detached.
    """
    match value:
        case Tensor(nodes=nodes, made=made):
            known = any(node.sure for node in nodes) or (made is not None and made.op != "data")
            return known or any(_has_no_states(analysis, node.module) for node in nodes)
        case _:
            return False


def _has_no_states(analysis: Analysis, module: Uid) -> bool:
    lowering = analysis.lowering
    cls = lowering.instances.get(module)
    if cls is None or lowering.is_open(cls):
        return False
    homes = [lowering.frames.get(each.frame, lowering.module).module for each in lowering.lineage(cls)]
    return bool(homes) and not any("def detach" in home.source.text for home in homes)
