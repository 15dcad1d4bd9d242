"""Schedules: by which words they are named, and where those of torch, transformers and diffusers have their lengths.

It knows their parameters; it must not know rules.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.regex import regex
from gradlint.static.lowering.values import Construction, Object

SCHEDULES = regex(r"sched|plateau", re.IGNORECASE)
"""Names of schedules, and of choices among them."""

_LENGTHS = {
    "CosineAnnealingLR": ((1, "T_max"),),
    "OneCycleLR": ((2, "total_steps"),),
    "PolynomialLR": ((1, "total_iters"),),
    "LinearLR": ((3, "total_iters"),),
    "CyclicLR": ((3, "step_size_up"),),
    "get_scheduler": ((2, "num_warmup_steps"), (3, "num_training_steps")),
}
_OF_OTHERS = ((1, "num_warmup_steps"), (2, "num_training_steps"))
"""Where the schedules of transformers and diffusers have their lengths."""


def class_of(scheduler: Object) -> str:
    """Return the name of the class or function that makes a scheduler."""
    return scheduler.origin.rpartition(".")[2]


def lengths_of(cls: str, call: Construction) -> Iterator[ast.expr]:
    """Yield the lengths that a schedule of a class is built with, as they are written."""
    for position, name in _LENGTHS.get(cls, _OF_OTHERS if cls.startswith("get_") else ()):
        written = call.expression(position, name)
        if written is not None:
            yield written
