"""Data loaders that are begun anew for each step: GL906."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.regex import regex
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.losses.seeds import rings
from gradlint.static.facts.cadence import last_name
from gradlint.static.lowering.values import LOADER, Library
from gradlint.static.syntax.nodes import walk

_AT_ONCE = regex(r"next\(\s*iter\(")
_ONE_BATCH = regex(r"over-?_?fit|sanity|(?:one|single|same|fixed|first|1) batch", re.IGNORECASE)
"""Words of somebody who wants to train on one batch."""
_ORDERS = frozenset(["shuffle", "sampler", "batch_sampler"])
_COMPOUND = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.FunctionDef, ast.ClassDef, ast.Match)


@check
def iterator_in_loop(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL906: `next(iter(loader))` before each step, of a loader that always begins with the same batch."""
    text = analysis.source.text
    if "DataLoader" not in text or not _AT_ONCE.search(text):
        return
    ordered = _ordered(analysis)
    for loop in rings(analysis) if ordered and not _ONE_BATCH.search(text) else ():
        for statement in loop.body:
            for call in [] if isinstance(statement, _COMPOUND) else walk(statement):
                match call:
                    case ast.Call(ast.Name("next"), [ast.Call(ast.Name("iter"), [source])]) if (
                        last_name(source) in ordered and analysis.value(source) == LOADER
                    ):
                        place = analysis.source.place(call)
                        yield compose("GL906", Side.STATIC, place, subject=ast.unparse(source))
                    case _:
                        continue


def _ordered(analysis: Analysis) -> frozenset[str]:
    """Return the names of loaders that yield their batches in the order of the data, as all loaders of the file do."""
    names: set[str] = set()
    for node in walk(analysis.tree):
        match node:
            case ast.Call(func, _, keywords) if analysis.value(func) == Library("torch.utils.data.DataLoader"):
                if len(node.args) > 2 or any(_orders(keyword) for keyword in keywords):
                    return frozenset()
            case ast.Assign(targets, ast.Call(func)) if analysis.value(func) == Library("torch.utils.data.DataLoader"):
                names |= {last_name(target) for target in targets}
            case _:
                continue
    return frozenset(names - {""})


def _orders(keyword: ast.keyword) -> bool:
    return keyword.arg is None or (
        keyword.arg in _ORDERS and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
    )
