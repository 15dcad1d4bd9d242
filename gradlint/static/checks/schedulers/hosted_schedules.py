"""Schedules that a trainer of Lightning moves on once per epoch or with every batch, as it is told: GL203 and GL204."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import local_check
from gradlint.static.facts.cadence import is_loader
from gradlint.static.facts.counts import Count, Counts, Factor
from gradlint.static.facts.schedules import lengths_of
from gradlint.static.lowering.values import Class, Construction, Library
from gradlint.static.syntax.nodes import walk

_BY_HAND = ("automatic_optimization", "lr_scheduler_step", "optimizer_step", "lr_schedulers")
"""Words of a module that moves its schedules on itself."""
_BATCHES = frozenset(["estimated_stepping_batches", "num_training_batches"])
_TOLD = 'return it as `{{"scheduler": {}, "interval": "step"}}`'


@local_check
def configured(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL203 and GL204: the length of a configured schedule is not counted in what Lightning steps it by."""
    if not analysis.says("configure_optimizers"):
        return
    counts = analysis.kept(Counts)
    for method in analysis.nodes(ast.FunctionDef):
        if method.name != "configure_optimizers" or not _is_hosted(analysis, method):
            continue
        intervals = list(_intervals(method))
        for cls, call in _built(analysis, method):
            place, subject = analysis.source.place(call.node), _named(method, call) or cls
            if not intervals and _counts_batches(analysis, counts, cls, call):
                found = compose("GL204", Side.STATIC, place, subject=subject, cls=cls, how="epoch", way="epochs")
                yield replace(found, help=_TOLD.format(subject))
            if intervals == ["step"] and _counts_epochs(counts, cls, call):
                found = compose("GL203", Side.STATIC, place, subject=subject, cls=cls)
                yield replace(found, help=f'give {cls} its length in steps, or leave `"interval"` at `"epoch"`')


def _built(analysis: Analysis, method: ast.FunctionDef) -> Iterator[tuple[str, Construction]]:
    """Yield the schedulers that a method builds and returns, by their classes."""
    for node in walk(method):
        if isinstance(node, ast.Call):
            made = analysis.lowering.seen_from(("module",), node.func)
            if isinstance(made, Library) and analysis.lowering.models.role_of(made.name) == "scheduler":
                call = Construction(node, (), {}, method)
                if _is_returned(method, call):
                    yield made.name.rpartition(".")[2], call


def _named(method: ast.FunctionDef, call: Construction) -> str:
    """Return the name that a method gives to what it builds."""
    for node in walk(method):
        match node:
            case ast.Assign([ast.Name(name)], value) if value is call.node:
                return name
    return ""


def _is_hosted(analysis: Analysis, method: ast.FunctionDef) -> bool:
    """Whether a method is of a module of Lightning that leaves its schedules to the trainer, as far as it is in sight."""
    lowering = analysis.lowering
    around = next((cls for cls in analysis.nodes(ast.ClassDef) if method in cls.body), None)
    if around is None or not lowering.is_lightning(cls := Class(around, ("module",))):
        return False
    return not any(word in ast.unparse(each.node) for each in lowering.lineage(cls) for word in _BY_HAND)


def _is_returned(method: ast.FunctionDef, call: Construction) -> bool:
    """Whether a scheduler that a method builds is one of those that it returns."""
    names = {
        target.id
        for node in walk(method)
        if isinstance(node, ast.Assign) and any(part is call.node for part in walk(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    listed = [node for node in walk(method) if isinstance(node, (ast.Return, ast.Dict, ast.List, ast.Tuple))]
    return any(
        part is call.node or (isinstance(part, ast.Name) and part.id in names) for node in listed for part in walk(node)
    )


def _intervals(method: ast.FunctionDef) -> Iterator[object]:
    """Yield what a method says of the intervals of its schedules (None: what is not known)."""
    for node in walk(method):
        match node:
            case ast.Dict(keys, values):
                for key, value in zip(keys, values, strict=True):
                    if key is None or (isinstance(key, ast.Constant) and key.value == "interval"):
                        yield value.value if isinstance(value, ast.Constant) else None
            case ast.Subscript(slice=ast.Constant("interval")) | ast.keyword(arg="interval" | None):
                yield None


def _counts_batches(analysis: Analysis, counts: Counts, cls: str, call: Construction) -> bool:
    epoch = call.expression(4, "steps_per_epoch") if cls == "OneCycleLR" else None
    if epoch is not None and not (isinstance(epoch, ast.Constant) and epoch.value == 1):
        return True
    return any(
        any(_is_batches(analysis, factor) for factor in count.above)
        for written in lengths_of(cls, call)
        for count in counts.of(written, call.scope)
    )


def _is_batches(analysis: Analysis, factor: Factor) -> bool:
    if factor.is_length:
        return factor.node is not None and (is_loader(analysis, factor.node) or factor.spelled.endswith("loader()"))
    return factor.word in _BATCHES or (factor.word == "max_steps" and ".trainer." in factor.spelled)


def _counts_epochs(counts: Counts, cls: str, call: Construction) -> bool:
    found = [count for written in lengths_of(cls, call) for count in counts.of(written, call.scope)]
    return bool(found) and all(map(_is_epochs, found))


def _is_epochs(count: Count) -> bool:
    """Whether a count is the number of epochs, or a part of it that has no name."""
    return [factor.word for factor, power in count.powers if power] == ["max_epochs"] and not count.below
