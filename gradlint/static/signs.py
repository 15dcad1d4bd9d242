"""What a file must hold, in bytes, for any rule to find something in it: most files of most projects are never parsed.

A *sign* is a word without which no rule has anything to find. It knows words; it must not know syntax. A file without
a sign may still call into others: those are read when a finding depends on who calls (`engine`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ORDER = (b"zero_grad", b".step(", b"lr_scheduler", b".eval(", b".train(")
_OPTIMIZERS = (
    b".parameters(",
    b'"params"',
    b"'params'",
    b"clip_grad_",
    b"optim.",
    b"optim import",
    b"load_state_dict(",
)
_GRADIENTS = (b"import grad", b"DistributedSampler")
_LOSSES = (b"Loss(", b"kl_div(", b"cross_entropy(", b"nll_loss(", b"_with_logits(")
_MODULES = (b".forward(", b"def train(", b"gradlint:")
_SIGNS = (*_ORDER, *_OPTIMIZERS, *_GRADIENTS, *_LOSSES, *_MODULES)

_BARE = re.compile(rb"^[ \t]*[\w.]*(?:no_grad|inference_mode|enable_grad)\(\)[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_PATTERNS = (
    # Longer words begin with these (`autograd.grad_mode`).
    (b"backward", re.compile(rb"(?:\.|import )backward\b")),
    (b"autograd.grad", re.compile(rb"autograd\.grad\b")),
    (b"import optim", re.compile(rb"import optim\b")),
    # A module is a class; what is wrong with how it is built needs no word of training.
    (b"Module", re.compile(rb"class \w+\([^)]*Module")),
    (b"nn.", re.compile(rb"class \w+\([^)]*\bnn\.")),
    (b"nn.", re.compile(rb"self\.\w+ *= *(?:\[\s*)?(?:torch\.)?nn\.[A-Z]")),
    (b"nn.", re.compile(rb"append\((?:torch\.)?nn\.[A-Z]")),
    (b"dropout(", re.compile(rb"\bclass \w+\(\s*\w")),
    # A model that was saved as a whole and is called.
    (b"torch.load(", re.compile(rb"\b(\w+) *= *torch\.load\((?s:.*)\b\1\(")),
    (b"best", re.compile(rb"\bstate_dict\(")),
    # Steps that are counted by what was prepared.
    (b".prepare(", re.compile(rb"\.prepare\((?s:.*)\blen\(")),
    # Statements that do nothing.
    (b"_grad()", _BARE),
    (b"inference_mode()", _BARE),
    (b".eval", re.compile(rb"^[ \t]*[\w.]+\.eval[ \t]*(?:#.*)?\r?$", re.MULTILINE)),
    (b".detach()", re.compile(rb"^[ \t]*[\w.\[\]]+\.detach\(\)[ \t]*(?:#.*)?\r?$", re.MULTILINE)),
    (b".req", re.compile(rb"\.req\w*grad\w*[ \t]*==?[ \t]*(?:True|False)")),
    (b"seed", re.compile(rb"\.\w*seeds?[ \t]*=[^=]")),
    (b"seed", re.compile(rb"\bif[ \t]+[\w.]*seed\w*[ \t]*(?::|\belse\b)")),
)


def may_find(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether a rule can find anything in `data`; `packages` are those that the project itself says train."""
    return (
        any(word in data for word in _SIGNS)
        or any(word in data and pattern.search(data) for word, pattern in _PATTERNS)
        or any(package.encode() in data for package in packages)
    )
