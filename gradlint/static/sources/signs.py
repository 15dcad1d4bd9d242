"""What a file must hold, in bytes, for any rule to find something in it: most files of most projects are never parsed.

A *sign* is a word without which no rule has anything to find; one in a comment, or in a string over several rows, is none. It knows
words; it must not know syntax. A file without a sign may still call into others: those are read when a finding depends on who calls (`engine`).

In many files that have a sign nothing of training happens. Where the text tells (`deeds`), a sign of training is none; for a rule that
goes by words alone (`by_words`) one of its own suffices. A sign of which it is not known how it looks in code (`_NEW`) makes a file be
read as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from gradlint.data import NamedTuple
from gradlint.regex import regex
from gradlint.static.sources.quotations import is_code
from gradlint.static.syntax import deeds


class _Sign(NamedTuple):
    """What is looked for in files that have a word: it alone, or a pattern, in the rows with the word or `across` all of the file."""

    pattern: re.Pattern[bytes] | None = None
    across: bool = False

    def starts(self, data: bytes, word: bytes) -> Iterator[int]:
        """Yield where it begins, in each row once."""
        if self.pattern is not None and self.across:
            yield from (found.start() for found in self.pattern.finditer(data))
            return
        at = data.find(word)
        while at >= 0:
            end = data.find(b"\n", at) + 1 or len(data)
            if self.pattern is None:
                yield at
            elif found := self.pattern.search(data, data.rfind(b"\n", 0, at) + 1, end):
                yield found.start()
            at = data.find(word, end)


_COMMENT = b"gradlint:"


def _whole(word: bytes) -> bytes:
    """Return a pattern of a word that no letters stand before: one that begins with its letters is found ten times as fast."""
    return rb"%b(?<=\b%b)" % (word, word)


_KNOWN_WORDS = (
    *(b"zero_grad", b".step(", b"lr_scheduler", b".eval(", b".train(", b"def train("),
    *(b".parameters(", b'"params"', b"'params'", b"clip_grad_", b"optim.", b"optim import", b"load_state_dict("),
    *(b"import grad", b"DistributedSampler"),
    *(b"Loss(", b"kl_div(", b"cross_entropy(", b"nll_loss(", b"_with_logits("),
)
_KNOWN_IN_ROWS = (
    # Longer words begin with these (`autograd.grad_mode`).
    (b".backward", rb"\.backward\b"),
    (b"import backward", rb"import backward\b"),
    (b"autograd.grad", rb"autograd\.grad\b"),
    (b"import optim", rb"import optim\b"),
    (b".eval", rb"^[ \t]*[\w.]+\.eval[ \t]*(?:#.*)?\r?$"),
)
"""Signs of training: of these it is known how they look in code, where it happens."""
_BARE = rb"^[ \t]*[\w.]*(?:no_grad|inference_mode|enable_grad)\(\)[ \t]*(?:#.*)?\r?$"
_WORDY_IN_ROWS = (
    (b"nn.", rb"append\((?:torch\.)?nn\.[A-Z]"),
    # What runs past the hooks of a module; its own parts, and its base, may.
    (b".forward(", rb"(?<!\bself)(?<!super\(\))\.forward\("),
    # Statements that do nothing.
    (b"_grad()", _BARE),
    (b"inference_mode()", _BARE),
    (b".detach()", rb"^[ \t]*[\w.\[\]]+\.detach\(\)[ \t]*(?:#.*)?\r?$"),
    (b".state_dict", rb"[\w\])]\.state_dict[ \t]*(?:[,)}]|\r?$)"),
    (b".state_dict()", rb"\.state_dict\([\w.\[\]]+\.state_dict\(\)\)"),
    (b".state_dict(torch.load(", rb"\.state_dict\(torch\.load\("),
    (b".req", rb"\.req\w*grad\w*[ \t]*="),
    (b"seed", rb"\.\w*seeds?[ \t]*=[^=]"),
    (b"seed", rb"\bif[ \t]+[\w.]*seed\w*[ \t]*(?::|\belse\b)"),
)
_WORDY_IN_FILES = (
    # A module is a class; what is wrong with how it is built needs no word of training.
    (b"Module", rb"class \w+\([^)]*Module"),
    (b"nn.", rb"class \w+\([^)]*\bnn\."),
    (b"nn.", rb"self\.\w+ *= *(?:\[\s*)?(?:torch\.)?nn\.[A-Z]"),
    (b"dropout(", _whole(b"class ") + rb"\w+\(\s*\w"),
    (b"best", _whole(b"state_dict") + rb"\("),
    (b".parameters(", _whole(b"for ") + rb"[^:]*\.parameters\("),
    (b".buffers(", _whole(b"for ") + rb"[^:]*\.buffers\("),
)
"""What rules look for that go by words alone: nothing of training need happen there."""
_NEW_IN_ROWS = (
    # A model that comes with its weights, to be run.
    (b"pretrained", rb"= *[\w.]+\([^\n]*\bpretrained *= *[\"'T]"),
    (b"weights", rb"self\.\w+ *= *[^\n]*\bweights *= *[\"'\w]"),
    (b"weights", rb"= *[\w.]+\([^\n]*\bweights *= *(?:[\"']|[\w.]+_Weights\.)"),
    (b"Inception", rb"self\.\w+ *= *[^\n]*\bInceptionV3\("),
    # Methods that a library calls for each batch.
    (b"training_step", rb"\bdef training_step\b"),
    (b"compute_loss", rb"\bdef compute_loss\b"),
    (b"_grad", rb"\bwith\b[^\n]*\b(?:no_grad|enable_grad)[ \t]*[:,]"),
    (b"inference_mode", rb"\bwith\b[^\n]*\binference_mode[ \t]*[:,]"),
)
_NEW_IN_FILES = (
    # A model that was saved as a whole and is called.
    (b"torch.load(", rb"\b(\w+) *= *torch\.load\((?s:.*)\b\1\("),
    # Steps that are counted by what was prepared.
    (b".prepare(", rb"\.prepare\((?s:.*)\blen\("),
    (b"Generator(", rb"\.manual_seed\(\d"),
)
"""Signs of which it is not known how they look in code."""


_Pair = tuple[bytes, bytes]


def _by_word(
    in_rows: Iterable[_Pair], in_files: Iterable[_Pair], words: Iterable[bytes] = ()
) -> dict[bytes, list[_Sign]]:
    """Return the signs of each word: it takes longer to look for a word than for what begins with it."""
    found: dict[bytes, list[_Sign]] = defaultdict(list, {word: [_Sign()] for word in words})
    for pairs, across in ((in_files, True), (in_rows, False)):
        for word, pattern in pairs:
            # Compiled when it is asked for the first time: most words stand in no file of a run.
            found[word].append(_Sign(regex(pattern, re.MULTILINE), across))
    return dict(found)


_KNOWN = _by_word(_KNOWN_IN_ROWS, (), _KNOWN_WORDS)
_WORDY = _by_word(_WORDY_IN_ROWS, _WORDY_IN_FILES)
_NEW = _by_word(_NEW_IN_ROWS, _NEW_IN_FILES)
_DEEDS = _by_word(deeds.IN_ROWS, deeds.IN_FILES)


def is_plain(data: bytes, packages: Iterable[str] = ()) -> bool:
    """Tell whether all signs in `data` are of those whose deeds are known in code; `packages` are those that the project itself says train."""
    return not _has_one(data, _NEW) and not any(package.encode() in data for package in packages)


def may_find(data: bytes) -> bool:
    """Tell whether a rule can find anything in `data`, if that is plain."""
    return _COMMENT in data or _has_one(data, _WORDY) or (_has_one(data, _KNOWN) and may_act(data))


def may_act(data: bytes) -> bool:
    """Tell whether anything of training may happen in the code of `data`: to look takes a tenth of what it takes to parse."""
    return _has_one(data, _DEEDS)


def _has_one(data: bytes, signs: Mapping[bytes, list[_Sign]]) -> bool:
    for word, those in signs.items():
        for sign in those if word in data else ():
            if any(is_code(data, start) for start in sign.starts(data, word)):
                return True
    return False
