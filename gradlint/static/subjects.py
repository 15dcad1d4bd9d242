"""Subjects: what an event of the flow tree means to one optimizer, scheduler, module or graph.

The bridge between lowering, which knows who is who, and the protocols, which know only kinds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from gradlint.events import EventKind
from gradlint.events import Kinds as _K
from gradlint.protocols import Protocol, State
from gradlint.static.flow import Flow, World
from gradlint.static.tree import (
    EMPTY,
    Atom,
    Both,
    Branch,
    Call,
    Event,
    GraphNode,
    Jump,
    Kill,
    Loop,
    Node,
    Not,
    Predicate,
    Seq,
    Uid,
    walk,
)
from gradlint.static.values import Object

_IDLE = frozenset({"mode", "construction"})
"""Who gets a module in one of these ways leaves its gradients alone."""

Effect = Callable[[Event], EventKind | None]

MANY_EVALUATIONS = frozenset({"torch.optim.LBFGS", "torch.optim.lbfgs.LBFGS"})
"""Optimizers that call their closure several times per step."""


def overlap(a: Uid, b: Uid) -> bool:
    """Whether one is a part of the other."""
    return a == b[: len(a)] if len(a) <= len(b) else a[: len(b)] == b


def _any_overlap(some: Iterable[Uid], others: Iterable[Uid]) -> bool:
    for a in some:
        for b in others:
            if overlap(a, b):
                return True
    return False


class Kin:
    """Subjects of which it is asked again and again who is a part of whom: the answer takes no look at each of them."""

    def __init__(self, uids: Iterable[Uid]) -> None:
        self._uids = frozenset(uids)
        self._parts: dict[Uid, list[Uid]] = defaultdict(list)
        for uid in self._uids:
            for length in range(len(uid) + 1):
                self._parts[uid[:length]].append(uid)

    def wholes(self, uid: Uid) -> list[Uid]:
        """Return those that are `uid` or that it belongs to."""
        return [uid[:length] for length in range(len(uid) + 1) if uid[:length] in self._uids]

    def overlapping(self, uid: Uid) -> set[Uid]:
        """Return those that are a part of `uid` or the other way round."""
        return {*self.wholes(uid), *self._parts.get(uid, ())}


def name_of(uid: Uid) -> str:
    """Return how the file calls somebody, known or not (nothing where it has no name)."""
    return re.split("[#@%]", uid[-1].rpartition("/")[2])[0].rpartition(".")[2]


def within(part: Uid, whole: Uid) -> bool:
    """Whether `part` is `whole` or belongs to it."""
    return part[: len(whole)] == whole


def touches(event: Event, uids: Iterable[Uid]) -> bool:
    """Whether an event's targets have to do with any of `uids`; an event on somebody unknown has."""
    targets = event.targets
    return targets is None or _any_overlap(targets, uids)


def on_optimizer(optimizer: Object, others: Mapping[Uid, Object]) -> Effect:
    """Return what events mean to an optimizer; `others` are all known objects by uid."""
    owned = optimizer.of
    everything = (optimizer.uid, *(owned or ()))
    given = owned is None and not optimizer.calls

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.ZERO:
                return _clearing(event, optimizer, others)
            case _K.BACKWARD | _K.SETGRAD:
                return event.kind
            case _K.CREATE if targets is not None and optimizer.uid in targets:
                return _K.CREATE
            case _K.STEP if targets is not None and optimizer.uid in targets:
                foreign = "argument" in event.roles or optimizer.origin in MANY_EVALUATIONS
                return _K.ESCAPE if foreign else _K.STEP
            case _K.ESCAPE if not event.roles & _IDLE and touches(event, everything):
                return _K.ESCAPE
            case _K.ESCAPE if given and "handed" in event.roles:
                # It may be the model of an optimizer that is given, too.
                return _K.ESCAPE
            case _:
                return None

    return effect


def _clearing(event: Event, optimizer: Object, others: Mapping[Uid, Object]) -> EventKind | None:
    targets = event.targets
    if targets is None:
        # Somebody is cleared: perhaps these parameters, perhaps an input's gradient.
        return _K.ESCAPE
    if "module" not in event.roles:
        if optimizer.uid in targets:
            return _K.ZERO
        # Two optimizers may hold the same parameters, or parts of one module.
        apart = all(_disjoint(optimizer, others.get(uid)) for uid in targets)
        return None if apart else _K.ESCAPE
    if optimizer.of is None:
        return _K.ESCAPE
    if all(any(within(module, target) for target in targets) for module in optimizer.of):
        return _K.ZERO
    return _K.ESCAPE if touches(event, optimizer.of) else None


def _disjoint(optimizer: Object, other: Object | None) -> bool:
    if other is None or other.of is None or optimizer.of is None:
        return False
    return not _any_overlap(optimizer.of, other.of)


def on_parameter(subject: frozenset[Uid], others: Mapping[Uid, Object]) -> Effect:
    """Return what events mean to a parameter that is updated by hand: who it is, or who may have a hold on it."""

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.ZERO:
                return _clears(event, subject, others)
            case _K.BACKWARD | _K.SETGRAD:
                return event.kind
            case _K.EDIT:
                # Gradients that are changed in place may be kept on purpose, as a momentum.
                return _K.SETGRAD
            case _K.CREATE if targets is not None and targets & subject:
                # The next of several parameters brings its own gradient, of which as much is known.
                return None if "given" in event.roles else _K.CREATE
            case _K.HAND_STEP if targets is not None and "name-only" not in event.roles:
                # Whoever gives the name a new tensor has no old gradients from then on.
                whole = subject <= targets and "rebinding" not in event.roles
                return _K.STEP if whole else _K.ESCAPE if touches(event, subject) else None
            case _K.STEP | _K.OTHER_STEP | _K.ESCAPE if "mode" not in event.roles:
                acts = _acted_on(event, others) if event.kind is not _K.ESCAPE else targets
                return _K.ESCAPE if acts is None or any(overlap(a, b) for a in acts for b in subject) else None
            case _:
                return None

    return effect


def on_gradient(subject: frozenset[Uid], others: Mapping[Uid, Object]) -> Effect:
    """Return what events mean to the gradient of a parameter."""
    usual = on_parameter(subject, others)

    def effect(event: Event) -> EventKind | None:
        targets = event.targets or frozenset()
        match event.kind:
            case _K.READ if subject <= targets:
                return _K.READ
            case _K.CREATE if any(within(uid, target) for uid in subject for target in targets):
                return _K.CREATE
            case _K.ZERO if "fills" in event.roles:
                # Filled with zeros, a gradient that is None stays None.
                return None
            case _K.HAND_STEP | _K.STEP | _K.OTHER_STEP:
                return None
            case _K.EDIT:
                return None
            case _:
                return usual(event)

    return effect


def _clears(event: Event, subject: frozenset[Uid], others: Mapping[Uid, Object]) -> EventKind | None:
    cleared = event.targets if "module" in event.roles else _acted_on(event, others)
    if cleared is None:
        return _K.ESCAPE
    if all(any(within(uid, target) for target in cleared) for uid in subject):
        return _K.ZERO
    return _K.ESCAPE if any(overlap(a, b) for a in cleared for b in subject) else None


def _acted_on(event: Event, others: Mapping[Uid, Object]) -> frozenset[Uid] | None:
    """Return on whom the optimizers act to which something happens; None where that is not known."""
    owners = [others[uid].of if uid in others else None for uid in event.targets or ()]
    return None if None in owners or not owners else frozenset(uid for each in owners for uid in each or ())


def on_scheduler(scheduler: Object) -> Effect:
    """Return what events mean to a scheduler of a known optimizer."""
    owners = scheduler.of or frozenset()

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.SCHEDULE | _K.CREATE if targets is not None and scheduler.uid in targets:
                # `step(epoch)` sets the epoch: where it stands is the caller's convention.
                return _K.ESCAPE if "argument" in event.roles else event.kind
            case _K.STEP if targets is not None and targets & owners:
                return _K.STEP
            case _K.ESCAPE if touches(event, (scheduler.uid, *owners)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def on_rate(scheduler: Object) -> Effect:
    """Return what events mean to the learning rate of the optimizer of a scheduler."""
    owners = scheduler.of or frozenset()

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.RATE | _K.STEP if targets is not None and targets & owners:
                return event.kind
            case _K.SCHEDULE if targets is not None and scheduler.uid in targets:
                return event.kind
            case _K.ESCAPE if touches(event, (scheduler.uid, *owners)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def on_module(module: Uid, optimizers: frozenset[Uid]) -> Effect:
    """Return what events mean to the mode of a module that the given optimizers train."""

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.CREATE if targets is not None and module in targets:
                return _K.CREATE
            case _K.TRAIN | _K.EVAL if targets is not None and any(within(module, target) for target in targets):
                return event.kind
            case _K.FORWARD if targets is not None and "grad" in event.roles and touches(event, (module,)):
                return _K.FORWARD
            case _K.BACKWARD:
                return _K.BACKWARD
            case _K.STEP if targets is not None and targets & optimizers:
                return _K.STEP
            case _K.ESCAPE if touches(event, (module,)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def on_validated(module: Uid, optimizers: frozenset[Uid], given: EventKind) -> Effect:
    """Return what events mean to the mode of a module that is trained by the given optimizers and runs somewhere.

    `given` is what it means that a loop gets another module under the same name.
    """

    def effect(event: Event) -> EventKind | None:
        targets = event.targets or frozenset()
        whole = any(within(module, target) for target in targets)
        match event.kind:
            case _K.CREATE if whole and "given" in event.roles:
                return given
            case _K.CREATE | _K.LOAD | _K.TRAIN | _K.EVAL if whole:
                return event.kind
            case _K.TRAIN | _K.EVAL | _K.ESCAPE if any(overlap(module, target) for target in targets):
                # A part may be all that its mode matters to.
                return _K.ESCAPE
            case _K.FORWARD if module in targets:
                return _K.FORWARD
            case _K.STEP if targets & optimizers:
                return _K.STEP
            case _:
                return None

    return effect


def on_scaling(scaler: Object, optimizer: Uid, others: Mapping[Uid, Object]) -> Effect:
    """Return what events mean to the gradients of an optimizer, proven or not, that a gradient scaler may step."""
    known = others.get(optimizer)

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        by_it = scaler.uid in event.scalers
        match event.kind:
            case _K.BACKWARD if by_it:
                return _K.ESCAPE if "perhaps-scaled" in event.roles else _K.SCALE
            case _K.BACKWARD if not event.scalers:
                return _K.BACKWARD
            case _K.STEP | _K.OTHER_STEP if targets is not None and optimizer in targets:
                return _K.SCALED_STEP if by_it else None if event.scalers else _K.STEP
            case _K.UNSCALE if by_it:
                if targets is not None and optimizer in targets:
                    return _K.UNSCALE
                apart = known and targets is not None and all(_disjoint(known, others.get(uid)) for uid in targets)
                return None if apart else _K.ESCAPE
            case _K.UPDATE if by_it:
                return _K.UPDATE
            case _K.CLIP if known is None or clips(event, known):
                return _K.CLIP
            case _K.ZERO:
                return _cleared(event, known, others)
            case _K.SETGRAD | _K.EDIT:
                return event.kind
            case _K.CREATE if targets is not None and scaler.uid in targets:
                return _K.CREATE
            case _K.ESCAPE if "scaler" not in event.roles and touches(event, (scaler.uid,)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def _cleared(event: Event, known: Object | None, others: Mapping[Uid, Object]) -> EventKind | None:
    # What clears perhaps these gradients leaves nobody knows which scale.
    if known is None:
        return _K.ZERO
    kind = _clearing(event, known, others)
    return _K.SETGRAD if kind is _K.ESCAPE else kind


def clips(event: Event, optimizer: Object) -> bool:
    """Whether a clipping may concern the parameters of an optimizer."""
    targets = event.targets
    if targets is None or optimizer.of is None or optimizer.uid in targets:
        return True
    return touches(event, optimizer.of)


def on_sampler(sampler: Uid) -> Effect:
    """Return what events mean to a sampler whose order depends on the epoch."""

    def effect(event: Event) -> EventKind | None:
        mine = event.targets is not None and sampler in event.targets
        match event.kind:
            case _K.DRAW | _K.CREATE | _K.ESCAPE if mine:
                return event.kind
            case _K.EPOCH if mine or event.targets is None:
                return _K.EPOCH
            case _:
                return None

    return effect


def on_sharded(optimizer: Object) -> Effect:
    """Return what events mean to the parameters that an optimizer was built with."""
    owned = optimizer.of or frozenset()

    def effect(event: Event) -> EventKind | None:
        targets = event.targets or frozenset()
        match event.kind:
            case _K.SHARD if touches(event, owned):
                return _K.SHARD
            case _K.CREATE | _K.STEP | _K.ESCAPE if optimizer.uid in targets:
                return event.kind
            case _:
                return None

    return effect


def on_graph(node: GraphNode) -> Effect:
    """Return what events mean to a part of a graph."""
    parts = frozenset({node})  # A set knows the hash of what it holds.

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case _K.FORWARD if parts <= event.nodes:
                return _K.FORWARD
            case _K.BACKWARD if parts <= event.nodes:
                return _K.RETAIN if "retain" in event.roles else _K.BACKWARD
            case _K.RETAIN if parts <= event.nodes:
                return _K.ESCAPE
            case _:
                return None

    return effect


def on_saved(node: GraphNode, owners: frozenset[Uid]) -> Effect:
    """Return what events mean to a part of a graph whose parameters the given optimizers own."""
    graph = on_graph(node)

    def effect(event: Event) -> EventKind | None:
        if event.kind is _K.STEP:
            return _K.STEP if event.targets is not None and event.targets & owners else None
        known = graph(event)
        if known is not None or event.kind is not _K.BACKWARD:
            return known
        return _K.SETGRAD if any(overlap(part.module, node.module) for part in event.nodes) else None

    return effect


def on_leak(node: GraphNode, own: frozenset[Uid], others: frozenset[Uid]) -> Effect:
    """Return what events mean to the gradients of what built a graph part, whose optimizers are `own`."""

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.FORWARD if node in event.nodes:
                return _K.FORWARD
            case _K.BACKWARD | _K.RETAIN if node in event.nodes:
                return _K.ESCAPE if event.kind is _K.RETAIN else _K.BACKWARD
            case _K.BACKWARD:
                through = any(overlap(part.module, node.module) for part in event.nodes)
                return _K.RETAIN if through else None if event.nodes else _K.ESCAPE
            case _K.STEP if targets is not None and targets & own:
                return _K.STEP
            case _K.STEP if targets is not None and targets & others:
                return _K.OTHER_STEP
            case _K.ZERO if targets is None:
                return _K.ESCAPE
            case _K.ZERO if targets is not None and _releases(targets, node, own):
                return _K.ZERO
            case _K.ESCAPE | _K.SETGRAD | _K.EDIT if touches(event, (node.module, *own)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def _releases(targets: frozenset[Uid], node: GraphNode, own: frozenset[Uid]) -> bool:
    return bool(targets & own) or any(within(node.module, target) for target in targets)


def follow(
    tree: Node, protocol: Protocol, effect: Effect, start: State | None = None, *, blind: bool = False
) -> dict[Event, set[State]]:
    """Run a protocol for one subject over a tree; return the states in which each of its events was reached."""
    flow = run(tree, protocol, effect, start, blind=blind)
    return {event: {world.state for world in worlds} for event, worlds in flow.arrivals.items()}


def breaches(tree: Node, protocol: Protocol, effect: Effect) -> dict[Event, set[World[State]]]:
    """Return the worlds in which each event of a subject was reached; nothing if no path, feasible or not, breaks a rule."""
    kept = pruned(tree, effect)
    broken: set[Event] = set()

    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        after, violation = (state, None) if kind is None else protocol.advance(state, kind, event.place)
        if violation is not None:
            broken.add(event)
        return after

    for blind in (True, False):
        flow: Flow[State] = Flow(advance, blind=blind)
        flow.run(kept, protocol.initial)
        if not broken:
            return {}
    return flow.arrivals


def run(
    tree: Node, protocol: Protocol, effect: Effect, start: State | None = None, *, blind: bool = False
) -> Flow[State]:
    """Run a protocol for one subject over a tree and return the interpreter with its arrivals (`blind`: see Flow)."""

    def advance(state: State, event: Event) -> State:
        kind = effect(event)
        return state if kind is None else protocol.advance(state, kind, event.place)[0]

    flow: Flow[State] = Flow(advance, blind=blind)
    flow.run(pruned(tree, effect), protocol.initial if start is None else start)
    return flow


def pruned(node: Node, effect: Effect) -> Node:
    """Return the tree without what means nothing to the subject, and without kills of what no condition mentions."""
    kept = _prune(node, effect)
    if kept is None:
        return EMPTY
    return _without_kills(kept, frozenset(_mentioned(kept))) or EMPTY


def _mentioned(node: Node) -> Iterator[str]:
    """Yield the ids that the conditions of a tree depend on."""
    for each in walk(node):
        if isinstance(each, Branch):
            yield from _ids(each.test)


def _ids(test: Predicate) -> Iterator[str]:
    match test:
        case Atom(ids=ids):
            yield from ids
        case Not(operand):
            yield from _ids(operand)
        case Both(left, right):
            yield from _ids(left)
            yield from _ids(right)
        case _:
            return


def _without_kills(node: Node, wanted: frozenset[str]) -> Node | None:
    match node:
        case Kill(ids):
            kept = ids & wanted
            return node if kept == ids else Kill(kept) if kept else None
        case Seq(items):
            return Seq(tuple(item for item in (_without_kills(each, wanted) for each in items) if item is not None))
        case Branch(test, then, orelse):
            return Branch(test, _without_kills(then, wanted) or EMPTY, _without_kills(orelse, wanted) or EMPTY)
        case Loop(number, first, later, orelse, endless):
            body = _without_kills(first, wanted) or EMPTY
            again = body if later is first else _without_kills(later, wanted) or EMPTY
            return Loop(number, body, again, _without_kills(orelse, wanted) or EMPTY, endless)
        case Call(body):
            return replace(node, body=_without_kills(body, wanted) or EMPTY)
        case _:
            return node


def _prune(node: Node, effect: Effect) -> Node | None:
    match node:
        case Event():
            return node if effect(node) is not None else None
        case Kill() | Jump():
            return node
        case Seq(items):
            kept: list[Node] = []
            for item in items:
                # Most of what there is are events that mean nothing here.
                if type(item) is Event:
                    if effect(item) is not None:
                        kept.append(item)
                elif (inner := _prune(item, effect)) is not None:
                    kept.append(inner)
            if len(kept) == 1:
                return kept[0]
            return Seq(tuple(kept)) if kept else None
        case Branch(test, then, orelse):
            left, right = _prune(then, effect), _prune(orelse, effect)
            if _idle(left) and _idle(right):
                return _kills(left, right)
            return Branch(test, left or EMPTY, right or EMPTY)
        case Loop(number, first, later, orelse, endless):
            body = _prune(first, effect)
            again = body if later is first else _prune(later, effect)
            after = _prune(orelse, effect)
            if _idle(body) and _idle(again) and not endless:
                # What the loop makes anew stays made anew after it.
                rest = [node for node in (_kills(body, again), after) if node is not None]
                return Seq(tuple(rest)) if rest else None
            return Loop(number, body or EMPTY, again or EMPTY, after or EMPTY, endless)
        case Call(body):
            inner = _prune(body, effect)
            return None if inner is None else replace(node, body=inner)


def _idle(node: Node | None) -> bool:
    """Whether nothing happens in a node but kills (or local jumps of loops and calls inside it)."""
    match node:
        case None | Kill():
            return True
        case Seq(items):
            return all(map(_idle, items))
        case _:
            return False


def _kills(*nodes: Node | None) -> Node | None:
    ids: set[str] = set()
    for node in nodes:
        match node:
            case Kill(found):
                ids |= found
            case Seq(items):
                inner = _kills(*items)
                ids |= inner.ids if isinstance(inner, Kill) else frozenset()
            case _:
                continue
    return Kill(frozenset(ids)) if ids else None
