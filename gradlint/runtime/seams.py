"""How a function of torch's (or of Python's) is replaced while a run is watched, and put back.

Must not know which functions these are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any


def replace(stack: ExitStack, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Replace `owner.name`; on closing `stack` put it back, unless somebody else has replaced it since."""
    original = vars(owner)[name]
    replaced = functools.wraps(original)(wrap(original)) if not isinstance(original, type) else wrap(original)

    def restore() -> None:
        if vars(owner).get(name) is replaced:
            setattr(owner, name, original)

    setattr(owner, name, replaced)
    stack.callback(restore)
