"""Learning rates that are set in vain and schedulers that are called by an old interface: GL208, GL209 and GL214."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Edit, Fix, Location, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check, local_check
from gradlint.static.lowering.values import Function, Kind, Library, Object
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import children, own_of, root, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode

_RATE = frozenset(["lr", "learning_rate"])
_SCHEDULERS = "torch.optim.lr_scheduler."
_FROM_THE_COUNT = frozenset(["LambdaLR", "OneCycleLR"])
"""What computes its rate from the count of steps alone tells the same whenever it is asked."""
_NEXT_RATE = "is for `step()` to call: right after a change of the rate it tells one that nobody uses"
_NO_ARGUMENT = "is no argument of a scheduler any more: current torch raises TypeError"


@local_check
def deprecated_interface(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL208: `scheduler.get_lr()` and `verbose=`."""
    for node in analysis.nodes(ast.Call) if analysis.says("get_lr", "verbose") else ():
        match node:
            case ast.Call(ast.Attribute(owner, "get_lr") as callee, [], []):
                known = analysis.value(owner)
                told = known.origin.rpartition(".")[2] if isinstance(known, Object) else ""
                if isinstance(known, Object) and known.origin.startswith(_SCHEDULERS) and told not in _FROM_THE_COUNT:
                    yield _old(analysis, callee)
            case ast.Call(callee, _, keywords) if any(keyword.arg == "verbose" for keyword in keywords):
                known = analysis.value(callee)
                if isinstance(known, Library) and known.name.startswith(_SCHEDULERS):
                    for keyword in keywords:
                        if keyword.arg == "verbose":
                            place = analysis.source.place(keyword)
                            yield compose(
                                "GL208", Side.STATIC, place, old="verbose=", fault=_NO_ARGUMENT, new="leave it out"
                            )
            case _:
                continue


def _old(analysis: Analysis, callee: ast.Attribute) -> Diagnostic:
    place = analysis.source.place(callee)
    name = Location(place.filename, place.end_row, place.end_column - len("get_lr"), place.end_row, place.end_column)
    found = compose("GL208", Side.STATIC, name, old="get_lr()", fault=_NEXT_RATE, new="call `get_last_lr()`")
    return replace(found, fix=Fix("Ask for the last learning rate", (Edit(name, "get_last_lr"),), safe=True))


@local_check
def shadowed_module(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL209: `lr_scheduler = lr_scheduler.StepLR(...)`."""
    imported = _imported(analysis.tree)
    given = analysis.nodes(ast.Assign) if imported else ()
    for scope in dict.fromkeys(analysis.scope_of(node) for node in given if _shadows(node) in imported):
        for node in own_of(scope, ast.Assign):
            name = _shadows(node)
            if name in imported and _breaks(analysis, scope, list(_own(scope)), node, name):
                place, made = analysis.source.place(node.targets[0]), node.value.func  # type: ignore[attr-defined]
                yield compose("GL209", Side.STATIC, place, subject=name, made=ast.unparse(made))


def _shadows(node: ast.Assign) -> str:
    """Return the name that is given what is made by something of that name ("": none is)."""
    match node.targets, node.value:
        case [ast.Name(name)], ast.Call(ast.Attribute() as callee) if _root(callee) == name:
            return name
        case _:
            return ""


def _imported(tree: ast.Module) -> frozenset[str]:
    """Return the names under which the module imports modules of torch that make optimizers and schedulers."""
    return frozenset(
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, (ast.ImportFrom, ast.Import))
        for alias in node.names
        if (f"{node.module}." if isinstance(node, ast.ImportFrom) else "") + alias.name
        in ("torch.optim", "torch.optim.lr_scheduler")
    )


def _breaks(analysis: Analysis, scope: ast.AST, inside: list[ast.AST], node: ast.Assign, name: str) -> bool:
    """Whether the module is asked for where its name stands for something else."""
    if isinstance(scope, ast.Module):
        # Here the first use works; the next one asks an object for a class.
        return any(
            _asks(other, name) and getattr(other, "lineno", 0) > node.lineno for other in _reading(analysis, name)
        )
    assert isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef))
    arguments = scope.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    if any(arg is not None and arg.arg == name for arg in given):
        return False
    bound_before = any(
        (isinstance(other, (ast.Global, ast.Nonlocal)) and name in other.names)
        or (isinstance(other, (ast.Import, ast.ImportFrom)) and _binds(other, name))
        or (
            isinstance(other, ast.Name)
            and isinstance(other.ctx, ast.Store)
            and other.id == name
            and other.lineno < node.lineno
        )
        for other in inside
    )
    return not bound_before


def _binds(node: ast.Import | ast.ImportFrom, name: str) -> bool:
    return any((alias.asname or alias.name.partition(".")[0]) == name for alias in node.names)


def _asks(node: ast.AST, name: str) -> bool:
    """Whether a node reads a class from the name: `optim.SGD`."""
    match node:
        case ast.Attribute(ast.Name(owner), attr):
            return owner == name and attr[:1].isupper()
        case _:
            return False


def _reading(analysis: Analysis, name: str) -> Iterator[ast.AST]:
    """Yield what is read in the module and in those of its functions for which the name is the module's."""
    yield from _own(analysis.tree)
    for function in _functions(analysis.tree):
        inside = list(_own(function))
        if not any(
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name for node in inside
        ):
            yield from inside


def _functions(tree: ast.AST) -> Iterator[FunctionNode]:
    return (node for node in walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what belongs to a scope, but not to the functions and classes inside it."""
    todo = list(children(scope))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(children(node))


def _root(node: ast.expr) -> str:
    start = root(node)
    return start.id if isinstance(start, ast.Name) else ""


@check
def ineffective_write(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL214: a learning rate written where no optimizer looks."""
    targets = [target for node in analysis.nodes(ast.Assign) for target in node.targets]
    targets += [node.target for node in analysis.nodes(ast.AugAssign)]
    for target in targets:
        if not isinstance(target, (ast.Attribute, ast.Subscript)):
            continue
        owner = _written(analysis, target)
        if owner is not None:
            place = analysis.source.place(target)
            yield compose("GL214", Side.STATIC, place, written=f"writing `{ast.unparse(target)}`")
    yield from _dropped(analysis)


def _written(analysis: Analysis, target: ast.expr) -> ast.expr | None:
    """Return the optimizer whose rate is written in vain."""
    match target:
        case ast.Attribute(owner, name) if name in _RATE:
            read = any(isinstance(node.ctx, ast.Load) and node.attr == name for node in analysis.nodes(ast.Attribute))
            return owner if not read and _torch(analysis, owner) else None
        case ast.Subscript(ast.Attribute(owner, "defaults"), ast.Constant("lr")):
            adds = any(node.attr == "add_param_group" for node in analysis.nodes(ast.Attribute))
            return owner if not adds and _torch(analysis, owner) else None
        case ast.Subscript(inner, ast.Constant("lr")):
            return _copied(analysis, inner)
        case _:
            return None


def _copied(analysis: Analysis, node: ast.expr) -> ast.expr | None:
    """Return the optimizer of which `node` is a group in a fresh `state_dict()`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    match node:
        case ast.Call(ast.Attribute(owner, "state_dict")) if _torch(analysis, owner):
            return owner
        case _:
            return None


def _torch(analysis: Analysis, node: ast.expr) -> bool:
    """Whether an expression is certainly an optimizer of torch itself."""
    known = analysis.value(node)
    return isinstance(known, Object) and known.kind is Kind.OPTIMIZER and known.origin.startswith("torch.optim.")


def _dropped(analysis: Analysis) -> Iterator[Diagnostic]:
    """A function that is given an optimizer, computes a rate and ends."""
    for function in analysis.functions:
        given = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args) if arg.arg.startswith("opt")]
        if not given or not any(node.id in _RATE for node in walk_of(function, ast.Name)):
            continue
        statements = [each for each in function.body if not _is_text(each)]
        inside = [node for statement in statements for node in (statement, *_own(statement))]
        read = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        rates = [
            node
            for node in inside
            if isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and node.id in _RATE
            and node.id not in read
        ]
        unused = [name for name in given if name not in read]
        if rates and unused and all(_pure(analysis, node) for node in inside):
            yield compose("GL214", Side.STATIC, analysis.source.place(rates[-1]), written=f"the local `{rates[-1].id}`")


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _pure(analysis: Analysis, node: ast.AST) -> bool:
    """Whether a part of a function does nothing but compute local values."""
    match node:
        case ast.Call(func):
            known = analysis.value(func)
            return _computes(known) or (isinstance(func, ast.Name) and _defined(analysis.tree, func.id))
        case ast.stmt():
            return isinstance(node, (ast.Assign, ast.If, ast.Pass, ast.AnnAssign))
        case ast.Attribute() | ast.Subscript():
            return isinstance(node.ctx, ast.Load)
        case _:
            return not isinstance(node, (ast.Yield, ast.YieldFrom, ast.Await, ast.Lambda))


def _computes(known: object) -> bool:
    match known:
        case Library(name):
            return role_of(name) == "pure" or name.startswith("builtins.")
        case Function(node):
            return isinstance(node, ast.Lambda) or all(
                isinstance(each, ast.Return) or _is_text(each) for each in node.body
            )
        case _:
            return False


def _defined(tree: ast.Module, name: str) -> bool:
    """Whether a name is a function of the file that only returns an expression."""
    return any(
        function.name == name and all(isinstance(each, ast.Return) or _is_text(each) for each in function.body)
        for function in _functions(tree)
    )
