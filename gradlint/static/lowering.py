"""Statements: from Python's control flow to the flow tree, one file at a time.

Lowering interprets the file once, abstractly: names to values, calls to bodies, what remains are
events. It must not know states, codes or messages.

The module is read first, from the top, and with it every function that it calls. A function that
nobody was seen to call is then read on its own, with unknown arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.calls import Calls, Step
from gradlint.static.context import Frame, Grad, Store, const
from gradlint.static.expressions import combined
from gradlint.static.library import role_of
from gradlint.static.source import Source
from gradlint.static.syntax import FunctionNode
from gradlint.static.tree import EMPTY, Atom, Jump, JumpKind, Kill, Known, Loop, Node, Not, Predicate, Seq, events
from gradlint.static.values import (
    NONE,
    UNKNOWN,
    Class,
    Const,
    Function,
    Instance,
    Items,
    Library,
    Object,
    Params,
    Tensor,
    Unknown,
    Value,
    aged,
    held,
    parts,
)


@dataclass(frozen=True, slots=True)
class Root:
    """Something that is read from its first line: the module, or a function that nobody is seen to call."""

    tree: Seq
    complete: bool
    node: ast.AST


ACTIONS = frozenset("zero_grad step backward eval".split())
"""Methods without which nothing in a function can be in the wrong order."""
UNCALLED = frozenset("zero_grad step backward eval train".split())
"""Methods that a statement without parentheses was meant to call."""


class Lowering(Calls):
    """Lowers a file."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.steps: list[Step] = []
        self.schedules: list[tuple[ast.Call, Object]] = []

    # Roots ------------------------------------------------------------------------------------

    def roots(self, tree: ast.Module) -> Iterator[Root]:
        """Yield the module and then each function that was not reached from what came before."""
        with self.aside() as out:
            self.block(tree.body)
        yield Root(Seq(tuple(out)), True, tree)
        called = self.syntax.mentioned(tree)
        waiting = sorted(_functions(tree), key=lambda each: each[0].name in called)
        training = self._training([function for function, _ in waiting])
        after = dict(self.store)
        for function, cls in waiting:
            if function in self.reached or function.name not in training:
                continue
            self.store = dict(after)
            self.dead, self.grad = False, Grad.ON
            with self.aside() as out:
                self._alone(function, cls)
            yield Root(Seq(tuple(out)), False, function)

    def _training(self, functions: list[FunctionNode]) -> set[str]:
        """Return the names of the functions that take part in training: they act, or mention one that does."""
        found = {each.name for each in functions if self.syntax.called(each) & ACTIONS}
        size = -1
        while len(found) != size:
            size = len(found)
            found |= {each.name for each in functions if self.syntax.mentioned(each) & found}
        return found - {"__init__"}

    def _alone(self, function: FunctionNode, cls: ast.ClassDef | None) -> None:
        if cls is None:
            self.escaped |= self.reach((self.inline(Function(function, self.module.path), function, [], {}),))
            return
        owner = self.store.get((self.module.path, cls.name))
        home = owner if isinstance(owner, Class) and owner.node is cls else Class(cls, self.module.path)
        outer, self.out = self.out, []
        self.hint = cls.name
        instance = self.instantiate(home, cls, [], {})
        self.out = outer
        if not isinstance(instance, Instance):
            return
        static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
        result = self.inline(Function(function, home.frame, None if static else instance), function, [], {})
        self.escaped |= self.reach((result,))

    def own_optimizer(self, cls: Class, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Make an optimizer of the file's own class; one that is only looked at alone is not one."""
        return super().own_optimizer(cls, node, args, named) if isinstance(node, ast.Call) else UNKNOWN

    # Statements -------------------------------------------------------------------------------

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Lower statements until control leaves."""
        for statement in statements:
            if self.dead:
                return
            self.statements += 1
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(ast.Attribute(attr=name) as value) if name in UNCALLED:
                self._meant(value, name)
            case ast.Expr(value):
                self.evaluate(value)
                if isinstance(value, ast.Call) and self._mode_of(value) is not None and not self._sets_grad(value):
                    # `torch.no_grad()` as a statement does nothing, but was meant to.
                    self.grad = Grad.MAYBE
            case ast.Assign(targets, value):
                self._assignment(targets, value, node)
            case ast.AnnAssign(target, _, value) if value is not None:
                self._assignment([target], value, node)
            case ast.AugAssign():
                self._augmented(node)
            case ast.If(test, body, orelse):
                self.fork(self.condition(test), lambda: self.block(body), lambda: self.block(orelse))
            case ast.For() | ast.AsyncFor():
                self._for(node)
            case ast.While(test, body, orelse):
                self._while(test, body, orelse, node)
            case ast.With(items, body) | ast.AsyncWith(items, body):
                self._with(items, body)
            case ast.Try(body, handlers, orelse, finalbody):
                self._try(body, handlers, orelse, finalbody)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.frame.captured = True
                self.bind(node.name, self._decorated(node))
            case ast.ClassDef(bases=bases):
                for base in bases:
                    self.evaluate(base)
                self.bind(node.name, Class(node, self.frame.path))
            case ast.Return(value):
                self._return(value)
            case ast.Break():
                self._leave_iteration(JumpKind.BREAK)
            case ast.Continue():
                self._leave_iteration(JumpKind.CONTINUE)
            case ast.Raise():
                self.jump(JumpKind.RAISE)
            case ast.Import(names):
                for alias in names:
                    self.bind(alias.asname or alias.name.split(".")[0], Library(alias.name if alias.asname else alias.name.split(".")[0]))
            case ast.ImportFrom(module, names, level):
                self._import_from(module or "", names, level)
            case ast.Assert(test):
                self.evaluate(test)
            case ast.Match(subject, cases):
                self.evaluate(subject)
                self._cases(list(cases))
            case ast.Delete(targets):
                for target in targets:
                    if isinstance(target, ast.Attribute) and target.attr in ("grad", "_grad"):
                        self.by_hand(target, self.evaluate(target.value), EventKind.ZERO)
            case _ if hasattr(ast, "TryStar") and isinstance(node, getattr(ast, "TryStar")):
                self.block(node.body)
            case _:
                return

    def _meant(self, node: ast.Attribute, name: str) -> None:
        """Lower a method named but not called as if it were: the missing parentheses are one finding, not two."""
        owner = self.evaluate(node.value)
        if isinstance(owner, (Object, Tensor)) or isinstance(owner, Unknown) and name in ("zero_grad", "backward"):
            self.evaluate(ast.copy_location(ast.Call(node, [], []), node))

    def _decorated(self, node: FunctionNode) -> Value:
        result: Value = Function(node, self.frame.path)
        for decorator in reversed(node.decorator_list):
            known = self.quietly(decorator)
            if isinstance(known, Function):
                result = self.call(known, ast.copy_location(ast.Call(decorator, [], []), decorator), [result], {})
            elif isinstance(known, Unknown) or isinstance(known, Library) and role_of(known.name) == "unknown":
                self.wrapped_by_others.add(node)
        return result

    def _import_from(self, module: str, names: list[ast.alias], level: int) -> None:
        for alias in names:
            name = f"{module}.{alias.name}" if not level else f"{'.' * level}{module}.{alias.name}"
            self.bind(alias.asname or alias.name, Library(name))

    def _return(self, value: ast.expr | None) -> None:
        self.hint = "return"
        self.frame.returned.append(self.evaluate(value) if value is not None else NONE)
        self.hint = ""
        self.jump(JumpKind.RETURN)

    def _leave_iteration(self, kind: JumpKind) -> None:
        if self.pending:
            self.pending[-1].append(self.store)
        self.jump(kind)

    # Assignments ------------------------------------------------------------------------------

    def _assignment(self, targets: list[ast.expr], value: ast.expr, node: ast.stmt) -> None:
        self.hint = _hint(targets[0])
        result = self.evaluate(value)
        self.hint = ""
        if self._sum(targets, value, result, node):
            return
        for target in targets:
            self.assign(target, result, node)

    def assign(self, target: ast.expr, value: Value, node: ast.AST) -> None:
        """Bind a target to a value."""
        match target:
            case ast.Name(name):
                self.begin((self.frame.shared.get(name, self.frame).path, name), value, node)
                if isinstance(value, Unknown) and not value.id:
                    value = self.fresh(name, node, value.holds)
                self.bind(name, value)
            case ast.Tuple(elements) | ast.List(elements):
                for element, each in zip(elements, _spread(value, elements), strict=True):
                    self.assign(element, each, node)
            case ast.Starred(inner):
                self.assign(inner, Unknown(holds=held((value,))), node)
            case ast.Attribute(owner, name):
                self._assign_attribute(self.evaluate(owner), name, value, target)
            case ast.Subscript(owner):
                self._assign_element(owner, value, node)
            case _:
                return

    def _assign_attribute(self, owner: Value, name: str, value: Value, node: ast.Attribute) -> None:
        if name in ("grad", "_grad") or (name == "data" and isinstance(node.value, ast.Attribute) and node.value.attr == "grad"):
            kind = EventKind.ZERO if value == NONE else EventKind.SETGRAD
            self.by_hand(node, owner if kind is EventKind.ZERO else UNKNOWN, kind)
        elif name == "requires_grad":
            self.frozen |= self.reach((owner,))
        elif isinstance(owner, Instance):
            if isinstance(value, Unknown) and not value.id:
                value = self.fresh(f"{'/'.join(owner.uid)}.{name}", node, value.holds)
            self.begin((owner.uid, name), value, node)
            self.set_member(owner.uid, name, value)
            self.kept |= held((value,))
        elif isinstance(owner, Unknown) and owner.holds and not isinstance(value, (Const, Tensor)):
            self.escape(node, [value])

    def _assign_element(self, owner: ast.expr, value: Value, node: ast.AST) -> None:
        container = self.evaluate(owner)
        if isinstance(owner, (ast.Name, ast.Attribute)) and not isinstance(container, Tensor):
            self.assign(owner, Unknown(holds=held((container, value))), node)

    def _augmented(self, node: ast.AugAssign) -> None:
        value = self.evaluate(node.value)
        old = self.evaluate(_as_load(node.target)) if not isinstance(node.target, ast.Subscript) else UNKNOWN
        match old, value:
            case Items(), Items() if isinstance(node.op, ast.Add):
                result: Value = Items(old.elements + value.elements)
            case (Params(), _) | (_, Params()):
                result = Unknown(holds=held((old, value)))
            case _:
                result = combined((old, value)) if isinstance(old, (Tensor, Const)) and isinstance(value, Tensor) else UNKNOWN
        if isinstance(node.op, ast.Add) and (self.grad is Grad.ON or isinstance(value, Items)):
            self.keep(node.target, value, node)
        self.grown(node.target, result, node)

    def _sum(self, targets: list[ast.expr], value: ast.expr, result: Value, node: ast.stmt) -> bool:
        """Whether an assignment is `total = total + loss`; it is made here."""
        match targets, value:
            case [ast.Name(name) as target], ast.BinOp(ast.Name(left), ast.Add(), right) if name == left:
                if self.grad is Grad.ON:
                    self.keep(target, self.latest[right], node)
                self.grown(target, result, node)
                return True
            case _:
                return False

    # Loops ------------------------------------------------------------------------------------

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        source = self.evaluate(node.iter)
        each = _unrolled(source)
        if each is not None:
            for value in each:
                if not self.dead:
                    self.assign(node.target, value, node.target)
                    self._unrolled_body(node)
            self.block(node.orelse)
            return
        self._loop(node, lambda: self.assign(node.target, self.iterated(source), node.target), Known(True), node.orelse, False)
        if isinstance(node.iter, ast.Name) and any(_detaches(part, node.target) for part in ast.walk(node)):
            self.assign(node.iter, UNKNOWN, node)

    def _unrolled_body(self, node: ast.For | ast.AsyncFor) -> None:
        self.pending.append([])
        number = self.number(node)
        with self.aside() as out:
            self.block(node.body)
        stores = self.pending.pop()
        self.store = self.merge([*([] if self.dead else [self.store]), *stores]) if stores or not self.dead else self.store
        returned = self.dead and not stores
        self.dead = returned
        once = Seq((*out, Jump(JumpKind.BREAK))) if not returned else Seq(tuple(out))
        self.out.append(Loop(number, once, once, EMPTY))

    def _while(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], node: ast.While) -> None:
        endless = isinstance(test, ast.Constant) and bool(test.value)
        holder: list[Predicate] = []

        def head() -> None:
            holder[:] = [self.condition(test)]

        self._loop(node, head, Known(True), orelse, endless)

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, head: Callable[[], None], _: Predicate, orelse: list[ast.stmt], endless: bool
    ) -> None:
        number = self.number(node)
        self.loop_nodes[number] = node
        renewed = self._renew(node, number)
        outer, self.loops = self.loops, (*self.loops, number)
        before = dict(self.store)
        first, ends, breaks = self._iteration(node.body, head, renewed)
        later = first
        if ends and self._carries(before, ends) and len(self.stack) + len(self.loops) < 9:
            inside = frozenset(part.place for event in events(first) for part in event.nodes if event.kind is EventKind.FORWARD)
            self.store = self._handed_on(self.merge(ends), inside)
            later, more, others = self._iteration(node.body, head, renewed)
            ends, breaks = ends + more, breaks + others
        self.loops = outer
        exits = breaks if endless else [*ends, *breaks]
        self.dead = not exits
        self.store = self.merge(exits) if exits else before
        with self.aside() as after:
            if not self.dead:
                self.block(orelse)
        self.out.append(Loop(number, first, later, Seq(tuple(after)), endless))

    def _handed_on(self, store: Store, inside: frozenset[Location]) -> Store:
        """Return what the next iteration gets: graphs built in this one are older, and known by who carries them."""
        older = {key: aged(value, inside) for key, value in store.items()}
        for (_, name), value in store.items():
            for part in parts(value):
                if isinstance(part, Tensor):
                    for node in part.nodes:
                        self.carriers.setdefault(node, name)
        return older

    def _iteration(
        self, body: list[ast.stmt], head: Callable[[], None], renewed: frozenset[str]
    ) -> tuple[Seq, list[Store], list[Store]]:
        """Lower one iteration; return its tree, the stores at its ends and those at its breaks."""
        self.pending.append([])
        self.dead = False
        with self.aside() as out:
            self.out.append(Kill(renewed))
            head()
            self.block(body)
        jumped = self.pending.pop()
        ends = [] if self.dead else [self.store]
        self.dead = False
        return Seq(tuple(out)), ends + jumped, []

    def _renew(self, node: ast.For | ast.AsyncFor | ast.While, number: int) -> frozenset[str]:
        """Forget the constants that the loop changes: what held before it need not hold in it."""
        ids = set()
        for name in self.syntax.assigned(node):
            frame = self.frame.shared.get(name, self.frame)
            key = (frame.path, name)
            if isinstance(self.store.get(key), (Const, Unknown)):
                unknown = Unknown(f"{'/'.join(frame.path)}/{name}%{number}", held((self.store[key],)))
                self.store[key] = unknown
                ids.add(unknown.id)
        for name in self.syntax.assigned_attributes(node):
            for key, value in list(self.store.items()):
                if key[1] == name and isinstance(value, Const):
                    self.store[key] = Unknown(f"{'/'.join(key[0])}.{name}%{number}")
                    ids.add(f"{'/'.join(key[0])}.{name}%{number}")
        return frozenset(ids)

    def _carries(self, before: Store, ends: list[Store]) -> bool:
        """Whether the loop hands a graph, an object or a function on to its next iteration."""
        for end in ends:
            for key, old in before.items():
                new = end.get(key)
                if new is None or new is old:
                    continue
                flag = isinstance(new, Const) and isinstance(old, Unknown) and "%" in old.id
                if flag or any(isinstance(part, Tensor) and part.nodes for part in parts(new)) or isinstance(new, (Object, Function, Instance)):
                    if new != old:
                        return True
        return False

    # Contexts and exceptions ------------------------------------------------------------------

    def _with(self, items: list[ast.withitem], body: list[ast.stmt]) -> None:
        outer = self.grad
        for item in items:
            before = self.grad
            value = self.evaluate(item.context_expr)
            mode = self._mode_of(item.context_expr)
            if mode is None and isinstance(value, Unknown) and not self._known_context(item.context_expr):
                # Whoever manages this context may switch gradients off.
                mode = Grad.MAYBE
            self.grad = mode if mode is not None else before
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value if isinstance(value, (Object, Instance)) else Unknown(holds=held((value,))), item.optional_vars)
        inside = self.grad
        self.block(body)
        # A `set_grad_enabled` statement inside outlives nothing: the context restores what was.
        self.grad = outer if inside is not outer else self.grad

    def _sets_grad(self, node: ast.Call) -> bool:
        callee = self.quietly(node.func)
        return isinstance(callee, Library) and role_of(callee.name) == "set-grad"

    def _known_context(self, node: ast.expr) -> bool:
        """Whether a context is made by a library that has no hand on gradients."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = self.latest.get(node.func.value)
            if isinstance(owner, Object) or isinstance(owner, Unknown) and node.func.attr in ("autocast", "no_sync", "accumulate"):
                return True
        callee = self.quietly(node.func) if isinstance(node, ast.Call) else UNKNOWN
        return isinstance(callee, Library) and role_of(callee.name) in ("pure", "tensor") or callee == Library("builtins.open")

    def _mode_of(self, node: ast.expr) -> Grad | None:
        if not isinstance(node, ast.Call):
            value = self.latest.get(node)
            return Grad.OFF if isinstance(value, Library) and role_of(value.name) == "no-grad" else None
        callee = self.quietly(node.func)
        if not isinstance(callee, Library):
            return None
        match role_of(callee.name):
            case "no-grad":
                flag = const(self.latest.get(node.args[0], UNKNOWN)) if node.args else True
                return {True: Grad.OFF, False: self.grad}.get(flag, Grad.MAYBE) if isinstance(flag, bool) else Grad.MAYBE
            case "enable-grad":
                return Grad.ON
            case "set-grad":
                flag = const(self.latest.get(node.args[0], UNKNOWN)) if node.args else ...
                return {True: Grad.ON, False: Grad.OFF}.get(flag, Grad.MAYBE) if isinstance(flag, bool) else Grad.MAYBE
            case _:
                return None

    def _try(
        self, body: list[ast.stmt], handlers: list[ast.ExceptHandler], orelse: list[ast.stmt], final: list[ast.stmt]
    ) -> None:
        before = dict(self.store)
        self.block([*body, *orelse])
        after, dead = self.store, self.dead
        for handler in handlers:
            # What a handler does creates no finding, but its names and functions are real.
            self.store, self.dead, grad = dict(before), False, self.grad
            pending, self.pending = self.pending, []
            returned = len(self.frame.returned)
            with self.aside():
                self.block(handler.body)
            del self.frame.returned[returned:]
            for key, value in self.store.items():
                after.setdefault(key, value)
            self.pending, self.grad = pending, grad
        self.store, self.dead = after, False
        self.block(final)
        self.dead = self.dead or dead

    def _cases(self, cases: list[ast.match_case]) -> None:
        if not cases:
            return
        first, *rest = cases
        if isinstance(first.pattern, ast.MatchAs) and first.pattern.pattern is None and first.guard is None:
            self.block(first.body)
            return
        test: Predicate = Not(Atom(f"case@{first.body[0].lineno}:{'/'.join(self.frame.path)}"))
        self.fork(test, lambda: self._cases(rest), lambda: self.block(first.body))


def _hint(target: ast.expr) -> str:
    match target:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name
        case ast.Tuple(elements) | ast.List(elements):
            return ",".join(map(_hint, elements))
        case ast.Subscript():
            return ast.unparse(target)
        case _:
            return ""


def _spread(value: Value, targets: list[ast.expr]) -> list[Value]:
    match value:
        case Items(elements, None) if len(elements) == len(targets):
            return list(elements)
        case Params():
            return [value] * len(targets)
        case Tensor(nodes) if not any(node.sure for node in nodes):
            return [value] * len(targets)
        case _:
            return [Unknown(holds=held((value,))) for _ in targets]


def _unrolled(source: Value) -> tuple[Value, ...] | None:
    """A loop over a few known objects is as many bodies: each does to its own what the text says."""
    match source:
        case Items(elements, None) if 0 < len(elements) <= 8 and any(
            isinstance(part, (Object, Instance)) for element in elements for part in parts(element)
        ):
            return elements
        case _:
            return None


def _detaches(node: ast.AST, target: ast.expr) -> bool:
    match node, target:
        case ast.Call(ast.Attribute(ast.Name(name), "detach_")), ast.Name(wanted):
            return name == wanted
        case _:
            return False


def _as_load(target: ast.expr) -> ast.expr:
    return target


def _functions(tree: ast.Module) -> Iterator[tuple[FunctionNode, ast.ClassDef | None]]:
    """Yield the functions and methods of a module that can be called from outside, at any depth of `if`."""
    todo: list[tuple[ast.AST, ast.ClassDef | None]] = [(tree, None)]
    while todo:
        node, cls = todo.pop(0)
        for child in ast.iter_child_nodes(node):
            match child:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield child, cls
                case ast.ClassDef():
                    todo.append((child, child))
                case ast.If() | ast.Try() | ast.With():
                    todo.append((child, cls))
