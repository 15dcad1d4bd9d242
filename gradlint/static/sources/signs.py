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

from gradlint.data import NamedTuple


class _Sign(NamedTuple):
    """What is looked for in files that have a word: it alone, or a pattern, in the rows with the word or `across` all of the file."""

    pattern: bytes = b""
    across: bool = False

    def starts(self, data: bytes, word: bytes) -> Iterator[int]:
        """Yield where it begins, in each row once."""
        # Compiled when it is asked for the first time: most words stand in no file of a run.
        pattern = re.compile(self.pattern or re.escape(word), re.MULTILINE)
        if self.across:
            yield from (found.start() for found in pattern.finditer(data))
            return
        at = data.find(word)
        while at >= 0:
            end = data.find(b"\n", at) + 1 or len(data)
            if found := pattern.search(data, data.rfind(b"\n", 0, at) + 1, end):
                yield found.start()
            at = data.find(word, end)


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


_BARE = rb"^[ \t]*[\w.]*(?:no_grad|inference_mode|enable_grad)\(\)[ \t]*(?:#.*)?\r?$"
_IN_ROWS = (
    # Longer words begin with these (`autograd.grad_mode`).
    (b".backward", rb"\.backward\b"),
    (b"import backward", rb"import backward\b"),
    (b"autograd.grad", rb"autograd\.grad\b"),
    (b"import optim", rb"import optim\b"),
    (b"nn.", rb"append\((?:torch\.)?nn\.[A-Z]"),
    # A model that comes with its weights, to be run.
    (b"pretrained", rb"= *[\w.]+\([^\n]*\bpretrained *= *[\"'T]"),
    (b"weights", rb"self\.\w+ *= *[^\n]*\bweights *= *[\"'\w]"),
    (b"weights", rb"= *[\w.]+\([^\n]*\bweights *= *(?:[\"']|[\w.]+_Weights\.)"),
    (b"Inception", rb"self\.\w+ *= *[^\n]*\bInceptionV3\("),
    # Methods that a library calls for each batch.
    (b"training_step", rb"\bdef training_step\b"),
    (b"compute_loss", rb"\bdef compute_loss\b"),
    # Statements that do nothing.
    (b"_grad()", _BARE),
    (b"inference_mode()", _BARE),
    (b"_grad", rb"\bwith\b[^\n]*\b(?:no_grad|enable_grad)[ \t]*[:,]"),
    (b"inference_mode", rb"\bwith\b[^\n]*\binference_mode[ \t]*[:,]"),
    (b".eval", rb"^[ \t]*[\w.]+\.eval[ \t]*(?:#.*)?\r?$"),
    (b".detach()", rb"^[ \t]*[\w.\[\]]+\.detach\(\)[ \t]*(?:#.*)?\r?$"),
    (b".state_dict", rb"[\w\])]\.state_dict[ \t]*(?:[,)}]|\r?$)"),
    (b".state_dict()", rb"\.state_dict\([\w.\[\]]+\.state_dict\(\)\)"),
    (b".state_dict(torch.load(", rb"\.state_dict\(torch\.load\("),
    (b".req", rb"\.req\w*grad\w*[ \t]*="),
    (b"seed", rb"\.\w*seeds?[ \t]*=[^=]"),
    (b"seed", rb"\bif[ \t]+[\w.]*seed\w*[ \t]*(?::|\belse\b)"),
)
"""What is looked for in the rows that have the word."""
_CLASS = _Sign(rb"class \w+\([^)]*Module", across=True)
"""A module is a class; what is wrong with how it is built needs no word of training."""
_IN_FILES = (
    (b"nn.", rb"class \w+\([^)]*\bnn\."),
    (b"nn.", rb"self\.\w+ *= *(?:\[\s*)?(?:torch\.)?nn\.[A-Z]"),
    (b"dropout(", _whole(b"class ") + rb"\w+\(\s*\w"),
    # A model that was saved as a whole and is called.
    (b"torch.load(", rb"\b(\w+) *= *torch\.load\((?s:.*)\b\1\("),
    (b"best", _whole(b"state_dict") + rb"\("),
    # Steps that are counted by what was prepared.
    (b".prepare(", rb"\.prepare\((?s:.*)\blen\("),
    (b"Generator(", rb"\.manual_seed\(\d"),
)
"""What is looked for in the files that have the word."""

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


def _by_word(signs: Iterable[tuple[bytes, _Sign]]) -> dict[bytes, list[_Sign]]:
    """Return the signs of each word: it takes longer to look for a word than for what begins with it."""
    found: dict[bytes, list[_Sign]] = defaultdict(list)
    for word, sign in signs:
        found[word].append(sign)
    return dict(found)


_ALL = _by_word(
    (
        (b"Module", _CLASS),  # The most frequent one.
        *((word, _Sign()) for word in _SIGNS),
        *((word, _Sign(pattern)) for word, pattern in _IN_ROWS),
        *((word, _Sign(pattern, across=True)) for word, pattern in _IN_FILES),
    )
)
_NEW = {word: _ALL[word] for word in _ALL if word not in _BY_WORDS and word not in _KNOWN_IN_CODE}


def is_plain(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether all signs in `data` are of those whose deeds are known in code."""
    return not _has_one(data, _NEW) and not any(package.encode() in data for package in packages)


def may_find(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether a rule can find anything in `data`; `packages` are those that the project itself says train."""
    return _COMMENT in data or _has_one(data, _ALL) or any(package.encode() in data for package in packages)


def _has_one(data: bytes, signs: Mapping[bytes, list[_Sign]]) -> bool:
    for word, those in signs.items():
        for sign in those if word in data else ():
            if any(_is_code(data, start) for start in sign.starts(data, word)):
                return True
    return False


def _is_code(data: bytes, start: int) -> bool:
    """Whether what begins at `start` may be code: no comment or prompt begins before it in its row, and no quotation of code."""
    before = data[data.rfind(b"\n", 0, start) + 1 : start]
    return b"\r" in before or not any(mark in before for mark in (b"#", b"`", b">>>"))
