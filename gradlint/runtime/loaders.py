"""Passes over data: one that nobody trains on measures the model, which must not be in training mode then (GL303).

A loop over a `DataLoader` in which no backward pass runs, behind steps of the optimizer, is a validation. Its first two forward
passes are listened to, no others. Knows loaders and modules; must not know how a mode is changed.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch.nn import Module
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.data import DataLoader, IterableDataset

from gradlint.diagnostics import Location
from gradlint.runtime.guard import Guard, guarded
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.modes import Modes
from gradlint.runtime.registry import Registry
from gradlint.runtime.reuse import Begun
from gradlint.runtime.seams import replace
from gradlint.runtime.sensitivity import trains
from gradlint.runtime.sites import name_of, place_of, user_frame
from gradlint.runtime.steady import Steady
from gradlint.runtime.tracing import compiled, is_compiling
from gradlint.wordings.modes import STAYS_ON, TRAINING_MODE

_FORWARDS = 2
_LOOPS = 2  # over a single batch, which may be a mere look
_CALLS = 64  # of modules that nobody trains, after which no more is asked


@dataclass(slots=True)
class _Loop:
    """A pass over a loader: where it began, the backward pass and the steps before it, and the model that it measures."""

    loader: weakref.ref[Any]
    place: Location
    before: Begun | None
    stepped: tuple[int, tuple[int, int]]
    module: weakref.ref[Module] | None = None
    forward: Location | None = None
    forwards: int = 0
    calls: int = 0
    trains: bool = False
    matters: bool = True  # the module is in evaluation mode, or in training mode to which that matters
    name: str = ""
    step: Location | None = None


class Loaders:
    """The loops over loaders; `rhythm` tells the backward pass that came last, `began` hears that one begins."""

    def __init__(
        self,
        ledger: Ledger,
        guard: Guard,
        registry: Registry,
        modes: Modes,
        rhythm: Steady,
        began: Callable[[FrameType], None],
    ) -> None:
        self.guard = guard
        self._began = began
        self._ledger = ledger
        self._registry = registry
        self._modes = modes
        self._rhythm = rhythm
        self._last = rhythm.last_pass
        self._loop: _Loop | None = None
        self._epochs: Counter[int] = Counter()
        self._trained: dict[int, weakref.ref[Any]] = {}
        self._measured: dict[Location, list[_Loop]] = {}
        self._forwards = ExitStack()

    def install(self) -> ExitStack:
        """Start to watch; closing the returned stack undoes everything."""
        stack = ExitStack()
        stack.callback(self._forwards.close)
        replace(stack, DataLoader, "__iter__", self._iter)
        return stack

    def _iter(self, original: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
        def run(loader: Any) -> Iterator[Any]:
            self.begins(loader, sys._getframe(1))
            return original(loader)

        return run

    @guarded
    def begins(self, loader: Any, frame: FrameType) -> None:
        """A loop over `loader` begins, which ends the one before."""
        self._end()
        self._began(frame)
        self._loop = _Loop(weakref.ref(loader), place_of(user_frame(frame)), self._last(), self._stepped())
        if self._registry.steps and not self._is_trained_on(loader) and not compiled():
            self._forwards.callback(register_module_forward_pre_hook(self._forward).remove)

    def _stepped(self) -> tuple[int, tuple[int, int]]:
        return self._registry.steps, self._rhythm.progress

    def _is_trained_on(self, loader: Any) -> bool:
        known = self._trained.get(id(loader))
        return known is not None and known() is loader

    def _forward(self, module: Module, args: Any) -> None:
        if not is_compiling():
            self.forward(module, sys._getframe(1))

    @guarded
    def forward(self, module: Module, frame: FrameType) -> None:
        """A module is called in the loop."""
        loop = self._loop
        if loop is None or self._last() != loop.before:
            self._forwards.close()
        elif loop.module is None:
            loop.calls += 1
            self._met(loop, module, frame)
            if loop.calls >= _CALLS:
                self._forwards.close()
        elif loop.module() is module and place_of(user_frame(frame)) is loop.forward:
            loop.forwards += 1
            if loop.forwards >= _FORWARDS:
                self._forwards.close()

    def _met(self, loop: _Loop, module: Module, frame: FrameType) -> None:
        """Take a module for what the loop measures, if somebody trains it."""
        owners = [each for each in self._registry.owners_of(module) if each.last_step is not None]
        if not owners:
            return
        caller = user_frame(frame)
        loop.module, loop.forward, loop.forwards = weakref.ref(module), place_of(caller), 1
        # Whoever says `train()` after the last backward pass wants it so.
        loop.matters = not module.training or trains(module)
        loop.trains = module.training and loop.matters and not self._modes.told_to_train(module, loop.before)
        loop.name, loop.step = name_of(module, caller), owners[0].last_step

    def _end(self) -> None:
        """The last loop is over: by now it is known whether it was one of training."""
        self._forwards.close()
        loop, self._loop = self._loop, None
        if loop is None:
            return
        if self._last() != loop.before:
            loader = loop.loader()
            self._epochs[id(loader)] += 1
            self._registry.epochs = max(self._registry.epochs, self._epochs[id(loader)])
            self._trained[id(loader)] = loop.loader
        elif loop.matters and self._is_pass(loop) and self._stepped() == loop.stepped:
            self._measured.setdefault(loop.place, []).append(loop)

    def _is_pass(self, loop: _Loop) -> bool:
        """Tell whether a loop is no mere look at a batch or two, but goes through all that there is."""
        return loop.forwards >= _FORWARDS or (loop.forwards == 1 and (not loop.trains or _batches(loop.loader()) == 1))

    @guarded
    def ended(self) -> None:
        """The run is over: a loop that measured in training mode always did so."""
        self._end()
        for place, loops in self._measured.items():
            first = loops[0]
            if all(loop.trains for loop in loops) and (first.forwards >= _FORWARDS or len(loops) >= _LOOPS):
                marks = (("stepped", first.step),) if first.step is not None else ()
                self._ledger.report(
                    "GL303", place, marks, count=len(loops), subject=first.name, mode=TRAINING_MODE, effect=STAYS_ON
                )


def _batches(loader: Any) -> int | None:
    """Return how many batches a loader has, None if it does not know."""
    if loader is None or isinstance(getattr(loader, "dataset", None), IterableDataset):
        return None
    try:
        return len(loader)
    except Exception:  # noqa: BLE001 (a sampler or dataset of the user's may have no length, in whichever words)
        return None
