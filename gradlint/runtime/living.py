"""Which optimizers and models exist already when a watch begins: whoever was made before it, nobody has told of.

Knows torch; must not know events or rules.
"""

from __future__ import annotations

import gc
import inspect
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch.optim import Optimizer

from gradlint.runtime.seams import replace

_remembered: list[weakref.ref[Optimizer]] | None = None


def living(kind: type) -> list[Any]:
    """Return the objects of a class that exist already; no property of any object is touched."""
    # An object of a class written in Python refers to its class: who does is found faster than who is of it.
    return [each for each in gc.get_referrers(*_descent(kind)) if issubclass(type(each), kind)]


def _descent(kind: type) -> Iterator[type]:
    """Yield a class and those derived from it, some more than once."""
    yield kind
    derived: list[type] = type.__subclasses__(kind)
    for each in derived:
        yield from _descent(each)


def optimizers() -> list[Optimizer]:
    """Return the optimizers that exist already; one whose making failed may live on in the traceback, and is none."""
    if _remembered is None:
        found = living(Optimizer)
    else:
        found = list({id(each): each for each in (known() for known in _remembered) if each is not None}.values())
    return [each for each in found if inspect.getattr_static(each, "param_groups", None) is not None]


@contextmanager
def remembering() -> Iterator[None]:
    """Within the block optimizers are known from their making: a watch need not look for them, which takes some 50 ms."""
    global _remembered
    with ExitStack() as stack:
        if _remembered is None:
            for name in ("__init__", "__setstate__"):  # the latter for copies and pickles
                replace(stack, Optimizer, name, _remember)
            _remembered = [weakref.ref(each) for each in living(Optimizer)]
            stack.callback(_forget)
        yield


def _remember(original: Callable[..., None]) -> Callable[..., None]:
    def run(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        if _remembered is not None:
            _remembered[:] = [each for each in _remembered if each() is not None]
            _remembered.append(weakref.ref(optimizer))

    return run


def _forget() -> None:
    global _remembered
    _remembered = None
