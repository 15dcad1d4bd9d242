"""Methods of modules that an override breaks: GL314."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.events import EventKind
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check


@check
def train_overridden(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL314: `eval()` of a module, or of what it is a part of, calls a `train` that does not take a mode."""
    if "def train(" not in analysis.source.text:
        return
    lowering = analysis.lowering
    for found in analysis.events.values():
        for event in found:
            if event.kind not in (EventKind.EVAL, EventKind.TRAIN) or event.name.startswith("super("):
                continue
            for uid in event.targets or ():
                cls = lowering.instances.get(uid)
                method = lowering.method_of(cls, "train") if cls is not None and lowering.is_module(cls) else None
                if method is not None and cls is not None and not _takes_a_mode(method.node):
                    marks = [("defined", analysis.source.place(method.node))]
                    what = "eval()" if event.kind is EventKind.EVAL else "train()"
                    yield compose("GL314", Side.STATIC, event.place, marks, cls=cls.node.name, what=what)


def _takes_a_mode(method: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> bool:
    """Whether a method can be called with one argument beside `self`."""
    args = method.args
    positional = [*args.posonlyargs, *args.args]
    required = len(positional) - len(args.defaults)
    named = any(default is None for default in args.kw_defaults)
    return (len(positional) >= 2 or args.vararg is not None) and required <= 2 and not named
