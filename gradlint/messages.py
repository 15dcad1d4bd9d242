"""The words of every rule, shared by both sides: what happened, what happened before, what to do.

A wording names its subject in braces (`{subject}` is the user's own name for it, such as
`optimizer`); `roles` says in a few words what happened at each place that a state remembers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gradlint.diagnostics import Confidence, Diagnostic, Location, Related, Side
from gradlint.protocols import Marks
from gradlint.rulebook import rule

_LEFT_OVER = {
    "spent": "spent by this step",
    "dirty": "added to by this backward",
    "cleared": "cleared only here",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """What a rule says: the message, the text beside each related place, and the way out."""

    message: str
    help: str
    roles: Mapping[str, str] = field(default_factory=dict)


WORDINGS: Mapping[str, Wording] = {
    "GL000": Wording("{what}", "{remedy}"),
    "GL001": Wording("{what}", "{remedy}"),
    "GL101": Wording(
        "`{subject}` steps on gradients that it has already used: nothing clears them between steps, "
        "so every update repeats all earlier ones",
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
    "GL106": Wording(
        "gradients for `{subject}` are computed in a loop but `{subject}` never steps: nothing is trained",
        "call `{subject}.step()` after `backward()`",
        {"fresh": "gradients are computed here"},
    ),
    "GL107": Wording(
        "`{subject}` steps but is never cleared, while `{other}` is: the gradients of `{subject}` pile up from batch to batch",
        "call `{subject}.zero_grad()` as well",
        {**_LEFT_OVER, "other": "only `{other}` is cleared"},
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
        "`{subject}` is named but not called: the statement does nothing",
        "add the parentheses: `{subject}()`",
    ),
    "GL201": Wording(
        "`{subject}` steps before `{other}` has: the first learning rate of the schedule is never used",
        "call `{subject}.step()` after `{other}.step()`",
        {"stepped": "the optimizer steps here, later"},
    ),
    "GL202": Wording(
        "`{subject}` is built but never stepped: the learning rate stays what it is",
        "call `{subject}.step()` once per epoch (or per step, as its arguments count)",
    ),
    "GL205": Wording(
        "`{subject}` is a ReduceLROnPlateau and needs the value it watches: `step()` without it raises TypeError",
        "pass the metric: `{subject}.step(val_loss)`",
    ),
    "GL301": Wording(
        "the validation pass trains: `{what}` runs while `{subject}` is in evaluation mode",
        "delete it and run the validation pass under `torch.no_grad()`",
        {"eval": "evaluation begins here", "training": "the training pass is here"},
    ),
    "GL302": Wording(
        "`{subject}` is evaluated with gradients enabled: every forward builds a graph that nobody uses",
        "wrap the evaluation in `with torch.no_grad():`",
        {"eval": "evaluation begins here"},
    ),
    "GL304": Wording(
        "`{subject}` is trained in evaluation mode after its first evaluation: dropout is off and batch statistics are frozen",
        "call `{subject}.train()` at the start of every training epoch",
        {"eval": "put into evaluation mode here, and never back", "forward": "the training forward that runs in it"},
    ),
    "GL307": Wording(
        "`{subject}()` as a statement does nothing: gradients stay enabled",
        "enter it: `with {subject}():`",
    ),
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
    "GL521": Wording(
        "a tensor that the backward pass needs was changed in place after it was saved: {what}",
        "use the out-of-place operation, or `.clone()` before the change",
        {"made": "saved by this operation", "changed": "changed here"},
    ),
    "GL803": Wording(
        "`{subject}` is a method: it is passed without being called",
        "add the parentheses: `{subject}()`",
    ),
    "GL804": Wording(
        "`{subject}` assigns modules before `super().__init__()` has run: torch raises AttributeError",
        "make `super().__init__()` the first statement of `__init__`",
        {"super": "it runs only here"},
    ),
    "GL905": Wording(
        "`{subject} = {value}` replaces an attribute and seeds nothing: the run stays random",
        "call the function: `{call}({value})`",
    ),
}


def compose(
    code: str,
    side: Side,
    place: Location,
    marks: Iterable[tuple[str, Location]] | Marks = (),
    *,
    confidence: Confidence = Confidence.CERTAIN,
    **names: str,
) -> Diagnostic:
    """Return the diagnostic of rule `code` at `place`.

    `marks` are the places that explain it, by role; roles without words are left out. `names`
    fill the braces of the wording.
    """
    wording, known = WORDINGS[code], rule(code)
    related = tuple(
        Related(location, _told(wording.roles[role].format_map(names), location == place))
        for role, location in marks
        if role in wording.roles
    )
    return Diagnostic(
        code=code,
        name=known.name,
        severity=known.severity,
        confidence=confidence,
        side=side,
        message=wording.message.format_map(names),
        location=place,
        related=related,
        help=wording.help.format_map(names),
    )


def _told(text: str, same: bool) -> str:
    """Return the words of a related place; the finding's own place can explain it only by what it did before."""
    return f"{text}, an iteration earlier" if same else text
