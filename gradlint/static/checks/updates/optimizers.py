"""Order of clearing, backward and step: GL101 to GL104, GL106 to GL109, GL117 and GL513.

One optimizer in one root gets one finding per step: what is wrong with the gradients it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradlint.diagnostics import Confidence, Diagnostic, Location
from gradlint.events import EventKind
from gradlint.protocols import OPTIMIZER
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.construction.coverage import given_twice
from gradlint.static.checks.updates.cases import Case, is_outside
from gradlint.static.checks.updates.empty import empty
from gradlint.static.facts.cadence import conditional, tree_of
from gradlint.static.facts.trials import is_of_one_number
from gradlint.static.flow.following import breaches, run
from gradlint.static.flow.giving_up import without_giving_up
from gradlint.static.flow.glance import may_break
from gradlint.static.flow.kinship import Whom, touches
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import of_optimizers, on_optimizer
from gradlint.static.flow.tree import Event, Kill, Node, walk
from gradlint.static.lowering.values import Kind, Object
from gradlint.static.syntax.rewound import puts_back
from gradlint.static.syntax.turns import once
from gradlint.typestate import State
from gradlint.wordings.updates import ALL_STEPS, BOTH_STEPS, LAST_STEP

_UNKNOWN = frozenset({"unknown", "unknown-fresh"})


@check
def step_order(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL101, GL102, GL103, GL104, GL107, GL108, GL109, GL117, GL513."""
    optimizers = {
        optimizer.uid: (number, optimizer) for number, optimizer in enumerate(analysis.objects(Kind.OPTIMIZER))
    }
    # Whoever is also given in the place of another one does what is meant for two.
    doubles = {twice.optimizer for twice in given_twice(analysis)}
    for root in analysis.roots:
        stepped = {
            uid
            for event in root.of(EventKind.STEP)
            for uid in event.targets or ()
            if uid in optimizers and uid not in doubles
        }
        for _, optimizer in sorted((optimizers[uid] for uid in stepped), key=lambda item: item[0]):
            yield from judge(analysis, root, optimizer)


def judge(analysis: Analysis, root: Root, optimizer: Object) -> Iterator[Diagnostic]:
    """Yield what is wrong with the gradients that an optimizer uses, if anything is: once in what is read from one line on."""
    effect = on_optimizer(optimizer, analysis.lowering.objects)
    near = root.near((optimizer.uid, *optimizer.of), analysis.kept(_whom)) if optimizer.of else root.bare
    if not may_break(near, OPTIMIZER, effect):
        return
    found = breaches(without_giving_up(root.bare), OPTIMIZER, effect)
    for event, states in sorted(found.items(), key=lambda item: item[0].place):
        if effect(event) is not EventKind.STEP:
            continue
        case = Case(optimizer, event, frozenset(states), analysis.events[root], analysis.lowering.objects)
        diagnostic = _verdict(case, root)
        if diagnostic is not None and not _meant(analysis, root, case, diagnostic):
            # One root cause, one finding: what follows is downstream of it.
            yield diagnostic
            return


def _whom(analysis: Analysis) -> Whom:
    return of_optimizers(analysis.lowering.objects)


def _meant(analysis: Analysis, root: Root, case: Case, found: Diagnostic) -> bool:
    """Whether gradients may add up: a window has no end, as nothing guards its step; weights are put back; or nothing is learned."""
    step = case.step
    if found.code not in ("GL101", "GL102", "GL108"):
        return False
    if (found.code == "GL102" and _steps_once(analysis, step)) or _repeats_from_there(analysis, case):
        return True
    return (analysis.declared(step.loops) > 1 and not conditional(root.bare, step, step.loops[-1])) or _only_timed(
        analysis, root, case
    )


def _steps_once(analysis: Analysis, step: Event) -> bool:
    """Whether a step is taken in one turn of its loop only: what is cleared in front of the loop is cleared for each step."""
    loop = analysis.lowering.loop_nodes.get(step.loops[-1]) if step.loops else None
    return loop is not None and once(loop, step.place.row, tree_of(analysis, loop))


def _repeats_from_there(analysis: Analysis, case: Case) -> bool:
    """Whether the second step of a turn begins where the first one began: what it adds up makes the only update."""
    step = case.step
    loop = analysis.lowering.loop_nodes.get(step.loops[-1]) if step.loops else None
    earlier = {spent.row for state in _again(case) if (spent := state.mark("spent")) is not None}
    return loop is not None and any(puts_back(loop, row, step.place.row) for row in earlier)


def _only_timed(analysis: Analysis, root: Root, case: Case) -> bool:
    """Whether all that a loop feeds the modules of an optimizer is of one number."""
    owned, ring = case.optimizer.of or frozenset(), analysis.ring(root, case.step.loops)
    forwards = [event for event in ring if event.kind is EventKind.FORWARD and touches(event, owned)]
    return bool(forwards) and all(is_of_one_number(analysis, event) for event in forwards)


def _verdict(case: Case, root: Root) -> Diagnostic | None:
    broken = {OPTIMIZER.broken_by(state, EventKind.STEP) for state in case.states}
    if "GL101" in broken:
        return _stale(case, root)
    if broken <= {"GL103", "GL104"}:
        return empty(case, broken)
    return _repeated(case) if broken == {"GL109"} else None


def _again(case: Case) -> list[State]:
    """The states of the paths on which the optimizer has stepped before."""
    return list(filter(_is_again, case.states))


def _is_again(state: State) -> bool:
    return state.mark("spent") is not None


def _stale(case: Case, root: Root) -> Diagnostic | None:
    step = case.step
    stale = [state for state in case.states if OPTIMIZER.broken_by(state, EventKind.STEP) == "GL101"]
    # Whoever is cleared in the loop, too, is so in some turn of it.
    within = [state for state in stale if state.mark("cleared") is not None and not _begins(case, state)]
    dirty = min(within or stale, key=lambda state: state.marks)
    if not step.loops or not _in_ring(case, dirty.mark("dirty")):
        return None
    others = {state.name for state in _again(case) if state.name != "dirty" and not _begins(case, state)}
    if others and not others <= _UNKNOWN:
        return case.report("GL108", dirty, Confidence.LIKELY) if _conditional(case, root) else None
    if others and (conditional(root.bare, step, step.loops[-1]) or _configured(case, root)):
        return None
    cleared = dirty.mark("cleared")
    if cleared is not None and is_outside(case, cleared):
        return case.report("GL102", dirty)
    # Who is cleared in the loop himself is only not cleared often enough.
    other = _cleared_instead(case) if cleared is None else None
    if other is not None:
        marks = (*dirty.marks, ("other", other.place))
        return case.report("GL107", State(dirty.name, marks), other=other.name, does="steps but")
    spent = dirty.mark("spent")
    steps = ALL_STEPS if cleared is None else LAST_STEP if spent is not None and spent > step.place else BOTH_STEPS
    return case.report("GL101", dirty, Confidence.LIKELY if others else Confidence.CERTAIN, steps=steps)


def _begins(case: Case, state: State) -> bool:
    """Whether a path comes to the step for the first time since a clearing outside its loop."""
    cleared = state.mark("cleared")
    return cleared is not None and is_outside(case, cleared)


def _in_ring(case: Case, place: Location | None) -> bool:
    """Whether the backward that dirtied stands in a loop with the step."""
    return any(event.place == place and event.loops[:1] == case.step.loops[:1] for event in case.events)


def _cleared_instead(case: Case) -> Event | None:
    effect = on_optimizer(case.optimizer, case.objects)
    for event in case.events:
        ring = event.is_in(case.step.loops)
        if event.kind is EventKind.ZERO and event.targets is not None and event.name and ring and effect(event) is None:
            return event
    return None


def _conditional(case: Case, root: Root) -> bool:
    """Whether a condition that changes from iteration to iteration, and does not guard the step, decides."""
    return _separated(case, root, lambda state: _is_again(state) and state.name != "dirty", changing=True)


def _configured(case: Case, root: Root) -> bool:
    """Whether a condition that never changes keeps the dirty paths apart from those with an unknown call."""
    return _separated(case, root, lambda state: state.name in _UNKNOWN, changing=False)


def _separated(case: Case, root: Root, others: Callable[[State], bool], *, changing: bool) -> bool:
    """Whether one condition holds on every dirty path and on none of `others`."""
    effect = on_optimizer(case.optimizer, case.objects)
    worlds = run(without_giving_up(root.bare), OPTIMIZER, effect).worlds(case.step)
    dirty = [world.facts for world in worlds if world.state.name == "dirty"]
    renewed = _renewed(root.tree)
    return any(
        bool(atom.ids & renewed) is changing
        and all((atom, truth) in facts for facts in dirty)
        and all((atom, not truth) in world.facts for world in worlds if others(world.state))
        for atom, truth in (dirty[0] if dirty else ())
    )


def _renewed(tree: Node) -> frozenset[str]:
    """Return the values that the tree makes anew somewhere."""
    return frozenset(id_ for node in walk(tree) if isinstance(node, Kill) for id_ in node.ids)


def _repeated(case: Case) -> Diagnostic | None:
    # A step that repeats itself is another rule's.
    states = [state for state in _again(case) if state.mark("spent") != case.step.place]
    # So is a closure that steps; who shows what a step does writes no function for it.
    if not states or not (case.step.loops or _trains_here(case)) or "closure" in case.step.roles:
        return None
    return case.report("GL109", min(states, key=lambda state: state.marks))


def _trains_here(case: Case) -> bool:
    """Whether the function in which the step stands runs backward."""
    frame = case.step.frame
    return len(frame) > 1 and any(event.kind is EventKind.BACKWARD and event.frame == frame for event in case.events)
