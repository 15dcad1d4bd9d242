"""Contexts that have no hand on gradients, as values: what `with` may be given by name.

It knows values and the models of libraries; it must not know syntax or rules.
"""

from __future__ import annotations

from gradlint.models import Models
from gradlint.static.lowering.values import Library, Method, Unknown, Value

NO_CONTEXTS = frozenset(["contextlib.nullcontext", "contextlib.nullcontext()"])
"""What stands where no context is wanted: the function, and what it makes."""

METHODS = frozenset(["autocast", "no_sync", "accumulate"])
"""Methods of modules and engines that return such a context."""


def is_context(value: Value, models: Models) -> bool:
    """Whether a value is a context without a hand on gradients, or what makes one."""
    match value:
        case Library(name):
            return name in NO_CONTEXTS or (name.endswith("autocast()") and models.role_of(name) == "tool")
        case Method(_, name) | Unknown(id=name):
            return name.rpartition(".")[2] in METHODS
        case _:
            return False
