"""Functions whose source is in sight: what calling them does, followed into their bodies.

A call is *inlined*: the callee's body is lowered with the caller's values in its parameters. It
knows frames and what leaves them; it must not know states or rules.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Hashable, Iterable

from gradlint.diagnostics import Location
from gradlint.regex import regex
from gradlint.static.flow.tree import Call, Seq, Uid
from gradlint.static.lowering.algebra import held, join
from gradlint.static.lowering.attributes import SUSPECT
from gradlint.static.lowering.frames import Frame, Grad
from gradlint.static.lowering.routines import Routines
from gradlint.static.lowering.values import NONE, Const, Function, Instance, Library, Unknown, Value
from gradlint.static.syntax.nodes import own, own_of, parameters, root, walk, walk_of
from gradlint.static.syntax.questions import FunctionNode, is_left_open

_NEED_GRADIENTS = frozenset(["backward", "manual_backward", "zero_grad"])
_SWITCHES = frozenset(["enable_grad", "set_grad_enabled"])
_COMPUTES = regex(r"comput|loss|forward|objective|criteri|predict|output|logits|score|metric")
"""Words in the name of a method that is left to subclasses: its value is what it is called for."""
_MODES = {"no-grad": Grad.OFF, "enable-grad": Grad.ON, "set-grad": Grad.MAYBE}


class Functions(Routines):
    """Follows calls into functions."""

    def inline(self, function: Function, node: ast.AST, args: list[Value], named: dict[str, Value]) -> Value:
        """Lower the body of a function at its call and return what it returns."""
        given = [*function.args, *args]
        if function.receiver is not None:
            given.insert(0, function.receiver)
        values = [*given, *named.values()]
        if self.beside_the_point(function, values):
            self.overwritten(function, node, values)
            return Unknown(holds=held(values))
        generates = self.syntax.is_generator(function.node)
        if generates and self._only_yields(function):
            return Unknown(holds=held(values))
        apart = generates and (node is not function.node or self._makes_context(function))
        if self.exhausted(function) or apart or is_left_open(function.node):
            return self._left_to_others(function, node, given, named)
        self.reached.add(function.node)
        self.followed.add(function.node)
        routine = self.routine_of(function, values, tuple(named))
        known = self.done_again(routine, node, values) if routine is not None else None
        return known or self._followed(function, node, given, named, routine)

    def _followed(
        self, function: Function, node: ast.AST, given: list[Value], named: dict[str, Value], routine: Hashable
    ) -> Value:
        """Lower the body of a function, and learn of it what others do of its `routine`."""
        frame = self._enter(function, node)
        frame.pauses = self.syntax.is_generator(function.node)
        begun, before = len(self.out), dict(self.store) if routine is not None else {}
        ended = self._lowered(frame, function, node, given, named)
        self._leave(frame)
        result = self._result(frame, ended)
        if routine is not None:
            self.learn(routine, frame, [*given, *named.values()], result, Seq(tuple(self.out[begun:])), before)
        return result

    def _left_to_others(
        self, function: Function, node: ast.AST, given: list[Value], named: dict[str, Value]
    ) -> Unknown:
        """Return what a function makes whose body does not run at its call, or is not known; it may use whatever it is given."""
        context = not self.exhausted(function) and self._makes_context(function)
        values = [*given, *named.values()]
        if context and self._is_beside_training(function):
            holds = held(values)
        else:
            values = values[1:] if is_left_open(function.node) and self._only_computes(function, node) else values
            holds = self.escape(node, [*values, Function(function.node, function.frame)])
        self.entered.pop(node, None)
        if context:
            self._yield_from(function, node, given, named)
        return Unknown(holds=holds)

    def _lowered(
        self, frame: Frame, function: Function, node: ast.AST, given: list[Value], named: dict[str, Value]
    ) -> bool:
        """Lower the body of a function in its frame; tell whether its end can be reached."""
        if frame.module is not self.module.module:
            self.foreign[function.node] = frame.module
        outer, asked = (self.frame, self.grad, self.dead, self.hint, self.pending), self.perhaps
        switch, inference = self.switch, self.inference
        self.frame, self.dead, self.hint, self.pending = frame, False, "", []
        self.stack.append(function.node)
        with self.aside() as out:
            self.bind_parameters(function.node.args, given, named)
            self._body(function)
        ended = not self.dead
        stores = [*frame.exits, self.store] if ended else frame.exits
        self.store = self.merge(stores) if stores else self.store
        self.stack.pop()
        ends = [*frame.left, *([(self.grad, self.switch)] if ended else [])]
        self.frame, self.grad, self.dead, self.hint, self.pending = outer
        self.switch, self.inference = switch, inference
        self._left_in(ends, function)
        self.perhaps = asked
        if out:
            self.out.append(Call(Seq(tuple(out))))
        return ended

    def _only_yields(self, function: Function) -> bool:
        """Whether a generator goes through data: nothing in it trains, and it asks nothing of the object that it is a method of."""
        module = self.frames.get(function.frame, self.module).module
        calls = (each.func for each in walk(function.node) if isinstance(each, ast.Call))
        asks = any(isinstance(each, ast.Attribute) and isinstance(root(each), ast.Name) for each in calls)
        return not asks and not self._makes_context(function) and not self.footprints.trains(function.node, module)

    def _is_beside_training(self, function: Function) -> bool:
        """Whether nothing in a function trains, and it calls no method of what it is given, such as the object whose method it is."""
        module = self.frames.get(function.frame, self.module).module
        given = parameters(function.node.args)
        methods = (each.func for each in walk_of(function.node, ast.Call) if isinstance(each.func, ast.Attribute))
        asked = {each.value.id for each in methods if isinstance(each.value, ast.Name)}
        return given.isdisjoint(asked) and not self.footprints.trains(function.node, module)

    def is_thrown_away(self, node: ast.AST) -> bool:
        """Whether a call is made for what it does, not for its result."""
        scope = self.frame.node or self.frame.module.contents.tree
        return any(each.value is node for each in own_of(scope, ast.Expr))

    def _only_computes(self, function: Function, call: ast.AST) -> bool:
        """Whether a method that subclasses write is presumed to compute something, and to leave the object's optimizers alone."""
        name = name_of(function)
        return (
            not self.is_thrown_away(call)
            and isinstance(function.receiver, Instance)
            and bool(_COMPUTES.search(name))
            and not SUSPECT.search(name)
        )

    def _makes_context(self, function: Function) -> bool:
        """Whether a function is decorated to make a context of what it does around its `yield`."""
        around = (self.seen_from(function.frame, each) for each in getattr(function.node, "decorator_list", ()))
        return any(isinstance(each, Library) and each.name == "contextlib.contextmanager" for each in around)

    def _yield_from(self, function: Function, node: ast.AST, given: list[Value], named: dict[str, Value]) -> None:
        """Remember whom a context gives to its block; what it does around is not followed."""
        frame, store = self._enter(function, node), dict(self.store)
        with self.aside():
            self._lowered(frame, function, node, given, named)
        self.store = store
        if frame.yielded:
            self.entered[node] = functools.reduce(join, frame.yielded)

    def _left_in(self, ends: list[tuple[Grad, Location | None]], function: Function) -> None:
        """Go on after a call in the mode in which a statement of the function has left it; contexts and decorators leave none."""
        here = (self.grad, self.switch)
        left = [end if end[1] not in (None, self.switch) else here for end in ends]
        if any(end is not here for end in left) and self._mode_of(function) is None:
            self.meet(left)

    def escape(self, node: ast.AST, values: Iterable[Value], roles: Iterable[str] = ()) -> frozenset[Uid]:
        """Emit that somebody unknown got `values`, who may move their flags: those of a mere state, and those that a function moves."""
        values = list(values)
        reached = super().escape(node, values, roles)
        for value in values:
            if isinstance(value, Instance) and not self.trained([value]):
                self.unsettle(value.uid, node)
            elif isinstance(value, Function):
                self._may_move(value, node)
        return reached

    def _may_move(self, function: Function, node: ast.AST) -> None:
        """Forget the flags that a function shares with those around it: it may be called at any time."""
        module_names, outer_names = self.syntax.declared(function.node)
        parent = self.frames.get(function.frame, self.module)
        for name in sorted(module_names | outer_names):
            frame = parent.top if name in module_names else self._binding(name, parent)
            if isinstance(self.store.get((frame.path, name)), Const):
                self.store[frame.path, name] = self.fresh(name, node)

    def _enter(self, function: Function, node: ast.AST) -> Frame:
        place = f"{getattr(node, 'lineno', 0)}:{getattr(node, 'col_offset', 0)}{self.turn}"
        path = (*self.frame.path, f"{name_of(function)}:{place}")
        parent = self.frames.get(function.frame, self.module)
        cls = function.receiver.cls if isinstance(function.receiver, Instance) else None
        callers = (*self.frame.callers, (self.frame.node, node))
        receiver = function.receiver
        frame = Frame(path, parent, parent.module, node=function.node, callers=callers, cls=cls, receiver=receiver)
        module_names, outer_names = self.syntax.declared(function.node)
        frame.shared = dict.fromkeys(module_names, parent.top)
        frame.shared |= {name: self._binding(name, parent) for name in outer_names}
        self.frames[path] = frame
        return frame

    def _binding(self, name: str, frame: Frame) -> Frame:
        """Return the frame around, from the nearest on, that binds a name."""
        while frame.parent is not None and (frame.path, name) not in self.store:
            frame = frame.parent
        return frame

    def _leave(self, frame: Frame) -> None:
        if frame.captured:
            return
        for name in frame.bound:
            self.store.pop((frame.path, name), None)

    def _result(self, frame: Frame, ended: bool) -> Value:
        if not frame.returned:
            return NONE
        result = frame.returned[0]
        for other in frame.returned[1:]:
            result = self.chosen(self.hint, result, other)
        # Behind its last line a function returns None: of an object it makes no other, of a flag it does.
        return join(result, NONE) if ended and isinstance(result, Const) else result

    def _body(self, function: Function) -> None:
        node, mode = function.node, self._mode_of(function)
        if mode is not None:
            self.grad, self.switch = mode, None
        elif node in self.wrapped_by_others and (isinstance(node, ast.Lambda) or not needs_gradients(node.body)):
            self.grad = Grad.MAYBE
        if isinstance(node, ast.Lambda):
            self.frame.returned.append(self.evaluate(node.body))
            return
        self.inference = self.inference or any(map(self.is_inference_mode, node.decorator_list))
        self.block(node.body)

    def _mode_of(self, function: Function) -> Grad | None:
        """Return the grad mode that a function runs in wherever it is called, if it has one."""
        if function.untracked:
            return Grad.OFF
        return None if isinstance(function.node, ast.Lambda) else self.decorated_mode(function.node)

    def decorated_mode(self, node: FunctionNode) -> Grad | None:
        """Return the grad mode that the decorators of a function put it in, if any."""
        modes = (self._mode_by(decorator) for decorator in node.decorator_list)
        return next((mode for mode in modes if mode is not None), None)

    def _mode_by(self, decorator: ast.expr) -> Grad | None:
        if isinstance(decorator, ast.IfExp):
            either, other = self._mode_by(decorator.body), self._mode_by(decorator.orelse)
            return either if either is other else Grad.MAYBE
        value = self.quietly(decorator.func if isinstance(decorator, ast.Call) else decorator)
        return _MODES.get(self.models.role_of(value.name)) if isinstance(value, Library) else None

    def is_inference_mode(self, node: ast.expr) -> bool:
        """Whether a decorator or a context is torch's inference mode."""
        value = self.quietly(node.func if isinstance(node, ast.Call) else node)
        return isinstance(value, Library) and value.name.endswith(".inference_mode")


def name_of(function: Function) -> str:
    """Return the name that a function was defined under."""
    return getattr(function.node, "name", "lambda")


def needs_gradients(body: list[ast.stmt]) -> bool:
    """Whether statements run backward or clear gradients themselves: no unknown context around them switches gradients off."""
    said = {
        node.attr
        for statement in body
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for node in own(statement)
        if isinstance(node, ast.Attribute)
    }
    return not said.isdisjoint(_NEED_GRADIENTS) and said.isdisjoint(_SWITCHES)
