"""A script or a module, ready to be run in this process as Python would run it.

Must not know that it is watched.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType


class CannotRun(Exception):
    """The target is not there, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Program:
    """The source of a program and how Python names it; `path` is what it finds first on `sys.path`."""

    filename: str
    source: bytes
    argv: tuple[str, ...]
    path: str
    spec: ModuleSpec | None = None

    def run(self) -> None:
        """Run the program as `__main__`; what it raises comes out, a SyntaxError of its source included."""
        main = ModuleType("__main__")
        main.__dict__.update(
            __file__=self.filename,
            __builtins__=sys.modules["builtins"],
            __spec__=self.spec,
            __loader__=self.spec.loader if self.spec is not None else None,
            __package__=self.spec.parent if self.spec is not None else None,
        )
        sys.modules["__main__"] = main
        sys.argv = list(self.argv)
        _set_first_path(self.path)
        exec(compile(self.source, self.filename, "exec", dont_inherit=True), main.__dict__)  # noqa: S102 (it is what was asked for)


def find_script(target: str, args: Sequence[str]) -> Program:
    """Return the program in a file, or in the `__main__.py` of a directory; raises CannotRun."""
    filename, path = os.path.abspath(target), os.path.dirname(os.path.abspath(target))
    if os.path.isdir(target):
        filename, path = os.path.abspath(os.path.join(target, "__main__.py")), target
    return Program(filename, _read(filename, target), (target, *args), path)


def find_module(name: str, args: Sequence[str]) -> Program:
    """Return the program that `python -m name` would run; raises CannotRun."""
    _set_first_path(os.getcwd())
    spec = _spec(name)
    if spec.submodule_search_locations is not None:
        spec = _spec(f"{name}.__main__")
    if spec.origin is None or not spec.has_location:
        raise CannotRun(f"the module {name} has no source that could be run")
    filename = spec.origin
    return Program(filename, _read(filename, name), (filename, *args), os.getcwd(), spec)


def _spec(name: str) -> ModuleSpec:
    """Return where a module is; its packages are imported for it."""
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit) as error:  # whatever the packages do when they are imported
        raise CannotRun(f"the module {name} cannot be imported: {type(error).__name__}: {error}") from error
    if spec is None:
        raise CannotRun(f"there is no module {name}")
    return spec


def _read(filename: str, target: str) -> bytes:
    try:
        with io.open_code(os.path.abspath(filename)) as file:
            return file.read()
    except OSError as error:
        raise CannotRun(f"{target} cannot be run: {error.strerror}") from error


def _set_first_path(path: str) -> None:
    """Let `path` take the place that Python gives to the folder of what it runs."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = path
