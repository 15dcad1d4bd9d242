"""Declared windows that cannot be followed: GL001."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.declarations import Declaration, declarations
from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check, in_tests
from gradlint.static.syntax.nodes import walk

_RIGHT = "write `# gradlint: accumulate=4` behind the header of the loop that steps once in four batches"


@check
@by_words
@in_tests
def declared(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL001: a declaration without a number, or on no loop."""
    found = declarations(analysis.source.text, analysis.source.filename)
    heads = {node.lineno for node in walk(analysis.tree) if isinstance(node, _LOOPS)} if found else set()
    for each in found:
        what = _wrong(each, heads)
        if what:
            yield compose("GL001", Side.STATIC, each.location, what=f"`{each.text}` {what}", remedy=_RIGHT)


_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def _wrong(declaration: Declaration, heads: set[int]) -> str:
    if declaration.steps is None:
        return "does not say how many batches a step takes, and declares nothing"
    if not any(row in heads for row in declaration.rows):
        return "stands on no loop and declares nothing"
    return ""
