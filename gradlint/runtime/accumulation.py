"""Windows of accumulated batches: mean losses that nobody divides (GL702), and windows of a wrong length (GL703).

That several passes go into one step is an accumulation only where all stand in one loop: a loop of its own may add up several
losses of one batch. All is decided when the run is over. Knows graph nodes, frames and optimizers; must not know how torch is
hooked.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch

from gradlint.diagnostics import Location
from gradlint.runtime.bytecode import loop_around
from gradlint.runtime.gradients import is_bound
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.observers import Observer, Pass
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of, text_at
from gradlint.runtime.steady import Steady

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.optim import Optimizer

_IN_A_ROW = 3
_TWICE = 2
_PLAIN = ("SGD", "ASGD")  # what the scale of the gradients matters to, clipped or not
_KEPT = 256


@dataclass(frozen=True, slots=True)
class _Window:
    """A window that has ended: how many passes, by what every loss was divided, and whether all are undivided means."""

    passes: int
    divisor: float | None
    undivided: bool
    edited: bool


@dataclass(slots=True)
class _Windows:
    """The windows of one optimizer, and what has happened in the running one."""

    place: Location | None = None
    step: Location | None = None
    name: str = ""
    mixed: bool = False  # passes of several places or for several optimizers, or a step outside of their loop
    loop: tuple[CodeType, range | None] | None = None
    ended: list[_Window] = field(default_factory=list)
    passes: int = 0
    losses: set[tuple[bool, float | None]] = field(default_factory=set)
    versions: list[int] | None = None
    clipped: bool = False
    edited: bool = False
    unseen: bool = False  # a part of it was not looked at
    runs: int = 0  # how often the rhythm had run when this window was looked at last

    def begin(self) -> None:
        """A new window begins."""
        self.passes, self.losses, self.versions = 0, set(), None
        self.clipped = self.edited = self.unseen = False


class Accumulation(Observer):
    """The windows of all optimizers."""

    def __init__(self, ledger: Ledger, registry: Registry, rhythm: Steady, is_scaled: Callable[[Any], bool]) -> None:
        self._is_scaled = is_scaled
        self._ledger = ledger
        self._registry = registry
        self._rhythm = rhythm
        self._windows: weakref.WeakKeyDictionary[WatchedOptimizer, _Windows] = weakref.WeakKeyDictionary()
        self._loss: tuple[bool, float | None] = (False, None)

    def before_backward(self, passing: Pass) -> None:
        """See what the loss is while its graph is there, and whether somebody has changed gradients since the last pass."""
        root = passing.roots[0]
        node = root.grad_fn
        if node is not None and self._is_scaled(root) and node.next_functions:
            node = node.next_functions[0][0]
        self._loss = (False, None) if node is None or len(passing.roots) > 1 else _loss_of(node)
        for watched, windows in self._windows.items():
            if not windows.mixed:
                self._look(watched, windows)

    def _look(self, watched: WatchedOptimizer, windows: _Windows) -> None:
        """Take in what happened unseen, and unsaid."""
        if windows.runs != self._rhythm.runs:
            windows.begin()
            windows.runs = self._rhythm.runs
            windows.unseen = True
            windows.passes = self._rhythm.unspent(watched)
        elif windows.versions is not None and windows.versions != watched.versions():
            windows.edited = True  # or cleared by hand

    def after_backward(self, passing: Pass, fed: Sequence[WatchedOptimizer]) -> None:
        """Count a pass for the optimizers that it has fed."""
        for watched in fed:
            windows = self._windows.setdefault(watched, _Windows(runs=self._rhythm.runs))
            if windows.mixed:
                continue
            frame = passing.frame
            if windows.place is None:
                windows.place = passing.place
                windows.loop = _loop_of(frame)
            windows.mixed = windows.place is not passing.place or not watched.fed_alone
            windows.passes += 1
            windows.losses.add(self._loss)
            windows.versions = watched.versions()

    def before_zero(self, owner: Optimizer | Module, place: Location) -> None:
        """A window whose gradients are cleared is none."""
        for watched in self._registry.cleared_by(owner):
            windows = self._windows.get(watched)
            if windows is not None and not windows.mixed:
                self._look(watched, windows)
                windows.begin()

    def clipping(self, parameters: Sequence[Any], max_norm: Any, place: Location, frame: FrameType | None) -> None:
        """The scale of clipped gradients matters to every optimizer."""
        clipped = {id(parameter) for parameter in parameters}
        for watched, windows in self._windows.items():
            if not windows.mixed and any(id(parameter) in clipped for parameter in watched.parameters()):
                self._look(watched, windows)
                windows.versions = None
                windows.clipped = windows.clipped or is_bound(max_norm)

    def unscaling(self, watched: WatchedOptimizer) -> None:
        """What a scaler does to the gradients is no change of their scale."""
        windows = self._windows.get(watched)
        if windows is not None and not windows.mixed:
            self._look(watched, windows)
            windows.versions = None

    def unscaled(self, watched: WatchedOptimizer) -> None:
        """Look on from here: what the user does next may change it."""
        windows = self._windows.get(watched)
        if windows is not None and not windows.mixed:
            windows.versions = watched.versions()

    def before_step(self, watched: WatchedOptimizer, place: Location, frame: FrameType | None) -> None:
        """End a window."""
        windows = self._windows.get(watched)
        if windows is None or windows.mixed:
            return
        self._look(watched, windows)
        if windows.step is None:
            windows.step, windows.name = place, name_of(watched.optimizer, frame)
            windows.mixed = ".step(" not in text_at(place)
        windows.mixed = windows.mixed or windows.step is not place or windows.loop != _loop_of(frame)
        if windows.passes and len(windows.ended) < _KEPT:
            windows.ended.append(self._ended(watched, windows))
        windows.begin()

    def _ended(self, watched: WatchedOptimizer, windows: _Windows) -> _Window:
        [(mean, divisor), *others] = windows.losses or [(False, None)]
        matters = windows.clipped or type(watched.optimizer).__name__ in _PLAIN
        undivided = mean and matters and not (others or windows.edited or windows.unseen)
        return _Window(windows.passes, None if others else divisor, undivided, windows.edited)

    def ended(self) -> None:
        """Judge the windows of each optimizer."""
        for windows in self._windows.values():
            place, step = windows.place, windows.step
            if place is not None and step is not None and not windows.mixed:
                self._undivided(windows, place, step)
                self._uneven(windows, place, step)

    def _undivided(self, windows: _Windows, place: Location, step: Location) -> None:
        """GL702: the sums of mean losses, in windows of one length."""
        alike = 0
        for before, window in zip([None, *windows.ended], windows.ended, strict=False):
            same = before is not None and before.undivided and before.passes == window.passes
            alike = 0 if not window.undivided or window.passes < _TWICE else alike + 1 if same else 1
            if alike >= _IN_A_ROW:
                loss, times = _said(place), str(window.passes)
                self._ledger.report("GL702", place, (("step", step),), subject=windows.name, loss=loss, times=times)
                return

    def _uneven(self, windows: _Windows, place: Location, step: Location) -> None:
        """GL703: each loss is divided by the length that its window does not have."""
        divisors = {window.divisor for window in windows.ended if window.divisor is not None}
        length = divisors.pop() if len(divisors) == 1 else None
        if length is None or length < _TWICE or not length.is_integer():
            return
        sizes = [window.passes for window in windows.ended if not window.edited]
        if sizes[:_IN_A_ROW] == [1, *[length] * (_IN_A_ROW - 1)]:
            self._report(windows, place, step, *_early(windows.name, int(length)))
        longer = [size for size in sizes if size > length]
        if len(longer) >= _TWICE and int(length) in sizes:
            self._report(windows, place, step, *_leftover(windows.name, int(length), max(longer)))

    def _report(self, windows: _Windows, place: Location, step: Location, what: str, remedy: str) -> None:
        self._ledger.report("GL703", step, (("accumulated", place),), what=what, remedy=remedy)


def _loop_of(frame: FrameType | None) -> tuple[CodeType, range | None] | None:
    """Return the function of a frame, and its innermost loop around what it is doing."""
    return None if frame is None else (frame.f_code, loop_around(frame.f_code, frame.f_lasti))


def _said(place: Location) -> str:
    """Return what the user calls the loss, which a scaler may have multiplied."""
    text = text_at(place).partition(".backward(")[0]
    scaled = re.fullmatch(r"[\w.]+\.scale\((.+)\)", text)
    return scaled[1] if scaled else text or "loss"


def _early(name: str, length: int) -> tuple[str, str]:
    what = (
        f"`{name}` steps after the first batch already, not after {length}: the first update comes from a single batch whose loss "
        f"is divided by {length}, and the last batches wait for a step that does not come"
    )
    return what, "count from one, `(i + 1) % steps == 0`, and step once more after the loop for what is left"


def _leftover(name: str, length: int, size: int) -> tuple[str, str]:
    what = (
        f"`{name}` steps on the gradients of up to {size} batches, though the loss is divided by {length}: what is left at the end "
        "of one pass over the data is added to the first window of the next"
    )
    return what, "step once more after the loop for what is left, or clear the gradients there"


def _loss_of(node: Any) -> tuple[bool, float | None]:
    """Return whether a node is a loss of torch's that is the mean of its batch, and by which number it divides."""
    if getattr(node, "_saved_reduction", None) == 1:
        return True, None
    kind = node.name()
    if kind not in ("DivBackward0", "MulBackward0"):
        return False, None
    other = node._saved_other
    if other is None or other.numel() != 1 or other.device.type != "cpu" or other.requires_grad:
        return False, None
    with torch._C._DisableTorchDispatch():  # a mode of the user's would be handed a number in place of the tensor
        factor = float(other)
    return False, factor if kind == "DivBackward0" else round(1 / factor, 6) if factor else None
