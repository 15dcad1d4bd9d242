"""Tensors of the inference mode where gradients are recorded: GL309."""

from __future__ import annotations

from collections.abc import Iterator

from gradlint.diagnostics import Diagnostic, Side
from gradlint.messages import compose
from gradlint.static.analysis import Analysis
from gradlint.static.checks import check
from gradlint.static.checks.graphs.graphs import is_trained
from gradlint.wordings.modes import HAS_TO_SAVE


@check
def saved_in_inference(analysis: Analysis) -> Iterator[Diagnostic]:
    """GL309: a layer, a loss or a product that is trained has to save a tensor that autograd knows nothing of."""
    for refused in analysis.lowering.refused:
        if any(is_trained(analysis, node) for node in refused.nodes):
            marks = (("made", refused.made),) if refused.made is not None else ()
            subject = f"`{refused.spelled}`" if refused.spelled else "this tensor"
            yield compose(
                "GL309", Side.STATIC, analysis.source.place(refused.node), marks, subject=subject, what=HAS_TO_SAVE
            )
