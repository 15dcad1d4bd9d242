"""Whether torch.compile or torch.export is at work, asked in a way that it answers itself while it traces.

Must not know who asks.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from torch._C._dynamo import eval_frame
from torch.compiler import is_compiling
from torch.compiler import is_dynamo_compiling as is_traced  # only by torch.compile; quicker

__all__ = ["compiled", "is_compiling", "is_traced", "keep_from_compiling"]


def compiled() -> bool:
    """Tell whether torch.compile has compiled anything; its module is asked only where it is loaded already."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    return dynamo is not None and bool(dynamo.counters.get("frames"))


def keep_from_compiling(code: CodeType) -> None:
    """Let torch.compile leave alone what runs between the parts of a compiled step: `code`, and whatever it calls."""
    engine: Any = eval_frame
    if hasattr(engine, "set_code_exec_strategy"):  # older versions of torch have no such thing
        skip = engine._FrameAction.SKIP
        engine.set_code_exec_strategy(code, engine._FrameExecStrategy(skip, skip))
