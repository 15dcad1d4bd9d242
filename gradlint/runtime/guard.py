"""The wall between gradlint and the run: what goes wrong in gradlint must never reach the user's training.

Nor must what it does with tensors reach the modes and the tensor classes of the program. Must not know what is watched.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from torch import _C
from torch.utils._python_dispatch import _disable_current_modes

from gradlint.diagnostics import Diagnostic

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TrainingMistake(RuntimeError):
    """Raised where a mistake happens, under `watch(strict=True)` only."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        place = diagnostic.location
        super().__init__(f"{place.filename}:{place.row}: {diagnostic.code} {diagnostic.message}; {diagnostic.help}")
        self.diagnostic = diagnostic


class Guard:
    """Runs gradlint's own work; the first failure ends the watching, and the run goes on."""

    def __init__(self, *, strict: bool = False) -> None:
        self.failure: Exception | None = None
        self.closed = False
        self._strict = strict
        self._news: list[Diagnostic] = []
        self._lock = threading.RLock()

    def announce(self, diagnostic: Diagnostic) -> None:
        """Hear of a new finding; if strict it is raised as soon as gradlint's own work is done."""
        if self._strict:
            self._news.append(diagnostic)

    def run(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Return what `work` returns, or None if it fails or an earlier one has; raises TrainingMistake if strict."""
        if self.closed or self.failure is not None:
            return None
        result = None
        with self._lock, _C.DisableTorchFunction(), _without_modes():
            try:
                result = work(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is ours, not the user's)
                self.failure = error.with_traceback(None)
        if self._news:
            self.raise_news()
        return result

    def close(self) -> None:
        """Do nothing more: who has kept one of gradlint's patches beyond the run gets torch's own behaviour."""
        self.closed = True

    def raise_news(self) -> None:
        """Raise the first finding that has not been raised, if strict."""
        news, self._news = self._news, []
        if news:
            raise TrainingMistake(news[0])

    def drop_news(self) -> None:
        """Raise none of the findings so far: torch's own error is on its way."""
        self._news = []

    def relax(self) -> None:
        """Raise nothing from now on."""
        self._strict = False
        self.drop_news()


def _without_modes() -> AbstractContextManager[Any]:
    """Let no mode of the program's hear of the operations that follow: it may count or change what it hears of."""
    return _disable_current_modes() if _C._len_torch_dispatch_stack() else nullcontext()


class Guarded(Protocol):
    """Whoever has a guard."""

    guard: Guard


_G = TypeVar("_G", bound=Guarded)


def guarded(method: Callable[Concatenate[_G, _P], _T]) -> Callable[Concatenate[_G, _P], _T | None]:
    """Let the guard of `self` run a method."""

    @functools.wraps(method)
    def run(self: _G, /, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        return self.guard.run(method, self, *args, **kwargs)

    return run
