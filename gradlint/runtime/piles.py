"""Hooks that pile up on modules and parameters: registered at one place in one turn of training after the other, and never removed.

A turn is what lies between two registrations with a step of an optimizer in it. Knows the handles of
hooks, and which table each is in; must not know how an optimizer is watched.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import FrameType
from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from gradlint.diagnostics import Location
from gradlint.runtime.guard import Guard, guarded
from gradlint.runtime.ledger import Ledger
from gradlint.runtime.seams import replace
from gradlint.runtime.sites import name_of, place_of, user_frame
from gradlint.runtime.tracing import is_compiling

_METHODS = ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook")
_OF_TENSORS = ("register_hook", "register_post_accumulate_grad_hook")  # only parameters outlive a turn
_TURNS = 3


class _Pile:
    """The handles of the hooks that one place has put into one table, that of a module or a parameter, each with its turn."""

    def __init__(self) -> None:
        self.table: weakref.ref[Any] | None = None
        self.handles: list[tuple[int, Any]] = []

    def add(self, turn: int, handle: Any) -> int:
        """Add a hook, and return how many turns have left one; another table is that of another object."""
        if self.table is None or self.table() is not handle.hooks_dict_ref():
            self.table, self.handles = handle.hooks_dict_ref, []
        self.handles = [(each, other) for each, other in self.handles if other.id in (other.hooks_dict_ref() or ())]
        self.handles.append((turn, handle))
        return len({each for each, _ in self.handles})


class Piles:
    """The hooks that are registered while a run is watched; steps are listened to (`stepping`) after a registration only."""

    def __init__(self, ledger: Ledger, guard: Guard, stepping: list[Callable[[Optimizer], None]]) -> None:
        self.guard = guard
        self._ledger = ledger
        self._stepping = stepping
        self._piles: dict[tuple[int, Location], _Pile] = {}
        self._turn = 0

    def install(self) -> ExitStack:
        """Start to watch; closing the returned stack undoes everything."""
        stack = ExitStack()
        for name in _METHODS:
            replace(stack, Module, name, self._registering(name, Module))
        for name in _OF_TENSORS:
            replace(stack, Tensor, name, self._registering(name, Parameter))
        return stack

    def _registering(self, name: str, kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def run(owner: Any, *args: Any, **kwargs: Any) -> Any:
                handle = original(owner, *args, **kwargs)
                if isinstance(owner, kind) and not is_compiling():
                    self.registered(owner, name, handle, sys._getframe(1))
                return handle

            return run

        return wrap

    @guarded
    def registered(self, owner: Any, name: str, handle: Any, frame: FrameType) -> None:
        """A hook was registered on a module or a parameter."""
        caller = user_frame(frame)
        place = place_of(caller)
        pile = self._piles.setdefault((id(owner), place), _Pile())
        if pile.add(self._turn, handle) >= _TURNS:
            self._ledger.report("GL517", place, subject=f"{name_of(owner, caller)}.{name}")
        if self.stepped not in self._stepping:
            self._stepping.append(self.stepped)

    @guarded
    def stepped(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped: what is registered from now on belongs to another turn."""
        with suppress(ValueError):  # another thread was faster
            self._stepping.remove(self.stepped)
        self._turn += 1
