"""Iterators over parameters that are read more than once: GL609."""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from gradlint.data import NamedTuple
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.lowering.values import Instance, Kind, Library, Object, Unknown
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.nodes import children, own_of, walk, walk_of, words

_ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
_READERS = frozenset(["list", "tuple", "sum", "sorted", "set", "dict", "max", "min", "any", "all"])
_SCOPES = frozenset([ast.Module, ast.FunctionDef, ast.AsyncFunctionDef])
_Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
_Path = tuple[tuple[ast.stmt | ast.IfExp, int], ...]


class _Use(NamedTuple):
    """A place where a name stands: the branches that lead there, the loops around, and whether it is read to its end there."""

    node: ast.Name
    path: _Path
    loops: tuple[ast.AST, ...]
    drains: bool


@check
def exhausted_iterator(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL609: `params = model.parameters()`, given to an optimizer and then to a clipping."""
    if "parameters()" not in analysis.source.text:
        return
    reader = _Reader(analysis)
    made = (node for node in analysis.nodes(ast.Assign) if _may_iterate(node.value))
    found = {node for node in made if reader.is_iterator(node.value)}
    for scope in dict.fromkeys(map(analysis.scope_of, found)):
        here = found.intersection(own_of(scope, ast.Assign))
        yield from _in_scope(analysis, scope, here) if here else ()
    for cls in analysis.nodes(ast.ClassDef) if found else ():
        if not found.isdisjoint(walk_of(cls, ast.Assign)):
            yield from _in_class(analysis, cls)


def _in_class(analysis: Analysis, cls: ast.ClassDef) -> Iterator[Diagnostic]:
    """Yield the attributes that one method drains where it makes them, and another one reads again."""
    reader = _Reader(analysis)
    for node in walk(cls):
        match node:
            case ast.Assign([ast.Attribute(ast.Name("self"), name) as made], value) if reader.is_iterator(value):
                uses = [each for each in walk(analysis.tree) if isinstance(each, ast.Attribute) and each.attr == name]
                reads = [each for each in uses if isinstance(each.ctx, ast.Load)]
                drained = {id(each) for call in walk(cls) for each in reader.drained(call)}
                home = next(each for each in cls.body if node in walk(each))
                inside = [each for each in reads if each in walk(home)]
                outside = [each for each in reads if each not in inside]
                only = len(uses) - len(reads) == 1 and all(id(each) in drained for each in reads)
                if only and len(inside) == 1 and outside and inside[0].lineno > made.lineno:
                    marks = (("drained", analysis.source.place(inside[0])), ("made", analysis.source.place(node)))
                    place = analysis.source.place(outside[0])
                    yield compose("GL609", Side.STATIC, place, marks, subject=f"self.{name}")
            case _:
                continue


def _may_iterate(value: ast.expr) -> bool:
    match value:
        case ast.Call(ast.Attribute(attr=name)):
            return name in ("parameters", "named_parameters", "chain")
        case ast.Call(ast.Name(name)):
            return name in ("filter", "map", "chain")
        case _:
            return isinstance(value, ast.GeneratorExp)


def _in_scope(analysis: Analysis, scope: _Scope, assigned: set[ast.Assign]) -> Iterator[Diagnostic]:
    named = {name for node in assigned for name in words(node.targets[0])}
    reader = _Reader(analysis, sorted({node.lineno for node in walk_of(scope, ast.Name) if node.id in named}))
    reader.block(scope.body, (), ())
    for name, (made, loops) in reader.iterators.items():
        uses = reader.uses[name]
        # A name that is bound again, or that an inner function sees, is another story.
        if reader.bound[name] == 1 and name not in reader.captured and all(use.drains for use in uses):
            found = _second(uses, loops)
            if found is not None:
                first, second = found
                marks = (("drained", analysis.source.place(first.node)), ("made", analysis.source.place(made)))
                yield compose("GL609", Side.STATIC, analysis.source.place(second.node), marks, subject=name)


def _second(uses: list[_Use], loops: tuple[ast.AST, ...]) -> tuple[_Use, _Use] | None:
    """Return the use that reads an iterator to its end, and the one that comes after it."""
    for index, use in enumerate(uses):
        if len(use.loops) > len(loops):
            return use, use
        later = next((other for other in uses[index + 1 :] if _follows(use.path, other.path)), None)
        if later is not None:
            return use, later
    return None


def _follows(path: _Path, other: _Path) -> bool:
    """Whether control can come from one place to a later one: not between two sides of a branch, nor past a jump."""
    sides = dict(other)
    if any(sides.get(branch, side) != side for branch, side in path):
        return False
    left = [(branch, side) for branch, side in path if branch not in sides]
    return not any(isinstance(body[-1], _ENDS) for branch, side in left if (body := _sides(branch)[side]))


def _sides(branch: ast.stmt | ast.IfExp) -> Sequence[Sequence[ast.AST]]:
    return [[branch.body], [branch.orelse]] if isinstance(branch, ast.IfExp) else _alternatives(branch)


def _alternatives(branch: ast.stmt) -> list[list[ast.stmt]]:
    match branch:
        case ast.If(body=body, orelse=orelse):
            return [body, orelse]
        case ast.Try(body=body, orelse=orelse, finalbody=last, handlers=handlers):
            return [[*body, *orelse, *last], *(handler.body for handler in handlers)]
        case _:
            return []


class _Reader:
    """Reads one scope from its first line for names that stand for iterators over parameters, which are in these rows."""

    def __init__(self, analysis: Analysis, rows: Sequence[int] = ()) -> None:
        self._analysis = analysis
        self._rows = rows
        self.iterators: dict[str, tuple[ast.AST, tuple[ast.AST, ...]]] = {}
        self.uses: dict[str, list[_Use]] = defaultdict(list)
        self.bound: dict[str, int] = defaultdict(int)
        self.captured: set[str] = set()

    def block(self, body: list[ast.stmt], path: _Path, loops: tuple[ast.AST, ...]) -> None:
        for statement in body:
            at = bisect_left(self._rows, statement.lineno)
            if at < len(self._rows) and self._rows[at] <= (statement.end_lineno or 0):
                self._statement(statement, path, loops)

    def _statement(self, node: ast.stmt, path: _Path, loops: tuple[ast.AST, ...]) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.captured |= {each.id for each in walk(node) if isinstance(each, ast.Name)}
            case ast.If(test=test):
                self._expression(test, path, loops)
                for side, body in enumerate(_alternatives(node)):
                    self.block(body, (*path, (node, side)), loops)
            case ast.Try():
                for side, body in enumerate(_alternatives(node)):
                    self.block(body, (*path, (node, side)), loops)
            case ast.For() | ast.AsyncFor():
                self._expression(node.iter, path, loops, drains=True)
                self._expression(node.target, path, loops)
                self.block([*node.body, *node.orelse], path, (*loops, node))
            case ast.While():
                self._expression(node.test, path, (*loops, node))
                self.block([*node.body, *node.orelse], path, (*loops, node))
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self._expression(item.context_expr, path, loops)
                self.block(node.body, path, loops)
            case ast.Assign([ast.Name(name)], value) if self.is_iterator(value):
                self._expression(value, path, loops)
                self.bound[name] += 1
                self.iterators[name] = (node, loops)
            case _:
                for child in children(node):
                    self._expression(child, path, loops)

    def _expression(self, node: ast.AST, path: _Path, loops: tuple[ast.AST, ...], *, drains: bool = False) -> None:
        match node:
            case ast.Name(name, ast.Load()):
                self.uses[name].append(_Use(node, path, loops, drains))
            case ast.Name(name):
                self.bound[name] += 1
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._expression(test, path, loops)
                for side, value in enumerate((body, orelse)):
                    self._expression(value, (*path, (node, side)), loops, drains=drains)
            case ast.Lambda():
                self.captured |= {each.id for each in walk(node) if isinstance(each, ast.Name)}
            case ast.Call(callee, args, keywords):
                self._expression(callee, path, loops)
                for arg in args:
                    self._expression(arg, path, loops, drains=self._drains(callee) and arg is args[0])
                for keyword in keywords:
                    wanted = keyword.arg in ("params", "parameters") and self._drains(callee)
                    self._expression(keyword.value, path, loops, drains=wanted)
            case ast.ListComp() | ast.SetComp() | ast.DictComp():
                self._comprehension(node.generators, path, loops, drains=True)
            case ast.GeneratorExp():
                self._comprehension(node.generators, path, loops, drains=drains)
            case ast.Starred(value):
                self._expression(value, path, loops, drains=True)
            case _:
                for child in children(node):
                    self._expression(child, path, loops)

    def _comprehension(
        self, generators: list[ast.comprehension], path: _Path, loops: tuple[ast.AST, ...], *, drains: bool
    ) -> None:
        self._expression(generators[0].iter, path, loops, drains=drains)
        for generator in generators[1:]:
            self._expression(generator.iter, path, (*loops, generator), drains=True)

    def drained(self, node: ast.AST) -> Iterator[ast.expr]:
        """Yield what a node reads to its end."""
        match node:
            case ast.Call(callee, args, keywords) if self._drains(callee):
                yield from args[:1]
                yield from (each.value for each in keywords if each.arg in ("params", "parameters"))
            case ast.For(iter=source) | ast.comprehension(iter=source):
                yield source
            case _:
                return

    def _drains(self, callee: ast.expr) -> bool:
        """Whether a call reads its first argument to the end."""
        match self._analysis.value(callee):
            case Library(name):
                last = name.removeprefix("builtins.")
                return last in _READERS or role_of(name) in ("optimizer", "clip")
            case _:
                return False

    def is_iterator(self, node: ast.expr) -> bool:
        """Whether an expression makes an iterator over parameters, which can be read once."""
        match node:
            case ast.Call(ast.Attribute(owner, "parameters" | "named_parameters")):
                return self._is_module(owner)
            case ast.Call(ast.Name("filter" | "map"), [_, source]):
                return any(isinstance(each, ast.Attribute) and "parameters" in each.attr for each in walk(source))
            case ast.Call(callee) if self._analysis.value(callee) == Library("itertools.chain"):
                return any(isinstance(each, ast.Attribute) and "parameters" in each.attr for each in walk(node))
            case ast.GeneratorExp(generators=[first, *_]):
                return any(isinstance(each, ast.Attribute) and "parameters" in each.attr for each in walk(first.iter))
            case _:
                return False

    def _is_module(self, owner: ast.expr) -> bool:
        match self._analysis.value(owner):
            case Object(kind=Kind.MODULE):
                return True
            case Instance(cls=cls):
                lowering = self._analysis.lowering
                return lowering.is_module(cls) and lowering.method_of(cls, "parameters") is None
            case Unknown(id=id_):
                return id_ in self._analysis.lowering.module_owners
            case _:
                return False
