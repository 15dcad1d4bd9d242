"""Branches: lowering alternatives from one point, and what is known where their paths meet.

It knows stores and modes; what the condition says is another layer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, compress, count, islice
from operator import is_not

from gradlint.diagnostics import Location
from gradlint.static.flow.tree import EMPTY, Atom, Branch, Known, Node, Not, Predicate, Seq, Uid, atoms
from gradlint.static.lowering.algebra import MOST_CHOICES, choice, held, join
from gradlint.static.lowering.contexts import NO_CONTEXTS, is_context
from gradlint.static.lowering.frames import PRESENT, Decision, Grad, Store
from gradlint.static.lowering.remembering import Remembering
from gradlint.static.lowering.values import (
    ANY_OPTIMIZER,
    ANY_SCHEDULER,
    UNKNOWN,
    Choice,
    Class,
    Const,
    Imported,
    Instance,
    Kind,
    Library,
    Object,
    Unknown,
    Value,
)


class Branches(Remembering):
    """Parts what is known, and joins it."""

    @contextmanager
    def aside(self) -> Iterator[list[Node]]:
        """Collect what is emitted inside into a sequence of its own."""
        outer, self.out = self.out, []
        try:
            yield self.out
        finally:
            self.out = outer

    def fork(self, test: Predicate, *sides: Callable[[], object]) -> None:
        """Lower two alternatives from the same point and join what is known after them."""
        match test:
            case Known(truth):
                sides[0 if truth else 1]()
                return
        before, grad, switch, outer = self.store, self.grad, self.switch, self.out
        nodes: list[Node] = []
        ends: list[tuple[Store, Grad, Location | None]] = []
        for side in sides:
            self.store, self.grad, self.switch, self.dead, self.out = dict(before), grad, switch, False, []
            side()
            nodes.append(Seq(tuple(self.out)) if self.out else EMPTY)
            if not self.dead:
                ends.append((self.store, self.grad, self.switch))
        self.out = outer
        self.out.append(Branch(test, nodes[0], nodes[1]))
        self.dead = not ends
        with self.decided_by(test if len(ends) == len(sides) else None):
            self.store = self.merge([store for store, *_ in ends]) if ends else before
        self.meet([(grad, switch) for _, grad, switch in ends])

    @contextmanager
    def decided_by(self, test: Predicate | None) -> Iterator[None]:
        """Join what two sides leave, of which a condition has decided (None: who knows what has)."""
        outer, self.deciding = self.deciding, test
        try:
            yield
        finally:
            self.deciding = outer

    def stands_for(self, id_: str, module: Value) -> Predicate:
        """Return the condition on which a name is one of its modules: that which has decided, while it says what it did."""
        decision = self.decisions.get(id_)
        if decision is None or any(self.renewals[each] != count for each, count in decision.counts.items()):
            return Atom(f"{id_} is {min(held((module,)))}", frozenset({id_}))
        return decision.test if module in decision.left else Not(decision.test)

    def meet(self, ends: Iterable[tuple[Grad, Location | None]]) -> None:
        """Go on in the mode in which paths meet, each of which has one and the statement that set it."""
        modes = dict(ends)
        (self.grad, self.switch), *others = modes.items() or ((Grad.MAYBE, None),)
        self.grad = Grad.MAYBE if others else self.grad

    def merge(self, stores: list[Store]) -> Store:
        """Return what is known where several paths meet; what only some of them bind keeps its value, unless it is a flag."""
        merged = dict(stores[0])
        for store in stores[1:]:
            # Few names differ, and there are many; to look for what was imported adds names. Stores begin with what both paths
            # knew before them, in the same order: there, nobody is looked for by name.
            shared = next(compress(count(), map(is_not, store, merged)), min(len(store), len(merged)))
            values = chain(islice(merged.values(), shared), map(merged.get, islice(store, shared, None)))
            for key, value in list(compress(store.items(), map(is_not, store.values(), values))):
                known = merged.get(key)
                if known is None:
                    merged[key] = self.bound_aside(key, value, merged)
                elif known != value:
                    merged[key] = self.joined(key, known, value)
            rest = islice(merged, shared, None) if len(merged) > len(store) else ()
            for key in [each for each in rest if each not in store]:
                merged[key] = self.bound_aside(key, merged[key], store)
        return merged

    def bound_aside(self, key: tuple[Uid, str], value: Value, other: Store) -> Value:
        """Return what is known of what one of two paths binds, where `other` is what the other one knows.

        Who is used was made. A flag, though, may have been another one before, where nobody has looked yet.
        """
        if not isinstance(value, Const):
            return value
        before = UNKNOWN if (key[0], PRESENT) in other else self._beyond(key, other)
        return value if before is None else self.joined(key, value, before)

    def _beyond(self, key: tuple[Uid, str], store: Store) -> Value | None:
        """Return what the top of another file binds to a name that was not looked for on a path."""
        frame = self.frames.get(key[0])
        if frame is None or frame.parent is not None:
            return None
        here, self.store = self.store, store
        try:
            return self.beyond(frame, key[1])
        finally:
            self.store = here

    def either(self, left: Value, right: Value) -> Value:
        """Return what is known of a value that is one of two; of two classes of optimizers, or two contexts, that it is one."""
        match left, right:
            case (Library(name), other) | (other, Library(name)) if name in NO_CONTEXTS and is_context(
                other, self.models
            ):
                return other
            case Library(one), Library(other) if (
                one != other and is_context(left, self.models) and is_context(right, self.models)
            ):
                return left
            case Library(one), Library(other) if one != other and self._makes_optimizers(one, other):
                return ANY_OPTIMIZER
            case (Library() | Class(), Library() | Class()) if (
                left != right and self._makes_schedulers(left) and self._makes_schedulers(right)
            ):
                return ANY_SCHEDULER
            case (Class() | Choice(), Class() | Choice()) if self._makes_modules(left) and self._makes_modules(right):
                return choice(left, right)
            case _:
                return join(left, right)

    def _makes_optimizers(self, *names: str) -> bool:
        meanings = [self.models.meaning_of(name) for name in names]
        return all(meaning.role == "optimizer" and meaning.kind in ("", "optimizer") for meaning in meanings)

    def _makes_schedulers(self, value: Value) -> bool:
        match value:
            case Library(name):
                return self.models.role_of(name) == "scheduler"
            case Class():
                return self.is_scheduler(value)
            case _:
                return False

    def _makes_modules(self, value: Value) -> bool:
        """Whether a value is a class of modules, or certainly one of some."""
        match value:
            case Choice(callables):
                return all(map(self._makes_modules, callables))
            case Class():
                return self.is_module(value)
            case _:
                return False

    def joined(self, key: tuple[Uid, str], left: Value, right: Value) -> Value:
        """Return what a name is known to be that is one of two."""
        left, right = (self.named(each.name) if isinstance(each, Imported) else each for each in (left, right))
        value = left if left == right else self.either(left, right)
        if not isinstance(value, (Unknown, Choice)) or is_context(value, self.models):
            return value
        named = replace(value, id=f"{'/'.join(key[0])}/{key[1]}#{next(self.numbers)}")
        self.renewed(named.id)
        if all(isinstance(each, Unknown) and self.is_made_here(each.id) for each in (left, right)):
            self.made_here.add(named.id)
        one, other = self._modules_among(left), self._modules_among(right)
        if one or other:
            self.alternatives[named.id] = tuple(dict.fromkeys((*one, *other)))
            self._decide(named.id, one, other)
        losses = dict.fromkeys((*self._losses_among(left), *self._losses_among(right)))
        if UNKNOWN not in losses and len(losses) <= MOST_CHOICES:
            self.losses[named.id] = tuple(losses)
        return named

    def _decide(self, id_: str, left: tuple[Value, ...], right: tuple[Value, ...]) -> None:
        """Remember which condition decides what a name stands for, if it alone does."""
        if self.deciding is not None and len(left) == len(right) == 1 and left != right:
            counts = {each: self.renewals[each] for atom in atoms(self.deciding) for each in atom.ids}
            self.decisions[id_] = Decision(self.deciding, left, counts)

    def chosen(self, name: str, left: Value, right: Value) -> Value:
        """Return a value that is one of two, which gets a name in this frame: of two modules it is remembered which."""
        both = self._modules_among(left) and self._modules_among(right)
        return self.joined((self.frame.path, name), left, right) if both else self.either(left, right)

    def is_made_here(self, id_: str) -> bool:
        """Whether an unknown value was bound to its name by the code that is read, on each path, not given to it."""
        return "@" in id_ or id_ in self.made_here

    def _losses_among(self, value: Value) -> tuple[Value, ...]:
        """Return the losses of which a value is one, unknown if it may be anything else."""
        match value:
            case Object(kind=Kind.CRITERION):
                return (value,)
            case Instance(cls=cls) if self.is_module(cls) and not self.may_have_weights(cls):
                return (value,)
            case Unknown(id=id_) if id_ in self.losses:
                return self.losses[id_]
            case _:
                return (UNKNOWN,)

    def _modules_among(self, value: Value) -> tuple[Value, ...]:
        """Return the modules of which a value is one, as far as they are known."""
        match value:
            case Object(kind=Kind.MODULE) | Instance():
                return (value,)
            case Unknown(id=id_):
                return self.alternatives.get(id_, ())
            case _:
                return ()
