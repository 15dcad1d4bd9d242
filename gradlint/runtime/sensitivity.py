"""Whether it matters to a module that it is in training or in evaluation mode.

Knows torch's layers by what they are called and offer; must not know events or rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module

_NORMS = ("BatchNorm", "InstanceNorm")


def lapsed(module: Module) -> bool:
    """Tell whether evaluation mode matters to `module`, and no part of it was put back into training mode."""
    parts = list(module.modules())
    return not any(part.training for part in parts) and any(_is_modal(part) for part in parts)


def trains(module: Module) -> bool:
    """Tell whether a part of `module` is in training mode to which that matters."""
    return any(part.training and _is_modal(part) for part in module.modules())


def _is_modal(part: Any) -> bool:
    """Tell whether a module behaves differently in evaluation mode."""
    kind = type(part)
    if kind.__module__.startswith("torch.nn."):
        if any(name in kind.__name__ for name in _NORMS):
            return bool(getattr(part, "track_running_stats", True))
        rates = [getattr(part, "dropout", 0.0), getattr(part, "p", 0.0) if "Dropout" in kind.__name__ else 0.0]
        return "RReLU" in kind.__name__ or any(isinstance(rate, float | int) and rate > 0 for rate in rates)
    forward = getattr(kind.forward, "__code__", None)
    return forward is not None and "training" in forward.co_names
