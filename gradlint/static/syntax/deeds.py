"""Whether anything of training happens in a file, by the names that its code mentions, calls and hands on.

It knows the index of a file and words; it must not know values or rules. What stands in a comment or a docstring is no deed, nor is a
method that is only defined, or an attribute that is only read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from gradlint.regex import regex
from gradlint.static.syntax.index import Index

_DONE = frozenset(["backward", "eval", "load_state_dict", "manual_backward", "train", "zero_grad"])
"""Methods that are called, or handed on, where somebody trains."""
_NAMED = frozenset(["DistributedSampler", "load_state_dict", "lr", "lr_scheduler", "param_groups", "zero_grad"])
_CALLED = frozenset(["backward", "grad"])
_LOSSES = ("Loss", "kl_div", "cross_entropy", "nll_loss", "_with_logits")
_TOLD = regex("|".join([*(rf"{name}\b" for name in _LOSSES), r"\bregister_\w*hook\b"]))
"""Losses, and what registers hooks."""
_STEPPED = regex(r"[oO]ptimizer|[sS]ched|[sS]caler|[eE]ngine|[aA]ccelerat|[fF]abric")
"""Who may be stepped; an environment is stepped, too."""
_OPTIM = regex(r"[oO]ptim")
_HANDED = regex(r"optim(?:izers?)?\b")
_NO_OPTIMIZERS = frozenset(["Optimizer", "lr_scheduler", "optimizer", "swa_utils"])
"""What somebody imports from `torch.optim` who only speaks of optimizers."""

_GIVEN = rb"\b[ \t]*(?:[,;)#\r]|$)"
"""Behind what is handed on, or stands as a statement."""


def _in_text(names: Iterable[str]) -> list[bytes]:
    return sorted(name.encode() for name in names)


IN_ROWS = (
    *((b".%b" % name, rb"\.%b\b" % name) for name in _in_text(_DONE | {"grad", "step"})),
    *((name, rb"(?<!def )\b%b\b(?![\"'][ \t]*[^\]: \t\n])" % name) for name in _in_text(_NAMED)),
    *((name, rb"(?<!def )(?<![\w.])%b\(" % name) for name in _in_text(_CALLED)),
    *((name, rb"(?<!def )%b(?:\(|%b)" % (name, _GIVEN)) for name in _in_text(_LOSSES)),
    (b"clip_grad_", rb"(?<!def )clip_grad_"),
    (b"register_", rb"(?<!def )\bregister_\w*hook\b"),
    (b"optim", rb"optim(?:izers?)?%b" % _GIVEN),
    (b"optim", rb"\boptim\.(?!Optimizer\b)[A-Z]"),
    (b"optim", rb"\boptim(?:\.\w+)*[ \t]+(?:import|as)\b"),
)
"""How deeds look in a text: a word, and a pattern of a row with that word. Of those that `acts` sees none is missing."""
IN_FILES = ((b".parameters(", b"optim"), (b".parameters(", b"Optim"))
"""A word, and a pattern of what stands anywhere in the files that have it."""


def acts(index: Index) -> bool:
    """Tell whether anything of training happens in the code of a file."""
    methods = index.methods
    # What takes least to be known first.
    if methods & _DONE or index.called & _CALLED or "grad" in index.attributes or index.methods_given & _DONE:
        return True
    mentioned, done = index.mentions, methods | index.methods_given
    names = " ".join(mentioned)
    if mentioned & _NAMED or "clip_grad_" in names:
        return True
    if "step" in done and ("parameters" in methods or "params" in mentioned or _STEPPED.search(names)):
        return True
    if _TOLD.search(" ".join(done | index.called | index.given)) or ("parameters" in methods and _OPTIM.search(names)):
        return True
    # Who hands an optimizer on may have it stepped elsewhere.
    given = _HANDED.search(" ".join(index.methods_given | index.given))
    return bool(given) or ("optim" in mentioned and any(_optimizers(index)))


def _optimizers(index: Index) -> Iterator[str]:
    """Yield what is taken from a module `optim`, but for what only speaks of optimizers; an attribute if it is a class."""
    for node in index.nodes(ast.Attribute):
        match node.value:
            case ast.Name("optim") | ast.Attribute(attr="optim") if node.attr[0].isupper() and node.attr != "Optimizer":
                yield node.attr
    for statement in index.nodes(ast.ImportFrom):
        if "optim" in (statement.module or "").split("."):
            yield from (alias.name for alias in statement.names if alias.name not in _NO_OPTIMIZERS)
    for alias in index.nodes(ast.alias):
        if alias.asname not in (None, "optim") and alias.name.rpartition(".")[2] == "optim":
            yield alias.name
