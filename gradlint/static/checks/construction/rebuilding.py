"""Optimizers, schedulers and gradient scalers that are built anew in every turn of a loop: GL805."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property

from gradlint.data import dataclass
from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import MANY_EVALUATIONS
from gradlint.static.flow.tree import Branch, Call, Event, Loop, Node, Seq, Uid
from gradlint.static.lowering.values import Construction, Kind, Object, const
from gradlint.static.syntax.nodes import walk

_K = EventKind
_RESETS = frozenset(
    ["load_state_dict", "reset_parameters", "deepcopy", "requires_grad", "requires_grad_", "clone", "apply"]
)
"""Where one of these is said in the loop, a turn may begin with other parameters than the last one ended with."""
_HARMLESS = frozenset(
    [
        "train",
        "eval",
        "zero_grad",
        "parameters",
        "named_parameters",
        "to",
        "cuda",
        "cpu",
        "forward",
        "state_dict",
        "backward",
    ]
)
_WITHOUT_MEMORY = ("ExponentialLR", "MultiplicativeLR")
"""Schedulers that go on from the learning rate that they find."""


@check
def built_in_loop(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL805: the moments, the schedule or the scale begin anew in every turn."""
    objects = analysis.lowering.objects
    for root in analysis.roots:
        seen = set[Uid]()
        builds = any(event.kind is _K.CREATE and event.loops for event in analysis.events[root])
        for event in _always_in_loop(root.bare, certain=False) if builds else ():
            if event.kind is not _K.CREATE or not event.loops:
                continue
            for uid in (event.targets or frozenset()) - seen:
                made = objects.get(uid)
                if made is not None and len(made.calls) == 1 and _is_rebuilt(_Turn(analysis, root, event, made)):
                    seen.add(uid)
                    yield _report(analysis, event, made)


def _always_in_loop(node: Node, *, certain: bool) -> Iterator[Event]:
    """Yield the events that happen in every turn of the innermost loop around them, unless it is left."""
    match node:
        case Event():
            if certain:
                yield node
        case Seq():
            for item in node.items:
                yield from _always_in_loop(item, certain=certain)
        case Branch():
            yield from _always_in_loop(node.then, certain=False)
            yield from _always_in_loop(node.orelse, certain=False)
        case Loop(_, first, _, orelse):
            yield from _always_in_loop(first, certain=True)
            yield from _always_in_loop(orelse, certain=False)
        case Call(body):
            yield from _always_in_loop(body, certain=certain)
        case _:
            return


@dataclass(frozen=True)
class _Turn:
    """One turn of the loop in which something is built."""

    analysis: Analysis
    root: Root
    created: Event
    made: Object

    @property
    def call(self) -> Construction:
        return self.made.calls[0]

    @property
    def number(self) -> int:
        return self.created.loops[-1]

    @cached_property
    def loop(self) -> ast.AST | None:
        return self.analysis.lowering.loop_nodes.get(self.number)

    @cached_property
    def inside(self) -> list[Event]:
        return [event for event in self.analysis.events[self.root] if self.number in event.loops]

    @cached_property
    def words(self) -> frozenset[str]:
        """The names that are read in the loop, and in the function that builds, if the loop calls it."""
        called = self.call.scope if not self.is_in_sight else None
        nodes = (node for node in (self.loop, called) if node is not None and not isinstance(node, ast.Module))
        return frozenset().union(*(self.analysis.lowering.syntax.mentioned(node) for node in nodes))

    @cached_property
    def is_in_sight(self) -> bool:
        """Whether the construction stands in the loop itself."""
        return self.loop is not None and any(node is self.call.node for node in walk(self.loop))

    @cached_property
    def changing(self) -> frozenset[str]:
        """The names and attributes that the loop assigns."""
        syntax = self.analysis.lowering.syntax
        return syntax.assigned(self.loop) | syntax.assigned_attributes(self.loop) if self.loop else frozenset()

    def depth(self, event: Event) -> int | None:
        """Return how many loops deeper an event lies than the construction (None: elsewhere)."""
        own = self.created.loops
        return len(event.loops) - len(own) if event.is_in(own) else None

    def begins(self, uid: Uid) -> bool:
        """Whether somebody begins anew in a turn too."""
        fresh = (event for event in self.inside if event.kind in (_K.CREATE, _K.LOAD, _K.REPLACE))
        return any(overlap(uid, target) for event in fresh for target in event.targets or ()) or self._renamed(uid)

    def _renamed(self, uid: Uid) -> bool:
        """Whether an unknown value got its name in the loop."""
        if uid[:1] != ("?",) or self.loop is None:
            return False
        rows = range(getattr(self.loop, "lineno", 0), (getattr(self.loop, "end_lineno", 0) or 0) + 1)
        marks = re.findall(r"[@%](\d+)", "/".join(uid))
        return "%" in "/".join(uid) or any(int(mark) in rows for mark in marks)

    def constant(self, *written: ast.AST) -> bool:
        """Whether expressions of the function that builds are the same in every turn."""
        names = frozenset().union(*(self._read(each) for each in written)) if written else frozenset[str]()
        return not names & self.changing

    def _read(self, written: ast.AST) -> frozenset[str]:
        """Return the names that an expression reads, those of a function one call away as its caller gives them."""
        syntax = self.analysis.lowering.syntax
        names = syntax.mentioned(written) | syntax.names(written)
        given = self._given
        if given is None:
            return names
        return frozenset().union(*(given.get(name, frozenset({name})) for name in names))

    @cached_property
    def _given(self) -> dict[str, frozenset[str]] | None:
        """What the names of the function that builds come from, if it is called in the loop (None: the loop is in it)."""
        scope = self.call.scope
        if self.loop is None or self.is_in_sight:
            return None
        if not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return None
        syntax = self.analysis.lowering.syntax
        parameters = [arg.arg for arg in (*scope.args.posonlyargs, *scope.args.args)]
        given = dict.fromkeys(syntax.assigned(scope), self.changing)
        for node in walk(self.loop):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == scope.name:
                bound = (
                    parameters[1:]
                    if isinstance(node.func, ast.Attribute) and parameters[:1] == ["self"]
                    else parameters
                )
                pairs = [
                    *zip(bound, node.args, strict=False),
                    *((each.arg, each.value) for each in node.keywords if each.arg),
                ]
                for name, value in pairs:
                    given[name] = given.get(name, frozenset()) | syntax.mentioned(value)
        return given


def _is_rebuilt(turn: _Turn) -> bool:
    if turn.loop is None or not turn.constant(*turn.call.node.args, *turn.call.node.keywords):
        return False
    match turn.made.kind:
        case Kind.OPTIMIZER:
            return _is_forgetful_optimizer(turn)
        case Kind.SCHEDULER:
            return _is_forgetful_scheduler(turn)
        case Kind.SCALER:
            return _is_forgetful_scaler(turn)
        case _:
            return False


def _is_forgetful_scheduler(turn: _Turn) -> bool:
    """Whether a schedule starts over in every turn that moves it on, for an optimizer that stays."""
    owners = turn.made.of or frozenset()
    depths = {turn.depth(event) for event in turn.inside if event.kind is _K.SCHEDULE and _is_on(event, turn.made)}
    last = turn.made.origin.rpartition(".")[2]
    return bool(owners) and last not in _WITHOUT_MEMORY and depths == {0} and not any(map(turn.begins, owners))


def _is_forgetful_scaler(turn: _Turn) -> bool:
    """Whether a scale starts over in every turn, for optimizers that stay."""
    steps = (event for event in turn.inside if event.kind is _K.STEP and turn.made.uid in event.scalers)
    owners = frozenset().union(*(event.targets or frozenset() for event in steps))
    disabled = turn.made.uid in turn.analysis.lowering.disabled
    return bool(owners) and not disabled and not any(map(turn.begins, owners))


def _is_on(event: Event, made: Object) -> bool:
    return made.uid in (event.targets or frozenset())


def _is_forgetful_optimizer(turn: _Turn) -> bool:
    """Whether an optimizer with a memory loses it in every turn of a loop over batches or epochs."""
    owned = turn.made.of
    if not owned or not _has_memory(turn.made) or turn.words & _RESETS or any(map(turn.begins, owned)):
        return False
    steps = {turn.depth(event): event for event in turn.inside if event.kind is _K.STEP and _is_on(event, turn.made)}
    if any(event.kind is _K.ESCAPE and _is_on(event, turn.made) for event in turn.inside):
        return False
    if steps.keys() == {0}:
        return True
    return steps.keys() == {1} and _is_over_batches(turn, steps[1].loops[-1]) and _is_same_each_turn(turn)


def _has_memory(optimizer: Object) -> bool:
    last = optimizer.origin.rpartition(".")[2]
    if not optimizer.origin.startswith("torch.optim.") or optimizer.origin in MANY_EVALUATIONS:
        return False
    momentum = optimizer.calls[0].argument(2, "momentum")
    return last != "SGD" or (momentum is not None and const(momentum) != 0)


def _is_over_batches(turn: _Turn, number: int) -> bool:
    """Whether a loop goes over data that are the same in every turn of the one around."""
    match turn.analysis.lowering.loop_nodes.get(number):
        case ast.For(iter=source):
            counted = any(isinstance(node, ast.Name) and node.id == "range" for node in walk(source))
            return not counted and turn.constant(source)
        case _:
            return False


def _is_same_each_turn(turn: _Turn) -> bool:
    """Whether a loop counts its turns, and its number is used for nothing but to be told."""
    match turn.loop:
        case ast.For(target=ast.Name(name), iter=source):
            counted = any(isinstance(node, ast.Name) and node.id in ("range", "trange") for node in walk(source))
            return counted and not any(_selects(node, name) for node in walk(turn.loop))
        case _:
            return False


def _selects(node: ast.AST, name: str) -> bool:
    """Whether a node uses the number of a turn to choose or to change something."""
    match node:
        case ast.Subscript(slice=ast.Name(used)):
            return used == name
        case ast.Call(ast.Attribute(ast.Name(), method), [ast.Name(used), *_]):
            return used == name and method.startswith("set_") and method != "set_epoch"
        case _:
            return False


def _report(analysis: Analysis, event: Event, made: Object) -> Diagnostic:
    what = {
        Kind.OPTIMIZER: "what it has learned of the gradients (moments, step count) is lost each time",
        Kind.SCHEDULER: "the schedule starts over each time and never gets on",
        Kind.SCALER: "the scale starts over each time, and what it has adapted to is lost",
    }[made.kind]
    loop = analysis.lowering.loop_nodes[event.loops[-1]]
    marks = (("loop", analysis.source.place(loop)),)
    name = made.uid[-1].partition("#")[0]
    subject = made.origin.rpartition(".")[2] if name == "return" or name.startswith("@") else name
    return compose("GL805", Side.STATIC, made.place, marks, subject=subject, what=what)
