"""Models that have outgrown their optimizer: a part was replaced, or has come in, after it was built from them (GL806).

Knows modules by the names that the user's frames give them; must not know when it is asked.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from torch.nn import Module

from gradlint.runtime.graph import bindings
from gradlint.runtime.optimizers import WatchedOptimizer
from gradlint.runtime.sites import user_frames

_FRAMES = 4
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Outgrown:
    """The parameters of a model that its optimizer does not know, and those that it holds in vain."""

    names: tuple[str, ...]
    new: tuple[weakref.ref[Any], ...]
    old: tuple[weakref.ref[Any], ...]

    def told(self, optimizer: str) -> str:
        """Return the words for it."""
        more = f" and {len(self.names) - _NAMED} more" if len(self.names) > _NAMED else ""
        listed = ", ".join(f"`{name}`" for name in self.names[:_NAMED])
        return f"{listed}{more} came into the model after `{optimizer}` was built from its parameters"


def outgrown(watched: WatchedOptimizer, strays: Sequence[Any], frame: FrameType | None) -> Outgrown | None:
    """Return in what way a model, some of whose parameters an optimizer trains, has `strays` that it should train, too."""
    held = list(watched.parameters())
    vain = [parameter for parameter in held if parameter.grad is None]
    if not strays or not 0 < len(vain) < len(held):
        return None
    fed, astray = {id(each) for each in held} - {id(each) for each in vain}, {id(each) for each in strays}
    models = list(_models(frame))
    known = {id(each) for _, model in models for each in model.parameters()}
    lost = [each for each in vain if each.requires_grad and id(each) not in known]
    for name, model in models:
        parameters = dict(model.named_parameters())
        new = {path: each for path, each in parameters.items() if id(each) in astray}
        if not new or fed.isdisjoint(map(id, parameters.values())):
            continue
        whole = {id(each) for path, each in parameters.items() if path not in new} <= {id(each) for each in held}
        if lost or (whole and all(_is_around_frozen(model, path, vain) for path in new)):
            names = tuple(f"{name}.{path}" for path in new)
            return Outgrown(names, tuple(map(weakref.ref, new.values())), tuple(map(weakref.ref, lost)))
    return None


def _models(frame: FrameType | None) -> Iterator[tuple[str, Module]]:
    for caller in user_frames(frame, _FRAMES):
        yield from ((name, value) for name, value in bindings(caller) if isinstance(value, Module))


def _is_around_frozen(model: Module, path: str, vain: Sequence[Any]) -> bool:
    """Tell whether a parameter belongs to a module that has taken in a frozen one which the optimizer holds."""
    frozen = {id(each) for each in vain if not each.requires_grad}
    owner = model.get_submodule(path.rpartition(".")[0])
    return owner is not model and any(id(each) in frozen for each in owner.parameters())
