"""Losses, data and seeds (GL9xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WANTS_CLASSES = "whole numbers that are classes"
"""What is given in the place of a prediction (GL907)."""

UNTIL_IT_WAS = "find what became NaN first (`torch.autograd.set_detect_anomaly(True)`): the loss is only where it shows"
SQUASH = "put it through a sigmoid, `torch.sigmoid({0})`; or give the scores as they are to `nn.BCEWithLogitsLoss`"
SCALE_TARGETS = "bring the targets between 0 and 1: `{0} / {0}.max()`, or `({0} > 0).float()`"
"""What to do about what is no probability (GL923)."""

AS_INDICES = "convert it: `{0}.long()`"
CONVERT = "convert it: `{0}.to({1})`"
AS_FLOATS = "convert it: `{0}.float()`; or give the indices of the classes"
ONE_CLASS_EACH = "take the dimension away: `{0}.squeeze(1)`"
COUNT_FROM_ZERO = "count the classes from 0: `{0} - 1`"
MORE_SCORES = "let the last layer have a score for each class, {0} at least; or look at the targets that are none"
IGNORE = "where {0} stands for what shall not count, pass `ignore_index={0}`"
"""What to do about targets that a loss cannot take (GL924)."""

WORDINGS: Mapping[str, Wording] = {
    "GL901": Wording(
        "`{loss}` {does}, but gets the output of {harm}",
        "give it {way}",
        {"loss": "the loss is computed here"},
    ),
    "GL902": Wording(
        "`{loss}` applies a sigmoid itself, but gets the output of this one: even a perfect prediction has a large loss",
        "give it the raw scores (logits)",
        {"loss": "the loss is computed here"},
    ),
    "GL904": Wording(
        "predictions of shape {one} meet targets of another: the loss is the mean over all {many} pairs, and the best"
        " prediction is the same for every sample",
        "give both the same shape: `target.view_as(prediction)`, or `prediction.squeeze(-1)`",
    ),
    "GL905": Wording(
        "`{subject} = {value}` replaces an attribute and seeds nothing: the run stays random",
        "call the function: `{call}({value})`",
    ),
    "GL906": Wording(
        "`{subject}` is begun anew for each step, and is not shuffled: every step trains on its first batch",
        "loop over it, `for batch in {subject}:`, or call `iter({subject})` once, before the loop",
    ),
    "GL907": Wording("{what}", "{remedy}"),
    "GL922": Wording(
        "`{subject}` normalizes over the batch, and gets one value for each channel ({shape}): of one there is no variance",
        "leave out a last batch of one: `DataLoader(..., drop_last=True)`; call `eval()` before single samples are predicted",
    ),
    "GL923": Wording(
        "{what}, but this loss takes probabilities, which lie between 0 and 1: torch raises an error",
        "{remedy}",
        {"made": "made here"},
    ),
    "GL924": Wording(
        "{what}: torch raises an error",
        "{remedy}",
        {"made": "made here"},
    ),
    "GL909": Wording(
        "`{subject}` has made {what}{when}: from then on every output, loss and gradient is NaN, and nothing is learned",
        "find what is not finite first: `torch.autograd.set_detect_anomaly(True)`, or `error_if_nonfinite=True` where gradients are clipped, "
        "which an infinite gradient makes NaN; skip such a step, or lower the rate",
    ),
    "GL919": Wording(
        "`{subject}()` sets the same seed before every step: each iteration drops and draws the same",
        "seed once, before the loop",
    ),
    "GL920": Wording(
        "`{subject}` is a seed, and asked for its truth: 0 is taken for none",
        "ask `{subject} is not None`",
    ),
    "GL921": Wording(
        "`{subject}` is given, but the data are ordered by a generator that is always seeded with {seed}: each run has the same order",
        "seed the generator with `{subject}`",
    ),
}
