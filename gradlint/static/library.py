"""What the names of other packages mean: `models/*.toml`, read once.

It knows patterns and words, not code.
"""

from __future__ import annotations

import functools
import re
import sys
from fnmatch import translate
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FOLDER = Path(__file__).parent.parent / "models"


@functools.cache
def _model() -> dict[str, Any]:
    return tomllib.loads((_FOLDER / "torch.toml").read_text(encoding="utf-8"))


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(translate(pattern)), role) for pattern, role in _model()["kinds"].items())


@functools.cache
def role_of(name: str) -> str:
    """Return the role of the dotted `name`: a kind of object, `pure`, `tensor`, ... or `unknown`."""
    for pattern, role in _patterns():
        if pattern.match(name):
            return role
    return "pure" if name.partition(".")[0] in words("stdlib", "modules") else "unknown"


@functools.cache
def words(section: str, key: str) -> frozenset[str]:
    """Return a word list of the model, such as the tensor methods that `cut` the graph."""
    return frozenset(_model()[section][key])


@functools.cache
def role_of_builtin(name: str) -> str:
    """Return the role of a builtin function."""
    for role in ("pure", "wrapper", "exit"):
        if name in words("builtins", role):
            return role
    return "unknown"
