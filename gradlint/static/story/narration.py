"""From an analysis to a story: every event beside its line, with the states that its subjects are in after it.

It knows the protocols and runs them as the checks do, but judges nothing: what is reported comes from the checks.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from gradlint.config import Settings
from gradlint.diagnostics import Diagnostic
from gradlint.documents import is_document
from gradlint.events import EventKind
from gradlint.models import models_with
from gradlint.protocols import GRAPH, MODE, OPTIMIZER, SAMPLER, SCHEDULER
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.engine import check_source, parse
from gradlint.static.facts.bearing import owners_of_all
from gradlint.static.flow.kinship import overlap
from gradlint.static.flow.protocols import GRADIENT, RATE, SHARDING
from gradlint.static.flow.roots import Root
from gradlint.static.flow.subjects import on_optimizer, on_rate, on_sampler, on_scheduler, on_sharded
from gradlint.static.flow.trained import on_gradient, on_graph, on_module, on_parameter
from gradlint.static.flow.tree import Event, Uid, events
from gradlint.static.lowering.values import Kind
from gradlint.static.sources import reading
from gradlint.static.sources.reading import Unreadable
from gradlint.static.story.arrivals import Watched, change, followed, marked
from gradlint.static.story.cast import Cast
from gradlint.static.syntax.layout import Layout
from gradlint.story import Change, Happening, Section, Story, merged

_SPELLED = 48  # columns of an event's own words
_TRAINING = regex(r"\.(?:step|backward|zero_grad|train|eval)\(\)$")


_Part: TypeAlias = tuple[int, bool]
"""The row at which a function begins (0: the module), and whether it is read alone."""


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
        joined = sorted(merged(happenings), key=lambda each: each.place.row)
        rows = {*(each.place.row for each in joined), *(finding.location.row for finding in reported)}
        headers = self._layout.headers(row, rows)
        name = self._layout.scope_name(row)
        return Section(name, row, tuple(sorted(callers)), headers, tuple(joined), tuple(reported))

    def _callers(self, event: Event) -> set[int]:
        """The row of the call that an event happens in, as the path of its frame tells it."""
        found = re.fullmatch(r".*:(\d+):\d+", event.frame[-1]) if event.frame else None
        return {int(found[1])} if found else set()

    def _watched(self, root: Root) -> Iterator[Watched]:
        found = self._analysis.events[root]
        objects = self._lowering.objects
        for made in objects.values():
            if made.kind is Kind.OPTIMIZER and _concerned(found, (made.uid, *(made.of or ()))):
                yield Watched(self._cast.names[made.uid], OPTIMIZER, on_optimizer(made, objects))
            if made.kind is Kind.SCHEDULER and _concerned(found, (made.uid,)):
                yield Watched(self._cast.names[made.uid], SCHEDULER, on_scheduler(made))
        for uid in sorted(self._cast.modules):
            if _concerned(found, (uid,)):
                yield Watched(self._cast.names[uid], MODE, on_module(uid, owners_of_all(self._analysis, uid)))
        built = (event.nodes for event in found if event.kind is EventKind.FORWARD)
        for node in dict.fromkeys(node for nodes in built for node in nodes):
            age = ", an iteration old" if node.age else ""
            yield Watched(f"graph of {node.place.row}{age}", GRAPH, on_graph(node))
        yield from self._beside(found)

    def _beside(self, found: Iterable[Event]) -> Iterator[Watched]:
        """Yield what few programs have: parameters that are updated by hand, rates that are written, samplers, shards."""
        objects = self._lowering.objects
        for event in dict.fromkeys(found):
            targets = event.targets or frozenset()
            match event.kind:
                case EventKind.HAND_STEP if targets:
                    yield Watched(event.name, OPTIMIZER, on_parameter(targets, objects))
                case EventKind.READ:
                    yield Watched(event.name, GRADIENT, on_gradient(targets, objects))
                case EventKind.DRAW:
                    for uid in sorted(targets):
                        yield Watched("sampler", SAMPLER, on_sampler(uid))
                case EventKind.RATE:
                    for made in self._analysis.objects(Kind.SCHEDULER):
                        if targets & (made.of or frozenset()):
                            yield Watched("rate", RATE, on_rate(made))
                case EventKind.SHARD:
                    for made in self._analysis.objects(Kind.OPTIMIZER):
                        yield Watched(f"parameters of {self._cast.names[made.uid]}", SHARDING, on_sharded(made))

    # Happenings -------------------------------------------------------------------------------

    def _happenings(self, root: Root) -> Iterator[tuple[Event, Happening]]:
        tree = marked(root.tree, later=False)
        changes: dict[Event, list[Change]] = defaultdict(list)
        for watched in self._watched(root):
            for event, arrivals in followed(tree, watched).items():
                changed = change(watched, event, arrivals)
                if changed is not None:
                    changes[event].append(changed)
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
