"""Mixed precision and clipping (GL6xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

_SCALED = {"scaled": "this backward pass leaves scaled gradients", "plain": "this backward pass is not scaled"}

WORDINGS: Mapping[str, Wording] = {
    "GL601": Wording(
        "the gradients of `{subject}` are clipped while they are still multiplied by the loss scale: "
        "the bound is smaller by that factor, and updates all but vanish",
        "call `{scaler}.unscale_({subject})` before the gradients are clipped",
        _SCALED,
    ),
    "GL602": Wording(
        "{what}",
        "clip {when}",
        {
            "spent": "the gradients were used up by this step",
            "cleared": "the gradients were cleared here",
            "exchanged": "the gradients are exchanged here",
        },
    ),
    "GL604": Wording("{what}", "{remedy}", _SCALED),
    "GL605": Wording(
        "`{scaler}.update()` is never called after this step: the next iteration raises RuntimeError",
        "call `{scaler}.update()` once per iteration, after the last `{scaler}.step(...)`",
        {"stepped": "stepped here, and not updated since"},
    ),
    "GL607": Wording(
        "the gradients of `{subject}` have been unscaled since the last `{scaler}.update()`: "
        "unscaling them again raises RuntimeError, and what a scaled loss adds to them now stays scaled",
        "unscale once per step, after the last `backward()` and before `{scaler}.step({subject})`",
        {"unscaled": "unscaled here"},
    ),
    "GL609": Wording(
        "`{subject}` is an iterator and has been read to its end: there are no parameters left in it here",
        "make it a list: `{subject} = list(...)`",
        {"made": "the iterator is made here", "drained": "it is read to its end here"},
    ),
    "GL617": Wording(
        "{subject} is of half precision itself: `{scaler}` works with gradients in float32 only",
        "keep the parameters in float32 (no `.half()`), and run the forward pass under `torch.autocast`",
    ),
    "GL610": Wording(
        "`{clipped}` are clipped, but no optimizer steps them: the gradients that `{subject}` uses are not bounded",
        "clip the parameters that `{subject}` was built with",
        {"step": "this step uses other parameters"},
    ),
    "GL608": Wording(
        "this backward pass runs inside `autocast`: the docs advise against it, as it runs in the precision of its forward anyway",
        "let the `with` block end before `backward()`",
    ),
}
