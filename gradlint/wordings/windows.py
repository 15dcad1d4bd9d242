"""Gradient accumulation, processes and frameworks (GL7xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

_STEP = {"step": "this step comes once in several batches"}

REENTERED = "a reentrant checkpoint runs backward through it more than once"
NOT_REENTRANT = "pass `use_reentrant=False` to `checkpoint`"
USED_AGAIN = "it is used by more than one forward pass of the module, or outside of its `forward`"
ONE_FORWARD = "let one forward pass of the wrapped module compute all that the loss needs; or run the other ones under `no_sync()`"
"""Why a parameter under DDP gets a gradient twice, and what to do (GL716)."""

WORDINGS: Mapping[str, Wording] = {
    "GL701": Wording(
        "`{subject}` is cleared in every batch, but `{step}` does not step in every one: "
        "the gradients of all batches but the last are thrown away, and nothing is accumulated",
        "clear right after `{step}.step()`, under the same condition",
        {"fresh": "these gradients are thrown away", **_STEP},
    ),
    "GL702": Wording(
        "the mean losses of several batches are added up for one step of `{subject}` and never divided: "
        "the gradient is {times} times that of their mean",
        "divide before the backward pass: `({loss} / steps).backward()`",
        _STEP,
    ),
    "GL703": Wording(
        "{what}",
        "{remedy}",
        {
            "accumulated": "the gradients are computed here",
            "fresh": "only one backward pass has been run when it steps for the first time",
            "counted": "the counter moves on here, with the steps",
            "changed": "the length changes here",
            "wasted": "this graph is built in every batch",
            "cleared": "what was accumulated is thrown away here",
        },
    ),
    "GL705": Wording(
        "the gradients of `{clipped}` are clipped in every batch, but `{subject}` steps once in several: "
        "what was accumulated is clipped again and again, and the update points elsewhere",
        "clip right before `{subject}.step()`, {when}",
        {**_STEP, "built": "the accelerator is told here how many"},
    ),
    "GL709": Wording(
        "`{subject}` is drawn from again without `set_epoch`: its sampler shuffles by the epoch that it is told, "
        "so that every epoch brings the same batches in the same order",
        "call `set_epoch(epoch)` of the sampler at the beginning of each epoch",
        {"built": "the sampler is built here, and shuffles"},
    ),
    "GL710": Wording(
        "`{subject}` is one model on several ranks, but {what}: each rank trains a model of its own",
        "{remedy}",
        {"forward": "the forward pass goes past the wrapper here", "backward": "the gradients are computed here"},
    ),
    "GL716": Wording(
        "{what} of `{subject}` gets a second gradient in one iteration, which DDP refuses: {reason}",
        "{remedy}",
    ),
    "GL711": Wording(
        "`{subject}` was built before `{sharding}` replaced the parameters that it holds: it steps on tensors that the model "
        "does not use any more, and nothing is trained",
        "shard the model first, then build `{subject}` from its parameters",
        {"built": "the optimizer takes the parameters here", "step": "it steps on them here"},
    ),
    "GL713": Wording(
        "Lightning runs backward and steps after `training_step`, and `{subject}` does so by itself: {what}",
        "leave it to Lightning, or set `self.automatic_optimization = False` in `__init__`",
    ),
    "GL714": Wording("{what}", "{remedy}", {"built": "the accelerator accumulates by this", "step": "this step"}),
}
