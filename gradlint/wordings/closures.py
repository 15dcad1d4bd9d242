"""Closures and LBFGS (GL4xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
    "GL401": Wording(
        "`{subject}` is an LBFGS optimizer: `step()` without a closure raises TypeError",
        "put zero_grad, forward and backward into a closure that returns the loss: `{subject}.step(closure)`",
    ),
    "GL402": Wording(
        "the closure given to `{subject}` does not clear the gradients: LBFGS calls it many times per step and they pile up",
        "make `{subject}.zero_grad()` the first line of the closure",
        {"closure": "the closure", "fresh": "its backward"},
    ),
    "GL403": Wording(
        "the closure given to `{subject}` does not recompute the gradients: LBFGS sees the same ones at every evaluation",
        "compute the loss and call `loss.backward()` inside the closure",
        {"closure": "the closure"},
    ),
    "GL404": Wording(
        "the closure given to `{subject}` does not return the loss: LBFGS needs its value",
        "end the closure with `return loss`",
        {"closure": "the closure"},
    ),
    "GL405": Wording(
        "`{subject}.step()` is given the result of `{closure}()`, not the closure itself",
        "pass the function: `{subject}.step({closure})`",
    ),
    "GL407": Wording(
        "this backward pass is thrown away: the closure given to `{subject}` clears the gradients and computes them again",
        "delete it; `loss = {subject}.step(closure)` returns the loss",
        {"step": "the closure is called here"},
    ),
    "GL408": Wording(
        "`{subject}` steps once per batch, but its closure never sees `{batch}`: every step trains on what the closure bound before",
        "define the closure inside the loop, or let it read the batch of the loop",
        {"closure": "the closure"},
    ),
    "GL409": Wording(
        "LBFGS {what}",
        "{way}",
    ),
    "GL411": Wording(
        "the closure given to `{subject}` {what}: {often}",
        "let the closure clear, compute the loss, run backward and return the loss, and nothing else",
    ),
}
