"""What is compared by a loss, and in which order: GL907."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from gradlint.diagnostics import Diagnostic, Severity, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.static.lowering.notes import Compared
from gradlint.static.lowering.provenance import is_plain
from gradlint.static.lowering.values import UNKNOWN, Tensor, Value, const

_SILENT = "it takes the target for the prediction, and its value and gradient are those of another loss"
_REFUSED = "torch refuses a prediction of class numbers"
_LOSSES = {
    "BCELoss": _SILENT,
    "binary_cross_entropy": _SILENT,
    "BCEWithLogitsLoss": _SILENT,
    "binary_cross_entropy_with_logits": _SILENT,
    "CrossEntropyLoss": f"{_SILENT} ({_REFUSED})",
    "cross_entropy": f"{_SILENT} ({_REFUSED})",
    "NLLLoss": _REFUSED,
    "nll_loss": _REFUSED,
    "PoissonNLLLoss": _SILENT,
    "poisson_nll_loss": _SILENT,
    "MultiLabelSoftMarginLoss": _SILENT,
    "multilabel_soft_margin_loss": _SILENT,
}
"""Losses that are not the same the other way round, and what they do then."""
_DIVERGENCES = ("KLDivLoss", "kl_div")


@check
def compared(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL907: `criterion(target, prediction)`, or a divergence that is given probabilities."""
    for each in analysis.lowering.compared:
        loss = each.loss.rpartition(".")[2]
        if loss in _LOSSES:
            yield from _swapped(analysis, each, loss)
        elif loss in _DIVERGENCES:
            yield from _divergence(analysis, each, loss)


def _spelled(call: ast.Call, position: int, name: str) -> str:
    """Return how an argument of a loss is written."""
    named = [keyword.value for keyword in call.keywords if keyword.arg == name]
    written = next(iter([*call.args[position : position + 1], *named]), None)
    return ast.unparse(written) if written is not None else name


def _swapped(analysis: Analysis, each: Compared, loss: str) -> Iterator[Diagnostic]:
    first, second = each.given(0, "input"), each.given(1, "target")
    trained = isinstance(second, Tensor) and any(node.sure and is_trained(analysis, node) for node in second.nodes)
    if trained and _is_data(first):
        target, prediction = _spelled(each.node, 0, "input"), _spelled(each.node, 1, "target")
        what = f"`{loss}` wants the prediction first, but gets `{target}`, which no model has computed: {_LOSSES[loss]}"
        remedy = f"swap them: `({prediction}, {target})`"
        yield compose("GL907", Side.STATIC, analysis.source.place(each.node), what=what, remedy=remedy)


def _is_data(value: Value) -> bool:
    """Whether a value was drawn or made, and nobody has computed it without its graph."""
    return isinstance(value, Tensor) and is_plain(value) and value.cut is None and not value.dropped


def _divergence(analysis: Analysis, each: Compared, loss: str) -> Iterator[Diagnostic]:
    place = analysis.source.place(each.node)
    if _came_out_of(each.given(0, "input"), "softmax"):
        prediction = _spelled(each.node, 0, "input")
        what = f"`{loss}` wants log-probabilities, but `{prediction}` is the output of a softmax: its value is no divergence"
        found = compose("GL907", Side.STATIC, place, what=what, remedy="use `log_softmax`")
        # Whoever asks for the single terms makes a loss of his own of them, perhaps their product alone.
        yield replace(found, severity=Severity.INFO) if _told(each, 2, "reduction") == "none" else found
    elif _came_out_of(each.given(1, "target"), "log_softmax") and _logarithmic(each) is False:
        target = _spelled(each.node, 1, "target")
        what = f"`{loss}` wants probabilities as its target, but `{target}` is the output of a `log_softmax`: it returns nan"
        yield compose("GL907", Side.STATIC, place, what=what, remedy="use `softmax`, or say `log_target=True`")


def _came_out_of(value: Value, op: str) -> bool:
    return isinstance(value, Tensor) and value.made is not None and value.made.op == op


def _logarithmic(each: Compared) -> bool | None:
    """Return whether a divergence is told that its target is logarithmic; None where that is not certain."""
    flag = _told(each, 3, "log_target")
    flag = False if flag is None else flag
    return flag if isinstance(flag, bool) else None


def _told(each: Compared, position: int, name: str) -> object:
    """Return an option of a loss, which is given where it is made or called (None: it is not given; ...: not known)."""
    if each.criterion is None:
        told = each.named.get(name, UNKNOWN if "**" in each.named else None)
    elif len(each.criterion.calls) == 1:
        told = each.criterion.calls[0].argument(position, name)
    else:
        return ...
    return None if told is None else const(told)
