"""The best weights, kept as a name for those that go on training: GL815."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.lowering.values import Class, Instance, Kind, Object
from gradlint.static.syntax.nodes import blocks, blocks_in, spelled, walk
from gradlint.static.syntax.questions import FunctionNode

_SHALLOW = frozenset(["dict", "OrderedDict", "copy.copy", "collections.OrderedDict"])
_Loop = ast.For | ast.AsyncFor | ast.While


class Kept(NamedTuple):
    """A statement that keeps the state of a module when a value is better than the best so far."""

    node: ast.Assign
    target: ast.expr
    module: ast.expr
    loops: tuple[_Loop, ...]


@check
@by_words
def best_state_alias(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL815: `best = model.state_dict()`, a view of tensors that the next step changes."""
    if "state_dict" not in analysis.source.text and "best" not in analysis.source.text:
        return
    moded = analysis.says(".train") and analysis.says(".eval")
    if not any(_may_keep(analysis, branch, moded) for branch in analysis.nodes(ast.If)):
        return
    for scope in (analysis.tree, *analysis.functions):
        for kept in kept_in(analysis, scope):
            if _is_used_later(analysis, scope, kept):
                place, module = analysis.source.place(kept.node), ast.unparse(kept.module)
                yield compose("GL815", Side.STATIC, place, subject=ast.unparse(kept.target), module=module)


@check
def best_state_alias_elsewhere(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL815 in a class of another file, which keeps a state that is loaded back here."""
    for node in analysis.nodes(ast.Call) if analysis.says("load_state_dict") else ():
        match node:
            case ast.Call(ast.Attribute(attr="load_state_dict"), [ast.Attribute(owner, name), *_]):
                match analysis.value(owner):
                    case Instance(cls=cls) if analysis.lowering.is_foreign(cls):
                        yield from _kept_by(analysis, cls, name)


def _kept_by(analysis: Analysis, cls: Class, name: str) -> Iterator[Diagnostic]:
    for ancestor in analysis.lowering.lineage(cls):
        source = analysis.lowering.frames[ancestor.frame].module.source
        for method in (each for each in ancestor.node.body if isinstance(each, FunctionNode)):
            for kept in kept_in(analysis, method):
                if ast.unparse(kept.target) == f"self.{name}" and not is_made_anew((kept.loops or (method,))[0], kept):
                    module = ast.unparse(kept.module)
                    yield compose("GL815", Side.STATIC, source.place(kept.node), subject=f"self.{name}", module=module)


def _may_keep(analysis: Analysis, branch: ast.If, moded: bool) -> bool:
    """Whether a branch keeps a state, or what may be a module where somebody gives modes (`moded`), when something is better."""
    if not isinstance(branch.test, ast.Name) and not any(map(_compares, walk(branch.test))):
        return False
    values = [each.value for body in branch.body for each in _singly(body) if isinstance(each, ast.Assign)]
    return any((moded and isinstance(each, ast.Name)) or _aliased(analysis, each) is not None for each in values)


def kept_in(analysis: Analysis, scope: ast.Module | FunctionNode) -> Iterator[Kept]:
    """Yield what a function keeps under a condition that its own body makes harder to meet: `if new > best: best = new`."""
    for branch, loops in _branches(scope.body, ()):
        for statement in (single for each in branch.body for single in _singly(each)):
            match statement:
                case ast.Assign([ast.Name() | ast.Attribute() as target], value):
                    module = _aliased(analysis, value)
                    if module is None and isinstance(value, ast.Name) and _has_modes(scope, value.id):
                        module = value
                    if module is not None and _finds_better(branch, (scope, *loops)[-1]):
                        yield Kept(statement, target, module, loops)
                case _:
                    continue


def _singly(statement: ast.stmt) -> list[ast.stmt]:
    """Return the assignments that `a, b = c, d` stands for; another statement is itself."""
    match statement:
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
            pairs = zip(targets, values, strict=True)
            return [ast.copy_location(ast.Assign([target], value), statement) for target, value in pairs]
        case _:
            return [statement]


def _has_modes(scope: ast.Module | FunctionNode, name: str) -> bool:
    """Whether a function puts what a name stands for into evaluation mode, runs it, and trains it in training mode: a module."""
    called = {
        node.func.attr
        for node in walk(scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_name(node.func.value, name)
    }
    return {"train", "eval"} <= called


def _branches(body: list[ast.stmt], loops: tuple[_Loop, ...]) -> Iterator[tuple[ast.If, tuple[_Loop, ...]]]:
    """Yield the conditions of a function, each with the loops around it, outermost first."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                continue
            case ast.If():
                yield statement, loops
        inner = (*loops, statement) if isinstance(statement, (ast.For, ast.AsyncFor, ast.While)) else loops
        for block in blocks(statement):
            yield from _branches(block, inner)


def _finds_better(branch: ast.If, around: ast.AST) -> bool:
    """Whether a branch is taken when something is better than what its body, or the code around, then remembers as the best."""
    tests = [branch.test]
    if isinstance(branch.test, ast.Name):
        flag = branch.test.id
        tests = [
            node.value for node in walk(around) if isinstance(node, ast.Assign) and _is_name(node.targets[0], flag)
        ]
    compared = {
        ast.unparse(side)
        for test in tests
        for node in walk(test)
        if _compares(node)
        for side in walk(node)
        if isinstance(side, (ast.Name, ast.Attribute))
    }
    places = branch.body if tests[:1] == [branch.test] else [around]
    return any(
        not isinstance(single.value, ast.Constant) and ast.unparse(target) in compared
        for place in places
        for node in walk(place)
        if isinstance(node, ast.Assign)
        for single in _singly(node)
        if isinstance(single, ast.Assign)
        for target in single.targets
    )


def _compares(node: ast.AST) -> bool:
    """Whether a node asks which of two values is more."""
    return isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Lt, ast.Gt, ast.LtE, ast.GtE))


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _aliased(analysis: Analysis, value: ast.expr) -> ast.expr | None:
    """Return the module whose tensors a value shares, whole or in a dict."""
    match value:
        case ast.Call(ast.Attribute(owner, "state_dict")):
            return None if _is_known_otherwise(analysis, owner) else owner
        case ast.Call(ast.Attribute(inner, "copy"), []):
            return _aliased(analysis, inner) if isinstance(inner, ast.Call) else None
        case ast.Call(callee, [inner]) if spelled(callee) in _SHALLOW:
            return _aliased(analysis, inner) if isinstance(inner, ast.Call) else None
        case ast.DictComp(
            ast.Name(), ast.Name(), [ast.comprehension(iter=ast.Call(ast.Attribute(inner, "items"), []))]
        ):
            return _aliased(analysis, inner) if isinstance(inner, ast.Call) else None
        case ast.Dict(values=values):
            found = (_aliased(analysis, each) for each in values if isinstance(each, ast.Call))
            return next((each for each in found if each is not None), None)
        case ast.Name() | ast.Attribute() if analysis.is_module(value):
            return value
        case _:
            return None


def _is_known_otherwise(analysis: Analysis, node: ast.expr) -> bool:
    """Whether a value is certainly no module: the state of an optimizer is another matter."""
    known = analysis.value(node)
    return isinstance(known, Object) and known.kind is not Kind.MODULE


def _is_used_later(analysis: Analysis, scope: ast.Module | FunctionNode, kept: Kept) -> bool:
    """Whether what was kept is used when the same module may have gone on training."""
    if isinstance(kept.target, ast.Attribute) and kept.target.attr in _restored(analysis.tree):
        return not is_made_anew((kept.loops or (scope,))[0], kept)
    beside = _kept_beside(analysis, kept.node.value)
    return any(not is_made_anew(loop, kept) and _is_read_after(scope, loop, kept, beside) for loop in kept.loops)


def _kept_beside(analysis: Analysis, value: ast.expr) -> frozenset[str]:
    """Return the keys of a dict under which no tensors of a module are: `{"state": net.state_dict(), "score": score}`."""
    pairs = zip(value.keys, value.values, strict=True) if isinstance(value, ast.Dict) else ()
    return frozenset(ast.unparse(key) for key, each in pairs if key is not None and _aliased(analysis, each) is None)


def _is_read_after(scope: ast.Module | FunctionNode, loop: _Loop, kept: Kept, beside: frozenset[str]) -> bool:
    spelled, end = ast.unparse(kept.target), loop.end_lineno or 0
    anew = (each.lineno for each in _following(scope, loop) if isinstance(each, ast.Assign) and _sets(each, spelled))
    last, others = next(anew, sys.maxsize), list(_behind_another(scope, spelled, end))
    asked = {
        each.value for each in walk(scope) if isinstance(each, ast.Subscript) and ast.unparse(each.slice) in beside
    }
    return any(
        isinstance(node, (ast.Name, ast.Attribute))
        and isinstance(node.ctx, ast.Load)
        and end < node.lineno <= last
        and ast.unparse(node) == spelled
        and node not in asked
        and not any(node.lineno in rows for rows in others)
        for node in walk(scope)
    )


def _behind_another(scope: ast.Module | FunctionNode, spelled: str, end: int) -> Iterator[range]:
    """Yield the rows of the blocks below `end` in which the name stands for something else by then."""
    for block in blocks_in(scope):
        for statement in block:
            if isinstance(statement, ast.Assign) and statement.lineno > end and _sets(statement, spelled):
                yield range((statement.end_lineno or 0) + 1, (block[-1].end_lineno or 0) + 1)


def _sets(statement: ast.Assign, spelled: str) -> bool:
    return any(ast.unparse(target) == spelled for target in statement.targets)


def _following(around: ast.AST, loop: _Loop) -> Iterator[ast.stmt]:
    """Yield the statements that are run when a loop is over, whatever happens: those after it in its block and in those around."""
    for block in blocks(around):
        for index, statement in enumerate(block):
            if statement.lineno <= loop.lineno <= (statement.end_lineno or 0):
                if statement is not loop:
                    yield from _following(statement, loop)
                yield from block[index + 1 :]


def _restored(tree: ast.Module) -> Iterator[str]:
    """Yield the attributes that are loaded back into a module somewhere in the file."""
    for node in walk(tree):
        match node:
            case ast.Call(
                ast.Attribute(attr="load_state_dict"),
                [ast.Attribute(attr=name) | ast.Subscript(ast.Attribute(attr=name)), *_],
            ):
                yield name
            case _:
                continue


def is_made_anew(around: ast.AST, kept: Kept) -> bool:
    """Whether every turn of a loop may have a module of its own: then nobody changes the one that was kept."""
    root = kept.module
    while isinstance(root, (ast.Attribute, ast.Subscript, ast.Call)):
        root = root.func if isinstance(root, ast.Call) else root.value
    spelled = {ast.unparse(kept.module), ast.unparse(root)} - {"self"}
    return any(
        isinstance(node, (ast.Name, ast.Attribute, ast.Subscript))
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node) in spelled
        for node in walk(around)
    )
