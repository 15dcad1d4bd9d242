"""The form of a model: from TOML's tables to meanings.

    [names]                                       # pattern of dotted names, with the parameters that are spoken of
    "mylib.Engine(model, optimizer)" = "engine"   # a role, a kind of object, or what calling it does
    [kinds.engine.methods]
    "update(loss)" = ["zero optimizer", "backward loss", "step optimizer"]

docs/models.md tells what the words mean.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping

from gradlint.data import NamedTuple

BASES = ("optimizer", "scheduler", "scaler", "module", "criterion", "engine")
"""The kinds that are built in; every other kind is like one of them."""

_VALUES = (
    "pure tensor fresh-tensor parameter wrapper copy cast tool unknown partial record calls chain exit seed spawn spawn-target "
    "loader sampler saved sharding backward grad clip no-grad enable-grad set-grad"
)
ROLES = frozenset((*BASES, *_VALUES.split()))
"""What a name can be without a word about its arguments."""

_ABOUT = frozenset(["zero", "backward", "step", "schedule", "clip", "train", "eval", "returns", "escapes", "prepares"])
_ALONE = frozenset(["pure", "cycle", "escapes", "window", "window-end"])
SELF, EVERYTHING = "self", "arguments"

_MODEL_KEYS = ("names", "kinds")
_KIND_KEYS = ("like", "methods")


class ModelError(ValueError):
    """A model that cannot be followed; the message names the key and the nearest right word."""


class Action(NamedTuple):
    """One thing that a call does: a verb, the parameters that it does it to, the flag without which it does not."""

    verb: str
    to: tuple[str, ...] = ()
    when: str = ""


class Meaning(NamedTuple):
    """What a name is, or what calling it does.

    `role` is one of `ROLES`, or `acts` where `actions` tell. An object that it makes is of the kind `kind` and acts on
    the parameter `of` (empty: the first).
    """

    role: str
    kind: str = ""
    of: str = ""
    parameters: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()


class KindModel(NamedTuple):
    """A kind of object: the built-in kind that it is like, and what its methods do, by pattern."""

    like: str
    methods: tuple[tuple[str, Meaning], ...] = ()


class Model(NamedTuple):
    """A table of names, by pattern, and a table of kinds."""

    names: tuple[tuple[str, Meaning], ...] = ()
    kinds: tuple[tuple[str, KindModel], ...] = ()


NO_MODEL = Model()


def read_model(table: object, known: Mapping[str, str]) -> Model:
    """Return the model that a table says; `known` maps the kinds of other models to what they are like.

    Raises ModelError for what it cannot follow.
    """
    sections = _table(table, "models", _MODEL_KEYS)
    written = {name: _kind(name, kind) for name, kind in _table(sections.get("kinds", {}), "kinds").items()}
    kinds = {**known, **{name: kind.like for name, kind in written.items()}}
    names = _table(sections.get("names", {}), "names")
    return Model(tuple(_name(key, value, kinds) for key, value in names.items()), tuple(written.items()))


def split_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Return the pattern and the parameters of a key such as `step(optimizer)`."""
    pattern, bracket, rest = key.partition("(")
    return pattern, tuple(rest.rstrip(")").replace(",", " ").split()) if bracket else ()


def read_meaning(key: str, value: object, kinds: Mapping[str, str], place: str) -> Meaning:
    """Return what the value of one key says; `kinds` maps each kind to what it is like. Raises ModelError."""
    parameters = split_key(key)[1]
    if isinstance(value, str):
        word, _, of = value.partition(" of ")
        if of and of not in parameters:
            raise ModelError(f"`{place}` speaks of `{of}`{_hint(of, parameters)}")
        if word in kinds:
            return Meaning(kinds[word], word, of, parameters)
        if value in ROLES:
            return Meaning(value, value, of, parameters)
    phrases = [value] if isinstance(value, str) else value
    if not isinstance(phrases, list) or not phrases:
        raise ModelError(f'`{place}` must be a word or a list of phrases, such as ["zero optimizer", "step optimizer"]')
    return Meaning("acts", "", "", parameters, tuple(_action(phrase, kinds, place) for phrase in phrases))


def _kind(name: str, table: object) -> KindModel:
    place = f"kinds.{name}"
    keys = _table(table, place, _KIND_KEYS)
    like = keys.get("like", "engine")
    if like not in BASES:
        raise ModelError(f"`{place}.like` is `{like}`{_hint(str(like), BASES)}")
    methods = _table(keys.get("methods", {}), f"{place}.methods")
    return KindModel(
        like, tuple(_entry(key, value, {}, f"{place}.methods.{_quoted(key)}") for key, value in methods.items())
    )


def _name(key: str, value: object, kinds: Mapping[str, str]) -> tuple[str, Meaning]:
    place = f"names.{_quoted(key)}"
    pattern, meaning = _entry(key, value, kinds, place)
    # A function has nobody but its parameters to speak of.
    for word in (word for action in meaning.actions for word in (*action.to, action.when)):
        if word and word not in (*meaning.parameters, EVERYTHING):
            raise ModelError(f"`{place}` speaks of `{word}`{_hint(word, (*meaning.parameters, EVERYTHING))}")
    return pattern, meaning


def _entry(key: str, value: object, kinds: Mapping[str, str], place: str) -> tuple[str, Meaning]:
    return split_key(key)[0], read_meaning(key, value, kinds, place)


@functools.cache
def _phrase(text: str) -> Action | None:
    said, _, when = text.partition(" if ")
    verb, *to = said.replace(",", " ").replace("(", " ").replace(")", " ").split()
    return Action(verb, tuple(to), when.strip()) if verb in (_ABOUT if to else _ALONE) else None


def _action(phrase: object, kinds: Mapping[str, str], place: str) -> Action:
    action = _phrase(phrase) if isinstance(phrase, str) and phrase.strip() else None
    if action is not None:
        return action
    word = str(phrase).split(" ")[0]
    if word in _ABOUT:
        raise ModelError(f"`{place}`: `{word}` must say of what, such as `{word} optimizer`")
    raise ModelError(f"`{place}`: unknown word `{word}`{_hint(word, (*kinds, *ROLES, *_ABOUT, *_ALONE))}")


def _table(value: object, place: str, keys: tuple[str, ...] = ()) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ModelError(f"`{place}` must be a table")
    for key in value:
        if keys and key not in keys:
            raise ModelError(f"unknown key `{place}.{key}`{_hint(key, keys)}")
    return value


def _quoted(key: str) -> str:
    return f'"{key}"'


def _hint(word: str, known: Iterable[str]) -> str:
    import difflib  # Only mistakes need it.

    known = sorted(set(known))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}" if known else ""
