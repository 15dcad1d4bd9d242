"""Automata that only the static side drives: a run does not see such an order, or tells of it by itself.

The tables only; those that both sides drive are in `gradlint.protocols`.
"""

from __future__ import annotations

from gradlint.events import EventKind
from gradlint.typestate import Edge, Protocol, State, from_each

_K = EventKind

VALIDATION = Protocol(
    "validation",
    State("new"),
    {
        # `train()` behind the last step is a decision; in front of one it is only the head of an epoch.
        **from_each(("new", "loaded", "trained", "chosen"), _K.STEP, Edge("trained", "stepped")),
        ("new", _K.LOAD): Edge("loaded", "loaded"),
        ("trained", _K.FORWARD): Edge("trained", violates="GL303"),
        ("loaded", _K.FORWARD): Edge("loaded", violates="GL303"),
        **from_each(("trained", "eval", "unknown"), _K.TRAIN, Edge("chosen", "told")),
        # What gets new weights for a part of those that were loaded is to be trained.
        ("loaded", _K.REPLACE): Edge("new"),
        ("loaded", _K.TRAIN): Edge("new"),
        **from_each(("new", "loaded", "trained", "chosen", "unknown"), _K.EVAL, Edge("eval")),
        **from_each(("new", "loaded", "trained", "chosen", "eval"), _K.ESCAPE, Edge("unknown")),
    },
    {"trained": frozenset({"stepped"}), "loaded": frozenset({"loaded"}), "chosen": frozenset({"told"})},
)
"""The run-time side sees no reason to call a forward a validation."""

LEARNING = Protocol(
    "learning",
    State("given"),
    {
        # Whether gradients are recorded is for callers to say; who trained in this mode says it for the evaluation behind it.
        ("given", _K.BACKWARD): Edge("learning"),
        ("learning", _K.EVAL): Edge("evaluated"),
        ("evaluated", _K.TRAIN): Edge("learning"),
    },
    {},
)
"""A run knows the mode that it is in."""

SAVED = Protocol(
    "saved",
    State("unbuilt"),
    {
        # A graph part and the parameters that it holds on to: a step changes them in place.
        **from_each(("unbuilt", "saved", "used", "stale", "freed", "unknown"), _K.FORWARD, Edge("saved", "made")),
        **from_each(("saved", "used"), _K.BACKWARD, Edge("freed")),
        # A step leaves alone what has no gradients.
        **from_each(("saved", "used"), _K.RETAIN, Edge("used")),
        ("saved", _K.SETGRAD): Edge("used"),
        ("used", _K.STEP): Edge("stale", "stepped"),
        ("stale", _K.RETAIN): Edge("stale", violates="GL508"),
        ("stale", _K.BACKWARD): Edge("freed", violates="GL508"),
        **from_each(("unbuilt", "saved", "used", "stale"), _K.ESCAPE, Edge("unknown")),
    },
    {"saved": frozenset({"made"}), "used": frozenset({"made"}), "stale": frozenset({"made", "stepped"})},
)
"""At run time torch itself tells that a saved tensor was changed in place."""

LEAK = Protocol(
    "leak",
    State("unbuilt"),
    {
        # What one model computed, run through by the loss of another one, which is stepped on it alone.
        **from_each(("unbuilt", "built", "shared", "unknown"), _K.FORWARD, Edge("built")),
        ("built", _K.BACKWARD): Edge("reached", "reached"),
        ("reached", _K.OTHER_STEP): Edge("passed"),
        ("passed", _K.RETAIN): Edge("mixed"),
        ("passed", _K.ZERO): Edge("unbuilt", violates="GL509"),
        ("mixed", _K.STEP): Edge("unbuilt", violates="GL509"),
        **from_each(("built", "reached", "passed"), _K.STEP, Edge("shared")),
        **from_each(("reached", "mixed"), _K.ZERO, Edge("unbuilt")),
        **from_each(("built", "reached", "passed", "mixed"), _K.ESCAPE, Edge("unknown")),
    },
    {name: frozenset({"reached"}) for name in ("reached", "passed", "mixed")},
)
"""The run-time side does not tell which model a graph runs through."""

CROSSED = Protocol(
    "crossed",
    State("unbuilt"),
    {
        # What one model computed is run through by its own loss, and then by that of another one, which is cleared between both
        # (`FREEZE`): what the first loss left in that one was not wanted, and what the second leaves in this one is not either.
        **from_each(("unbuilt", "built", "own", "apart", "mixed", "unknown"), _K.FORWARD, Edge("built")),
        ("built", _K.BACKWARD): Edge("own"),
        ("own", _K.FREEZE): Edge("apart"),
        ("apart", _K.BACKWARD): Edge("mixed", "reached"),
        ("mixed", _K.STEP): Edge("unbuilt", violates="GL509"),
        **from_each(("built", "own", "apart"), _K.STEP, Edge("unbuilt")),
        **from_each(("own", "apart", "mixed"), _K.ZERO, Edge("unbuilt")),
        **from_each(("built", "own", "apart", "mixed"), _K.ESCAPE, Edge("unknown")),
    },
    {"mixed": frozenset({"reached"})},
)
"""The other order of `LEAK`: both losses run backward before anybody steps."""

_GRADIENT_STATES = ("none", "set", "unknown")

GRADIENT = Protocol(
    "gradient",
    State("none"),
    {
        # The `.grad` of a parameter: None until a backward pass, and again when it is cleared.
        **from_each(_GRADIENT_STATES, _K.BACKWARD, Edge("set")),
        **from_each(_GRADIENT_STATES, _K.SETGRAD, Edge("set")),
        **from_each(_GRADIENT_STATES, _K.ZERO, Edge("none", "cleared")),
        **from_each(_GRADIENT_STATES, _K.ESCAPE, Edge("unknown")),
        ("none", _K.READ): Edge("none", violates="GL116"),
    },
    {"none": frozenset({"cleared"})},
)
"""At run time the error speaks for itself."""

RATE = Protocol(
    "rate",
    State("planned"),
    {
        # A rate that is written by hand under a scheduler: whether a step uses it before the scheduler computes the next.
        ("planned", _K.RATE): Edge("written", "written"),
        ("written", _K.RATE): Edge("written", "written"),
        **from_each(("written",), _K.STEP, Edge("planned")),
        ("written", _K.SCHEDULE): Edge("planned", violates="GL216"),
        ("written", _K.ESCAPE): Edge("planned"),
    },
    {"written": frozenset({"written"})},
)
"""No hook sees a rate being written."""

APART = Protocol(
    "apart",
    State("new"),
    {
        # A function that clips and steps by a gradient scaler; the backward pass is elsewhere.
        ("new", _K.CLIP): Edge("clipped", "clipped"),
        ("clipped", _K.SCALED_STEP): Edge("other", violates="GL601"),
        ("new", _K.SCALED_STEP): Edge("other"),
        **{
            (name, kind): Edge("other")
            for name in ("new", "clipped")
            for kind in (_K.SCALE, _K.BACKWARD, _K.UNSCALE, _K.UPDATE, _K.ZERO, _K.STEP, _K.SETGRAD, _K.EDIT, _K.ESCAPE)
        },
    },
    {"clipped": frozenset({"clipped"})},
)
"""A run sees every backward pass."""

SHARDING = Protocol(
    "sharding",
    State("built"),
    {
        ("built", _K.SHARD): Edge("stale", "sharded"),
        ("stale", _K.STEP): Edge("stale", violates="GL711"),
        **from_each(("built", "stale"), _K.ESCAPE, Edge("unknown")),
    },
    {"stale": frozenset({"sharded"})},
)
"""What an optimizer holds. The run-time side does not watch sharding."""

_STAYED_STATES = ("new", "train", "eval", "ran", "used", "again", "due", "chosen")

STAYED = Protocol(
    "stayed",
    State("new"),
    {
        # A mode that a pass without gradients needed (`used`), and in which the model is trained for the first time; `chosen` is
        # one in which it is trained at once. Who was trained in training mode before is a matter of the modes.
        **from_each((*_STAYED_STATES, "unknown"), _K.TRAIN, Edge("train", "train")),
        **from_each(("new", "train", "unknown"), _K.EVAL, Edge("eval", "eval")),
        **from_each(("new", "train"), _K.STEP, Edge("trained")),
        **from_each(("eval", "ran"), _K.RETAIN, Edge("used")),
        ("eval", _K.FORWARD): Edge("ran"),
        ("ran", _K.BACKWARD): Edge("chosen"),
        ("used", _K.FORWARD): Edge("again", "forward"),
        ("again", _K.BACKWARD): Edge("due"),
        ("due", _K.STEP): Edge("used", violates="GL304"),
        **from_each(_STAYED_STATES, _K.ESCAPE, Edge("unknown")),
    },
    {
        "eval": frozenset({"train"}),
        **dict.fromkeys(("ran", "used"), frozenset({"train", "eval"})),
        **dict.fromkeys(("again", "due"), frozenset({"train", "eval", "forward"})),
    },
)
"""At run time, another evaluation has to come before anybody is sure."""
