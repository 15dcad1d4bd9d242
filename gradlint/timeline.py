"""What a watched run did, iteration by iteration: the value that the pictures of a run are drawn from.

Terms. An *act* is what the program does at one place (`optimizer.step()` in line 9), an *event* is one time that it
does so. An *iteration* reaches from one step of the first optimizer to the next; two iterations with the same acts are
of one *pattern*. A long run is kept in full at both ends only, with one iteration of each pattern; patterns and
points cover all of it. Must not know torch, nor how a run is watched or drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from gradlint.data import NamedTuple, dataclass
from gradlint.diagnostics import Diagnostic, Location, Side
from gradlint.events import EventKind

LETTERS = {
    EventKind.ZERO: "z",
    EventKind.FORWARD: "f",
    EventKind.BACKWARD: "b",
    EventKind.READ: "g",
    EventKind.STEP: "s",
    EventKind.SCHEDULE: "r",
    EventKind.EVAL: "e",
    EventKind.TRAIN: "t",
}
"""The kinds of events that are recorded, and their letters; READ stands for `torch.autograd.grad`."""

WORDS = {
    EventKind.ZERO: "zero_grad",
    EventKind.FORWARD: "forward",
    EventKind.BACKWARD: "backward",
    EventKind.READ: "autograd.grad",
    EventKind.STEP: "step",
    EventKind.SCHEDULE: "scheduler step",
    EventKind.EVAL: "eval()",
    EventKind.TRAIN: "train()",
}
"""What they are called."""


@dataclass(frozen=True, slots=True)
class Act:
    """What is done, by whom (`""`: nobody in particular), and in which line."""

    kind: EventKind
    subject: str
    place: Location

    @property
    def letter(self) -> str:
        """The letter of its kind."""
        return LETTERS[self.kind]

    @property
    def words(self) -> str:
        """What is done, and by whom."""
        return f"{WORDS[self.kind]} {self.subject}".strip()


class Event(NamedTuple):
    """One time that an act was done; `start` and `duration` are microseconds of the host, `inside` of a step's closure.

    `states` are those of the gradients of every parameter group after it; `rates` (step) the learning rates that were
    used, `nodes` and `graphs` (backward) the size of the graph and how many graphs were alive; `broken` the rules that
    it breaks as far as the gradients tell. A tuple, for it is made several times in each iteration.
    """

    act: Act
    start: int
    duration: int
    thread: int = 0
    inside: bool = False
    states: tuple[str, ...] = ()
    rates: tuple[float, ...] = ()
    nodes: int = 0
    graphs: int = 0
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Iteration:
    """The events from one step of the first optimizer to the next; `dropped` of them were too many to be kept."""

    number: int
    pattern: int
    events: tuple[Event, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """The acts of an iteration; how many iterations did just these, and which were the first and the last.

    `at` are the numbers of the first few. A closure that a step evaluates many times counts once: `inside` tells
    which acts are its own.
    """

    acts: tuple[Act, ...]
    inside: tuple[bool, ...]
    count: int
    first: int
    last: int
    at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A parameter group of an optimizer."""

    optimizer: str
    index: int
    tensors: int

    @property
    def label(self) -> str:
        """What to call it."""
        return f"{self.optimizer}[{self.index}]"


@dataclass(frozen=True, slots=True)
class Point:
    """What the iterations from `number` to the next point's came to.

    The learning rate of each group (nan: not known), the scheduler steps since the run began, the largest graph, the
    most graphs alive, the rarest pattern.
    """

    number: int
    pattern: int
    rates: tuple[float, ...]
    schedules: int
    nodes: int
    graphs: int


@dataclass(frozen=True)
class Recording:
    """A run of one process (`rank` of `ranks`); `total` is the number of its iterations, `duration` is in seconds."""

    program: str
    rank: int
    ranks: int
    total: int
    duration: float
    anchor: str
    groups: tuple[Group, ...]
    patterns: tuple[Pattern, ...]
    iterations: tuple[Iteration, ...]
    points: tuple[Point, ...]
    findings: tuple[Diagnostic, ...] = ()

    def marks(self, event: Event) -> Iterator[int]:
        """Yield the indices of the findings that an event shows.

        A finding about gradients belongs to the events that broke its rule; another one to all events in its line.
        """
        for index in self._at.get(_line(event.act.place), ()):
            if index not in self._precise or self.findings[index].code in event.broken:
                yield index

    @cached_property
    def _at(self) -> dict[tuple[str, int], list[int]]:
        """The findings by their lines."""
        lines: dict[tuple[str, int], list[int]] = {}
        for index, finding in enumerate(self.findings):
            lines.setdefault(_line(finding.location), []).append(index)
        return lines

    @cached_property
    def _precise(self) -> frozenset[int]:
        """The findings whose events are known one by one."""
        return frozenset(
            index
            for iteration in self.iterations
            for event in iteration.events
            if event.broken
            for index in self._at.get(_line(event.act.place), ())
            if self.findings[index].code in event.broken
        )

    def called(self, report: Sequence[Diagnostic]) -> Recording:
        """Return the recording with the findings as a report calls them that knows the source, too."""
        own = {(_line(finding.location), finding.code) for finding in self.findings}
        told = {(_line(each.location), each.code): each for each in report if each.side is Side.RUNTIME}
        better = {line: each for (line, code), each in told.items() if each.verdict and (line, code) not in own}
        if not better:
            return self
        findings = tuple(
            finding
            if (_line(finding.location), finding.code) in told
            else _called(finding, better.get(_line(finding.location)))
            for finding in self.findings
        )
        codes = {(_line(was.location), was.code): now.code for was, now in zip(self.findings, findings, strict=True)}
        return replace(self, findings=findings, iterations=tuple(_called_in(each, codes) for each in self.iterations))

    def example(self, pattern: int) -> Iteration | None:
        """Return an iteration of a pattern, if one was kept: not the very first, where all begins anew."""
        kept = [iteration for iteration in self.iterations if iteration.pattern == pattern]
        return kept[min(1, len(kept) - 1)] if kept else None


def told(recordings: Sequence[Recording], report: Sequence[Diagnostic]) -> list[Recording]:
    """Return the recordings in the words of the report; what only all of them together show goes to the first."""
    first, *others = (recording.called(report) for recording in recordings)
    recorded = {(_line(each.location), each.code) for recording in (first, *others) for each in recording.findings}
    reported = {(_line(each.location), each.code) for each in report}
    elsewhere = {line[0] for line, _ in recorded - reported}  # the report tells them by another line
    more = [
        each
        for each in report
        if each.side is Side.RUNTIME
        and (_line(each.location), each.code) not in recorded
        and not (each.verdict and each.location.where in elsewhere)
    ]
    return [replace(first, findings=(*first.findings, *more)), *others]


def _called(finding: Diagnostic, better: Diagnostic | None) -> Diagnostic:
    """Return a finding in the words of another one about the same line."""
    return finding if better is None else replace(better, count=finding.count, iteration=finding.iteration)


def _called_in(iteration: Iteration, codes: Mapping[tuple[tuple[str, int], str], str]) -> Iteration:
    """Return an iteration whose events break the rules by their other codes."""
    events = tuple(
        event._replace(broken=tuple(codes.get((_line(event.act.place), code), code) for code in event.broken))
        if event.broken
        else event
        for event in iteration.events
    )
    return replace(iteration, events=events)


def _line(place: Location) -> tuple[str, int]:
    return place.where, place.row


def usual(patterns: Sequence[Pattern]) -> Pattern | None:
    """Return the pattern of most iterations, if there is any."""
    return max(patterns, key=lambda pattern: pattern.count, default=None)
