"""Seeds that are set again and again, or not at all: GL919 and GL920."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import by_words, check
from gradlint.static.library import role_of
from gradlint.static.nodes import walk
from gradlint.static.values import Library

_SEEDS = re.compile(r"(?:manual_seed|manual_seed_all|seed_everything|set_seed)")
_DRAWN = re.compile(
    r"rng_state|\bfork_rng|\brand(?:n|int|perm|_like|n_like)?\b|\bsample\w*\(|\bnormal_?\b|\bgenerate\b"
)
"""What is drawn, or put back, in a loop whose author wants the same numbers in each iteration."""

Ring = ast.For | ast.AsyncFor | ast.While


@check
@by_words
def reseeded(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL919: the generator is set to one and the same seed before each step."""
    if not analysis.says("manual_seed", "seed_everything", "set_seed"):
        return
    for loop in rings(analysis):
        if _DRAWN.search(ast.unparse(loop)):
            continue
        for statement in loop.body:
            match statement:
                case ast.Expr(ast.Call() as call) if _is_fixed(analysis, call, loop):
                    place = analysis.source.place(call)
                    yield compose("GL919", Side.STATIC, place, subject=ast.unparse(call.func))


def rings(analysis: Analysis) -> Iterator[Ring]:
    """Yield the loops that step, in each turn, an optimizer that outlives the turn."""
    stepping: dict[int, bool] = {}
    for found in analysis.events.values():
        made = {
            (uid, number)
            for event in found
            if event.kind is EventKind.CREATE
            for uid in event.targets or ()
            for number in event.loops
        }
        for event in found:
            if event.kind is EventKind.STEP and event.loops:
                number = event.loops[-1]
                fresh = any((uid, number) in made for uid in event.targets or ())
                stepping[number] = stepping.get(number, True) and not fresh
    for number, lasting in stepping.items():
        loop = analysis.lowering.loop_nodes.get(number)
        if lasting and isinstance(loop, Ring):
            yield loop


def _is_fixed(analysis: Analysis, call: ast.Call, loop: Ring) -> bool:
    """Whether a call sets torch's generator to a seed that no iteration changes."""
    callee = analysis.value(call.func)
    if not (isinstance(callee, Library) and role_of(callee.name) == "seed"):
        return False
    changing = analysis.lowering.syntax.assigned(loop) | analysis.lowering.syntax.assigned_attributes(loop)
    given = [part for arg in call.args for part in walk(arg)]
    return bool(
        _SEEDS.fullmatch(callee.name.rpartition(".")[2])
        and call.args
        and not any(isinstance(part, ast.Call) for part in given)
        and not any(isinstance(part, ast.Name) and part.id in changing for part in given)
        and not any(isinstance(part, ast.Attribute) and part.attr in changing for part in given)
    )


@check
@by_words
def zero_ignored(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL920: whether a seed was given is asked by its truth, so that 0 is taken for none."""
    if not _SEEDS.search(analysis.source.text):
        return
    branches: list[ast.If | ast.IfExp] = [*analysis.nodes(ast.If), *analysis.nodes(ast.IfExp)]
    for node in branches:
        if isinstance(node.test, (ast.Name, ast.Attribute)) and "seed" in ast.unparse(node.test):
            body: list[ast.AST] = [*node.body] if isinstance(node, ast.If) else [node.body]
            calls = (each for part in body for each in walk(part) if isinstance(each, ast.Call))
            if any(_seeds_with(each, ast.unparse(node.test)) for each in calls):
                place = analysis.source.place(node.test)
                yield compose("GL920", Side.STATIC, place, subject=ast.unparse(node.test))


def _seeds_with(call: ast.Call, seed: str) -> bool:
    """Whether a call seeds a generator with what is spelled like this."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return bool(_SEEDS.fullmatch(called)) and bool(call.args) and ast.unparse(call.args[0]) == seed
