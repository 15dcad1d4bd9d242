"""Clearing, backward and step (GL1xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

_LEFT_OVER = {
    "spent": "spent by this step",
    "dirty": "added to by this backward",
    "cleared": "cleared only here",
}

ALL_STEPS = "steps, so every update repeats all earlier ones"
BOTH_STEPS = "the two steps of a turn, so that the second repeats the first"
LAST_STEP = "the last step of a turn and the first one of the next, which repeats it"
"""Between which steps nothing clears gradients that are used again (GL101)."""

TRACKED = "autograd records it, and torch raises RuntimeError: a leaf that requires gradients is changed in place"
REPLACED = "torch refuses a tensor in the place of a parameter, and an optimizer would not know the new one"
BY_GRADIENT = "{0} -= lr * {0}.grad"
"""An update by hand as it should be (GL114)."""
REBOUND = "`{subject}` is not a leaf any more after the first one, and its `.grad` is None from then on"

IF_THERE = "ask `if {0} is not None` first, or clear after the step"
NOT_YET = (
    "no backward pass has computed it yet, or since it was cleared, and using it raises AttributeError",
    IF_THERE,
)
NO_PART = ("`{name}` takes no part in the loss", "ask `if {0} is not None` first, or leave out what is not trained")
STAYS_NONE = ("`{name}` does not require gradients", "ask `if {0} is not None` first, or leave out what is frozen")
NO_LEAF = (
    "`{name}` is computed from others, and torch keeps gradients of leaves only",
    "make it a leaf, by `.detach().requires_grad_()` when it is made, or call `.retain_grad()` on it before the backward pass",
)
"""Why a gradient is None, and what to do (GL116)."""

KEEP = "compute the loss from the model's output, by parameters that require gradients, without `.item()`, `.detach()` or `torch.tensor()`"
THAW = "let the parameters that are to be trained require gradients: `requires_grad_(True)`"
SCORES = "compute the loss from the scores themselves, by a function that has a gradient, such as `F.cross_entropy`"
NO_REENTRY = "pass `use_reentrant=False`, or let the inputs require gradients, too"
RETURN_IT = "end `{0}` with `return loss`"
TAKE_OUT = "take the loss out of it: {0}"
DIFFERENTIABLE = "pass `create_graph=True` to it"
"""What to do about a loss that has no graph (GL112)."""

WORDINGS: Mapping[str, Wording] = {
    "GL101": Wording(
        "`{subject}` steps on gradients that it has already used: nothing clears them between {steps}",
        "call `{subject}.zero_grad()` once per step, before `backward()`",
        _LEFT_OVER,
    ),
    "GL102": Wording(
        "`{subject}` is cleared outside the loop that steps it, so each step repeats the gradients of the earlier batches",
        "move `{subject}.zero_grad()` into the loop that calls `{subject}.step()`",
        _LEFT_OVER,
    ),
    "GL103": Wording(
        "`{subject}` steps right after its gradients were cleared: the backward pass is thrown away and no parameter moves",
        "clear before `backward()` or after `step()`, never between them",
        {"cleared": "the gradients are cleared here", "fresh": "after this backward computed them"},
    ),
    "GL104": Wording(
        "`{subject}` steps without a backward pass since its gradients were cleared: no parameter moves",
        "call `backward()` on the loss before `{subject}.step()`",
        {"cleared": "cleared here, and nothing computes gradients before the step"},
    ),
    "GL120": Wording(
        "`{subject}.step()` changes no parameter, though there are gradients and the learning rate is not zero",
        "see whether the steps are too small for the type of the parameters (keep a float32 copy of them), or get lost on the way",
    ),
    "GL106": Wording(
        "gradients for `{subject}` are {done} but `{subject}` never steps: its parameters are never trained",
        "call `{subject}.step()` after `backward()`",
        {"fresh": "gradients are computed here"},
    ),
    "GL107": Wording(
        "`{subject}` {does} is never cleared, while `{other}` is: the gradients of `{subject}` pile up from batch to batch",
        "call `{subject}.zero_grad()` as well",
        {
            **_LEFT_OVER,
            "other": "only `{other}` is cleared",
            "handed": "its gradients become those of another model here, as the same tensors",
        },
    ),
    "GL108": Wording(
        "on some paths `{subject}` steps on gradients that it has already used: they are cleared only under a condition",
        "clear and step under the same condition, or clear before every `backward()`",
        _LEFT_OVER,
    ),
    "GL109": Wording(
        "`{subject}` steps twice on the same gradients: the update is applied two times",
        "step once per backward pass",
        {"spent": "the gradients were already used by this step"},
    ),
    "GL110": Wording(
        "`{subject}` is named but not called: {effect}",
        "add the parentheses: `{subject}()`",
    ),
    "GL111": Wording(
        "`{subject}` is told to require gradients, {what}",
        "drop this line and keep the graph from the model to the loss",
        {"cut": "the graph is lost here"},
    ),
    "GL112": Wording(
        "the loss of this backward {what}",
        "{remedy}",
        {"cut": "the graph is lost here", "returned": "returned by this call"},
    ),
    "GL114": Wording(
        "this update of `{subject}` by hand goes wrong: {what}",
        "change the parameter in place under `torch.no_grad()`: `with torch.no_grad(): {update}`",
    ),
    "GL115": Wording(
        "`{subject}` is updated by gradients that it has already used: nothing clears them, so every update repeats all earlier ones",
        "set `{subject}.grad = None` (or `{subject}.grad.zero_()`) after the update",
        {"spent": "used by this update", "dirty": "added to by this backward", "cleared": "cleared only here"},
    ),
    "GL117": Wording(
        "`{subject}` steps right after its gradients were cleared: those written by hand are thrown away and no parameter moves",
        "clear first, then write the gradients, then step",
        {"cleared": "the gradients are cleared here", "fresh": "after they were written here"},
    ),
    "GL116": Wording(
        "`{subject}` is None here: {what}",
        "{remedy}",
        {"cleared": "cleared here, which sets it to None"},
    ),
    "GL121": Wording(
        "`{subject}` waits for gradients that never come: the last loss did not depend on {what}",
        "let the loss depend on them, or freeze or delete them; `find_unused_parameters=True` is for those that are left out now and then",
    ),
}

STRANGE = (
    "`{subject}` steps, and all that has run backward since its gradients were cleared is `{loss}`, in which {whose} has no part: "
    "no parameter moves"
)
OF_OTHERS = "run backward from a loss of {whose}, or step the optimizer of those whose loss it is"
