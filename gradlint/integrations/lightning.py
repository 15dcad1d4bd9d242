"""A callback for Lightning, by either of its names: `Trainer(callbacks=[GradlintCallback()])`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

# Whoever has imported the older name only, uses that one.
if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning.callbacks import Callback
else:
    from lightning.pytorch.callbacks import Callback

from gradlint.integrations import Session

if TYPE_CHECKING:
    from gradlint.runtime import Report


class GradlintCallback(Callback):
    """Watches `trainer.fit()` and logs what was wrong as a warning, on the first process only."""

    def __init__(self) -> None:
        # Under the library's own root, so that its level and its handlers hold.
        self._session = Session(
            logging.getLogger(f"{Callback.__module__.rpartition('.callbacks')[0]}.gradlint").warning
        )

    @property
    def report(self) -> Report | None:
        """The report of the last training, or of the present one."""
        return self._session.report

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch."""
        if trainer.is_global_zero:
            self._session.begin()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End, and report."""
        self._session.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End before the time, and report."""
        self._session.interrupt(exception)
