"""Records a run: a second listener beside the monitor, there only if a picture of the run is wanted.

It has hooks of its own, below those of the monitor, which therefore runs exactly as it does without a recording.
Knows the events of torch and `gradlint.timeline`; must not know rules, nor how a recording is drawn.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice
from time import perf_counter_ns
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradlint.diagnostics import Diagnostic
from gradlint.events import EventKind
from gradlint.runtime.closures import closure_in
from gradlint.runtime.forwards import Forwards
from gradlint.runtime.graph import heads, nodes
from gradlint.runtime.groups import Groups, RecordedOptimizer
from gradlint.runtime.guard import Guard, guarded
from gradlint.runtime.hooks import Hooks
from gradlint.runtime.iterations import Cutter, Store
from gradlint.runtime.listening import Arguments, Deaf
from gradlint.runtime.naming import Names
from gradlint.runtime.sites import place_of, still_running, user_frame
from gradlint.timeline import Act, Event, Recording

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_KEY = "gradlint-recording"
_NODES = 20_000


class _Token:
    """Lives as long as the root of one backward pass."""

    __slots__ = ("__weakref__",)


@dataclass(slots=True)
class _Open:
    """An event that has begun, and what is known of it so far; `caller` is the frame in which a step runs."""

    act: Act
    start: int
    optimizer: RecordedOptimizer | None = None
    position: int = 0
    rates: tuple[float, ...] = ()
    broken: tuple[str, ...] = ()
    judged: bool = False
    caller: int = 0
    nodes: int = 0
    graphs: int = 0


class _Thread(threading.local):
    """What one thread is in the middle of."""

    def __init__(self, numbers: Callable[[], int]) -> None:
        self.number = numbers()
        self.steps: list[_Open] = []
        self.forward: _Open | None = None
        self.backward: _Open | None = None


class Recorder(Deaf):
    """Listens to one run; `recording` is what it came to. `tick` hears of the number of each iteration that is over.

    No lane shows scales and clipping. Forward passes that the hooks offer begin too late, and have no end: there are others (`forwards`),
    and what was written by hand is seen by the next event.
    """

    def __init__(self, tick: Callable[[int], None] = lambda number: None) -> None:
        self.guard = Guard()
        self._groups = Groups()
        self._store = Store(lambda: self._groups.rates)
        self._cutter = Cutter(self._iteration)
        self._tick = tick
        self._thread = _Thread(count().__next__)
        self._names = Names()
        self._acts: dict[
            tuple[int, str, int], Act
        ] = {}  # by ids: to hash a place is slow, and places are kept for good
        self._states: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._roots: weakref.WeakSet[_Token] = weakref.WeakSet()
        self._began = perf_counter_ns()
        self._duration = 0.0

    def install(self, stack: ExitStack) -> None:
        """Start to record; closing `stack` ends it."""
        stack.callback(self.ended)
        stack.enter_context(Hooks(self, lines=False).install())
        Forwards(self).install(stack)

    @guarded
    def optimizer_made(self, optimizer: Optimizer, frame: FrameType | None) -> None:
        """An optimizer exists."""
        self._groups.made(optimizer)

    @guarded
    def forward_begins(self, module: Module, frame: FrameType) -> None:
        """The user calls a module."""
        thread = self._thread
        if thread.backward is None:  # a checkpoint that recomputes is no forward pass of the user's
            thread.forward = self._open(EventKind.FORWARD, module, frame)

    @guarded
    def forward_ended(self) -> None:
        """It has returned."""
        opened, self._thread.forward = self._thread.forward, None
        if opened is not None:
            self._close(opened, self._now())

    @guarded
    def before_backward(self, roots: Sequence[Any], accumulates: bool, retains: bool, frame: FrameType) -> None:
        """A backward pass starts (`accumulates`: into `.grad`)."""
        thread = self._thread
        thread.backward = opened = self._open(EventKind.BACKWARD if accumulates else EventKind.READ, None, frame)
        made_by = heads(roots)
        opened.nodes = sum(1 for _ in islice(nodes(made_by), _NODES))
        if accumulates:
            if made_by and _KEY not in made_by[0].metadata:
                made_by[0].metadata[_KEY] = token = _Token()
                self._roots.add(token)
            opened.graphs = len(self._roots)
            self._groups.before_backward(opened.act.place, in_step=bool(thread.steps))
        opened.start = self._now()

    @guarded
    def after_backward(self, roots: Sequence[Any], error: BaseException | None, frame: FrameType) -> None:
        """It ended, perhaps by raising `error`."""
        ended = self._now()
        opened, self._thread.backward = self._thread.backward, None
        if opened is None:
            return
        if opened.act.kind is EventKind.BACKWARD:
            self._groups.after_backward(opened.act.place)
        self._close(opened, ended)

    @guarded
    def before_step(self, optimizer: Optimizer, arguments: Arguments) -> Arguments | None:
        """`optimizer.step(*arguments)` starts."""
        frame = sys._getframe(4)  # torch's own, which lives as long as the step
        watched = self._of(optimizer, frame)
        if watched is None or self._is_wrapped(watched, frame):
            return None
        watched.refresh()
        opened = self._open(EventKind.STEP, optimizer, frame)
        watched.used = watched.rates()
        opened.optimizer, opened.rates, opened.caller = watched, watched.used, id(frame)
        opened.position = self._cutter.stepping(opened.act)
        if closure_in(arguments) is None:  # a closure makes the gradients in the step
            self._judge(opened)
        self._thread.steps.append(opened)
        opened.start = self._now()
        return None

    def _is_wrapped(self, watched: RecordedOptimizer, frame: FrameType) -> bool:
        """Tell whether an optimizer steps inside the step of its wrapper: they count once."""
        steps = still_running(self._thread.steps, frame)
        return any(step.optimizer and step.optimizer.first() is watched.first() for step in steps)

    def _judge(self, opened: _Open) -> None:
        if opened.optimizer is not None:
            cause = EventKind.BACKWARD if self._thread.backward is not None else None
            opened.broken, opened.judged = opened.optimizer.step(cause, opened.act.place), True

    @guarded
    def after_step(self, optimizer: Optimizer) -> None:
        """It ended well."""
        ended, steps = self._now(), self._thread.steps
        watched = steps[-1].optimizer if steps else None
        if watched is None or watched.optimizer() is not optimizer:
            return
        opened = steps.pop()
        if not opened.judged:
            self._judge(opened)
        watched.settle()
        self._cutter.stepped(self._event(opened, ended), opened.position)

    @guarded
    def zeroed(self, owner: Optimizer | Module) -> None:
        """The gradients of `owner` were cleared."""
        frame = sys._getframe(4)
        opened = self._open(EventKind.ZERO, owner, frame)
        self._groups.zeroed(self._of(owner, frame) if hasattr(owner, "param_groups") else None, opened.act.place)
        self._close(opened, opened.start)

    @guarded
    def scheduled(self, scheduler: Any, frame: FrameType) -> None:
        """A scheduler was stepped."""
        opened = self._open(EventKind.SCHEDULE, scheduler, frame)
        self._close(opened, opened.start)

    @guarded
    def mode_changed(self, module: Module, was: bool, frame: FrameType) -> None:
        """`module.train(mode)` was called on a module whose mode was `was`."""
        if module.training is not was:
            opened = self._open(EventKind.TRAIN if module.training else EventKind.EVAL, module, frame)
            self._close(opened, opened.start)

    def _of(self, optimizer: Any, frame: FrameType) -> RecordedOptimizer | None:
        return self._groups.of(optimizer, lambda each: self._names.of(each, frame))

    def _open(self, kind: EventKind, subject: Any, frame: FrameType) -> _Open:
        still_running(self._thread.steps, frame)
        place = place_of(user_frame(frame))
        name = "" if subject is None else self._names.of(subject, frame)
        act = self._acts.get((id(kind), name, id(place)))
        if act is None:
            act = self._acts[id(kind), name, id(place)] = Act(kind, name, place)
        return _Open(act, self._now())

    def _now(self) -> int:
        return (perf_counter_ns() - self._began) // 1000

    def _close(self, opened: _Open, ended: int) -> None:
        self._cutter.add(self._event(opened, ended))

    def _event(self, opened: _Open, ended: int) -> Event:
        states = self._groups.states
        return Event(
            act=opened.act,
            start=opened.start,
            duration=ended - opened.start,
            thread=self._thread.number,
            inside=bool(self._thread.steps),
            states=self._states.setdefault(states, states),
            rates=opened.rates,
            nodes=opened.nodes,
            graphs=opened.graphs,
            broken=opened.broken,
        )

    def _iteration(self, events: list[Event], dropped: int) -> None:
        self._store.add(events, dropped)
        self._tick(self._store.total)

    @guarded
    def ended(self) -> None:
        """The run is over."""
        self._cutter.end()
        self._duration = self._now() / 1e6
        self.guard.close()

    def recording(self, findings: Sequence[Diagnostic]) -> Recording:
        """Return what was recorded, once the run is over, with what was found."""
        store = self._store
        return Recording(
            program=sys.argv[0],
            rank=int(os.environ.get("RANK", "0")),
            ranks=int(os.environ.get("WORLD_SIZE", "1")),
            total=store.total,
            duration=self._duration,
            anchor=self._cutter.anchor or "",
            groups=self._groups.frozen,
            patterns=store.patterns,
            iterations=store.iterations,
            points=store.points,
            findings=tuple(findings),
        )
