"""The rules of order, as automata: what may follow what for one subject.

The tables only; what a protocol, a state and an edge are is told in `typestate`.
"""

from __future__ import annotations

from gradlint.events import EventKind
from gradlint.typestate import Edge, Protocol, State, from_each

_K = EventKind

_OPTIMIZER_STATES = ("new", "clean", "discarded", "fresh", "spent", "dirty", "unknown", "unknown-fresh")

OPTIMIZER = Protocol(
    "optimizer",
    State("new"),
    {
        # The gradients of its parameters: cleared, added to, used up.
        **from_each(("new", "clean", "spent", "dirty", "unknown"), _K.ZERO, Edge("clean", "cleared")),
        **from_each(("fresh", "unknown-fresh"), _K.ZERO, Edge("discarded", "cleared")),
        ("discarded", _K.ZERO): Edge("discarded"),
        **from_each(("new", "clean", "discarded"), _K.BACKWARD, Edge("fresh", "fresh")),
        ("fresh", _K.BACKWARD): Edge("fresh"),
        # No report here: another model's backward may dirty gradients that are cleared before use (GANs).
        ("spent", _K.BACKWARD): Edge("dirty", "dirty"),
        ("unknown", _K.BACKWARD): Edge("unknown-fresh", "fresh"),
        **from_each(_OPTIMIZER_STATES, _K.SETGRAD, Edge("fresh", "fresh")),
        **from_each(_OPTIMIZER_STATES, _K.ESCAPE, Edge("unknown")),
        # Whoever changes what a step has used keeps it on purpose, as a momentum.
        ("spent", _K.EDIT): Edge("unknown"),
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
        **from_each(("new", "ready", "scheduled"), _K.ESCAPE, Edge("ready")),
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
        **from_each(("trained", "restored"), _K.EVAL, Edge("lapsed", "eval")),
        **from_each(("lapsed", "lapsed-forward", "lapsed-backward"), _K.TRAIN, Edge("restored", "train")),
        ("lapsed", _K.FORWARD): Edge("lapsed-forward", "forward"),
        # The last one before the backward pass is that of the training.
        ("lapsed-forward", _K.FORWARD): Edge("lapsed-forward", "forward"),
        ("lapsed-forward", _K.BACKWARD): Edge("lapsed-backward"),
        ("lapsed-backward", _K.STEP): Edge("lapsed", violates="GL304"),
        **from_each(_PRETRAINED_STATES, _K.TRAIN, Edge("train")),
        **from_each(_PRETRAINED_STATES, _K.EVAL, Edge("eval", "eval")),
        ("pretrained", _K.FORWARD): Edge("pretrained-forward", "forward"),
        ("pretrained-forward", _K.FORWARD): Edge("pretrained-forward", "forward"),
        ("pretrained-forward", _K.BACKWARD): Edge("pretrained-backward"),
        ("pretrained-backward", _K.STEP): Edge("pretrained", violates="GL304"),
        **from_each(_MODE_STATES, _K.ESCAPE, Edge("unknown")),
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
        **from_each(("unbuilt", "live", "freed", "unknown"), _K.FORWARD, Edge("live", "made")),
        ("live", _K.BACKWARD): Edge("freed", "freed"),
        ("freed", _K.BACKWARD): Edge("freed", violates="GL503"),
        **from_each(("unbuilt", "live", "freed"), _K.ESCAPE, Edge("unknown")),
    },
    {"live": frozenset({"made"}), "freed": frozenset({"made", "freed"})},
)

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
        **from_each(("scaled", "plain", "mixed"), _K.ZERO, Edge("ready")),
        **from_each(("ready", "scaled", "plain", "mixed"), _K.SETGRAD, Edge("mixed")),
        **from_each(("ready", "scaled", "plain", "mixed"), _K.EDIT, Edge("mixed")),
        **from_each(("ready", "scaled", "plain", "mixed"), _K.UNSCALE, Edge("unscaled", "unscaled")),
        ("unscaled", _K.UNSCALE): Edge("unscaled", violates="GL607"),
        ("unscaled", _K.SCALE): Edge("unscaled", violates="GL607"),
        ("scaled", _K.CLIP): Edge("scaled", violates="GL601"),
        ("scaled", _K.STEP): Edge("ready", violates="GL604"),
        **from_each(("plain", "mixed"), _K.STEP, Edge("ready")),
        **from_each(("ready", "scaled", "mixed", "unscaled", "unknown"), _K.SCALED_STEP, Edge("stepped", "stepped")),
        ("plain", _K.SCALED_STEP): Edge("stepped", "stepped", violates="GL604"),
        ("stepped", _K.SCALED_STEP): Edge("stepped", "stepped", violates="GL605"),
        ("stepped", _K.UNSCALE): Edge("stepped", violates="GL605"),
        **from_each(_SCALING_STATES, _K.UPDATE, Edge("ready")),
        **from_each(_SCALING_STATES, _K.ESCAPE, Edge("unknown")),
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
        **from_each(("new", "told"), _K.DRAW, Edge("drawn", "drawn")),
        ("drawn", _K.DRAW): Edge("drawn", violates="GL709"),
        **from_each(("new", "drawn"), _K.EPOCH, Edge("told")),
        **from_each(("new", "told", "drawn"), _K.ESCAPE, Edge("unknown")),
    },
    {name: frozenset({"drawn"}) for name in ("told", "drawn")},
)

PROTOCOLS = (OPTIMIZER, SCHEDULER, MODE, GRAPH, SCALING, SAMPLER)
