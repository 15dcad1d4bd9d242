"""Whether torch.compile or torch.export is at work, asked in a way that it answers itself while it traces.

Must not know who asks.
"""

from __future__ import annotations

import sys

from torch.compiler import is_compiling
from torch.compiler import is_dynamo_compiling as is_traced  # only by torch.compile; quicker

__all__ = ["compiled", "is_compiling", "is_traced"]


def compiled() -> bool:
    """Tell whether torch.compile has compiled anything; its module is asked only where it is loaded already."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and bool(dynamo.counters.get("frames"))
