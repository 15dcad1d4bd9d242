"""What a count is made of: a product of powers of lengths and numbers, read through names and the assignments that reach them.

`len(loader) * epochs // accumulate` is `len(loader)` and `epochs` to the power of 1 and `accumulate` to that of -1. It knows
arithmetic and assignments; it must not know schedules or rules.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import field

from gradlint.data import NamedTuple, dataclass
from gradlint.static.analysis import Analysis
from gradlint.static.facts.cadence import last_name, tree_of
from gradlint.static.syntax.nodes import blocks_in, own, root, walk_of
from gradlint.static.syntax.reaching import Assigned, Given, reaching

_ROUNDING = frozenset(["int", "ceil", "floor", "round", "float"])
_MOST = 8
"""A count with more alternatives is not known."""
_DEEP = 8
"""Assignments are followed this deep."""

Callers = tuple[tuple[ast.AST | None, ast.AST], ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """Something that is counted, by its text and by the rows that gave it its value: the length of something (`is_length`), or a number."""

    spelled: str
    given: tuple[int, ...] = ()
    is_length: bool = False
    node: ast.expr | None = field(default=None, compare=False)

    @property
    def word(self) -> str:
        """The last word of a number's name."""
        return last_name(self.node) if self.node is not None and not self.is_length else ""

    @property
    def row(self) -> int:
        """Where it stands."""
        return self.node.lineno if self.node is not None else 0


@dataclass(frozen=True, slots=True)
class Count:
    """A product of powers; literals that have no name are left out."""

    powers: frozenset[tuple[Factor, int]] = frozenset()

    def __mul__(self, other: Count) -> Count:
        return _product(self, other, 1)

    def __truediv__(self, other: Count) -> Count:
        return _product(self, other, -1)

    @property
    def above(self) -> frozenset[Factor]:
        """The factors by which it is multiplied."""
        return frozenset(factor for factor, power in self.powers if power > 0)

    @property
    def below(self) -> frozenset[Factor]:
        """The factors by which it is divided."""
        return frozenset(factor for factor, power in self.powers if power < 0)


def _product(one: Count, other: Count, sign: int) -> Count:
    powers: dict[Factor, int] = defaultdict(int)
    for factor, power in one.powers:
        powers[factor] += power
    for factor, power in other.powers:
        powers[factor] += sign * power
    return Count(frozenset((factor, power) for factor, power in powers.items() if power))


_ONE = Count()


class Place(NamedTuple):
    """Where an expression stands: the function (None: the module), the calls that led there, how deep it was looked for, and which flags are off there."""

    scope: ast.AST | None
    callers: Callers = ()
    depth: int = _DEEP
    off: frozenset[str] = frozenset()


def _assigned(analysis: Analysis) -> Assigned:
    return Assigned()


class Counts:
    """Reads counts of one file; names that end in one of `units` are not read through, and `literals` are factors, too."""

    def __init__(self, analysis: Analysis, units: frozenset[str] = frozenset(), *, literals: bool = False) -> None:
        self._analysis = analysis
        self._units = units
        self._literals = literals
        self._assigned = analysis.kept(_assigned)

    def of(self, node: ast.expr, scope: ast.AST | None, callers: Callers = ()) -> tuple[Count, ...]:
        """Return what a count may be made of, by the assignments that may have given it its value (none: not known)."""
        return self._read(node, Place(scope, callers))

    def _read(self, node: ast.expr, at: Place) -> tuple[Count, ...]:
        match node:
            case ast.Constant(int() | float() as number):
                return (self._one(node, at),) if self._literals and number != 1 else (_ONE,)
            case ast.Name() | ast.Attribute():
                return self._named(node, at)
            case ast.Call(ast.Name("len"), [owner]):
                return (self._one(owner, at, is_length=True),)
            case ast.Call(func, [inner, *_]) if last_name(func) in _ROUNDING:
                return self._read(inner, at)
            case ast.Call(ast.Name("max" | "min"), args):
                return self._same([self._read(arg, at) for arg in args if not isinstance(arg, ast.Constant)], node, at)
            case ast.UnaryOp(operand=operand):
                return self._read(operand, at)
            case ast.IfExp(test=test, body=one, orelse=other):
                off = {test.id} if isinstance(test, ast.Name) else set()
                return _few([*self._read(one, at), *self._read(other, at._replace(off=at.off | off))])
            case ast.BoolOp(ast.Or(), values):
                return _few([count for value in values for count in self._read(value, at)])
            case ast.BinOp():
                return self._computed(node, at)
            case _:
                return (self._one(node, at),)

    def _computed(self, node: ast.BinOp, at: Place) -> tuple[Count, ...]:
        match node:
            case ast.BinOp(
                ast.BinOp(ast.BinOp(left, ast.Add(), again), ast.Sub(), ast.Constant(1)), ast.FloorDiv(), by
            ):
                # Rounded up.
                if ast.unparse(again) == ast.unparse(by):
                    return self._read(ast.copy_location(ast.BinOp(left, ast.FloorDiv(), by), node), at)
        ones, others = self._read(node.left, at), self._read(node.right, at)
        match node.op:
            case ast.Mult():
                return _few([one * other for one in ones for other in others])
            case ast.Div() | ast.FloorDiv():
                return _few([one / other for one in ones for other in others])
            case ast.Add() | ast.Sub():
                terms = [each for each in (ones, others) if each != (_ONE,)]
                return self._same(terms, node, at)
            case _:
                return (self._one(node, at),)

    def _same(self, terms: list[tuple[Count, ...]], node: ast.expr, at: Place) -> tuple[Count, ...]:
        """Return what terms are made of if it is all the same; literals do not matter beside them."""
        if not terms:
            return (_ONE,)
        return terms[0] if all(term == terms[0] for term in terms) else (self._one(node, at),)

    def _named(self, node: ast.Name | ast.Attribute, at: Place) -> tuple[Count, ...]:
        found, certain, inner = self._given(node, at)
        if at.off:
            found = [each for each in found if not self._raises(each.statement, at.off)]
        if not found or not inner.depth or last_name(node) in self._units:
            return (self._one(node, at),)
        counts: list[Count] = [] if certain else [self._one(node, at, given=())]
        for each in found:
            if each.value is None or isinstance(each.value, ast.Constant):
                counts.append(self._one(node, at))
            else:
                counts.extend(self._read(each.value, inner))
        return _few(counts) or (self._one(node, at),)

    def _raises(self, statement: ast.stmt, flags: frozenset[str]) -> bool:
        """Whether one of some flags is raised beside a statement: where they are off it has not run."""
        beside = next((block for block in blocks_in(tree_of(self._analysis, statement)) if statement in block), [])
        return any(
            isinstance(each, ast.Assign) and isinstance(each.value, ast.Constant) and each.value.value is True
            for each in beside
            if flags & {last_name(target) for target in getattr(each, "targets", ())}
        )

    def _given(self, node: ast.expr, at: Place) -> tuple[list[Given], bool, Place]:
        """Return the assignments that reach a name, whether they are all, and where they stand."""
        inner = Place(at.scope, at.callers, max(at.depth - 1, 0))
        if at.scope is not None:
            found, certain = reaching(at.scope, node, node, self._assigned)
            if found:
                return found, certain, inner
            start = root(node)
            if isinstance(start, ast.Name) and _binds(at.scope, start.id):
                return self._argument(node, at) if isinstance(node, ast.Name) else self._elsewhere(node, inner)
        tree = tree_of(self._analysis, node)
        found, certain = reaching(tree, node, node if at.scope is None else None, self._assigned)
        return found, certain, Place(None, (), inner.depth)

    def _argument(self, node: ast.Name, at: Place) -> tuple[list[Given], bool, Place]:
        """Return what the caller gave for a parameter."""
        if not at.callers or not isinstance(at.scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return [], False, at
        outside, call = at.callers[-1]
        value = _argument(at.scope, call, node.id) if isinstance(call, ast.Call) else None
        if value is None:
            return [], False, at
        return (
            [Given(ast.copy_location(ast.Expr(value), value), node.id, value)],
            True,
            Place(outside, at.callers[:-1], max(at.depth - 1, 0)),
        )

    def _elsewhere(self, node: ast.expr, inner: Place) -> tuple[list[Given], bool, Place]:
        """Return what is assigned to an attribute of `self` by one other method of the class, if it is one assignment."""
        spelled = ast.unparse(node)
        if not spelled.startswith("self."):
            return [], False, inner
        for cls in self._analysis.nodes(ast.ClassDef):
            if inner.scope not in cls.body:
                continue
            found = [
                each
                for each in self._analysis.nodes(ast.Assign)
                if cls.lineno <= each.lineno <= (cls.end_lineno or 0)
                and any(ast.unparse(target) == spelled for target in each.targets)
            ]
            # What is computed from itself is another number before than behind: the method may run on either side.
            if len(found) == 1 and spelled not in map(ast.unparse, walk_of(found[0].value, ast.Attribute)):
                method = scope_of(self._analysis, found[0])
                return [Given(found[0], spelled, found[0].value)], True, Place(method, (), inner.depth)
        return [], False, inner

    def _one(
        self, node: ast.expr, at: Place, *, is_length: bool = False, given: tuple[int, ...] | None = None
    ) -> Count:
        """Return a count that is one thing, which is another one where its name was given anew."""
        if given is None:
            known = self._given(node, at)[0] if isinstance(node, (ast.Name, ast.Attribute)) else []
            given = tuple(each.statement.lineno for each in known)
        return Count(frozenset({(Factor(ast.unparse(node), given, is_length, node), 1)}))


def _few(counts: Iterable[Count]) -> tuple[Count, ...]:
    found = tuple(dict.fromkeys(counts))
    return found if len(found) <= _MOST else ()


def _binds(scope: ast.AST, name: str) -> bool:
    """Whether a name is a function's own: a parameter, or bound in it."""
    arguments = getattr(scope, "args", None)
    if isinstance(arguments, ast.arguments):
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        if any(arg is not None and arg.arg == name for arg in every):
            return True
    return any(
        isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load) for node in own(scope)
    )


def _argument(function: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, name: str) -> ast.expr | None:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if any(isinstance(arg, ast.Starred) for arg in call.args):
        return None
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)]
    index = names.index(name) - (names[0] == "self") if name in names else len(call.args)
    return call.args[index] if 0 <= index < len(call.args) else None


def scope_of(analysis: Analysis, node: ast.AST) -> ast.AST | None:
    """Return the innermost function around a node (None: it stands in the module)."""
    return analysis.function_in(getattr(node, "lineno", 0))
