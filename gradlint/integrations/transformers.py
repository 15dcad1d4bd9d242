"""A callback for the Trainer of Hugging Face transformers: `Trainer(..., callbacks=[GradlintCallback()])`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers.trainer_callback import TrainerCallback
from transformers.utils import logging

from gradlint.integrations import Session

if TYPE_CHECKING:
    from gradlint.runtime import Report

# Under the library's own root, so that its verbosity and its handlers hold.
_log = logging.get_logger("transformers.gradlint")


class GradlintCallback(TrainerCallback):
    """Watches `trainer.train()` and logs what was wrong as a warning, on the first process only."""

    def __init__(self) -> None:
        self._session = Session(_log.warning)

    @property
    def report(self) -> Report | None:
        """The report of the last training, or of the present one."""
        return self._session.report

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to watch."""
        if state.is_world_process_zero:
            self._session.begin()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End, and report."""
        self._session.end()
