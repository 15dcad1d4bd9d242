"""What an expression of the user's stands for in a frame, found without running code of his.

Knows frames and modules; must not know rules.
"""

from __future__ import annotations

import ast
import inspect
from types import FrameType

from torch.nn import Module


def value_of(node: ast.expr, frame: FrameType) -> object:
    """Return what a dotted name is bound to in a frame; None if it is nothing, or no name."""
    match node:
        case ast.Name(id=name):
            return frame.f_locals.get(name, frame.f_globals.get(name))
        case ast.Attribute(value=owner, attr=attr):
            value = value_of(owner, frame)
            found = _registered(value, attr) if isinstance(value, Module) else None
            return found if found is not None else inspect.getattr_static(value, attr, None)
    return None


def _registered(module: Module, name: str) -> object:
    """Return the part, parameter or buffer that a module knows by a name, None if there is none."""
    tables = (vars(module).get(table, {}) for table in ("_modules", "_parameters", "_buffers"))
    return next((table[name] for table in tables if table.get(name) is not None), None)
