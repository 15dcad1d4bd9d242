"""Parameters that a step has made NaN or infinite, for good (GL909).

Whatever is computed from them is NaN from then on. The values are looked at rarely: in the first steps, at intervals that grow, where
the mode changes, and at the end; what was put back by the next look (a search for the rate goes too far on purpose) is no mistake.
Knows optimizers and tensors; must not know how torch is hooked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch

from gradlint.diagnostics import Location
from gradlint.runtime.gradients import values_of
from gradlint.runtime.graph import named
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import NOWHERE, name_of

_FIRST = 8
_GROWTH = 4
_SELDOM = 1024
_EVENTS = 32
_LASTING = 4  # steps for which it has to last
_AT_MOST = 1024
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(slots=True)
class _Health:
    """What is known of the values of one optimizer's parameters."""

    ill: frozenset[int] = frozenset()
    """Those that held no numbers before any step, and need none."""
    next: int = 1  # the step after which they are looked at again
    place: Location = NOWHERE
    name: str = ""
    since: int = 0  # the step after which they were first seen without numbers
    fine: int = 0  # the last one after which they had them
    what: str = ""
    told: bool = False


class NonFinite(Observer):
    """Looks at the parameters of every optimizer now and then."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._health: weakref.WeakKeyDictionary[WatchedOptimizer, _Health] = weakref.WeakKeyDictionary()
        self._progress = (0, 0)  # of the rhythm, at the last question

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """See which parameters hold no numbers from the beginning."""
        if watched not in self._health:
            ill = frozenset(id(parameter) for parameter in _without_numbers(watched))
            self._health[watched] = _Health(ill, next=watched.steps + 1)

    def after_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """Look at the parameters if it is time."""
        health = self._health.get(watched)
        if health is None or health.told or watched.steps < health.next:
            return
        if not health.since:
            health.place, health.name = place, name_of(watched.optimizer, frame)
        self._look(watched, health, frame)

    def is_due(self, progress: tuple[int, int]) -> bool:
        """Tell whether enough has happened unseen since the last time that this was asked and told."""
        last = self._progress
        if progress[0] == last[0] and progress[1] - last[1] < _EVENTS:
            return False
        self._progress = progress
        return True

    def finds(self) -> bool:
        """Tell whether some parameters hold no numbers now."""
        return any(
            not health.told and any(id(each) not in health.ill for each in _without_numbers(watched))
            for watched, health in list(self._health.items())
        )

    def unsettled(self, frame: FrameType | None) -> None:
        """A pass over the data may be over: look at whoever has taken many steps since the last time."""
        for watched, health in list(self._health.items()):
            if watched.steps >= health.next and not health.told:
                self._look(watched, health, frame)

    def ended(self) -> None:
        """Judge by what is left of the parameters."""
        for watched, health in list(self._health.items()):
            if not health.told and watched.optimizer is not None:
                self._look(watched, health, None)
                self._tell(watched, health)

    def _look(self, watched: WatchedOptimizer, health: _Health, frame: FrameType | None) -> None:
        ill = next((each for each in _without_numbers(watched) if id(each) not in health.ill), None)
        steps = watched.steps
        health.next = steps + (1 if steps < _FIRST else min(steps // _GROWTH, _SELDOM))
        if ill is None:
            health.since, health.fine = 0, steps
        elif health.since:
            self._tell(watched, health)
        else:
            kind = "NaN" if bool(values_of(ill).isnan().any()) else "infinite"
            subject = named(ill, frame)
            health.what = f"{f'`{subject}`' if subject else 'parameters'} {kind}"
            health.since, health.next = steps, steps + _LASTING

    def _tell(self, watched: WatchedOptimizer, health: _Health) -> None:
        if health.since and health.place is not NOWHERE:
            health.told = watched.explained = True
            exact = health.since - health.fine <= 1
            when = "" if exact else f" between its steps {health.fine} and {health.since}"
            self._ledger.report(
                "GL909", health.place, iteration=health.since, subject=health.name, what=health.what, when=when
            )


def _without_numbers(watched: WatchedOptimizer) -> Iterator[Any]:
    """Yield the parameters some of whose values are NaN or infinite; it waits for the device once, if there are none."""
    parameters = [parameter for parameter in watched.parameters() if _is_plain(parameter)]
    parameters = parameters[:: max(1, -(-len(parameters) // _AT_MOST))]
    sizes = [torch.linalg.vector_norm(values_of(parameter), torch.inf) for parameter in parameters]
    by_device: dict[torch.device, list[Any]] = {}
    for size in sizes:
        by_device.setdefault(size.device, []).append(size.isfinite())
    if not all(bool(torch.stack(each).all()) for each in by_device.values()):
        yield from (parameter for parameter, size in zip(parameters, sizes, strict=True) if not bool(size.isfinite()))


def _is_plain(parameter: Any) -> bool:
    values = values_of(parameter)
    plain = type(values) is torch.Tensor and values.dtype in _TYPES and not values.is_meta
    return plain and values.numel() > 0 and values.untyped_storage().size() > 0
