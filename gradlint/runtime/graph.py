"""Walking the autograd graph, and what users call its tensors.

Knows nodes, tensors and frames; must not know rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import FrameType
from typing import Any

import torch

from gradlint.runtime.sites import user_frames

_FRAMES = 4
_ITEMS = 64


# The number that the next node of this thread gets: nodes below it are older than now.
clock: Callable[[], int] = torch._C._autograd._get_sequence_nr
differentiates: Callable[[], bool] = torch.is_grad_enabled


def heads(roots: Iterable[Any]) -> list[Any]:
    """Return the nodes that made some tensors, such as the roots of a backward pass."""
    return [root.grad_fn for root in roots if root.grad_fn is not None]


def leaves(roots: Iterable[Any], most: int) -> Iterator[Any]:
    """Yield the tensors in whose `.grad` a backward pass from the roots accumulates; `most` nodes are looked at."""
    return (tensor for tensor in (leaf(node) for node in islice(nodes(heads(roots)), most)) if tensor is not None)


def nodes(roots: Iterable[Any]) -> Iterator[Any]:
    """Yield every node that the roots reach, each once, breadth first."""
    queue = [root for root in roots if root is not None]
    seen = set(queue)
    for node in queue:
        yield node
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)


def leaf(node: Any) -> Any:
    """Return the tensor in whose `.grad` the node accumulates, None for other nodes."""
    return getattr(node, "variable", None)


def is_parameter(tensor: torch.Tensor) -> bool:
    """Tell whether a leaf is a parameter of a module whose values are here (FSDP's unsharded ones hold none)."""
    return isinstance(tensor, torch.nn.Parameter) and tensor.untyped_storage().nbytes() > 0


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors with a graph in a value: itself, or the items of a container."""
    items: Iterable[object]
    match value:
        case torch.Tensor():
            items = (value,)
        case dict():
            items = list(value.values())[-_ITEMS:]
        case list() | tuple():
            items = value[-_ITEMS:]
        case deque():
            items = list(value)[-_ITEMS:]
        case set() | frozenset():
            items = islice(value, _ITEMS)
        case _:
            return
    for item in items:
        if isinstance(item, torch.Tensor) and item.grad_fn is not None:
            yield item
        elif isinstance(item, tuple | list):
            yield from (each for each in item[:_ITEMS] if isinstance(each, torch.Tensor) and each.grad_fn is not None)


def bindings(frame: FrameType) -> Iterator[tuple[str, object]]:
    """Yield what the names of a frame are bound to, then the attributes of the objects among them."""
    names = dict(frame.f_locals)
    yield from names.items()
    for name, value in names.items():
        if not isinstance(value, type | torch.Tensor) and hasattr(value, "__dict__") and not name.startswith("__"):
            yield from ((f"{name}.{key}", each) for key, each in list(vars(value).items()) if isinstance(key, str))


def parts_of(frame: FrameType) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the modules that a frame names, and the modules within them, by their paths."""
    seen: set[torch.nn.Module] = set()
    for name, value in bindings(frame):
        yield from value.named_modules(seen, name) if isinstance(value, torch.nn.Module) else ()


def named(tensor: torch.Tensor | None, frame: FrameType | None) -> str | None:
    """Return what a tensor is called: a variable of the user's, or its path from a module that one names."""
    for caller in user_frames(frame, _FRAMES):
        for name, value in bindings(caller):
            if value is tensor:
                return name
            path = next((path for path, parameter in parameters_of(name, value) if parameter is tensor), None)
            if path is not None:
                return path
    return None


def parameters_of(name: str, value: object) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters of what is called `name`, if it is a module, by their paths from there."""
    if isinstance(value, torch.nn.Module):
        yield from ((f"{name}.{path}", parameter) for path, parameter in value.named_parameters())


def visible(frame: FrameType | None) -> Iterator[tuple[FrameType, str, torch.Tensor]]:
    """Yield the tensors with a graph that the user's frames can name, nearest frame first."""
    for caller in user_frames(frame, _FRAMES):
        for name, value in bindings(caller):
            for tensor in tensors_in(value):
                yield caller, name, tensor
