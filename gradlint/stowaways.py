"""How a function gets into the processes that a program starts: coverage.py's way.

A forked child has it already. For a spawned one, and for one of a fork server, a stowaway travels in the data with
which Python prepares a child; unpickled there, it calls the function by its name. A program that is started by a command
finds it in its environment (`boarding/sitecustomize.py`). Must not know what the function does.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing import spawn
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from gradlint.data import dataclass

Around = Callable[[Any, Callable[[], Any]], Any]
"""Called in a child with its process object and what it would have run."""


_VARIABLE = "GRADLINT_ABOARD"
_ABOARD = """\
try:
    from gradlint.stowaways import board
except ImportError:
    pass
else:
    board({!r}, {!r}, {!r})
"""


@dataclass(frozen=True, slots=True)
class Stowaway:
    """Boards a child that is being prepared.

    `home` is `module:name` of what makes an Around from `luggage`; it is wanted only where the module `needs` is loaded.
    A child that cannot import gradlint must be able to unpickle it all the same.
    """

    home: str
    luggage: tuple[str, ...]
    needs: str

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_ABOARD.format(self.home, self.luggage, self.needs), {})


def board(home: str, luggage: tuple[str, ...], needs: str) -> None:
    """Let this process, a child, and its own children run inside of what `home` makes, as Stowaway has it."""
    _patch(Stowaway(home, luggage, needs))


@contextlib.contextmanager
def boarding(home: str, luggage: tuple[str, ...], needs: str) -> Iterator[None]:
    """Let children that are started meanwhile run inside of what `home` makes, as Stowaway has it."""
    undo = _patch(Stowaway(home, luggage, needs))
    try:
        yield
    finally:
        undo()


@contextlib.contextmanager
def commands(home: str, luggage: tuple[str, ...]) -> Iterator[None]:
    """Let Python programs that are started by commands meanwhile call `home` with `luggage`, once they have loaded torch."""
    path = (str(Path(__file__).parent / "boarding"), *filter(None, [os.environ.get("PYTHONPATH")]))
    changed = {_VARIABLE: json.dumps([home, *luggage]), "PYTHONPATH": os.pathsep.join(path)}
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            if os.environ.get(name) == changed[name]:
                os.environ.pop(name)
                os.environ.update({name: value} if value is not None else {})


def _patch(stowaway: Stowaway) -> Callable[[], None]:
    prepared: Any = spawn.get_preparation_data
    bootstrap: Any = vars(BaseProcess)["_bootstrap"]

    def prepare(name: str) -> dict[str, Any]:
        return {**prepared(name), "gradlint": stowaway}

    def run(process: Any, *args: Any, **kwargs: Any) -> Any:
        return _around(stowaway)(process, lambda: bootstrap(process, *args, **kwargs))

    def undo() -> None:
        if spawn.get_preparation_data is prepare:
            spawn.get_preparation_data = prepared
        if vars(BaseProcess)["_bootstrap"] is run:
            setattr(BaseProcess, "_bootstrap", bootstrap)  # noqa: B010 (typeshed does not know it)

    spawn.get_preparation_data = prepare
    setattr(BaseProcess, "_bootstrap", run)  # noqa: B010
    return undo


def _around(stowaway: Stowaway) -> Around:
    """Return what surrounds the work of this child; nothing, where gradlint cannot be imported or has nothing to watch."""
    if stowaway.needs not in sys.modules:
        return lambda process, work: work()
    module, _, name = stowaway.home.partition(":")
    try:
        make: Callable[..., Around] = getattr(importlib.import_module(module), name)
        return make(*stowaway.luggage)
    except ImportError:
        return lambda process, work: work()
