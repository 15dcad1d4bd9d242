"""The rules of order, as automata: what may follow what for one subject.

The tables only; what a protocol, a state and an edge are is told in `typestate`.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradlint.events import EventKind
from gradlint.typestate import Edge, Protocol, State

_K = EventKind


def _from(names: Iterable[str], kind: EventKind, edge: Edge) -> dict[tuple[str, EventKind], Edge]:
    return {(name, kind): edge for name in names}


_OPTIMIZER_STATES = ("new", "clean", "discarded", "fresh", "spent", "dirty", "unknown", "unknown-fresh")

OPTIMIZER = Protocol(
    "optimizer",
    State("new"),
    {
        # The gradients of its parameters: cleared, added to, used up.
        **_from(("new", "clean", "spent", "dirty", "unknown"), _K.ZERO, Edge("clean", "cleared")),
        **_from(("fresh", "unknown-fresh"), _K.ZERO, Edge("discarded", "cleared")),
        ("discarded", _K.ZERO): Edge("discarded"),
        **_from(("new", "clean", "discarded"), _K.BACKWARD, Edge("fresh", "fresh")),
        ("fresh", _K.BACKWARD): Edge("fresh"),
        # No report here: another model's backward may dirty gradients that are cleared before use (GANs).
        ("spent", _K.BACKWARD): Edge("dirty", "dirty"),
        ("unknown", _K.BACKWARD): Edge("unknown-fresh", "fresh"),
        **_from(_OPTIMIZER_STATES, _K.SETGRAD, Edge("fresh", "fresh")),
        **_from(_OPTIMIZER_STATES, _K.ESCAPE, Edge("unknown")),
        ("fresh", _K.STEP): Edge("spent", "spent"),
        ("unknown", _K.STEP): Edge("spent", "spent"),
        ("unknown-fresh", _K.STEP): Edge("spent", "spent"),
        ("new", _K.STEP): Edge("new", "idle", violates="GL104"),
        ("clean", _K.STEP): Edge("clean", "idle", violates="GL104"),
        ("discarded", _K.STEP): Edge("clean", "idle", violates="GL103"),
        ("spent", _K.STEP): Edge("spent", "spent", violates="GL109"),
        ("dirty", _K.STEP): Edge("spent", "spent", violates="GL101"),
    },
    {
        # "spent" stays as long as the optimizer lives: it tells a first step from a later one.
        "new": frozenset({"spent"}),
        "clean": frozenset({"cleared", "spent"}),
        "discarded": frozenset({"cleared", "fresh", "spent"}),
        "fresh": frozenset({"cleared", "fresh", "spent"}),
        "spent": frozenset({"cleared", "spent"}),
        "dirty": frozenset({"cleared", "dirty", "spent"}),
        "unknown": frozenset({"spent"}),
        "unknown-fresh": frozenset({"fresh", "spent"}),
    },
    # Its parameters may have got gradients before it was built.
    anew=State("unknown"),
)

SCHEDULER = Protocol(
    "scheduler",
    State("new"),
    {
        ("new", _K.STEP): Edge("ready", "stepped"),
        ("new", _K.SCHEDULE): Edge("scheduled", "scheduled", violates="GL201"),
        ("ready", _K.SCHEDULE): Edge("scheduled", "scheduled"),
        ("scheduled", _K.STEP): Edge("ready", "stepped"),
        **_from(("new", "ready", "scheduled"), _K.ESCAPE, Edge("ready")),
    },
    {name: frozenset({"stepped", "scheduled"}) for name in ("new", "ready", "scheduled")},
)

_PRETRAINED_STATES = ("pretrained", "pretrained-forward", "pretrained-backward")
_OWN_STATES = ("train", "trained", "restored", "eval", "lapsed", "lapsed-forward", "lapsed-backward")
_MODE_STATES = _OWN_STATES + _PRETRAINED_STATES

MODE = Protocol(
    "mode",
    State("train"),
    {
        # Only a module that was trained in training mode and is trained on in evaluation mode
        # has *lapsed*; one that is in evaluation mode from the start was frozen on purpose, unless it came so:
        # *pretrained* is what a library returns in evaluation mode, and no call said that it should stay there.
        # *Restored* is trained again after an evaluation: on such a path somebody thought of it.
        ("train", _K.STEP): Edge("trained"),
        ("train", _K.EVAL): Edge("eval", "eval"),
        ("eval", _K.TRAIN): Edge("train"),
        **_from(("trained", "restored"), _K.EVAL, Edge("lapsed", "eval")),
        **_from(("lapsed", "lapsed-forward", "lapsed-backward"), _K.TRAIN, Edge("restored", "train")),
        ("lapsed", _K.FORWARD): Edge("lapsed-forward", "forward"),
        # The last one before the backward pass is that of the training.
        ("lapsed-forward", _K.FORWARD): Edge("lapsed-forward", "forward"),
        ("lapsed-forward", _K.BACKWARD): Edge("lapsed-backward"),
        ("lapsed-backward", _K.STEP): Edge("lapsed", violates="GL304"),
        **_from(_PRETRAINED_STATES, _K.TRAIN, Edge("train")),
        **_from(_PRETRAINED_STATES, _K.EVAL, Edge("eval", "eval")),
        ("pretrained", _K.FORWARD): Edge("pretrained-forward", "forward"),
        ("pretrained-forward", _K.FORWARD): Edge("pretrained-forward", "forward"),
        ("pretrained-forward", _K.BACKWARD): Edge("pretrained-backward"),
        ("pretrained-backward", _K.STEP): Edge("pretrained", violates="GL304"),
        **_from(_MODE_STATES, _K.ESCAPE, Edge("unknown")),
        ("unknown", _K.TRAIN): Edge("train"),
        ("unknown", _K.EVAL): Edge("eval", "eval"),
    },
    {
        "eval": frozenset({"eval"}),
        "restored": frozenset({"train"}),
        "lapsed": frozenset({"eval"}),
        "lapsed-forward": frozenset({"eval", "forward"}),
        "lapsed-backward": frozenset({"eval", "forward"}),
        "pretrained": frozenset({"pretrained"}),
        **dict.fromkeys(("pretrained-forward", "pretrained-backward"), frozenset({"pretrained", "forward"})),
    },
)

GRAPH = Protocol(
    "graph",
    State("unbuilt"),
    {
        **_from(("unbuilt", "live", "freed", "unknown"), _K.FORWARD, Edge("live", "made")),
        ("live", _K.BACKWARD): Edge("freed", "freed"),
        ("freed", _K.BACKWARD): Edge("freed", violates="GL503"),
        **_from(("unbuilt", "live", "freed"), _K.ESCAPE, Edge("unknown")),
    },
    {"live": frozenset({"made"}), "freed": frozenset({"made", "freed"})},
)

VALIDATION = Protocol(
    "validation",
    State("new"),
    {
        # `train()` behind the last step is a decision; in front of one it is only the head of an epoch.
        **_from(("new", "loaded", "trained", "chosen"), _K.STEP, Edge("trained", "stepped")),
        ("new", _K.LOAD): Edge("loaded", "loaded"),
        ("trained", _K.FORWARD): Edge("trained", violates="GL303"),
        ("loaded", _K.FORWARD): Edge("loaded", violates="GL303"),
        **_from(("trained", "eval", "unknown"), _K.TRAIN, Edge("chosen")),
        ("loaded", _K.TRAIN): Edge("new"),
        **_from(("new", "loaded", "trained", "chosen", "unknown"), _K.EVAL, Edge("eval")),
        **_from(("new", "loaded", "trained", "chosen", "eval"), _K.ESCAPE, Edge("unknown")),
    },
    {"trained": frozenset({"stepped"}), "loaded": frozenset({"loaded"})},
)
"""Not among `PROTOCOLS`: the run-time side sees no reason to call a forward a validation."""

SAVED = Protocol(
    "saved",
    State("unbuilt"),
    {
        # A graph part and the parameters that it holds on to: a step changes them in place.
        **_from(("unbuilt", "saved", "used", "stale", "freed", "unknown"), _K.FORWARD, Edge("saved", "made")),
        **_from(("saved", "used"), _K.BACKWARD, Edge("freed")),
        # A step leaves alone what has no gradients.
        **_from(("saved", "used"), _K.RETAIN, Edge("used")),
        ("saved", _K.SETGRAD): Edge("used"),
        ("used", _K.STEP): Edge("stale", "stepped"),
        ("stale", _K.RETAIN): Edge("stale", violates="GL508"),
        ("stale", _K.BACKWARD): Edge("freed", violates="GL508"),
        **_from(("unbuilt", "saved", "used", "stale"), _K.ESCAPE, Edge("unknown")),
    },
    {"saved": frozenset({"made"}), "used": frozenset({"made"}), "stale": frozenset({"made", "stepped"})},
)
"""Not among `PROTOCOLS`: at run time torch itself tells that a saved tensor was changed in place."""

LEAK = Protocol(
    "leak",
    State("unbuilt"),
    {
        # What one model computed, run through by the loss of another one, which is stepped on it alone.
        **_from(("unbuilt", "built", "shared", "unknown"), _K.FORWARD, Edge("built")),
        ("built", _K.BACKWARD): Edge("reached", "reached"),
        ("reached", _K.OTHER_STEP): Edge("passed"),
        ("passed", _K.RETAIN): Edge("mixed"),
        ("passed", _K.ZERO): Edge("unbuilt", violates="GL509"),
        ("mixed", _K.STEP): Edge("unbuilt", violates="GL509"),
        **_from(("built", "reached", "passed"), _K.STEP, Edge("shared")),
        **_from(("reached", "mixed"), _K.ZERO, Edge("unbuilt")),
        **_from(("built", "reached", "passed", "mixed"), _K.ESCAPE, Edge("unknown")),
    },
    {name: frozenset({"reached"}) for name in ("reached", "passed", "mixed")},
)
"""Not among `PROTOCOLS`: the run-time side does not tell which model a graph runs through."""

_GRADIENT_STATES = ("none", "set", "unknown")

GRADIENT = Protocol(
    "gradient",
    State("none"),
    {
        # The `.grad` of a parameter: None until a backward pass, and again when it is cleared.
        **_from(_GRADIENT_STATES, _K.BACKWARD, Edge("set")),
        **_from(_GRADIENT_STATES, _K.SETGRAD, Edge("set")),
        **_from(_GRADIENT_STATES, _K.ZERO, Edge("none", "cleared")),
        **_from(_GRADIENT_STATES, _K.ESCAPE, Edge("unknown")),
        ("none", _K.READ): Edge("none", violates="GL116"),
    },
    {"none": frozenset({"cleared"})},
)
"""Not among `PROTOCOLS`: at run time the error speaks for itself."""

RATE = Protocol(
    "rate",
    State("planned"),
    {
        # A rate that is written by hand under a scheduler: whether a step uses it before the scheduler computes the next.
        ("planned", _K.RATE): Edge("written", "written"),
        ("written", _K.RATE): Edge("written", "written"),
        **_from(("written",), _K.STEP, Edge("planned")),
        ("written", _K.SCHEDULE): Edge("planned", violates="GL216"),
        ("written", _K.ESCAPE): Edge("planned"),
    },
    {"written": frozenset({"written"})},
)
"""Not among `PROTOCOLS`: no hook sees a rate being written."""

_SCALING_STATES = ("ready", "scaled", "plain", "mixed", "unscaled", "stepped", "unknown")

SCALING = Protocol(
    "scaling",
    State("ready"),
    {
        # One gradient scaler and one optimizer: in which scale the gradients are, and what was done since the last update.
        ("ready", _K.SCALE): Edge("scaled", "scaled"),
        ("ready", _K.BACKWARD): Edge("plain", "plain"),
        # Other models may share the backward passes: what is scaled in part only tells nothing.
        ("scaled", _K.BACKWARD): Edge("mixed"),
        ("plain", _K.SCALE): Edge("mixed"),
        **_from(("scaled", "plain", "mixed"), _K.ZERO, Edge("ready")),
        **_from(("ready", "scaled", "plain", "mixed"), _K.SETGRAD, Edge("mixed")),
        **_from(("ready", "scaled", "plain", "mixed"), _K.EDIT, Edge("mixed")),
        **_from(("ready", "scaled", "plain", "mixed"), _K.UNSCALE, Edge("unscaled", "unscaled")),
        ("unscaled", _K.UNSCALE): Edge("unscaled", violates="GL607"),
        ("unscaled", _K.SCALE): Edge("unscaled", violates="GL607"),
        ("scaled", _K.CLIP): Edge("scaled", violates="GL601"),
        ("scaled", _K.STEP): Edge("ready", violates="GL604"),
        **_from(("plain", "mixed"), _K.STEP, Edge("ready")),
        **_from(("ready", "scaled", "mixed", "unscaled", "unknown"), _K.SCALED_STEP, Edge("stepped", "stepped")),
        ("plain", _K.SCALED_STEP): Edge("stepped", "stepped", violates="GL604"),
        ("stepped", _K.SCALED_STEP): Edge("stepped", "stepped", violates="GL605"),
        ("stepped", _K.UNSCALE): Edge("stepped", violates="GL605"),
        **_from(_SCALING_STATES, _K.UPDATE, Edge("ready")),
        **_from(_SCALING_STATES, _K.ESCAPE, Edge("unknown")),
    },
    {
        "scaled": frozenset({"scaled"}),
        "plain": frozenset({"plain"}),
        "unscaled": frozenset({"unscaled"}),
        "stepped": frozenset({"stepped"}),
    },
)

SAMPLER = Protocol(
    "sampler",
    State("new"),
    {
        ("absent", _K.CREATE): Edge("new"),
        **_from(("new", "told"), _K.DRAW, Edge("drawn", "drawn")),
        ("drawn", _K.DRAW): Edge("drawn", violates="GL709"),
        **_from(("new", "drawn"), _K.EPOCH, Edge("told")),
        **_from(("new", "told", "drawn"), _K.ESCAPE, Edge("unknown")),
    },
    {name: frozenset({"drawn"}) for name in ("told", "drawn")},
)
SHARDING = Protocol(
    "sharding",
    State("built"),
    {
        ("built", _K.SHARD): Edge("stale", "sharded"),
        ("stale", _K.STEP): Edge("stale", violates="GL711"),
        **_from(("built", "stale"), _K.ESCAPE, Edge("unknown")),
    },
    {"stale": frozenset({"sharded"})},
)
"""What an optimizer holds. Not among `PROTOCOLS`: the run-time side does not watch sharding."""

PROTOCOLS = (OPTIMIZER, SCHEDULER, MODE, GRAPH, SCALING, SAMPLER)
