"""Python runs this at the start of a program that a watched run has started by a command, if the run put it in its way.

It waits until the program has loaded torch, and calls then what the run has named in the environment; a program that
never does is left alone. It must run in any Python 3, import next to nothing and never fail.
"""

from __future__ import annotations

import importlib
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_OTHERS = ("from multiprocessing", os.path.join("_inductor", "compile_worker"))


class _OnTorch:
    """Finds torch once, and boards the program when it is loaded."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return torch's own spec, whose loader goes on to board."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        loader = None if spec is None else spec.loader
        if loader is not None and hasattr(loader, "exec_module"):
            vars(loader)["exec_module"] = _boarding(loader.exec_module)
        return spec


def _boarding(load: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def run(module: ModuleType) -> None:
        load(module)
        try:  # noqa: SIM105 (contextlib would have to be loaded)
            _board()
        except Exception:  # noqa: BLE001, S110 (the program is none of gradlint's)
            pass

    return run


def _board() -> None:
    import json

    home, *luggage = json.loads(os.environ["GRADLINT_ABOARD"])
    module, _, name = home.partition(":")
    getattr(importlib.import_module(module), name)(*luggage)


def _give_way() -> None:
    """Let the `sitecustomize` run that this one hides, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    own = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")
    except ImportError:
        sys.modules["sitecustomize"] = own


def _is_wanted() -> bool:
    """Tell whether this program may train, and nobody else watches it."""
    command = getattr(sys, "orig_argv", [])[1:4]
    watched = any(os.path.basename(word) == "gradlint" for word in command)
    return (
        "GRADLINT_ABOARD" in os.environ
        and not watched
        and not any(each in word for word in command for each in _OTHERS)
    )


if _is_wanted():
    sys.meta_path.insert(0, _OnTorch())
_give_way()
