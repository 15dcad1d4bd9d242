"""Results that are thrown away: GL522."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.values import Tensor, Value

_RETURNING = frozenset(["detach", "to", "cuda", "cpu", "float", "half", "double", "contiguous"])
"""Methods of a tensor that only return another one."""


@check
@by_words
def discarded_result(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL522: `hidden.detach()` as a statement."""
    for node in analysis.nodes(ast.Expr):
        match node:
            case ast.Expr(ast.Call(ast.Attribute(owner, name))) if name in _RETURNING:
                if _is_tensor(analysis.value(owner)):
                    subject = ast.unparse(owner)
                    place = analysis.source.place(node)
                    yield compose("GL522", Side.STATIC, place, subject=subject, call=ast.unparse(node))
            case _:
                continue


def _is_tensor(value: Value) -> bool:
    """Whether a value is certainly a tensor: a batch, or a part of what an unknown module returned, may be anything."""
    match value:
        case Tensor(nodes=nodes, made=made):
            return any(node.sure for node in nodes) or (made is not None and made.op != "data")
        case _:
            return False
