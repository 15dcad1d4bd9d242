"""What Accelerate prepares, by where it is called: a prepared loader gives each process its own batches.

It knows accelerators and assignments; it must not know rules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.data import NamedTuple
from gradlint.static.analysis import Analysis
from gradlint.static.facts.counts import scope_of
from gradlint.static.lowering.values import Class, Const, Library, Object, Value
from gradlint.static.syntax.nodes import spelled, walk, walk_of

ACCELERATORS = ("accelerate.Accelerator", "accelerate.accelerator.Accelerator")

_WAYS = ("split_batches", "step_scheduler_with_optimizer", "dataloader_config", "**", "*")
"""Arguments that change how often a process steps, and how often its schedules do."""

_LENGTHS = frozenset(
    ["gradient_accumulation_steps", "gradient_accumulation_plugin", "deepspeed_plugin", "deepspeed_plugins", None]
)
"""Arguments by which an accelerator may learn how many batches it accumulates (None: there may be any)."""


class Preparation(NamedTuple):
    """One statement that takes what an accelerator has prepared: what was given to it, and the names of what it returned."""

    row: int
    scope: ast.AST | None
    given: frozenset[str]
    taken: frozenset[str]


def accumulates_nothing(accelerator: Object) -> bool:
    """Whether an accelerator is built without anything that may tell it how many batches it accumulates."""
    match [made.node for made in accelerator.calls]:
        case [call] if accelerator.origin in ACCELERATORS and len(call.args) < 4:
            spread = any(isinstance(each, ast.Starred) for each in call.args)
            return not spread and _LENGTHS.isdisjoint(keyword.arg for keyword in call.keywords)
        case _:
            return False


def splits(accelerator: Object) -> bool:
    """Whether an accelerator gives each process its own batches, and steps schedules once for each process."""
    return accelerator.origin in ACCELERATORS and not any(_told(accelerator, *_WAYS))


def splits_batches(accelerator: Object) -> bool:
    """Whether an accelerator splits each batch among the processes, and steps schedules once for all of them."""
    told = list(_told(accelerator, "split_batches"))
    others = any(_told(accelerator, *_WAYS[1:]))
    return accelerator.origin in ACCELERATORS and told == [Const(True)] and not others


def _told(accelerator: Object, *names: str) -> Iterator[Value]:
    """Yield what an accelerator is told by arguments of these names."""
    given = (call.named.get(name, Const(None)) for call in accelerator.calls for name in names)
    return (value for value in given if value != Const(None))


def preparations(analysis: Analysis) -> Iterator[Preparation]:
    """Yield the statements by which an accelerator prepares something."""
    if not analysis.says(".prepare"):
        return
    rows = {node.lineno for node in analysis.nodes(ast.Attribute) if node.attr.startswith("prepare")}
    for node in analysis.nodes(ast.Assign):
        if rows.isdisjoint(range(node.lineno, (node.end_lineno or node.lineno) + 1)):
            continue
        given = {text for part in walk_of(node.value, ast.Call) for text in _given(analysis, part)}
        if given:
            targets = [part for target in node.targets for part in walk(target)]
            taken = {spelled(part) for part in targets if isinstance(part, (ast.Name, ast.Attribute))}
            yield Preparation(node.lineno, scope_of(analysis, node), frozenset(given), frozenset(taken))


def _given(analysis: Analysis, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Call(ast.Attribute(owner, name), args) if name.startswith("prepare") and _prepares(analysis, owner):
            yield from map(spelled, args)


def _prepares(analysis: Analysis, owner: ast.expr) -> bool:
    match analysis.value(owner), owner:
        case Object() as made, _:
            return splits(made)
        case _, ast.Attribute(ast.Name("self"), name):
            return _made_by_class(analysis, owner, name)
        case _:
            return False


def _made_by_class(analysis: Analysis, node: ast.expr, name: str) -> bool:
    """Whether the class around a node, or one that it descends from, makes the attribute an accelerator."""
    lowering = analysis.lowering
    around = [cls for cls in analysis.nodes(ast.ClassDef) if cls.lineno <= node.lineno <= (cls.end_lineno or 0)]
    for ancestor in lowering.lineage(Class(around[-1], ("module",))) if around else ():
        for part in walk(ancestor.node):
            match part:
                case ast.Assign([ast.Attribute(ast.Name("self"), attr)], ast.Call(func, keywords=keywords)) if (
                    attr == name
                ):
                    made = lowering.seen_from(ancestor.frame, func)
                    told = {keyword.arg for keyword in keywords}
                    plain = not told & {"split_batches", "dataloader_config", None}
                    return isinstance(made, Library) and made.name in ACCELERATORS and plain
    return False
