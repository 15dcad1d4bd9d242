"""Autograd graphs (GL5xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
    "GL501": Wording(
        "`{subject}` keeps the graph of every iteration alive: memory grows as long as the loop runs",
        "keep the value only: `.item()` (or `.detach()` for a tensor)",
        {"made": "the loss with its graph comes from here", "created": "`{subject}` starts here and outlives the loop"},
    ),
    "GL503": Wording(
        "this backward runs through a graph that an earlier backward has already freed",
        "add the losses and call `backward()` once",
        {"freed": "freed by this backward", "made": "the shared part was made here"},
    ),
    "GL504": Wording(
        "the graph is built once, before the loop, but every iteration runs backward through it: the second one finds it freed",
        "move the forward pass into the loop",
        {"made": "built here, outside the loop", "freed": "freed by this backward"},
    ),
    "GL506": Wording(
        "`{subject}` carries the graph of the last iteration into this one, where it has already been freed",
        "cut it at the start of the iteration: `{subject} = {subject}.detach()`, part by part if it is a tuple",
        {"made": "the graph was made here, one iteration ago", "freed": "freed by this backward"},
    ),
    "GL519": Wording(
        "`{subject}` is computed from the tensor that requires gradients, and is no leaf: torch refuses to optimize it",
        "convert first, and call `.requires_grad_()` on the result",
        {"optimizer": "it is given to an optimizer here"},
    ),
    "GL521": Wording(
        "a tensor that the backward pass needs was changed in place after it was saved: {what}",
        "use the out-of-place operation, or `.clone()` before the change",
        {"made": "saved by this operation", "changed": "changed here"},
    ),
}
