"""Conditions: what a branch stands on, as a predicate that equal conditions share.

It knows expressions of conditions; it must not know statements or rules.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from gradlint.static.flow.tree import (
    Atom,
    Both,
    Cycle,
    Known,
    Not,
    Predicate,
)
from gradlint.static.lowering.algebra import parts
from gradlint.static.lowering.modules import Modules
from gradlint.static.lowering.values import (
    NONE,
    OPTIMIZERS,
    UNKNOWN,
    Choice,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Unknown,
    Value,
    const,
)
from gradlint.static.sources.library import role_of
from gradlint.static.syntax.questions import GRADIENT

_WITH_METRIC = "ReduceLROnPlateau"
_ROWS = frozenset(["builtins.list", "builtins.tuple"])
_COLLECTIONS = _ROWS | {"builtins.dict"}
_FLAG = frozenset(["store_true"])
"""In the text of a file that has options which are on or off."""


class Conditions(Modules):
    """Reads conditions."""

    def condition(self, node: ast.expr) -> Predicate:
        """Evaluate a condition for its events and return it as a predicate."""
        if self.frame.module.contents.says(GRADIENT, node) and self.syntax.mentioned(node) & GRADIENT:
            # From here on somebody may know whether there is a gradient.
            self.perhaps += 1
        match node:
            case ast.BoolOp(op, values):
                return _joined(op, [self.condition(value) for value in values])
            case ast.BinOp(ast.Compare() as left, ast.BitAnd(), ast.Compare() as right):
                return _joined(ast.And(), [self.condition(left), self.condition(right)])
            case ast.BinOp(ast.Compare() as left, ast.BitOr(), ast.Compare() as right):
                return _joined(ast.Or(), [self.condition(left), self.condition(right)])
            case ast.UnaryOp(ast.Not(), operand):
                return _opposite(self.condition(operand))
            case _:
                value = self.evaluate(node)
                known = self._known(node, value)
                return self._atom(node) if known is None else Known(known)

    def _known(self, node: ast.expr, value: Value) -> bool | None:
        match node:
            case ast.Compare(left, [op], [right]):
                return self._compared(self.latest[left], op, self.latest[right], left)
            case ast.Call(ast.Name("isinstance"), [subject, cls]):
                return _is_instance(self.latest.get(subject), self.latest.get(cls))
            case ast.Call(ast.Name("hasattr" | "isinstance" | "callable")):
                return None
            case ast.Attribute(ast.Name(owner), name) if owner != "self" and self._is_always_on(name):
                return True
            case _:
                return self.truth(value)

    def _is_always_on(self, option: str) -> bool:
        """Whether an attribute is an option of the command line of this file that nobody can switch off."""
        contents = self.frame.module.contents
        return contents.says(_FLAG, contents.tree) and option in self.syntax.always_on(contents.tree)

    def _compared(self, left: Value, op: ast.cmpop, right: Value, node: ast.expr) -> bool | None:
        if isinstance(node, ast.Name) and node.id == "__name__":
            return True
        if right == NONE and isinstance(op, (ast.Is, ast.IsNot)):
            known = self._none(node, left)
            return None if known is None else known is isinstance(op, ast.Is)
        if (
            isinstance(left, Object)
            and isinstance(right, Object)
            and isinstance(op, (ast.Is, ast.IsNot, ast.Eq, ast.NotEq))
        ):
            return (left.uid == right.uid) is isinstance(op, (ast.Is, ast.Eq))
        a, b = const(left), const(right)
        if a is ... or b is ... or not isinstance(op, (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)):
            return None
        return (a == b) is isinstance(op, (ast.Eq, ast.Is))

    def _none(self, node: ast.expr, value: Value) -> bool | None:
        """Return whether a value is None, if that is known."""
        if isinstance(node, ast.Attribute) and node.attr in GRADIENT:
            return None  # Who was cleared may have no gradient.
        return False if isinstance(value, Unknown) and value.id in self.taken else _is_none(value)

    def truth(self, value: Value) -> bool | None:
        """Return whether a value is true, if that is known."""
        match value:
            case Const(literal):
                return bool(literal)
            case Object() | Function() | Choice() | Class():
                return True
            case _:
                return None

    def _atom(self, node: ast.expr) -> Predicate:
        ids: set[str] = set()
        positive, key = True, ""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            positive, key = False, f"Compare({self._key(node, ids)},Eq,0)"
        elif (
            isinstance(node, ast.Compare)
            and len(node.ops) == 1
            and isinstance(node.ops[0], (ast.NotEq, ast.IsNot, ast.NotIn))
        ):
            positive = False
            op = {ast.NotEq: "Eq", ast.IsNot: "Is", ast.NotIn: "In"}[type(node.ops[0])]
            key = f"Compare({self._key(node.left, ids)},{op},{self._key(node.comparators[0], ids)})"
        else:
            key = self._key(node, ids)
        cycle = self.cycle(node)
        if cycle is not None and not positive:
            cycle = replace(cycle, when=not cycle.when)
        atom = Atom(key, frozenset(ids), cycle)
        return atom if positive else Not(atom)

    # Windows ----------------------------------------------------------------------------------

    def cycle(self, node: ast.expr) -> Cycle | None:
        """Return what a condition that was evaluated says of a counter, if it is true once in so many turns."""
        match node:
            case ast.Compare(ast.BinOp(count, ast.Mod(), length), [ast.Eq() | ast.NotEq() as op], [rest]):
                return self._remainder(count, length, rest, when=isinstance(op, ast.Eq))
            case ast.BinOp(count, ast.Mod(), length):
                return self._remainder(count, length, ast.Constant(0), when=False)
            case ast.UnaryOp(ast.Not(), operand):
                found = self.cycle(operand)
                return None if found is None else replace(found, when=not found.when)
            case ast.BoolOp(_, values):
                return next((found for found in map(self.cycle, values) if found is not None), None)
            case ast.Call(ast.Name("bool" | "int"), [inner]):
                return self.cycle(inner)
            case ast.Name() | ast.Attribute():
                value = self.latest.get(node) or self._plain(node)
                return self.cycles.get(value.id) if isinstance(value, Unknown) else None
            case _:
                return None

    def _remainder(self, count: ast.expr, length: ast.expr, rest: ast.expr, *, when: bool) -> Cycle:
        self.counts = True
        name, begin = _sum(count)
        match name, self.latest.get(name) or self._plain(name):
            case ((ast.Name() | ast.Attribute()), Unknown(id=counter)):
                pass
            case _:
                counter = ""
        spelled, turns = self._key(length, set()), const(self.latest.get(length) or self._plain(length))
        match rest:
            case ast.Constant(int(wanted)):
                offset: int | None = begin - wanted
            case ast.BinOp(whole, ast.Sub(), ast.Constant(int(less))) if self._key(whole, set()) == spelled:
                offset = begin + less
            case _:
                offset = None
        return Cycle(counter, spelled, offset if counter else None, turns if isinstance(turns, int) else None, when)

    def _key(self, node: ast.AST, ids: set[str]) -> str:
        match node:
            case ast.Name() | ast.Attribute():
                return self._identity(node, ids)
            case ast.Constant(value):
                return repr(value)
            case ast.Compare(left, ops, comparators):
                middle = "".join(type(op).__name__ for op in ops)
                return f"Compare({self._key(left, ids)},{middle},{','.join(self._key(c, ids) for c in comparators)})"
            case _:
                children = ",".join(self._key(child, ids) for child in ast.iter_child_nodes(node))
                return f"{type(node).__name__}({children})"

    def _identity(self, node: ast.expr, ids: set[str]) -> str:
        match self.latest.get(node) or self._plain(node):
            case Unknown(id=id_) if id_:
                # `args.fp16` dies with `args`: every prefix counts.
                head = id_.split(".", 1)[0]
                ids.update((id_, head))
                return id_
            case Const(literal):
                return repr(literal)
            case Object(uid=uid) | Instance(uid=uid):
                return "/".join(uid)
            case _:
                key = f"{'/'.join(self.frame.path)}/{ast.unparse(node)}"
                ids.add(key)
                return key

    def _plain(self, node: ast.expr) -> Value:
        match node:
            case ast.Name(name):
                return self.lookup(name)
            case _:
                return UNKNOWN


def _joined(op: ast.boolop, tests: list[Predicate]) -> Predicate:
    """Return whether all of some conditions hold, or one of them."""
    result = tests[-1]
    for test in reversed(tests[:-1]):
        if isinstance(op, ast.And):
            result = _both(test, result)
        else:
            result = _opposite(_both(_opposite(test), _opposite(result)))
    return result


def _both(left: Predicate, right: Predicate) -> Predicate:
    """Return a conjunction; one that hangs on nothing unknown is known."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Known):
            return other if one.truth else one
    return Both(left, right)


def _opposite(test: Predicate) -> Predicate:
    return Known(not test.truth) if isinstance(test, Known) else Not(test)


def _sum(node: ast.expr) -> tuple[ast.expr, int]:
    """Return a count as something and a literal that is added to it."""
    match node:
        case ast.BinOp(name, ast.Add(), ast.Constant(int(more))) | ast.BinOp(ast.Constant(int(more)), ast.Add(), name):
            return name, more
        case ast.BinOp(name, ast.Sub(), ast.Constant(int(less))):
            return name, -less
        case _:
            return node, 0


def _is_instance(value: Value | None, cls: Value | None) -> bool | None:
    """Whether something is of a class that tells it from others: an optimizer from a function that updates by hand."""
    match value, cls:
        case Function() | Choice(), Library(name) if role_of(name) in ("optimizer", "module") or name in OPTIMIZERS:
            return False
        case Object(kind=Kind.OPTIMIZER), Library(name) if name in OPTIMIZERS:
            return True
        case Object(kind=Kind.MODULE), Library("torch.nn.Module" | "torch.nn.modules.Module"):
            return True
        # The scheduler that wants a metric is asked for before it is stepped.
        case Object(kind=Kind.SCHEDULER, origin=origin), Library(name) if origin.startswith("torch."):
            if name == origin:
                return True
            return False if name.endswith(f".{_WITH_METRIC}") else None
        case Object(kind=Kind.MODULE), Class(node=ast.ClassDef(bases=[])):
            return False  # What has torch for a base is no instance of a class without one.
        case Instance(cls=known), Class() if known.node is cls.node:
            return True
        case _, Library() | Items():
            return _is_collection(value, {part.name for part in parts(cls) if isinstance(part, Library)})
        case _:
            return None


def _is_collection(value: Value | None, names: set[str]) -> bool | None:
    """Whether a value is one of Python's own collections; of what is written out in a row, nobody knows which."""
    match value:
        case _ if not names or not names <= _COLLECTIONS:
            return None
        case Object(calls=(_, *_)) | Function():
            return False  # Who is only used as an optimizer may be a list of them elsewhere.
        case Items(keys=tuple()):
            return "builtins.dict" in names
        case Items():
            return (names >= _ROWS or None) if names & _ROWS else False
        case _:
            return None


def _is_none(value: Value) -> bool | None:
    match value:
        case Const(literal):
            return literal is None
        case Unknown():
            return None
        case _:
            return False
