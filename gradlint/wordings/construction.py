"""Modules, parameters and how optimizers are built (GL8xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

ROWS_DECAY = (
    "the rows of `{subject}` whose gradients are cleared by hand are not trained, but `{step}.step()` decays them all the same: "
    "they shrink with every step"
)
STOP_DECAY = "build the optimizer with `weight_decay=0` for this parameter, or put the rows back after the step"
FROZEN = "`{subject}` is frozen, but `{step}.step()` changes it all the same: its gradient is zero, not None, and so decay and momentum act"
FREEZE = "set `{subject}.grad = None` where it is frozen, or clear with `zero_grad()`, which leaves None"

GIVE_PARAMETERS = "give its parameters: `{0}.parameters()`"
GIVE_A_LIST = "put it into a list: `[{0}]`"
GIVE_EACH = "give the parameters of each of them: `[*first.parameters(), *second.parameters()]`"
GIVE_GROUPS = "make each of them a group, `{{'params': ...}}`, or all of them one list: `[*first, *second]`"
GIVE_A_GROUP = "make it a group: `{{'params': {0}}}`"
"""What to give to an optimizer, or to what clips (GL825)."""

ALL_DENSE = "let it be dense (`sparse=False`); or train it by `SparseAdam`, and the rest by {0}"
WITHOUT_DECAY = "leave `weight_decay` out for it, in a group of its own; or let it be dense (`sparse=False`)"
ALL_SPARSE = "give `SparseAdam` only what is looked up in an embedding with `sparse=True`, and the rest to `Adam`"
"""What to do about sparse gradients (GL824)."""

WORDINGS: Mapping[str, Wording] = {
    "GL801": Wording(
        "nobody updates the parameters of `{subject}`: {what}",
        "let the optimizer that steps hold the parameters that are to be trained",
        {
            "frozen": "they are frozen here",
            "step": "it steps here, and changes nothing",
            "given": "it is given here already",
            "built": "the optimizer that never steps is built here",
            "backward": "its loss runs backward here",
            "twin": "the one that has these parameters, too, is built here",
        },
    ),
    "GL802": Wording(
        "`{owner}` does not know the modules in `{subject}`, a plain container: an optimizer does not get their parameters, and neither does a checkpoint",
        "make it an `nn.ModuleList` or `nn.ModuleDict`",
    ),
    "GL803": Wording(
        "`{subject}` is a method: it is passed without being called",
        "add the parentheses: `{subject}()`",
    ),
    "GL824": Wording(
        "{what} has a {kind} gradient, which {name}{how} cannot use: torch raises RuntimeError",
        "{remedy}",
    ),
    "GL825": Wording(
        "{what}: torch raises TypeError",
        "{remedy}",
    ),
    "GL804": Wording(
        "`{subject}` assigns modules before `super().__init__()` has run: torch raises AttributeError",
        "make `super().__init__()` the first statement of `__init__`",
        {"super": "it runs only here"},
    ),
    "GL805": Wording(
        "`{subject}` is built anew in every turn of the loop: {what}",
        "build it once, before the loop",
        {"loop": "this loop"},
    ),
    "GL806": Wording(
        "{what}: they are never updated",
        "build the optimizer when the model is whole, from the parameters that it has then",
        {"built": "the optimizer is built here", "step": "it steps the old parameters here"},
    ),
    "GL807": Wording(
        "`{subject}` freezes nothing and thaws nothing: {what}",
        "{way}",
    ),
    "GL809": Wording(
        "`{owner}` does not know {what}: neither `parameters()` nor `state_dict()` has it, and no optimizer gets it",
        "{way}",
    ),
    "GL810": Wording(
        "`{subject}.forward()` runs the module without its hooks: what DDP, FSDP, `torch.compile` or a profiler hang on it is passed over",
        "call the module: `{subject}(...)`",
    ),
    "GL811": Wording(
        "`{subject}` is a class: these arguments become its options, and no loss is computed",
        "make the loss first: `{subject}()(...)`",
    ),
    "GL812": Wording(
        "the parameters of `{subject}` are in another group already, with those of `{other}`: torch raises ValueError",
        "give each parameter to one group only",
    ),
    "GL813": Wording(
        "{what}",
        "{remedy}",
        {"built": "the optimizer decays weights", "step": "it steps here"},
    ),
    "GL816": Wording(
        "{what}: that is the state of an optimizer of other parameters",
        "build `{subject}` over the same parameters, in the same groups, as the one that was saved, before its state is loaded",
    ),
    "GL815": Wording(
        "`{subject}` shares its tensors with `{module}`: every later step changes them, and what is kept is the last",
        "keep a copy: `copy.deepcopy(...)`",
    ),
    "GL820": Wording(
        "{what} is never updated after `{step}.step()`: the average stays what the weights were at the beginning",
        "{way} after each step of `{step}`",
        {"built": "the average is built here"},
    ),
    "GL821": Wording(
        "the average `{subject}` is copied into the model, and its own weights are never restored: training goes on from the average",
        "call `{subject}.restore(...)` after the evaluation",
        {"stored": "its own weights are stored here"},
    ),
    "GL822": Wording(
        "`{subject}` runs with gradients enabled beside what is trained, and no optimizer has its parameters: each backward"
        " pass computes gradients for them that nobody uses",
        "freeze it, `{subject}.requires_grad_(False)`, or run it under `torch.no_grad()`",
        {"run": "it runs here"},
    ),
    "GL823": Wording("{what}", "{way}", {}),
}

MIRRORED = "`{subject}` and `{other}` are one and the same module: its weights are copied onto themselves, and it is its own target"
LOST_COPY = "`{subject}` is only the loop's name for a weight of `{module}`: it is given a new tensor, and the module stays as it was"


def rebuilt(subject: str, optimizer: str) -> str:
    """Return what GL806 says of something that was built when its optimizer was there already."""
    return f"`{subject}` is built here, but `{optimizer}` was built before and does not know its parameters"
