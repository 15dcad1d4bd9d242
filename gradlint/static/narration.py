"""From an analysis to a story: every event beside its line, with the states that its subjects are in after it.

It knows the protocols and runs them as the checks do, but judges nothing: what is reported comes from the checks.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from gradlint.config import Settings
from gradlint.diagnostics import Diagnostic, Location
from gradlint.documents import is_document
from gradlint.events import EventKind
from gradlint.models import models_with
from gradlint.protocols import (
    GRADIENT,
    GRAPH,
    MODE,
    OPTIMIZER,
    RATE,
    SAMPLER,
    SCHEDULER,
    SHARDING,
    Protocol,
    State,
)
from gradlint.static import reading
from gradlint.static.analysis import Analysis
from gradlint.static.bearing import owners_of_all
from gradlint.static.cast import Cast
from gradlint.static.engine import check_source, parse
from gradlint.static.flow import Flow
from gradlint.static.following import Effect, pruned
from gradlint.static.kinship import overlap
from gradlint.static.layout import Layout
from gradlint.static.lowering import Root
from gradlint.static.reading import Unreadable
from gradlint.static.subjects import on_optimizer, on_rate, on_sampler, on_scheduler, on_sharded
from gradlint.static.trained import on_gradient, on_graph, on_module, on_parameter
from gradlint.static.tree import Branch, Call, Event, Loop, Node, Seq, Uid, events
from gradlint.static.values import Kind
from gradlint.story import Broken, Change, Happening, Section, Story

_LATER = "later iterations"
_SPELLED = 48  # columns of an event's own words
SHOWN = {
    # Of a mode, what the model is in; that it was trained before is worth a word only where that matters.
    "trained": "train",
    "restored": "train",
    "lapsed-forward": "lapsed",
    "lapsed-backward": "lapsed",
    **dict.fromkeys(("pretrained", "pretrained-forward", "pretrained-backward"), "eval"),
}
_TRAINING = re.compile(r"\.(?:step|backward|zero_grad|train|eval)\(\)$")


_Part: TypeAlias = tuple[int, bool]
"""The row at which a function begins (0: the module), and whether it is read alone."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A subject's name, its automaton and what events mean to it."""

    name: str
    protocol: Protocol
    effect: Effect


@dataclass(frozen=True, slots=True)
class _Arrival:
    """The state in which a path comes to an event, and where it became unknown."""

    state: State
    since: Location | None = None

    @property
    def shown(self) -> str:
        return SHOWN.get(self.state.name, self.state.name)


def read_story(path: str, settings: Settings) -> Story:
    """Return the story of the file at `path`; raises Unreadable."""
    text = reading.decode(reading.read(path), path)
    document = reading.document(text, path) if is_document(path) else None
    source, pieces = (document.text, document.starts) if document else (text, ())
    try:
        analysis = Analysis(parse(source, path), source, path, models_with(settings.models), pieces)
        found = check_source(source, path, settings, pieces=pieces)
        return replace(narrate(analysis, found), document=document)
    except RecursionError as error:
        raise Unreadable(path, "the code is nested too deeply to be read", "try a part of it") from error


def narrate(analysis: Analysis, findings: Iterable[Diagnostic]) -> Story:
    """Return the story of an analysed file; `findings` are what is reported in it."""
    return _Narrator(analysis).story(findings)


class _Narrator:
    """Follows every subject through every root of one file."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._lowering = analysis.lowering
        self._cast = Cast(analysis)
        self._filename = analysis.source.filename
        self._layout = Layout(analysis.tree, analysis.source.own)

    def story(self, findings: Iterable[Diagnostic]) -> Story:
        told: dict[_Part, list[Happening]] = defaultdict(list)
        callers: dict[_Part, set[int]] = defaultdict(set)
        elsewhere: set[str] = set()
        for root in self._analysis.roots:
            for event, happening in self._happenings(root):
                if event.place.filename != self._filename:
                    elsewhere.add(event.place.filename)
                    continue
                part = (self._layout.scope_row(event.place.row), not root.complete)
                told[part].append(happening)
                callers[part] |= self._callers(event) if root.complete else set()
        reported = self._reported(findings, told)
        sections = tuple(
            self._section(part, callers[part], told[part], reported[part]) for part in sorted({*told, *reported})
        )
        names = {change.subject for section in sections for each in section.happenings for change in each.changes}
        subjects = tuple(self._cast.subjects(frozenset(names)))
        lines = tuple(self._analysis.source.text.split("\n"))
        return Story(self._filename, lines, subjects, sections, tuple(sorted(elsewhere)))

    def _reported(self, findings: Iterable[Diagnostic], told: Iterable[_Part]) -> dict[_Part, list[Diagnostic]]:
        """Return the findings by the part that they stand in."""
        reported: dict[_Part, list[Diagnostic]] = defaultdict(list)
        for finding in findings:
            row = self._layout.scope_row(finding.location.row)
            reported[min((part for part in told if part[0] == row), default=(row, True))].append(finding)
        return reported

    def _section(
        self, part: _Part, callers: set[int], happenings: Iterable[Happening], reported: list[Diagnostic]
    ) -> Section:
        row, _ = part
        merged = sorted(_merged(happenings), key=lambda each: each.place.row)
        rows = {*(each.place.row for each in merged), *(finding.location.row for finding in reported)}
        headers = self._layout.headers(row, rows)
        name = self._layout.scope_name(row)
        return Section(name, row, tuple(sorted(callers)), headers, tuple(merged), tuple(reported))

    def _callers(self, event: Event) -> set[int]:
        """The row of the call that an event happens in, as the path of its frame tells it."""
        found = re.fullmatch(r".*:(\d+):\d+", event.frame[-1]) if event.frame else None
        return {int(found[1])} if found else set()

    def _watched(self, root: Root) -> Iterator[_Watched]:
        found = self._analysis.events[root]
        objects = self._lowering.objects
        for made in objects.values():
            if made.kind is Kind.OPTIMIZER and _concerned(found, (made.uid, *(made.of or ()))):
                yield _Watched(self._cast.names[made.uid], OPTIMIZER, on_optimizer(made, objects))
            if made.kind is Kind.SCHEDULER and _concerned(found, (made.uid,)):
                yield _Watched(self._cast.names[made.uid], SCHEDULER, on_scheduler(made))
        for uid in sorted(self._cast.modules):
            if _concerned(found, (uid,)):
                yield _Watched(self._cast.names[uid], MODE, on_module(uid, owners_of_all(self._analysis, uid)))
        built = (event.nodes for event in found if event.kind is EventKind.FORWARD)
        for node in dict.fromkeys(node for nodes in built for node in nodes):
            age = ", an iteration old" if node.age else ""
            yield _Watched(f"graph of {node.place.row}{age}", GRAPH, on_graph(node))
        yield from self._beside(found)

    def _beside(self, found: Iterable[Event]) -> Iterator[_Watched]:
        """Yield what few programs have: parameters that are updated by hand, rates that are written, samplers, shards."""
        objects = self._lowering.objects
        for event in dict.fromkeys(found):
            targets = event.targets or frozenset()
            match event.kind:
                case EventKind.HAND_STEP if targets:
                    yield _Watched(event.name, OPTIMIZER, on_parameter(targets, objects))
                case EventKind.READ:
                    yield _Watched(event.name, GRADIENT, on_gradient(targets, objects))
                case EventKind.DRAW:
                    for uid in sorted(targets):
                        yield _Watched("sampler", SAMPLER, on_sampler(uid))
                case EventKind.RATE:
                    for made in self._analysis.objects(Kind.SCHEDULER):
                        if targets & (made.of or frozenset()):
                            yield _Watched("rate", RATE, on_rate(made))
                case EventKind.SHARD:
                    for made in self._analysis.objects(Kind.OPTIMIZER):
                        yield _Watched(f"parameters of {self._cast.names[made.uid]}", SHARDING, on_sharded(made))

    # Happenings -------------------------------------------------------------------------------

    def _happenings(self, root: Root) -> Iterator[tuple[Event, Happening]]:
        tree = _marked(root.tree, later=False)
        changes: dict[Event, list[Change]] = defaultdict(list)
        for watched in self._watched(root):
            for event, arrivals in _followed(tree, watched).items():
                change = _change(watched, event, arrivals)
                if change is not None:
                    changes[event].append(change)
        for event in events(tree):
            what = self._spelled(event)
            if changes.get(event) or self._is_riddle(event, what):
                loops = tuple(self._loop_row(number) for number in event.loops)
                yield event, Happening(event.kind.value, what, event.place, loops, tuple(changes.get(event, ())))

    def _is_riddle(self, event: Event, what: str) -> bool:
        """Whether it looks like training, but of somebody unknown: why nothing is said of it."""
        unknown = event.kind is EventKind.ESCAPE and "loss" not in event.roles
        return bool(_TRAINING.search(what)) and (unknown or event.targets is None)

    def _loop_row(self, number: int) -> int:
        return getattr(self._lowering.loop_nodes.get(number), "lineno", 0)

    def _spelled(self, event: Event) -> str:
        if "piece" in event.roles:
            return "a new cell begins"
        if event.kind is EventKind.CREATE:
            made = next((self._cast.names[uid] for uid in event.targets or () if uid in self._cast.names), event.name)
            return f"{made or 'it'} is {'another one' if 'given' in event.roles else 'built'}"
        node = self._layout.at(event.place)
        text = f"{ast.unparse(node.func)}()" if isinstance(node, ast.Call) else ast.unparse(node) if node else ""
        text = text.split("\n")[0] or event.name or event.kind.value
        return text if len(text) <= _SPELLED else f"{text[: _SPELLED - 3]}..."


def _concerned(found: Iterable[Event], uids: tuple[Uid, ...]) -> bool:
    return any(overlap(target, uid) for event in found for target in event.targets or () for uid in uids)


def _marked(node: Node, *, later: bool) -> Node:
    """Return a tree in which the events of later iterations are others than those of the first."""
    match node:
        case Event() if later:
            return replace(node, frame=(*node.frame, _LATER))
        case Seq(items):
            return Seq(tuple(_marked(item, later=later) for item in items))
        case Branch(test, then, orelse):
            return Branch(test, _marked(then, later=later), _marked(orelse, later=later))
        case Loop(number, first, again, orelse, endless):
            ahead = _marked(again, later=True)
            begin = ahead if later and first is again else _marked(first, later=later)
            return Loop(number, begin, ahead, _marked(orelse, later=later), endless)
        case Call(body):
            return replace(node, body=_marked(body, later=later))
        case _:
            return node


def _followed(tree: Node, watched: _Watched) -> dict[Event, set[_Arrival]]:
    flow: Flow[_Arrival] = Flow(lambda arrival, event: _advanced(watched, arrival, event))
    flow.run(pruned(tree, watched.effect), _Arrival(watched.protocol.initial))
    return {event: {world.state for world in worlds} for event, worlds in flow.arrivals.items()}


def _advanced(watched: _Watched, arrival: _Arrival, event: Event) -> _Arrival:
    kind = watched.effect(event)
    if kind is None:
        return arrival
    state = watched.protocol.advance(arrival.state, kind, event.place)[0]
    if not state.name.startswith("unknown"):
        return _Arrival(state)
    return _Arrival(state, arrival.since or event.place)


def _change(watched: _Watched, event: Event, arrivals: set[_Arrival]) -> Change | None:
    """Return what an event did to a subject; None if there is nothing to tell."""
    after = [_advanced(watched, arrival, event) for arrival in arrivals]
    shown = {arrival.shown for arrival in after}
    means = watched.effect(event)
    own = watched.protocol is not MODE and means not in (EventKind.ESCAPE, None)
    asked = watched.protocol is MODE and means in (EventKind.TRAIN, EventKind.EVAL, EventKind.CREATE)
    if not arrivals or not (own or asked or shown != {arrival.shown for arrival in arrivals}):
        return None
    states = tuple(sorted(shown))
    since = {arrival.since for arrival in after if arrival.since and arrival.since != event.place}
    again = event.frame[-1:] == (_LATER,)
    return Change(
        watched.name,
        () if again else states,
        states if again else (),
        tuple(sorted(since)),
        tuple(_broken(watched, event, arrivals)),
    )


def _broken(watched: _Watched, event: Event, arrivals: set[_Arrival]) -> Iterator[Broken]:
    # What is wrong with a rate or with shards is reported where they were changed.
    kind = watched.effect(event) if watched.protocol not in (RATE, SHARDING) else None
    found: dict[str, set[str]] = defaultdict(set)
    for arrival in arrivals if kind is not None else ():
        violation = watched.protocol.advance(arrival.state, kind, event.place)[1] if kind else None
        if violation is not None:
            found[violation.code].add(arrival.shown)
    everything = {arrival.shown for arrival in arrivals}
    for code, states in sorted(found.items()):
        yield Broken(code, tuple(sorted(states)), tuple(sorted(everything - states)))


def _merged(happenings: Iterable[Happening]) -> list[Happening]:
    """Join what is one event in the source: of several calls, of first and later iterations."""
    known: dict[tuple[str, Location, str], Happening] = {}
    for each in happenings:
        key = (each.kind, each.place, each.what)
        known[key] = replace(known[key], changes=_joined(known[key].changes + each.changes)) if key in known else each
    return [replace(each, changes=_joined(each.changes)) for each in known.values()]


def _joined(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    known: dict[str, Change] = {}
    for each in changes:
        other = known.get(each.subject)
        known[each.subject] = each if other is None else _both(other, each)
    return tuple(known.values())


def _both(one: Change, two: Change) -> Change:
    found: dict[str, Broken] = {}
    for item in (*one.broken, *two.broken):
        same = found.get(item.code, item)
        found[item.code] = Broken(item.code, _union(same.found, item.found), _union(same.others, item.others))
    return Change(
        one.subject,
        _union(one.first, two.first),
        _union(one.later, two.later),
        tuple(sorted({*one.unknown_since, *two.unknown_since})),
        tuple(found.values()),
    )


def _union(one: tuple[str, ...], two: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *two}))
