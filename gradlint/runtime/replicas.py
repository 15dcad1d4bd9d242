"""Models that several ranks hold alike: what each rank writes down of its own, so that they can be compared.

There are no collectives of gradlint's own: after the steps 1, 2, 4, 8, ... the parameters are summed up, when the next
backward pass begins and all that belongs to the step is done. Nothing is listened to before a model is wrapped.
Knows DistributedDataParallel; must not know how records are compared.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from gradlint.diagnostics import Location
from gradlint.records import Replica, Sums
from gradlint.runtime.answers import Answer, capturing
from gradlint.runtime.guard import Guard, guarded
from gradlint.runtime.hooks import Hooks
from gradlint.runtime.living import living
from gradlint.runtime.seams import replace
from gradlint.runtime.sites import NOWHERE, name_of, place_of, user_frame

_AT_MOST = 256
_AVERAGERS = "torch.distributed.algorithms.model_averaging.averagers"


@dataclass(frozen=True, slots=True)
class _Sums:
    """What a device has been asked of the parameters after a step."""

    step: int
    place: Location
    pairs: list[Answer]

    def read(self) -> Sums:
        """Return the answers; waits for a device that has not come to them."""
        return Sums(self.step, self.place, tuple((one, other) for each in self.pairs for one, other in each.read()))


@dataclass(slots=True)
class _Model:
    """One wrapped model of this rank."""

    wrapper: weakref.ref[DistributedDataParallel]
    rank: int
    group: tuple[int, ...]
    index: int
    names: tuple[str, ...]
    parameters: list[weakref.ref[torch.Tensor]]
    steps: int = 0
    name: str = ""
    place: Location = NOWHERE
    due: bool = False
    fed: bool = False
    unsynced: bool = True
    joined: bool = False
    sums: list[_Sums] = field(default_factory=list)

    def holds(self, optimizer: Optimizer) -> bool:
        """Tell whether an optimizer updates a parameter of the model."""
        own = {id(each()) for each in self.parameters}
        return any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])


class Replicas:
    """The replicated models of this rank."""

    def __init__(self, guard: Guard, hooks: Hooks) -> None:
        self.guard = guard
        self._hooks = hooks
        self._models: list[_Model] = []
        self._holders: dict[int, tuple[weakref.ref[Optimizer], list[_Model]]] = {}
        self._events = ExitStack()

    def install(self) -> ExitStack:
        """Start to watch; closing the returned stack undoes everything."""
        stack = ExitStack()
        stack.callback(self._events.close)
        replace(stack, DistributedDataParallel, "__init__", self._init)
        for wrapper in living(DistributedDataParallel) if dist.is_available() and dist.is_initialized() else ():
            self.wrapped(wrapper)
        return stack

    def records(self) -> tuple[Replica, ...]:
        """Return what is known of each model that an optimizer has stepped."""
        return tuple(
            Replica(
                each.name,
                each.rank,
                each.group,
                each.index,
                each.names,
                each.steps,
                each.place,
                each.unsynced,
                each.joined,
                tuple(sums.read() for sums in each.sums),
            )
            for each in self._models
            if each.steps
        )

    def _init(self, original: Callable[..., None]) -> Callable[..., None]:
        def run(wrapper: DistributedDataParallel, *args: Any, **kwargs: Any) -> None:
            original(wrapper, *args, **kwargs)
            self.wrapped(wrapper)

        return run

    @guarded
    def wrapped(self, wrapper: DistributedDataParallel) -> None:
        """A model has been wrapped: every rank of its group does so, in the same order."""
        try:
            group = tuple(dist.get_process_group_ranks(wrapper.process_group))
        except KeyError:  # it outlived its group
            return
        kept = [(name, each) for name, each in wrapper.module.named_parameters() if _is_replicated(wrapper, name, each)]
        kept = kept[:: max(1, -(-len(kept) // _AT_MOST))]
        index = sum(model.group == group for model in self._models)
        names, parameters = tuple(name for name, _ in kept), [weakref.ref(each) for _, each in kept]
        if len(group) < 2:
            return
        if not self._models:
            self._hooks.stepping.append(self._stepped)
            self._events.callback(self._hooks.stepping.remove, self._stepped)
            self._hooks.passing.append(self.passes)
            self._events.callback(self._hooks.passing.remove, self.passes)
        self._models.append(_Model(weakref.ref(wrapper), dist.get_rank(), group, index, names, parameters))
        self._holders.clear()

    @guarded
    def passes(self) -> None:
        """A backward pass begins."""
        for model in self._models:
            model.fed = True
            if model.due:
                model.due = False
                _sum_up(model)
            wrapper = model.wrapper()
            if wrapper is not None:
                model.joined |= bool(wrapper._join_config.enable)
                model.unsynced &= bool(model.steps) or not wrapper.require_backward_grad_sync

    def _stepped(self, optimizer: Optimizer) -> None:
        self.stepped(optimizer, sys._getframe(1))

    @guarded
    def stepped(self, optimizer: Optimizer, frame: FrameType) -> None:
        """An optimizer has stepped; those that follow without a backward pass belong to the same step."""
        known = self._holders.get(id(optimizer))
        if known is None or known[0]() is not optimizer:
            held = [model for model in self._models if model.holds(optimizer)]
            known = self._holders[id(optimizer)] = (weakref.ref(optimizer), held)
        for model in (each for each in known[1] if each.fed):
            model.steps += 1
            model.fed = False
            if model.steps & (model.steps - 1) == 0:
                caller = user_frame(frame)
                model.place, model.due = place_of(caller), True
                model.name = model.name or _name(model, caller)


def _is_replicated(wrapper: DistributedDataParallel, name: str, parameter: torch.Tensor) -> bool:
    plain = parameter.is_floating_point() and parameter.layout is torch.strided
    return plain and not hasattr(parameter, "_local_tensor") and name not in wrapper.parameters_to_ignore


def _name(model: _Model, frame: FrameType | None) -> str:
    wrapper = model.wrapper()
    return type(wrapper).__name__ if wrapper is None else name_of(wrapper, frame)


def _sum_up(model: _Model) -> None:
    """Write down the parameters of a model, unless its ranks are free to differ."""
    wrapper = model.wrapper()
    if getattr(wrapper, "_comm_hooks", ()) or _averages() or capturing():
        return
    parameters = [each() for each in model.parameters]
    if all(each is not None and each.untyped_storage().size() for each in parameters):
        values = _sums(each for each in parameters if each is not None)
        model.sums.append(_Sums(model.steps, model.place, values))


def _sums(parameters: Iterator[torch.Tensor]) -> list[Answer]:
    """Ask for the sum and the sum of magnitudes of each, all at once where they lie on one device."""
    with torch.no_grad():
        pairs = []
        for parameter in parameters:
            values = parameter.detach()
            values = values.cpu() if values.device.type == "mps" else values
            magnitude = torch.linalg.vector_norm(values, 1, dtype=torch.float64)
            pairs.append(torch.stack([values.sum(dtype=torch.float64), magnitude]))
        together = len({pair.device for pair in pairs}) == 1
        return [Answer(torch.stack(pairs))] if together else [Answer(pair[None]) for pair in pairs]


def _averages() -> bool:
    """Tell whether parameters are averaged now and then, and so may differ in between."""
    module = sys.modules.get(_AVERAGERS)
    return module is not None and bool(living(module.ModelAverager))
