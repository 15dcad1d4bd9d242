"""Values of tensors that nobody waits for: a device works them out and copies them while the run goes on.

A loop on a GPU is fast because the host runs ahead of the device; one look at a value makes it wait. Here a value is asked for, and
read when it has arrived, or when the run is suspect anyway. On the host an answer is there at once.
Knows devices; must not know what is asked, or why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

_ASYNCHRONOUS = ("cuda", "xpu")  # elsewhere a copy that is not waited for may be read too early

_T = TypeVar("_T")


class Answer:
    """Values that were asked for: those of a tensor, or single ones that lie on one device (some may be known already).

    On the host single ones are read one by one: a `torch.stack` that is not called all the time takes as long as fifty of them.
    """

    __slots__ = ("_arrival", "_values")

    def __init__(self, values: Tensor | Sequence[Tensor | bool]) -> None:
        self._arrival: Any = None
        if not isinstance(values, Tensor):
            asked = [each for each in values if isinstance(each, Tensor)]
            if not asked or not is_waited_for(asked[0]):
                self._values: Tensor | list[Any] = [
                    each.item() if isinstance(each, Tensor) else each for each in values
                ]
                return
            values = torch.stack(asked)
        later = values.device.type in _ASYNCHRONOUS
        self._values = values.to("cpu", non_blocking=later)
        self._arrival = _end_of(values.device) if later else None

    @property
    def is_there(self) -> bool:
        """Whether it can be read without waiting; while a CUDA graph is captured, the mere question would spoil it."""
        return self._arrival is None or (not capturing() and bool(self._arrival.query()))

    def read(self) -> Any:
        """Return the values, as `Tensor.tolist` does; waits for the device if it has not come to them yet."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._values if isinstance(self._values, list) else self._values.tolist()


def ask(values: Iterable[Tensor]) -> list[Answer]:
    """Ask for single values, and return one answer for each device; they are in the order of `on_one_device`."""
    return [Answer(each) for each in on_one_device(values, lambda value: value)]


def on_one_device(items: Iterable[_T], tensor_of: Callable[[_T], Tensor]) -> list[list[_T]]:
    """Return items by the devices of their tensors."""
    found: dict[torch.device, list[_T]] = {}
    for item in items:
        found.setdefault(tensor_of(item).device, []).append(item)
    return list(found.values())


def can_be_asked(tensor: Tensor) -> bool:
    """Tell whether the values of `tensor` can be had: it is no stand-in for one, and no CUDA graph is being captured."""
    plain = (type(tensor) is Tensor or type(tensor.detach()) is Tensor) and tensor.layout is torch.strided
    if tensor.is_cpu:
        return plain
    return plain and tensor.device.type != "meta" and not (tensor.device.type == "cuda" and capturing())


def has_values(tensor: Tensor) -> bool:
    """Tell whether there are values of `tensor` that can be had: FSDP's unsharded parameters are stored nowhere."""
    return can_be_asked(tensor) and tensor.numel() > 0 and tensor.untyped_storage().nbytes() > 0


def is_waited_for(tensor: Tensor) -> bool:
    """Tell whether a look at the values of `tensor` would wait for a device."""
    return not tensor.is_cpu


def capturing() -> bool:
    """Tell whether a CUDA graph is being captured: nothing may ask the device then."""
    started: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return started and torch.cuda.is_current_stream_capturing()


def _end_of(device: torch.device) -> Any:
    """Return an event behind all that the device has been given to do so far."""
    module = getattr(torch, device.type)
    event = module.Event()
    event.record(module.current_stream(device))
    return event
