"""Learning rates and their schedulers (GL2xx)."""

from __future__ import annotations

from collections.abc import Mapping

from gradlint.wordings.wording import Wording

WORDINGS: Mapping[str, Wording] = {
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
}
