"""Learning rates and their schedulers (GL2xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

NEVER_STEPPED = "is built but never stepped: the learning rate stays what it is"
ONLY_BY_HAND = "is built but never stepped: the learning rate is only what the code writes by hand"
ONLY_BY_ANOTHER = "is built but never stepped: only another schedule of its optimizer moves the learning rate"
STEP_IT = "call it once per epoch (or per step, as its arguments count)"

RESTORE_FIRST = (
    "restore the state of `{optimizer}` before the schedule is built; or build it without `last_epoch`, and restore its own: "
    "`{scheduler}.load_state_dict(...)`"
)
"""What to do about a schedule that cannot go on (GL217)."""

WORDINGS: Mapping[str, Wording] = {
    "GL201": Wording(
        "`{subject}` steps before `{other}` has: the first value of the schedule is skipped, and each change comes a step early",
        "call `{subject}.step()` after `{other}.step()`",
        {"stepped": "the optimizer steps here, later"},
    ),
    "GL202": Wording("`{subject}` {what}", "{remedy}", {"built": "it is built here"}),
    "GL203": Wording(
        "`{subject}` is a {cls} that counts epochs, but it is stepped with every batch: the learning rate has run"
        " through its schedule long before training ends",
        "call `{subject}.step()` once per epoch, or give {cls} its arguments in batches",
        {"built": "its arguments count epochs"},
    ),
    "GL204": Wording(
        "`{subject}` is a {cls} that counts batches, but it is stepped once per {how}: the learning rate moves through"
        " its schedule many times too slowly",
        "call `{subject}.step()` after every `optimizer.step()`, or give {cls} its length in {way}",
        {"built": "its arguments count batches", "stepped": "it is stepped here"},
    ),
    "GL205": Wording(
        "`{subject}` is a ReduceLROnPlateau{when} and needs the value it watches: `step()` without it raises TypeError",
        "pass the metric: `{subject}.step(val_loss)`",
    ),
    "GL206": Wording(
        "`{subject}` is a {cls}: it takes `{metric}` for the number of the epoch, not for a metric",
        "call `{subject}.step()` without an argument, or use ReduceLROnPlateau",
    ),
    "GL207": Wording(
        "`{subject}` lowers the learning rate when its metric stops going to its `{mode}`, but `{metric}` is better"
        " the other way: improving epochs count as bad ones",
        'build it with `mode="{other}"`',
        {"built": "its mode is `{mode}`"},
    ),
    "GL208": Wording(
        "`{old}` {fault}",
        "{new}",
    ),
    "GL209": Wording(
        "`{subject}` names the module and then what `{made}` returns: whoever asks it for a class gets an error",
        "give the object a name of its own",
    ),
    "GL211": Wording(
        "`{subject}` does not schedule the optimizer that steps: {what}",
        "{way}",
        {
            "built": "the scheduler is built here",
            "scheduled": "it steps the schedule of the old optimizer here",
            "owner": "the optimizer that it schedules is built here",
            "moved": "it steps the schedule of that one here",
        },
    ),
    "GL212": Wording(
        "`{subject}` moves on with every batch, but was built for as many steps as `{other}` takes, once in several batches: "
        "the schedule is over long before the training is",
        "step it right after `{other}.step()`, under the same condition",
        {"built": "built here for a number of updates", "step": "this step comes once in several batches"},
    ),
    "GL214": Wording(
        "{written} changes no learning rate: an optimizer reads it from `param_groups`",
        'write `group["lr"]` for each `group` of `optimizer.param_groups`',
    ),
    "GL213": Wording(
        "`{subject}` {what}",
        "give the scheduler as many steps as the loop makes",
        {"built": "its length is given here"},
    ),
    "GL216": Wording(
        "this learning rate is never used: `{subject}`, a {cls}, computes the rate anew before the next step of its optimizer",
        "set the rate through the scheduler, or write it after `{subject}.step()`",
        {"scheduled": "the scheduler overwrites it here"},
    ),
    "GL217": Wording(
        "{what}",
        "{remedy}",
        {
            "restored": "the state of the optimizer is restored here",
            "resumed": "that of the schedule is restored here",
            "saved": "its state is saved here",
        },
    ),
    "GL219": Wording(
        "`{subject}` moved on {skipped} times although the gradient scaler had skipped the step of its optimizer: the schedule is "
        "ahead of the training",
        "step it only where the optimizer did: compare `scaler.get_scale()` before and after `scaler.update()`; once or twice, "
        "while the scaler looks for its scale, does no harm",
    ),
    "GL220": Wording(
        "the factor of this LambdaLR is 0 at first: the learning rate is 0 and nothing is trained until the factor grows",
        "begin with a factor above 0, such as `0.95 ** epoch` or `(epoch + 1) / warmup`",
    ),
    "GL221": Wording("{what}", "{remedy}"),
    "GL222": Wording("{what}", "{remedy}", {"stepped": "the optimizer steps here"}),
    "GL223": Wording("{what}", "{remedy}"),
}
