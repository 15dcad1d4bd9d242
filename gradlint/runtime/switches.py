"""Which statement has switched gradients off for good: read from the sources of what was running when a backward pass failed.

Knows sources and frames; must not know torch or how it is hooked.
"""

from __future__ import annotations

import ast
import contextlib
import linecache
from collections.abc import Iterator
from types import FrameType

from gradlint.diagnostics import Location
from gradlint.runtime.sites import Origin, origin_of
from gradlint.runtime.sources import source_of


def switched_off(frame: FrameType | None) -> Location | None:
    """Return the one `set_grad_enabled(False)` statement in the files of the user's running functions, if there is one."""
    places = {place for filename, tree in _trees(frame) for place in _statements(filename, tree)}
    return places.pop() if len(places) == 1 else None


def _trees(frame: FrameType | None) -> Iterator[tuple[str, ast.AST]]:
    while frame is not None:
        if origin_of(frame.f_code) is Origin.USER:
            source = source_of(frame.f_code)
            if source is not None:
                yield source.filename, source.tree
            with contextlib.suppress(SyntaxError, ValueError):
                yield frame.f_code.co_filename, ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
        frame = frame.f_back


def _statements(filename: str, tree: ast.AST) -> Iterator[Location]:
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Call(func=callee, args=[ast.Constant(False)]) as call) if _sets_mode(callee):
                end_row, end_column = call.end_lineno or call.lineno, call.end_col_offset or call.col_offset
                yield Location(filename, call.lineno, call.col_offset + 1, end_row, end_column + 1)
            case _:
                continue


def _sets_mode(callee: ast.expr) -> bool:
    return ast.unparse(callee).rpartition(".")[2] == "set_grad_enabled"
