"""Which line of the user's made a node of the autograd graph.

Torch's anomaly mode asks `torch.fx.traceback.format_stack` for a stack at every node it makes, and keeps the answer
in the node. Answering with the user's one line costs about a microsecond, a hundred times less than a whole stack;
so it is done for the first iterations, in which nearly all misuse of graphs shows. Who asks for the mode is told what
the program has made of it, and it is the program's as soon as it sets it. Knows torch; must not know rules.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.fx.traceback as torch_traceback
from torch import _C

from gradlint.diagnostics import Location
from gradlint.runtime.monitoring import LineClock
from gradlint.runtime.seams import replace
from gradlint.runtime.sites import place_of, user_frame

_KEY = "traceback_"
_BACKWARDS = 8
_NODES = 50_000
_latest: LineClock | None = None  # what `made_at` asks once nothing more is recorded in the nodes


class _Line(str):
    """A line as anomaly mode would print it, which knows its place."""

    __slots__ = ("place",)
    place: Location


class Lines:
    """Records the lines of the first nodes, while no backward pass runs."""

    def __init__(self) -> None:
        self._original = torch_traceback.format_stack
        self._lines: dict[int, _Line] = {}
        self._backwards = 0
        self._nodes = 0
        self._clock = LineClock(torch._C._autograd._get_sequence_nr)
        self._stack: ExitStack | None = None
        self._borrowed = ExitStack()  # what belongs to anomaly mode
        self._checks_nan = True
        self.on = False

    def install(self, stack: ExitStack) -> None:
        """Start to record, unless the user has anomaly mode on; closing `stack` ends it."""
        global _latest
        _latest, self._stack = self._clock, stack
        if _C.is_anomaly_enabled():
            return
        self._checks_nan = _C.is_anomaly_check_nan_enabled()
        torch_traceback.format_stack = self._here
        stack.callback(self._end)
        self._borrowed.callback(self._remove)
        replace(self._borrowed, torch, "set_anomaly_enabled", self._claimed)
        replace(self._borrowed, torch, "is_anomaly_enabled", lambda original: lambda: False)
        replace(self._borrowed, torch, "is_anomaly_check_nan_enabled", lambda original: lambda: self._checks_nan)
        self._switch(True)

    @property
    def recording(self) -> bool:
        """Whether the first backward passes are not over."""
        return self._backwards < _BACKWARDS

    def pause(self) -> None:
        """A backward pass begins: the nodes that it makes and the words of its errors are torch's."""
        self._switch(False)

    def resume(self) -> None:
        """It has ended."""
        self._backwards += 1
        if self.recording:
            self._switch(True)
        else:
            self._finish()

    def _finish(self) -> None:
        """Record no more: from now on the clock knows the lines."""
        self._backwards = _BACKWARDS
        self._give_back()
        if self._stack is not None:
            self._clock.start(self._stack)

    def _claimed(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any, **kwargs: Any) -> None:
            self._finish()
            original(*args, **kwargs)

        return run

    def _switch(self, on: bool) -> None:
        if on is not self.on and torch_traceback.format_stack == self._here:
            self.on = on
            _C.set_anomaly_enabled(on, not on and self._checks_nan)

    def _give_back(self) -> None:
        self._switch(False)
        self._borrowed.close()

    def _end(self) -> None:
        """Nobody watches any more."""
        self._stack = None
        self._give_back()

    def _remove(self) -> None:
        if torch_traceback.format_stack == self._here:
            torch_traceback.format_stack = self._original

    def _here(self) -> list[str]:
        """Stand in for `format_stack`."""
        self._nodes += 1
        if self._nodes > _NODES:
            self._finish()
        if torch_traceback.has_preserved_node_meta():
            return self._original()
        place = place_of(user_frame(sys._getframe(1)))
        line = self._lines.get(id(place))
        if line is None:
            line = self._lines[id(place)] = _Line(f'  File "{place.filename}", line {place.row}\n')
            line.place = place
        return [line]


def made_at(node: Any) -> Location | None:
    """Return the place that made a node of the graph, if it was recorded."""
    for line in node.metadata.get(_KEY, ()) if node is not None else ():
        if isinstance(line, _Line):
            return line.place
    return _latest.place(node._sequence_nr()) if _latest is not None and node is not None else None
