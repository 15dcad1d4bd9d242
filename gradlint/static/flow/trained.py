"""What is trained: what an event of the flow tree means to a parameter, its gradient, a module or a part of a graph.

The bridge between lowering and the protocols, as `subjects` is for those who drive training; it knows no rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gradlint.events import EventKind
from gradlint.static.flow.kinship import is_within_any, overlap, touches, within
from gradlint.static.flow.tree import Effect, Event, GraphNode, Uid
from gradlint.static.lowering.values import Object

_K = EventKind


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
                # The next of several modules brings its parameters' gradients along.
                return None if "given" in event.roles else _K.CREATE
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


def on_module(module: Uid, optimizers: frozenset[Uid], parts: frozenset[Uid] = frozenset()) -> Effect:
    """Return what events mean to the mode of a module, with its `parts`, that the given optimizers, or updates by hand, train."""

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.CREATE if targets is not None and module in targets:
                return _K.CREATE
            case _K.TRAIN | _K.EVAL if targets is not None and is_within_any(module, targets):
                return event.kind
            case _K.TRAIN if targets is not None and (
                targets & parts or any(within(target, module) for target in targets)
            ):
                # Whoever puts a part into training mode has chosen which.
                return _K.TRAIN
            case _K.FORWARD if targets is not None and "grad" in event.roles and touches(event, (module,)):
                return _K.FORWARD
            case _K.BACKWARD:
                return _K.BACKWARD
            case _K.STEP if targets is not None and targets & optimizers:
                return _K.STEP
            case _K.HAND_STEP if targets is not None and is_within_any(module, targets):
                return _K.STEP
            case _K.ESCAPE if "parameters" not in event.roles and touches(event, (module,)):
                return _K.ESCAPE
            case _:
                return None

    return effect


def on_learning(module: Uid) -> Effect:
    """Return what events tell of whether gradients are recorded where a module is evaluated behind its training."""

    def effect(event: Event) -> EventKind | None:
        targets = event.targets or frozenset()
        match event.kind:
            case _K.BACKWARD | _K.ZERO if "grad" in event.roles:
                return _K.BACKWARD
            case _K.TRAIN | _K.EVAL if any(within(module, target) for target in targets):
                return event.kind
            case _K.FORWARD if "grad" in event.roles and touches(event, (module,)):
                return _K.FORWARD
            case _:
                return None

    return effect


def on_evaluated(module: Uid, optimizers: frozenset[Uid]) -> Effect:
    """Return what events mean to the mode of a module that may have been left in it by a pass that needs no gradients of its own."""
    usual = on_module(module, optimizers)

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case _K.FORWARD if "no-grad" in event.roles and touches(event, (module,)):
                return _K.RETAIN
            case _K.RETAIN if "autograd-grad" in event.roles and _runs_through(event, module):
                return _K.RETAIN
            case _K.BACKWARD:
                return _K.BACKWARD if not event.nodes or _runs_through(event, module) else None
            case _:
                return usual(event)

    return effect


def _runs_through(event: Event, module: Uid) -> bool:
    return any(overlap(part.module, module) for part in event.nodes)


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
            case _K.ESCAPE if "parameters" in event.roles:
                return None
            case _K.TRAIN | _K.EVAL | _K.ESCAPE if any(overlap(module, target) for target in targets):
                # A part may be all that its mode matters to.
                return _K.ESCAPE
            case _K.FORWARD if module in targets:
                return _K.FORWARD
            case _K.STEP if targets & optimizers:
                return _K.STEP
            case _K.HAND_STEP if is_within_any(module, targets):
                return _K.STEP
            case _:
                return None

    return effect


def on_graph(node: GraphNode) -> Effect:
    """Return what events mean to a part of a graph."""
    parts = frozenset({node})  # A set knows the hash of what it holds.

    def effect(event: Event) -> EventKind | None:
        if not event.nodes:
            return None  # Most events are asked by many subjects.
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


def of_graphs(event: Event) -> Collection[Uid]:
    """Return whom an event may concern, of all that graphs are built by and of the optimizers that own it."""
    modules = frozenset(part.module for part in event.nodes)
    return modules | (event.targets or frozenset()) if event.kind is _K.STEP else modules


def on_leak(node: GraphNode, own: frozenset[Uid], others: frozenset[Uid]) -> Effect:
    """Return what events mean to the gradients of what built a graph part, whose optimizers are `own`."""

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case _K.BACKWARD | _K.RETAIN if node in event.nodes:
                return _K.ESCAPE if event.kind is _K.RETAIN else _K.BACKWARD
            case _K.BACKWARD:
                return _K.RETAIN if _runs_through(event, node.module) else None if event.nodes else _K.ESCAPE
        others_step = event.kind is _K.STEP and bool((event.targets or frozenset()) & others)
        return _on_own(event, node, own) or (_K.OTHER_STEP if others_step else None)

    return effect


def on_crossed(node: GraphNode, own: frozenset[Uid], others: frozenset[Uid]) -> Effect:
    """Return what events mean to the gradients of what built a graph part, which the losses of `others` run through, too."""

    def effect(event: Event) -> EventKind | None:
        match event.kind:
            case _K.BACKWARD if node in event.nodes:
                return _K.BACKWARD
            case _K.BACKWARD:
                return _K.ESCAPE if not event.nodes or _runs_through(event, node.module) else None
        others_zero = event.kind is _K.ZERO and bool((event.targets or frozenset()) & others)
        return _on_own(event, node, own) or (_K.FREEZE if others_zero else None)

    return effect


def _on_own(event: Event, node: GraphNode, own: frozenset[Uid]) -> EventKind | None:
    """Return what an event other than a backward pass means to the gradients of what built a part, for its own optimizers."""
    targets = event.targets
    match event.kind:
        case _K.FORWARD if node in event.nodes:
            return _K.FORWARD
        case _K.STEP if targets is not None and targets & own:
            return _K.STEP
        case _K.ZERO if targets is None:
            return _K.ESCAPE
        case _K.ZERO if targets is not None and _releases(targets, node, own):
            return _K.ZERO
        case _K.ESCAPE | _K.SETGRAD | _K.EDIT if touches(event, (node.module, *own)):
            return _K.ESCAPE
        case _:
            return None


def _releases(targets: frozenset[Uid], node: GraphNode, own: frozenset[Uid]) -> bool:
    return bool(targets & own) or any(within(node.module, target) for target in targets)
