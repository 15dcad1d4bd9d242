"""Comprehensions: what is collected turn by turn, one by one where the turns are few and known.

It knows their syntax and what a turn gets; what an expression evaluates to is another layer's.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

from gradlint.events import EventKind
from gradlint.static.flow.tree import Loop, Seq, Uid
from gradlint.static.lowering.algebra import held, join_all, parameters_in
from gradlint.static.lowering.arithmetic import Arithmetic, gathered
from gradlint.static.lowering.values import (
    DATA,
    UNKNOWN,
    Const,
    Gathered,
    Instance,
    Items,
    Kind,
    Library,
    Object,
    Params,
    Rows,
    Tensor,
    Unknown,
    Value,
    const,
    is_loader,
    unknown_uid,
)
from gradlint.static.syntax.nodes import walk

_FEW = 8
"""As many known values are taken one by one."""


class Comprehensions(Arithmetic):
    """Evaluates comprehensions."""

    def evaluate(self, node: ast.expr) -> Value:
        """Evaluate an expression; the layer of expressions knows how."""
        raise NotImplementedError

    def iterated(self, value: Value) -> Value:
        """Return what a loop over `value` gets each time."""
        match value:
            case Items(elements, None) if elements:
                return join_all(elements)
            case Items(keys=keys) if keys is not None:
                return UNKNOWN
            case Tensor() | Params():
                return value
            case Rows(each):
                return each
            case Library() | Object(kind=Kind.LOADER) if is_loader(value):
                return DATA
            case Gathered():
                return self.one_of_many(value)
            case _:
                # Whoever goes through a loader hands out its batches, not the loader.
                return Unknown(holds=frozenset(uid for uid in self.reach((value,)) if not self._gives_batches(uid)))

    def _gives_batches(self, uid: Uid) -> bool:
        """Whether somebody is a sampler, or a loader that has one."""
        return uid in self.samplers or (uid, "sampler") in self.store

    def one_of_many(self, tensors: Gathered) -> Unknown:
        """Return one of a list of tensors: nobody knows which."""
        if not tensors.whole.nodes:
            self.forget([tensors])  # One by one they may be told to require gradients.
        return Unknown(holds=self.reach((tensors,)))

    def comprehension(
        self, generators: list[ast.comprehension], results: Sequence[ast.expr], *, ordered: bool = False
    ) -> Value:
        """Return what a comprehension over these `generators` collects of its `results`: in order, or in any."""
        first, *rest = generators
        source = self.evaluate(first.iter)
        match _counted(first.iter) or _keys_of(source) or source:
            case Items(elements, None) if 0 < len(elements) <= _FEW and not first.ifs:
                if rest:
                    made = self._in_turn(first.target, elements, lambda: [self.comprehension(rest, results)])
                    return _together([each for one in made for each in one])
                made = self._in_turn(first.target, elements, lambda: [self.evaluate(each) for each in results])
                return _collected(made) if ordered else _together([each for one in made for each in one])
        number = self.number(first)
        outer, self.loops = self.loops, (*self.loops, number)
        self.perhaps += bool(first.ifs)
        with self.aside() as out:
            # Nothing runs backward in here, so that one may stand for all.
            self.take(first.target, source.whole if isinstance(source, Gathered) else self.iterated(source))
            for test in first.ifs:
                self.evaluate(test)
            if rest:
                value = self.comprehension(rest, results)
            else:
                each = [self.evaluate(result) for result in results]
                value = mixture(each) if first.ifs else _together(each)
        self.loops = outer
        self.perhaps -= bool(first.ifs)
        if out:
            body = Seq(tuple(out))
            self.out.append(Loop(number, body, body, Seq(())))
        return value

    def _in_turn(
        self, target: ast.expr, each: tuple[Value, ...], results: Callable[[], list[Value]]
    ) -> list[list[Value]]:
        """Evaluate a comprehension over a few known values, in turn: each is asked to do its own."""
        hint, turn, made = self.hint, self.turn, []
        for index, value in enumerate(each):
            self.assign(target, value, target)
            self.hint, self.turn = f"{hint or '@'}[{index}]", f"{turn}[{index}]"
            made.append(results())
        self.hint, self.turn = hint, turn
        return made

    def take(self, target: ast.expr, value: Value) -> None:
        """Bind the target of a loop: who it names is another one in each iteration."""
        self.assign(target, value, target)
        named = (self.lookup(part.id) for part in walk(target) if isinstance(part, ast.Name))
        unknown = [each for each in named if isinstance(each, Unknown) and each.id]
        self.taken.update(each.id for each in unknown if any(map(self._has_a_name, each.holds)))
        others = frozenset(unknown_uid(each.id) for each in unknown)
        if others:
            self.emit(EventKind.CREATE, target, others, roles=("given",))

    def _has_a_name(self, uid: Uid) -> bool:
        """Whether somebody was made in sight, or has proven to be a module under the name that he has."""
        made = uid in self.objects or uid in self.instances
        return made or (uid[0] == "?" and ".".join(uid[1:]) in self.proven)

    def assign(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target; the layer of statements knows how."""
        raise NotImplementedError


def _counted(node: ast.expr) -> Items | None:
    """Return the numbers of a short `range`, which are known."""
    match node:
        case ast.Call(ast.Name("range"), [ast.Constant(int(count))], []) if 0 < count <= _FEW:
            return Items(tuple(map(Const, range(count))))
        case _:
            return None


def _keys_of(source: Value) -> Items | None:
    """Return the keys of a dict, which a loop over it goes through."""
    return Items(tuple(map(Const, source.keys))) if isinstance(source, Items) and source.keys else None


def _collected(made: list[list[Value]]) -> Value:
    """Return the list, or the dict, of what was made in turn, where it is of objects."""
    values = [each[-1] for each in made]
    if not all(isinstance(value, (Object, Instance)) for value in values):
        return _together([each for one in made for each in one])
    keys = [const(each[0]) for each in made if len(each) > 1]
    return Items(tuple(values), tuple(keys) if keys else None) if ... not in keys else mixture(values)


def _together(values: list[Value]) -> Value:
    """Return a list of nobody knows how many elements, each of which may be any of the values."""
    tensors = all(isinstance(value, Tensor) for value in values)
    return (gathered(values) if tensors else None) or mixture(values)


def mixture(values: Iterable[Value]) -> Value:
    """Return a collection of which nobody knows what is where: it may act on whatever any of the values may."""
    values = list(values)
    return parameters_in(Items(tuple(values))) or Unknown(holds=held(values))
