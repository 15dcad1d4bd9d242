"""Conditions that choose between training mode and training mode: GL303.

It goes by syntax; it must not know events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.wordings.modes import STAYS_ON, TRAINING_MODE


@check
def same_mode_either_way(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL303: `if training: model.train()`, `else: model.train()`, and nothing else in the branches."""
    if ".train()" not in analysis.source.text:
        return
    for node in analysis.nodes(ast.If):
        trained = [_trained(statement) for statement in node.orelse]
        if trained and all(trained) and trained == [_trained(statement) for statement in node.body]:
            place = analysis.source.place(node.orelse[0])
            yield compose("GL303", Side.STATIC, place, subject=trained[0], mode=TRAINING_MODE, effect=STAYS_ON)


def _trained(statement: ast.stmt) -> str:
    """Return what a statement puts into training mode, as it is spelled ("": it does something else)."""
    match statement:
        case ast.Expr(ast.Call(ast.Attribute(owner, "train"), [], [])):
            return ast.unparse(owner)
        case _:
            return ""
