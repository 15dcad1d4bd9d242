"""What the names of other packages mean to gradlint itself, whatever a project says of its own.

It knows patterns and words, not code. Where a project's own models count, ask those of the analysis.
"""

from __future__ import annotations

import functools

from gradlint.models import built_in, made_by, words

__all__ = ["made_by", "role_of", "role_of_builtin", "words"]


def role_of(name: str) -> str:
    """Return the role of the dotted `name`: a kind of object, `pure`, `tensor`, ... or `unknown`."""
    return built_in().role_of(name)


@functools.cache
def role_of_builtin(name: str) -> str:
    """Return the role of a builtin function."""
    for role in ("pure", "wrapper", "exit"):
        if name in words("builtins", role):
            return role
    return "unknown"
