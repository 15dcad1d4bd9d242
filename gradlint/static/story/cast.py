"""Who a story is about: the subjects of a file, which of them matter, and what to call them.

It knows objects and names; it must not know states.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.static.analysis import Analysis
from gradlint.static.flow.tree import Event, Uid
from gradlint.static.lowering.algebra import held
from gradlint.static.lowering.values import Kind
from gradlint.story import Subject


class Cast:
    """The subjects of one analysed file."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._lowering = analysis.lowering

    def subjects(self, told: frozenset[str]) -> Iterator[Subject]:
        """Yield the subjects that are told of, and those that they act on; once each, however often they are built."""
        actors = [made for made in self._lowering.objects.values() if made.kind in (Kind.OPTIMIZER, Kind.SCHEDULER)]
        wanted = told | {self.names[uid] for made in actors for uid in made.of or ()}
        known: dict[tuple[str, str], Subject] = {}
        for made in self._lowering.objects.values():
            name = self.names[made.uid]
            if name in wanted or made in actors:
                of = None if made.of is None else tuple(sorted({self.names[uid] for uid in made.of}))
                known[name, made.origin] = Subject(
                    name, made.kind.value, made.origin, made.place, of if made in actors else ()
                )
        for uid, cls in self._lowering.instances.items():
            if (name := self.names.get(uid, "")) in wanted:
                known[name, cls.node.name] = Subject(name, "module", cls.node.name, self._built(uid), ())
        yield from sorted(known.values(), key=lambda each: (each.place is None, each.place, each.name))

    def _built(self, uid: Uid) -> Location | None:
        made = self._lowering.objects.get(uid)
        if made is not None:
            return made.place
        return next((event.place for event in self._on(uid) if event.kind is EventKind.CREATE), None)

    def _on(self, uid: Uid) -> Iterator[Event]:
        """Yield the events on one subject alone."""
        only = frozenset({uid})
        return (event for found in self._analysis.events.values() for event in found if event.targets == only)

    @cached_property
    def names(self) -> Mapping[Uid, str]:
        """The names to call subjects by; equal ones are told apart by where they are built."""
        objects = self._lowering.objects
        uids = {*self.modules, *objects, *(uid for made in objects.values() for uid in made.of or ())}
        plain = {uid: self._plain_name(uid) for uid in uids}
        places: dict[str, set[Location | None]] = defaultdict(set)
        for uid, name in plain.items():
            places[name].add(self._built(uid))
        return {
            uid: f"{name}@{place.row}" if len(places[name]) > 1 and (place := self._built(uid)) else name
            for uid, name in plain.items()
        }

    def _plain_name(self, uid: Uid) -> str:
        last = re.split(r"[#@%]", uid[-1].rpartition("/")[2])[0]
        spelled = last or next((event.name for event in self._on(uid) if event.name), "")
        made, cls = self._lowering.objects.get(uid), self._lowering.instances.get(uid)
        origin = made.origin.rpartition(".")[2] if made else cls.node.name if cls else ""
        return spelled.rpartition(".")[2] or origin or "model"

    @cached_property
    def modules(self) -> frozenset[Uid]:
        """The modules whose mode matters: those that an optimizer trains and those that are switched as a whole."""
        lowering = self._lowering
        trained = frozenset(self._analysis.trained_by)
        switched: set[Uid] = set()
        for event in (event for found in self._analysis.events.values() for event in found):
            if event.kind in (EventKind.TRAIN, EventKind.EVAL):
                targets = event.targets or frozenset()
                inside = held(
                    lowering.store[uid, name]
                    for uid in targets
                    for name in lowering.members.get(uid, ())
                    if (uid, name) in lowering.store
                )
                switched |= targets - inside
        known = {made.uid for made in self._analysis.objects(Kind.MODULE)} | set(lowering.instances)
        return trained | (switched & known)
