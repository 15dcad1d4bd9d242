"""Regular expressions that are compiled when they are first asked: a short run asks six of a hundred."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from re import compile as regex
else:

    class regex:
        """What `re.compile` makes, once it is needed."""

        def __init__(self, pattern, flags=0):
            self.pattern, self.flags = pattern, flags

        def __getattr__(self, name):
            asked = getattr(re.compile(self.pattern, self.flags), name)
            setattr(self, name, asked)  # The next time it is found at once.
            return asked


__all__ = ["regex"]
