"""Autograd graphs (GL5xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

OUT_OF_PLACE = "use the out-of-place operation, or `.clone()` before the change"
AFTERWARDS = "change parameters after the backward pass"
TOGETHER = "add the losses and call `backward()` once, or `.detach()` the shared part where it shall not learn"
APART = "add the losses and call `backward()` once; where each needs gradients of its own, pass `retain_graph=True` to all but the last"
ONCE = "call `backward()` once; after a step, run the forward pass again"
RETAIN = "pass `retain_graph=True` to the first one, or `create_graph=True` where the gradients themselves are to be differentiated"

THAW_FIRST = "call `{subject}.requires_grad_()` before anything is computed from it"
LEAVE_OUT = "give only those that require gradients: `[p for p in parameters if p.requires_grad]`"
ASK_FIRST = (
    "compute the one from the other itself, not from a copy, and after that requires gradients; "
    "where it may take no part, pass `allow_unused=True` and skip None"
)
LEFT_ASIDE = "leave out what takes no part, or pass `allow_unused=True` and skip the None that it gets"
COMPUTE_FROM = "compute `{subject}` first, and {loss} from it"
"""What to do about a gradient by something that takes no part (GL525)."""

LOOK_INSIDE = (
    "mend it there; what it may use is what its forward has kept: `ctx.save_for_backward(...)`, `ctx.saved_tensors`"
)
ONE_FOR_EACH = "return a gradient for each of them, in their order, and None for what needs none"
FITTING = "return it in the shape, type and device of `{0}`: `.sum_to_size({0}.shape)`, `.to({0})`"
"""What to do about the backward of a function of one's own (GL526)."""

AS_NUMBERS = "make it of floating point numbers: `.float()`, or `dtype=torch.float32`"
"""What to do about whole numbers that shall require gradients (GL527)."""

LOOPED = {"where": "the loop", "turn": "iteration"}
"""Where a graph should be built, of which the second turn of a loop finds nothing."""

CARRIED = {"earlier": "the last", "ago": "one iteration ago"}
COLLECTED = {"earlier": "an earlier", "ago": "in an earlier iteration"}
CUT = "cut it at the start of the iteration: `{subject} = {subject}.detach()`"
CUT_WHATEVER = CUT + ", part by part if it is a tuple"
CUT_PARTS = "cut it at the start of the iteration: `{subject} = tuple(each.detach() for each in {subject})`"
CUT_EACH = "keep what is cut off in `{subject}` (`.detach()`), or empty it before the iteration"
COMPUTE_ANEW = "compute `{subject}` anew in each iteration; or keep it cut off (`.detach()`), where it shall not learn"
CUT_SOMETHING = "cut it at the start of the iteration, by `.detach()`"
BEGIN_ANEW = "run backward from the loss of this iteration alone, and add its `.detach()` to `{subject}`; or begin `{subject}` anew after the step"


def called(function: str) -> dict[str, str]:
    """Return the words of `LOOPED` for a function that is called again and again."""
    return {"where": f"`{function}`", "turn": f"call of `{function}`"}


WORDINGS: Mapping[str, Wording] = {
    "GL501": Wording(
        "`{subject}` keeps the graph of every iteration alive: memory grows as long as the loop runs",
        "keep the value only: `.item()` (or `.detach()` for a tensor)",
        {
            "made": "the loss with its graph comes from here",
            "created": "`{subject}` starts here and outlives the loop",
            "beside": "what is kept beside it is detached",
        },
    ),
    "GL503": Wording(
        "this backward runs through a graph that an earlier backward has already freed{through}",
        "{remedy}",
        {"freed": "freed by this backward", "made": "the shared part was made here", "used": "used again here"},
    ),
    "GL504": Wording(
        "the graph{built} is built once, before {where}, but every {turn} runs backward through it: the second one finds it freed",
        "move the forward pass into {where}, or `.detach()` it where it shall not learn; where no step comes between, add the losses and call `backward()` once",
        {"made": "built here, outside {where}", "freed": "freed by this backward"},
    ),
    "GL505": Wording(
        "{what}",
        "{remedy}",
        {"made": "the graph was made here", "stepped": "stepped here"},
    ),
    "GL506": Wording(
        "{subject} carries the graph of {earlier} iteration into this one, where it has already been freed",
        "{remedy}",
        {
            "made": "the graph was made here, {ago}",
            "freed": "freed by this backward",
            "used": "used here in this iteration",
        },
    ),
    "GL517": Wording(
        "`{subject}` is called in every turn of the loop and never undone: hooks pile up, and in turn n the module calls n of them",
        "register it once, before the loop, or keep the handle and call `handle.remove()` at the end of the turn",
        {"loop": "in each turn of this loop"},
    ),
    "GL519": Wording(
        "`{subject}` is computed from the tensor that requires gradients, and is no leaf: torch refuses to optimize it",
        "convert first, and call `.requires_grad_()` on the result",
        {"optimizer": "it is given to an optimizer here"},
    ),
    "GL507": Wording(
        "`{subject}(create_graph=True)` gives the gradients a graph of their own: {effect}",
        "leave it out (`retain_graph=True` if the loss is run through again); where gradients of gradients are wanted,"
        " compute the first ones by `torch.autograd.grad(..., create_graph=True)`",
    ),
    "GL508": Wording(
        "this backward runs through {subject} that an optimizer has changed in place since: torch raises RuntimeError",
        "run all backward passes before the step, or run the forward pass again after it (and `detach()` what shall not learn)",
        {"made": "the graph that needs them was made here", "stepped": "changed by this step"},
    ),
    "GL509": Wording(
        "this backward runs into `{subject}`, which is not stepped on this loss: its gradients {what}",
        "cut the graph between them: give the other model `.detach()` of what `{subject}` returned",
        {
            "made": "`{subject}` runs here",
            "cleared": "its gradients are cleared here",
            "step": "its gradients are used here",
        },
    ),
    "GL510": Wording(
        "{means} turns a term of `{subject}` into a plain number: {effect}",
        "add the tensor itself, and take the number only where it is told",
        {"backward": "the backward pass starts here"},
    ),
    "GL512": Wording(
        "`{subject}.data` is changed after `{subject}` was computed, and autograd does not know: the gradient is that of another function",
        "compute a new tensor (`{subject} = {subject} * mask`); write to `.data` of parameters only",
        {"made": "`{subject}` is computed here", "backward": "the backward pass runs through it here"},
    ),
    "GL513": Wording(
        "`{subject}` steps on gradients that nobody has set: `autograd.grad` returns them and leaves every `.grad` alone, so no parameter moves",
        "call `backward()` on the loss, or set `p.grad = g` for each parameter before the step",
        {"computed": "the gradients are computed here"},
    ),
    "GL514": Wording(
        "gradients that are computed without `create_graph=True` have no graph, and `{subject}` is made of them: {effect}",
        "pass `create_graph=True` to `autograd.grad`",
        {"backward": "the backward pass starts here"},
    ),
    "GL515": Wording(
        "`{subject}` is a part of a graph, and a graph cannot be copied: `{copied}` holds what a forward pass has left there",
        "keep it cut off (`.detach()`), or drop it before the copy; of a model, `state_dict()` can be copied at any time",
    ),
    "GL526": Wording(
        "the backward pass of `{subject}` {what}",
        "{remedy}",
        {"made": "it was applied here", "pass": "this backward runs through it"},
    ),
    "GL527": Wording(
        "{subject} is of {kind}, and only floating point numbers can have gradients: torch raises RuntimeError",
        "{remedy}",
        {"made": "made here"},
    ),
    "GL525": Wording("{what}", "{remedy}", {"made": "`{subject}` is made here"}),
    "GL516": Wording(
        "{subject} {shape}: a backward pass starts from one number",
        "reduce it first, by `.mean()` or `.sum()`",
        {"made": "computed here"},
    ),
    "GL522": Wording(
        "{what}",
        "{remedy}",
    ),
    "GL523": Wording(
        "{what}",
        "{remedy}",
        {"made": "computed here, in vain", "step": "the optimizer steps here", "collected": "collected here"},
    ),
    "GL521": Wording(
        "a tensor that the backward pass needs was changed in place after it was saved: {what}",
        "{remedy}",
        {"made": "saved by this operation", "changed": "changed here"},
    ),
}
