"""Cuts the stream of events into iterations, and keeps what a picture needs of them, however long the run is.

Knows `gradlint.timeline`; must not know torch, nor where the events come from. Equal acts must be one object: they are
told apart by their ids, since to hash them is slow.

Example: after `z f b s` the first optimizer has stepped, so the next act that has been seen in front of its step, here
`z`, begins an iteration. Acts that are seen behind it only, such as those of a second optimizer, belong to it still.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gradlint.events import EventKind
from gradlint.timeline import Act, Event, Iteration, Pattern, Point

_OPENING = frozenset({EventKind.ZERO, EventKind.FORWARD, EventKind.BACKWARD})
_LONGEST = 4096  # events kept of one iteration
_ANCHOR_IS_GONE = 16  # steps of others after which the first optimizer is taken to be done
_KEPT = 500  # iterations kept in full at each end of the run
_EVENTS = 20_000  # or so many events, if their iterations are long
_PATTERNS = 200
_NAMED = 16  # numbers of iterations kept for a pattern
_POINTS = 1000

Emit = Callable[[list[Event], int], None]


class Cutter:
    """Hands each iteration to `emit`, with the number of its events that were too many."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._events: list[Event] = []
        self._dropped = 0
        self._heads: set[int] = set()
        self._tails: set[int] = set()
        self._stepped: tuple[Act, int] | None = None  # the first step of the anchor in this iteration, and where it is
        self._others = 0
        self.anchor: str | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        act = event.act
        if act.kind in _OPENING and not event.inside:
            if self._stepped is None:
                self._heads.add(id(act))
            elif id(act) in self._heads and id(act) not in self._tails:
                self._cut(len(self._events))
            else:
                self._tails.add(id(act))
        self._append(event)

    def stepping(self, act: Act) -> int:
        """An optimizer begins to step; return the position that `stepped` wants back."""
        if self.anchor is None:
            self.anchor = act.subject
        if act.subject == self.anchor:
            self._others = 0
            if self._stepped is not None and self._stepped[0] is act:
                self._cut_behind(self._stepped[1])
        else:
            self._others += 1
            if self._others > _ANCHOR_IS_GONE:
                self._cut_anew(act.subject)
        if act.subject == self.anchor and self._stepped is None:
            self._stepped = act, len(self._events)
        return len(self._events)

    def stepped(self, event: Event, position: int) -> None:
        """The step has ended: it stands in front of what its closure did."""
        if len(self._events) < _LONGEST:
            self._events.insert(position, event)
        else:
            self._dropped += 1

    def end(self) -> None:
        """The run is over."""
        if self._events:
            self._cut(len(self._events))

    def _append(self, event: Event) -> None:
        if len(self._events) < _LONGEST:
            self._events.append(event)
        else:
            self._dropped += 1

    def _cut_behind(self, step: int) -> None:
        """The anchor steps again where it did: whatever prepares this step began an iteration unnoticed."""
        for position in range(step + 1, len(self._events)):
            event = self._events[position]
            if event.act.kind in _OPENING and not event.inside:
                self._cut(position)
                return
        if any(event.inside for event in self._events[step + 1 :]):
            self._cut(len(self._events))

    def _cut_anew(self, anchor: str) -> None:
        """The first optimizer steps no more: cut what has come since by the steps of another one."""
        start = 0 if self._stepped is None else self._stepped[1] + 1
        later, self._events = self._events[start:], self._events[:start]
        self.end()
        self.anchor, self._others = anchor, 0
        for event in later:
            if event.act.kind is EventKind.STEP:
                self.stepped(event, self.stepping(event.act))
            else:
                self.add(event)

    def _cut(self, position: int) -> None:
        events, self._events = self._events[:position], self._events[position:]
        self._stepped, dropped, self._dropped = None, self._dropped, 0
        for event in self._events:
            if event.act.kind in _OPENING:
                self._tails.discard(id(event.act))
                self._heads.add(id(event.act))
        if events:
            self._emit(events, dropped)


@dataclass(slots=True)
class _Count:
    """A pattern while it is counted."""

    acts: tuple[Act, ...]
    inside: tuple[bool, ...]
    first: int
    count: int = 0
    last: int = 0
    at: list[int] = field(default_factory=list)

    def frozen(self) -> Pattern:
        return Pattern(self.acts, self.inside, self.count, self.first, self.last, tuple(self.at))


class Store:
    """The iterations of a run, in bounded memory."""

    def __init__(self, rates: Callable[[], tuple[float, ...]], kept: int = _KEPT) -> None:
        self._rates = rates
        self._kept = kept
        self._patterns: dict[tuple[int, ...], int] = {}
        self._counts: list[_Count] = []
        self._first: list[Iteration] = []
        self._first_is_full = False
        self._last: deque[Iteration] = deque()
        self._examples: dict[int, Iteration] = {}
        self._sizes = [0, 0]
        self._schedules = 0
        self._stride = 1
        self._points: list[Point] = []
        self.total = 0

    def add(self, events: list[Event], dropped: int) -> None:
        """Take the events of the next iteration."""
        number, self.total = self.total, self.total + 1
        pattern = self._pattern(events, number)
        iteration = Iteration(number, pattern, tuple(events), dropped)
        self._examples.setdefault(pattern, iteration)
        self._keep(iteration)
        self._plot(iteration)

    def _pattern(self, events: Sequence[Event], number: int) -> int:
        acts = _collapsed(events)
        key = tuple(id(event.act) for event in acts)
        index = self._patterns.get(key)
        if index is None:
            index = len(self._counts)
            if index >= _PATTERNS:  # whatever comes now is counted with the last one
                return self._count(_PATTERNS - 1, number)
            self._patterns[key] = index
            inside = tuple(event.inside for event in acts)
            self._counts.append(_Count(tuple(event.act for event in acts), inside, number))
        return self._count(index, number)

    def _count(self, index: int, number: int) -> int:
        count = self._counts[index]
        count.count += 1
        count.last = number
        if len(count.at) < _NAMED:
            count.at.append(number)
        return index

    def _keep(self, iteration: Iteration) -> None:
        size = len(iteration.events)
        if not self._first_is_full:
            self._first.append(iteration)
            self._sizes[0] += size
            self._first_is_full = len(self._first) >= self._kept or self._sizes[0] >= _EVENTS
            return
        self._last.append(iteration)
        self._sizes[1] += size
        while len(self._last) > 1 and (len(self._last) > self._kept or self._sizes[1] > _EVENTS):
            self._sizes[1] -= len(self._last.popleft().events)

    def _plot(self, iteration: Iteration) -> None:
        events = iteration.events
        self._schedules += sum(event.act.kind is EventKind.SCHEDULE for event in events)
        nodes = max((event.nodes for event in events), default=0)
        graphs = max((event.graphs for event in events), default=0)
        point = Point(iteration.number, iteration.pattern, self._rates(), self._schedules, nodes, graphs)
        if iteration.number % self._stride:
            self._points[-1] = self._merged(self._points[-1], point)
            return
        self._points.append(point)
        if len(self._points) >= 2 * _POINTS:
            self._stride *= 2
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [self._merged(one, other) for one, other in pairs]

    def _merged(self, one: Point, other: Point) -> Point:
        rarest = min(one.pattern, other.pattern, key=lambda index: self._counts[index].count)
        nodes, graphs = max(one.nodes, other.nodes), max(one.graphs, other.graphs)
        return Point(one.number, rarest, other.rates, other.schedules, nodes, graphs)

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The patterns, in the order of their first iterations."""
        return tuple(count.frozen() for count in self._counts)

    @property
    def iterations(self) -> tuple[Iteration, ...]:
        """What was kept: both ends of the run, and one iteration of each pattern."""
        kept = {each.number: each for each in (*self._first, *self._examples.values(), *self._last)}
        return tuple(kept[number] for number in sorted(kept))

    @property
    def points(self) -> tuple[Point, ...]:
        """The whole run in at most some thousand points."""
        return tuple(self._points)


def _collapsed(events: Sequence[Event]) -> list[Event]:
    """Return the events, where those of one kind inside a step stand once: how often a line search evaluates is no news."""
    kept: list[Event] = []
    inner: set[int] = set()
    for event in events:
        if not event.inside:
            inner.clear()
        elif id(event.act) in inner:
            continue
        else:
            inner.add(id(event.act))
        kept.append(event)
    return kept
