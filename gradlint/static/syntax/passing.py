"""Passing: which argument of a call is which parameter of the function that it calls, by how both are written.

It knows `ast` only; it must not know values.
"""

from __future__ import annotations

import ast

from gradlint.static.syntax.questions import FunctionNode


def given_to(function: FunctionNode, call: ast.Call, *, bound: bool) -> dict[str, ast.expr]:
    """Return the arguments of a call by the parameters of a function (`bound`: its first one is no argument)."""
    names = [arg.arg for arg in (*function.args.posonlyargs, *function.args.args)][bound:]
    return dict(zip(names, call.args, strict=False)) | {each.arg or "**": each.value for each in call.keywords}
