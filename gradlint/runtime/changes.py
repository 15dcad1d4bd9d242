"""Why a backward pass failed on a tensor that was changed in place after it was saved.

Knows the graph, the optimizers and the ledger; must not know how torch is hooked.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator
from itertools import islice
from types import FrameType
from typing import Any

import torch

from gradlint.diagnostics import Location
from gradlint.runtime.failure import Failure
from gradlint.runtime.graph import bindings, nodes, parameters_of, parts_of, visible
from gradlint.runtime.handwork import changed_by_hand, changed_by_methods
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.lines import made_at
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.registry import Registry
from gradlint.runtime.sites import name_of, user_frames
from gradlint.runtime.sources import source_of
from gradlint.wordings.graphs import AFTERWARDS, OUT_OF_PLACE

_NODES = 100_000
_FRAMES = 8
_IN_PLACE = re.compile(
    r"^([\w.]+) *[-+*/@%&|^]+=|^([\w.]+)\[[^=]*\] *[-+*/]*=(?!=)|([\w.]+)\.\w*[a-z0-9]_\(|inplace=True"
)
CHANGED = "modified by an inplace operation"


def explain_change(failure: Failure, registry: Registry, ledger: Ledger) -> None:
    """Report which tensor was changed, and who did it: an optimizer between forward and backward, or an operation."""
    found = ((node, _changed_tensor(node)) for node in islice(nodes(failure.heads), _NODES))
    node, changed = next((each for each in found if each[1] is not None), (None, None))
    if node is None:
        return
    stepped = _stepped_on(changed, registry)
    if stepped is not None:
        path = _parameter_name(changed, failure.frame)
        name = f"the parameter `{path}`" if path else f"a parameter of `{name_of(stepped.optimizer, failure.frame)}`"
        marks = [("made", made_at(node)), ("stepped", stepped.last_step)]
        failure.report(ledger, "GL508", marks, subject=name)
        return
    parameter = _parameter_name(changed, failure.frame)
    if parameter is not None:
        marks = [("made", made_at(node)), ("changed", changed_by_hand(parameter, failure.frame))]
        what = f"the parameter `{parameter}`, saved by {_short(node)}"
        failure.report(ledger, "GL521", marks, what=what, remedy=AFTERWARDS)
        return
    what, where = _who_changed(changed, node, failure)
    failure.report(ledger, "GL521", [("made", made_at(node)), ("changed", where)], what=what, remedy=OUT_OF_PLACE)


def _changed_tensor(node: Any) -> Any:
    """Return the saved tensor of a node that torch refuses to hand out because it was changed, None if there is none."""
    for name in dir(node):
        if name.startswith("_saved_"):
            try:
                getattr(node, name)
            except RuntimeError as error:
                if CHANGED in str(error):
                    raw = getattr(node, f"_raw{name}")
                    saved = raw[0] if isinstance(raw, tuple | list) else raw
                    return getattr(saved, "data", None)  # torch 2.3, 2.4 and 2.9 do not hand it out
    return None


def _stepped_on(changed: Any, registry: Registry) -> WatchedOptimizer | None:
    """Return the optimizer that has stepped and holds the tensor."""
    for watched in registry:
        if watched.last_step is not None and any(_same(parameter, changed) for parameter in watched.parameters()):
            return watched
    return None


def _same(one: Any, other: Any) -> bool:
    return bool(one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr())


def _parameter_name(changed: Any, frame: FrameType | None) -> str | None:
    """Return what the parameter is called, by its path from a module that the user's frames can name."""
    known = (each for name, module in _modules(frame) for each in parameters_of(name, module))
    return next((path for path, parameter in known if _same(parameter, changed)), None)


def _modules(frame: FrameType | None) -> Iterator[tuple[str, torch.nn.Module]]:
    for caller in user_frames(frame, _FRAMES):
        yield from ((name, value) for name, value in bindings(caller) if isinstance(value, torch.nn.Module))


def _who_changed(changed: Any, node: Any, failure: Failure) -> tuple[str, Location | None]:
    """Return what was changed, in words, and where, if it is known."""
    saver = f"saved by {_short(node)}"
    aliases = [
        (tensor.grad_fn._sequence_nr(), name, tensor.grad_fn)
        for _, name, tensor in visible(failure.frame)
        if tensor.grad_fn is not None and _same(tensor, changed)
    ]
    if aliases:
        _, name, newest = max(aliases, key=lambda alias: alias[0])
        return f"`{name}`, {saver}, by {_short(newest)}", made_at(newest)
    for caller, name in _plain_aliases(changed, failure.frame):
        source = source_of(caller.f_code)
        return f"`{name}`, {saver}", source.changed(name) if source is not None else None
    for part, path, key in _buffers(failure.frame):
        if _same(vars(part)["_buffers"][key], changed):
            return f"`{path}.{key}`, {saver}", changed_by_methods(type(part), f"self.{key}")
    return _who_changed_the_dead(node, failure, saver)


def _plain_aliases(changed: Any, frame: FrameType | None) -> Iterator[tuple[FrameType, str]]:
    """Yield the names of tensors without a graph that share the memory of the changed one, such as a mask or an average."""
    for caller in user_frames(frame, _FRAMES):
        for name, value in bindings(caller):
            if type(value) is torch.Tensor and _same(value, changed):
                yield caller, name


def _buffers(frame: FrameType | None) -> Iterator[tuple[torch.nn.Module, str, str]]:
    """Yield the buffers of all modules that the user's frames can name: the module, its path and the buffer's name."""
    for caller in user_frames(frame, _FRAMES):
        for path, part in parts_of(caller):
            yield from ((part, path, key) for key, each in vars(part).get("_buffers", {}).items() if each is not None)


def _who_changed_the_dead(node: Any, failure: Failure, saver: str) -> tuple[str, Location | None]:
    """Return the same for a tensor that no name leads to any more: from the operations on it, and what the source says."""
    above = [each for each in islice(nodes(failure.heads), _NODES) if _is_above(each, node)]
    for each in above:
        place = made_at(each)
        line = linecache.getline(place.filename, place.row).strip() if place is not None else ""
        if found := _IN_PLACE.search(line):
            name = next((group for group in found.groups() if group), None)
            return f"`{name}`, {saver}, by `{line}`" if name else f"a tensor {saver}, by `{line}`", place
        for path, module in _modules(failure.frame):
            for inner, layer in module.named_modules(prefix=path):
                if getattr(layer, "inplace", False) and _short(each).lower().startswith(type(layer).__name__.lower()):
                    return f"a tensor {saver}, by `{inner}`, which has `inplace=True`", place
    return f"a tensor {saver}", None


def _is_above(each: Any, node: Any) -> bool:
    return any(below is node for below, _ in each.next_functions)


def _short(node: Any) -> str:
    return str(node.name()).rpartition("::")[2]
