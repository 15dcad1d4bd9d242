"""Training, evaluation and grad mode (GL3xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

AFTER_EVALUATION = "after its first evaluation"
AFTER_AN_EVALUATION = "after an evaluation that has left it so"
AS_RETURNED = "as the library returned it"
IS_OFF = "dropout is off and batch statistics are frozen"
MAY_BE_OFF = "any dropout in it is off, and any batch statistics are frozen; its layers are not in sight"
BUILDS = "every forward builds a graph that nobody uses"
VOLATILE = f"`volatile=True` does nothing any more, and {BUILDS}"
DROPS = "dropout stays on"
FOLLOWS = "batch statistics follow what it is evaluated on"
STAYS_ON = f"{DROPS} and {FOLLOWS}"
TRAINING_MODE = "training mode"
EVALUATING = "while `{}` is in evaluation mode"
"""Where a validation pass trains (GL301), with the name of the model."""

HAS_TO_SAVE = "autograd has to save it here"
IS_CHANGED = "is changed in place here, outside of that mode"
IS_STEPPED = "`{0}` changes it here, outside of that mode"
"""What happens to a tensor of the inference mode (GL309)."""

WORDINGS: Mapping[str, Wording] = {
    "GL301": Wording(
        "the validation pass trains: `{what}` runs {where}",
        "delete it and run the validation pass under `torch.no_grad()`",
        {"eval": "evaluation begins here", "training": "the training pass is here", "step": "the step that it takes"},
    ),
    "GL302": Wording(
        "`{subject}` is evaluated with gradients enabled: {effect}",
        "wrap the evaluation in `with torch.no_grad():`",
        {
            "eval": "evaluation begins here",
            "forward": "the forward that runs in it",
            "kept": "kept with its graph, batch after batch",
        },
    ),
    "GL303": Wording(
        "`{subject}` is evaluated in {mode}: {effect}",
        "call `{subject}.eval()` before, and `{subject}.train()` after it if training goes on",
        {
            "stepped": "trained here, in training mode",
            "loaded": "its trained parameters are loaded here",
            "forward": "and it is evaluated here",
        },
    ),
    "GL304": Wording(
        "`{subject}` is trained in evaluation mode {when}: {effect}",
        "call `{subject}.train()` at the start of every training epoch, and at the end of an evaluation within one",
        {
            "eval": "put into evaluation mode here, and never back",
            "pretrained": "returned in evaluation mode here",
            "forward": "the training pass that runs in it",
            "step": "the training that goes on in it",
        },
    ),
    "GL306": Wording(
        "this is computed with gradients off, and `{subject}` is made of it: {effect}",
        "compute it outside the `no_grad` block; to freeze a model, set `requires_grad_(False)` on its parameters",
        {"backward": "the backward pass starts here"},
    ),
    "GL307": Wording(
        "`{subject}{written} {does}",
        "{way} it: `with {subject}():`",
    ),
    "GL308": Wording(
        "`{subject}` drops in evaluation mode too: it is called {what}, so every output of the trained model is random",
        "use `{way}`",
    ),
    "GL309": Wording(
        "{subject} was made in inference mode, and {what}: torch raises RuntimeError",
        "make it under `torch.no_grad()` instead, or give a copy of it: `.clone()`",
        {"made": "made here, under `torch.inference_mode()`"},
    ),
    "GL310": Wording(
        "gradients are switched off here and never on again: `{subject}` is computed without a graph, and its `backward()` raises RuntimeError",
        "use it as a context, which restores the mode at its end: `with torch.no_grad():`",
        {"made": "computed here, with gradients off", "backward": "the backward pass starts here"},
    ),
    "GL314": Wording(
        "`{what}` sets the mode through `train(mode)`, but `{cls}.train` takes other arguments: it raises TypeError",
        "name the training routine of `{cls}` something else, such as `fit`",
        {"defined": "the mode switch of `nn.Module` is overridden here"},
    ),
}
