"""Distributed samplers that shuffle: whether each epoch of training has an order of its own.

A draw counts once an optimizer steps on what it brings: to look at a batch, or to validate, needs no new order.
Knows samplers by what they offer; must not know how an optimizer is watched.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch.optim import Optimizer
from torch.utils.data.distributed import DistributedSampler

from gradlint.diagnostics import Location
from gradlint.events import EventKind
from gradlint.protocols import SAMPLER
from gradlint.runtime.guard import Guard, guarded
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.seams import replace
from gradlint.runtime.sites import name_of, place_of, user_frame
from gradlint.runtime.tracks import Track


class _Watched:
    """One sampler, where it stands, and the epoch of its last draw that was trained on."""

    def __init__(self, sampler: Any) -> None:
        self.sampler = weakref.ref(sampler)
        self.track = Track(SAMPLER)
        self.epoch: int | None = None


@dataclass(frozen=True, slots=True)
class _Draw:
    """A draw that nobody has stepped on yet."""

    watched: _Watched
    epoch: int
    place: Location
    name: str


class Samplers:
    """The samplers of the run; steps are listened to (`stepping`) after one of them is drawn from."""

    def __init__(self, ledger: Ledger, guard: Guard, stepping: list[Callable[[Optimizer], None]]) -> None:
        self.guard = guard
        self._ledger = ledger
        self._stepping = stepping
        self._watched: dict[int, _Watched] = {}
        self._draw: _Draw | None = None

    def install(self) -> ExitStack:
        """Start to watch; closing the returned stack undoes everything."""
        stack = ExitStack()
        replace(stack, DistributedSampler, "__iter__", self._iter)
        return stack

    def _iter(self, original: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Iterator[Any]]:
        def run(sampler: Any) -> Iterator[Any]:
            self.drawn(sampler, sys._getframe(1))
            return original(sampler)

        return run

    @guarded
    def drawn(self, sampler: Any, frame: FrameType) -> None:
        """A loop begins to take from `sampler`."""
        if not sampler.shuffle:
            return
        watched = self._watched.get(id(sampler))
        if watched is None or watched.sampler() is not sampler:
            watched = self._watched[id(sampler)] = _Watched(sampler)
        caller = user_frame(frame)
        self._draw = _Draw(watched, sampler.epoch, place_of(caller), name_of(sampler, caller))
        if self.stepped not in self._stepping:
            self._stepping.append(self.stepped)

    @guarded
    def stepped(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped: the last draw is one of training."""
        with suppress(ValueError):  # another thread was faster
            self._stepping.remove(self.stepped)
        draw, self._draw = self._draw, None
        if draw is None:
            return
        watched = draw.watched
        if draw.epoch != watched.epoch:
            watched.track.advance(EventKind.EPOCH, draw.place)
        watched.epoch = draw.epoch
        if watched.track.advance(EventKind.DRAW, draw.place) is not None:
            self._ledger.report("GL709", draw.place, subject=draw.name)
