"""The events of a training loop: the alphabet that both sides speak.

The static side finds them in source, the run-time side in hooks; the automata of
`gradlint.protocols` read nothing else.
"""

from __future__ import annotations

from gradlint.data import Enum


class EventKind(Enum):
    """What happened to a subject (an optimizer, a scheduler, a module, a graph)."""

    ZERO = "zero"  # its gradients were cleared
    BACKWARD = "backward"  # a backward pass added to its gradients, or ran through its graph
    SETGRAD = "setgrad"  # its gradients were assigned by hand
    STEP = "step"  # its optimizer updated the parameters
    SCHEDULE = "schedule"  # its scheduler was stepped
    TRAIN = "train"  # the module was put into training mode
    EVAL = "eval"  # the module was put into evaluation mode
    FORWARD = "forward"  # the module ran with gradients enabled; or a graph was built
    RETAIN = "retain"  # a backward pass ran through its graph and kept it
    LOAD = "load"  # the module got parameters that were trained before
    CREATE = "create"  # it was built, perhaps anew: its history begins here
    REPLACE = "replace"  # its name, or a part of it, was given to something built anew
    FREEZE = "freeze"  # its parameters were told not to require gradients
    THAW = "thaw"  # its parameters, or some of them, were told to require gradients, or were exchanged
    CLIP = "clip"  # its gradients were clipped
    EDIT = "edit"  # its gradients were changed in place, by hand
    SCALE = "scale"  # a backward pass of a scaled loss added to its gradients
    UNSCALE = "unscale"  # its gradients were divided by the scale
    SCALED_STEP = "scaled-step"  # a gradient scaler stepped its optimizer
    UPDATE = "update"  # the gradient scaler chose its next scale
    OTHER_STEP = "other-step"  # something that is not proven to be an optimizer was asked to step
    HAND_STEP = "hand-step"  # a parameter was changed by its own gradient, without an optimizer
    READ = "read"  # its gradient was used as a tensor, which it is only when there is one
    RATE = "rate"  # its learning rate was written by hand
    SHARD = "shard"  # its parameters were replaced by shards
    DRAW = "draw"  # a loop began to take batches from the loader that a sampler orders
    EPOCH = "epoch"  # the sampler was told the epoch, from which it makes its order
    ESCAPE = "escape"  # somebody unknown had hands on it: anything may have happened
