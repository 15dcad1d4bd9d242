"""Who else holds what a list keeps: an object that is given the same value in the same turn, and puts it by.

It knows calls of functions in sight; it must not know what happens to a graph.
"""

from __future__ import annotations

import ast

from gradlint.static.analysis import Analysis
from gradlint.static.lowering.notes import Keeping
from gradlint.static.lowering.values import Function
from gradlint.static.syntax.nodes import called, receiver, walk_of
from gradlint.static.syntax.telling import mentions


def held_by_another(analysis: Analysis, keeping: Keeping) -> bool:
    """Whether a list that is begun anew in each outer turn gets only what an object puts by in the same turn."""
    loop = analysis.lowering.loop_nodes.get(keeping.loops[-1])
    if loop is None or not keeping.outer:
        return False
    calls = walk_of(loop, ast.Call)
    listed = {
        name.id
        for call in calls
        if called(call) == "append" and call.lineno == keeping.place.row
        for name in call.args
        if isinstance(name, ast.Name)
    }
    return any(_puts_by(analysis, call, name) for call in calls for name in listed)


def _puts_by(analysis: Analysis, call: ast.Call, name: str) -> bool:
    """Whether a call gives a name to a method in sight that appends it to what is of its own."""
    given = [index for index, each in enumerate(call.args) if isinstance(each, ast.Name) and each.id == name]
    method = analysis.value(call.func) if given and isinstance(call.func, ast.Attribute) else None
    if not isinstance(method, Function) or method.receiver is None:
        return False
    # The first of them is the receiver.
    named = [each.arg for each in method.node.args.args][1:]
    appended = (
        argument
        for each in walk_of(method.node, ast.Call)
        if called(each) == "append" and receiver(each).startswith("self.")
        for argument in each.args
    )
    wanted = [named[index] for index in given if index < len(named)]
    return any(mentions(argument, parameter) for argument in appended for parameter in wanted)
