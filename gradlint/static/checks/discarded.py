"""Results that are thrown away: GL522."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.tree import Uid
from gradlint.static.values import Tensor, Value

_RETURNING = frozenset(["detach", "to", "cuda", "cpu", "float", "half", "double", "contiguous"])
"""Methods of a tensor that only return another one."""


@check
def discarded_result(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL522: `hidden.detach()` as a statement."""
    for node in analysis.nodes(ast.Expr):
        match node:
            case ast.Expr(ast.Call(ast.Attribute(owner, name))) if name in _RETURNING:
                if _is_tensor(analysis, analysis.value(owner)):
                    subject = ast.unparse(owner)
                    place = analysis.source.place(node)
                    yield compose("GL522", Side.STATIC, place, subject=subject, call=ast.unparse(node))
            case _:
                continue


def _is_tensor(analysis: Analysis, value: Value) -> bool:
    """Whether a value is certainly a tensor: a batch, or a part of what an unknown module returned, may be anything.

    What a class in sight returns is one, unless a state of its own may know how to be detached.
    """
    match value:
        case Tensor(nodes=nodes, made=made):
            known = any(node.sure for node in nodes) or (made is not None and made.op != "data")
            return known or any(_has_no_states(analysis, node.module) for node in nodes)
        case _:
            return False


def _has_no_states(analysis: Analysis, module: Uid) -> bool:
    lowering = analysis.lowering
    cls = lowering.instances.get(module)
    if cls is None or lowering.is_open(cls):
        return False
    homes = (lowering.frames.get(each.frame, lowering.module).module for each in lowering.lineage(cls))
    return not any("def detach" in home.source.text for home in homes)
