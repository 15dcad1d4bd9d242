"""Whether a class has weights of its own, by its source alone: a loss mostly has none.

It knows names; it must not know values, events or rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from gradlint.static.syntax.nodes import walk

_BASES = ("Module", "Loss")
_BARE = frozenset(
    [
        *(
            "super",
            "__init__",
            "register_buffer",
            "tensor",
            "as_tensor",
            "ones",
            "zeros",
            "full",
            "arange",
            "linspace",
            "to",
        ),
        *("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid", "CosineSimilarity", "PairwiseDistance"),
        *("float", "int", "bool", "len", "range", "list", "tuple", "dict", "isinstance", "max", "min", "sum", "format"),
        *("print", "ValueError", "NotImplementedError", "log", "sqrt", "array", "unsqueeze", "view", "cuda", "device"),
    ]
)
"""What makes nothing that an optimizer could train."""


def may_bear_weights(cls: ast.ClassDef, bases: Iterable[ast.expr]) -> bool:
    """Whether a module class may have parameters: it has `bases` out of sight beside torch's, or makes anything unusual for a loss."""
    if not all(ast.unparse(base).endswith(_BASES) for base in bases):
        return True
    made = [each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
    calls = (node for method in made for node in walk(method) if isinstance(node, ast.Call))
    return not all(_is_bare(call.func) for call in calls)


def _is_bare(callee: ast.expr) -> bool:
    name = callee.attr if isinstance(callee, ast.Attribute) else callee.id if isinstance(callee, ast.Name) else ""
    return name in _BARE or name.endswith("Loss")
