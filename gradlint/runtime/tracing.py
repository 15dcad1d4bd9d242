"""Whether torch.compile or torch.export is at work, asked in a way that it answers itself while it traces.

Knows torch and where its versions keep the question; must not know who asks.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

# torch 2.1 and 2.2 have one function for both, elsewhere.
is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", None) or torch._utils.is_compiling
is_traced: Callable[[], bool] = getattr(torch.compiler, "is_dynamo_compiling", None) or torch._utils.is_compiling
"""Only for torch.compile, and quicker."""


def compiled() -> bool:
    """Tell whether torch.compile has compiled anything; its module is asked only where it is loaded already."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and bool(dynamo.counters.get("frames"))
