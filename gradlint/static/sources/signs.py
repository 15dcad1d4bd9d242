"""What a file must hold, in bytes, for any rule to find something in it: most files of most projects are never parsed.

A *sign* is a word without which no rule has anything to find; one that stands behind a `#`, a prompt or a backtick in its row is
none. It knows words; it must not know syntax. A file without a sign may still call into others: those are read when a finding depends on who calls (`engine`).

In many files that have a sign it stands in a comment or a docstring, or is for a rule that goes by words alone (`by_words`):
nothing of training happens there, which `deeds` tell when the file is parsed. A sign of which it is not known how it looks in
code (`_NEW`) makes a file be read as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from gradlint.regex import regex

_Sign = tuple[bytes, re.Pattern[bytes] | None]

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
_MODULES = (b".forward(", b"def train(")
_COMMENT = b"gradlint:"
_SIGNS = (*_ORDER, *_OPTIMIZERS, *_GRADIENTS, *_LOSSES, *_MODULES)


def _whole(word: bytes) -> bytes:
    """Return a pattern of a word that no letters stand before: one that begins with its letters is found ten times as fast."""
    return rb"%b(?<=\b%b)" % (word, word)


_BARE = regex(rb"^[ \t]*[\w.]*(?:no_grad|inference_mode|enable_grad)\(\)[ \t]*(?:#.*)?\r?$", re.MULTILINE)
_PATTERNS = (
    # Longer words begin with these (`autograd.grad_mode`).
    (b".backward", regex(rb"\.backward\b")),
    (b"import backward", regex(rb"import backward\b")),
    (b"autograd.grad", regex(rb"autograd\.grad\b")),
    (b"import optim", regex(rb"import optim\b")),
    # A module is a class; what is wrong with how it is built needs no word of training.
    (b"Module", regex(rb"class \w+\([^)]*Module")),
    (b"nn.", regex(rb"class \w+\([^)]*\bnn\.")),
    (b"nn.", regex(rb"self\.\w+ *= *(?:\[\s*)?(?:torch\.)?nn\.[A-Z]")),
    (b"nn.", regex(rb"append\((?:torch\.)?nn\.[A-Z]")),
    (b"dropout(", regex(_whole(b"class ") + rb"\w+\(\s*\w")),
    # A model that was saved as a whole and is called.
    (b"torch.load(", regex(rb"\b(\w+) *= *torch\.load\((?s:.*)\b\1\(")),
    # A model that comes with its weights, to be run.
    (b"pretrained", regex(rb"= *[\w.]+\([^\n]*\bpretrained *= *[\"'T]")),
    (b"weights", regex(rb"self\.\w+ *= *[^\n]*\bweights *= *[\"'\w]")),
    (b"weights", regex(rb"= *[\w.]+\([^\n]*\bweights *= *(?:[\"']|[\w.]+_Weights\.)")),
    (b"Inception", regex(rb"self\.\w+ *= *[^\n]*\bInceptionV3\(")),
    (b"best", regex(_whole(b"state_dict") + rb"\(")),
    # Methods that a library calls for each batch.
    (b"training_step", regex(_whole(b"def training_step") + rb"\b")),
    (b"compute_loss", regex(_whole(b"def compute_loss") + rb"\b")),
    # Steps that are counted by what was prepared.
    (b".prepare(", regex(rb"\.prepare\((?s:.*)\blen\(")),
    # Statements that do nothing.
    (b"_grad()", _BARE),
    (b"inference_mode()", _BARE),
    # By the rarer word: there is a `with` in most files.
    (b"_grad", regex(_whole(b"with") + rb"\b[^\n]*\b(?:no_grad|enable_grad)[ \t]*[:,]")),
    (b"inference_mode", regex(_whole(b"with") + rb"\b[^\n]*\binference_mode[ \t]*[:,]")),
    (b".eval", regex(rb"^[ \t]*[\w.]+\.eval[ \t]*(?:#.*)?\r?$", re.MULTILINE)),
    (b".detach()", regex(rb"^[ \t]*[\w.\[\]]+\.detach\(\)[ \t]*(?:#.*)?\r?$", re.MULTILINE)),
    (b".state_dict", regex(rb"[\w\])]\.state_dict[ \t]*(?:[,)}]|\r?$)", re.MULTILINE)),
    (b".state_dict()", regex(rb"\.state_dict\([\w.\[\]]+\.state_dict\(\)\)")),
    (b".state_dict(torch.load(", regex(rb"\.state_dict\(torch\.load\(")),
    (b".req", regex(rb"\.req\w*grad\w*[ \t]*=")),
    (b"Generator(", regex(rb"\.manual_seed\(\d")),
    (b"seed", regex(rb"\.\w*seeds?[ \t]*=[^=]")),
    (b"seed", regex(_whole(b"if") + rb"[ \t]+[\w.]*seed\w*[ \t]*(?::|\belse\b)")),
)

_KNOWN_IN_CODE = frozenset(
    (
        *_ORDER,
        *_OPTIMIZERS,
        *_GRADIENTS,
        *_LOSSES,
        *_MODULES,
        b".backward",
        b"import backward",
        b"autograd.grad",
        b"import optim",
        b".eval",
    )
)
_BY_WORDS = frozenset(
    (
        b"Module",
        b"nn.",
        b"dropout(",
        b"best",
        b"_grad()",
        b"inference_mode()",
        b".detach()",
        b".state_dict",
        b".state_dict()",
        b".state_dict(torch.load(",
        b".req",
        b"seed",
    )
)
"""Beginnings of patterns that are for rules which go by words alone."""


def _by_word(signs: Iterable[_Sign]) -> dict[bytes, list[re.Pattern[bytes] | None]]:
    """Return the patterns of each word: it takes longer to look for a word than for what begins with it."""
    found: dict[bytes, list[re.Pattern[bytes] | None]] = defaultdict(list)
    for word, pattern in signs:
        found[word].append(pattern)
    return dict(found)


_ALL = _by_word((*((sign, None) for sign in _SIGNS), *_PATTERNS))
_NEW = {word: _ALL[word] for word in _ALL if word not in _BY_WORDS and word not in _KNOWN_IN_CODE}


def is_plain(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether all signs in `data` are of those whose deeds are known in code."""
    return not _has_one(data, _NEW) and not any(package.encode() in data for package in packages)


def may_find(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether a rule can find anything in `data`; `packages` are those that the project itself says train."""
    return _COMMENT in data or _has_one(data, _ALL) or any(package.encode() in data for package in packages)


def _has_one(data: bytes, signs: Mapping[bytes, list[re.Pattern[bytes] | None]]) -> bool:
    for word, patterns in signs.items():
        for pattern in patterns if word in data else ():
            starts = _starts(data, word) if pattern is None else (found.start() for found in pattern.finditer(data))
            if any(_is_code(data, start) for start in starts):
                return True
    return False


def _starts(data: bytes, word: bytes) -> Iterator[int]:
    at = data.find(word)
    while at >= 0:
        yield at
        at = data.find(word, at + 1)


def _is_code(data: bytes, start: int) -> bool:
    """Whether what begins at `start` may be code: no comment or prompt begins before it in its row, and no quotation of code."""
    before = data[data.rfind(b"\n", 0, start) + 1 : start]
    return b"\r" in before or not any(mark in before for mark in (b"#", b"`", b">>>"))
