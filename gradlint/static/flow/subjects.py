"""Subjects: what an event of the flow tree means to one optimizer, scheduler, gradient scaler or sampler: to whoever drives training.

The bridge between lowering, which knows who is who, and the protocols, which know only kinds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gradlint.events import EventKind
from gradlint.static.flow.kinship import Whom, any_overlap, touches, within
from gradlint.static.flow.tree import Effect, Event, Uid
from gradlint.static.lowering.values import Object

_K = EventKind

_IDLE = frozenset({"mode", "construction"})
"""Who gets a module in one of these ways leaves its gradients alone."""

MANY_EVALUATIONS = frozenset({"torch.optim.LBFGS", "torch.optim.lbfgs.LBFGS"})
"""Optimizers that call their closure several times per step."""


def on_optimizer(optimizer: Object, others: Mapping[Uid, Object]) -> Effect:
    """Return what events mean to an optimizer; `others` are all known objects by uid."""
    owned = optimizer.of
    everything = (optimizer.uid, *(owned or ()))
    given = owned is None and not optimizer.calls

    def effect(event: Event) -> EventKind | None:
        targets = event.targets
        match event.kind:
            case _K.FORWARD:
                return None  # There are more of them than of all others.
            case _K.ZERO:
                return _clearing(event, optimizer, others)
            case _K.BACKWARD | _K.SETGRAD | _K.EDIT:
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


def of_optimizers(others: Mapping[Uid, Object]) -> Whom:
    """Return what tells whom an event may concern, of all optimizers of known parameters and what they hold."""

    def whom(event: Event) -> Collection[Uid] | None:
        match event.kind:
            case _K.FORWARD:
                return ()
            case _K.BACKWARD | _K.SETGRAD | _K.EDIT:
                return None
            case _K.ZERO:
                return _cleared_with(event, others)
            case _:
                return event.targets

    return whom


def _cleared_with(event: Event, others: Mapping[Uid, Object]) -> Collection[Uid] | None:
    """Return whose gradients may be cleared, where the optimizers or modules of which that is said are known."""
    targets = event.targets
    if targets is None:
        return None
    if "module" in event.roles:
        return None if _may_be_any(targets) else targets
    known = [others[uid].of for uid in targets if uid in others]
    owned = [of for of in known if of is not None]
    return targets.union(*owned) if len(owned) == len(targets) else None


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
    # A module that a function is given may be any other that has a name.
    return _K.ESCAPE if _may_be_any(targets) or touches(event, optimizer.of) else None


def _may_be_any(targets: Iterable[Uid]) -> bool:
    """Whether a module is one that a function is given."""
    return any(target[0] == "?" and not any("@" in part for part in target) for target in targets)


def _disjoint(optimizer: Object, other: Object | None) -> bool:
    if other is None or other.of is None or optimizer.of is None:
        return False
    return not any_overlap(optimizer.of, other.of)


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
            case _K.STEP if targets is not None and optimizer in targets and "own" in event.roles:
                # A method of its own may be made for scaled gradients, or take no heed of their scale.
                return _K.EDIT
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
            case _K.ESCAPE if "another" in event.roles and targets == frozenset({optimizer}):
                # Its name stands for another one from here on, whom the scaler has not stepped yet.
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
