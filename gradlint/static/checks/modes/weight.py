"""How much the wrong mode of a module weighs, by what is in sight of its layers, and what that mode is called.

It knows how sensitive modules are; it must not know where one is run.
"""

from __future__ import annotations

import re

from gradlint.diagnostics import Severity
from gradlint.regex import regex
from gradlint.static.facts.layers import OF_ONE_BATCH, Sensitivity
from gradlint.static.facts.sensitivity import Makers
from gradlint.static.flow.tree import Uid
from gradlint.wordings.modes import DROPS, FOLLOWS, STAYS_ON, TRAINING_MODE

_DROPPING = regex(r"dropout", re.IGNORECASE)
_NORMALIZING = regex(
    r"batch_?norm|torchvision\.models\.(?:\w+\.)?(?:(?:wide_)?resne|regnet|shufflenet|densenet)", re.IGNORECASE
)
"""What follows batches and, as a rule, drops nothing."""
_GIVEN = {Sensitivity.YES: Severity.WARNING, Sensitivity.UNSEEN: Severity.INFO, Sensitivity.NO: None}
_UNSEEN = "training mode, and its layers are not in sight"
_AS_SAVED = "the mode in which it was saved, perhaps training mode"


def severity_of(makers: Makers, module: Uid) -> Severity | None:
    """Return how much the wrong mode of a module weighs: of one that is given, what the models in sight make likely."""
    match makers.sensitivity(module):
        case Sensitivity.YES:
            return None if makers.layers(module) == {OF_ONE_BATCH} else Severity.ERROR
        case Sensitivity.UNSEEN if not makers.in_training_mode(module):
            return Severity.WARNING if makers.drops_as_returned(module) else _GIVEN[makers.in_sight()]
        case _:
            return None


def mode_of(severity: Severity, *, saved: bool = False) -> str:
    """Return the words for the mode in which a module is evaluated, and for what is not known of it."""
    if saved:
        return _AS_SAVED
    return _UNSEEN if severity is Severity.INFO else TRAINING_MODE


def effect_of(makers: Makers, module: Uid) -> str:
    """Return what goes on in training mode, by the layers that are seen to do it."""
    layers = makers.layers(module)
    for kind, effect in ((_DROPPING, DROPS), (_NORMALIZING, FOLLOWS)):
        if layers and all(map(kind.search, layers)):
            return effect
    return STAYS_ON
