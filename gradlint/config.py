"""Settings: `[tool.gradlint]` of the nearest pyproject.toml, as one frozen value.

It knows keys, codes and TOML; it must not know how files are found or how findings are made.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gradlint.data import dataclass
from gradlint.models import NO_MODEL, Model, ModelError, built_in_kinds, read_model
from gradlint.rulebook import nearest, rule, rules

EXCLUDED = (
    ".bzr .direnv .eggs .git .hg .ipynb_checkpoints .mypy_cache .nox .pytest_cache .ruff_cache .svn .tox .venv "
    ".virtualenv __pycache__ __pypackages__ _build build dist node_modules site-packages venv"
)


class SettingsError(ValueError):
    """A setting that gradlint cannot follow; the message names it and the nearest right one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What to report and what to read.

    Codes may be prefixes (`GL1`); patterns are those of .gitignore, relative to `root`. `models` says what names of
    the project's own libraries mean, `accumulation_steps` how many batches a guarded step takes (0: nothing is said).
    Without `fixes`, none is built for what is found: whoever shows or applies none saves the time.
    """

    select: tuple[str, ...] = ("GL",)
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = tuple(EXCLUDED.split())
    extend_exclude: tuple[str, ...] = ()
    extend_include: tuple[str, ...] = ()
    per_file_ignores: tuple[tuple[str, tuple[str, ...]], ...] = ()
    preview: bool = False
    accumulation_steps: int = 0
    models: Model = NO_MODEL
    root: str = ""
    fixes: bool = True

    def selects(self, code: str) -> bool:
        """Tell whether `code` is reported: the longest matching prefix decides, `ignore` wins a tie.

        A rule in preview is reported where `preview` is on, or where it is named in full.
        """
        chosen = _longest((*self.select, *self.extend_select), code)
        shown = self.preview or chosen == len(code) or rule(code).status != "preview"
        return shown and chosen > _longest(self.ignore, code)

    def changed(
        self,
        select: tuple[str, ...],
        ignore: tuple[str, ...],
        extend_select: tuple[str, ...],
        *,
        preview: bool = False,
    ) -> Settings:
        """Return these settings under a command line: `select` replaces (if any), the others add.

        Raises SettingsError for an unknown code.
        """
        for option, codes in (("--select", select), ("--ignore", ignore), ("--extend-select", extend_select)):
            _require_known(codes, option)
        return dataclasses.replace(
            self,
            select=select or self.select,
            ignore=self.ignore + ignore,
            extend_select=self.extend_select + extend_select,
            preview=self.preview or preview,
        )


_KEYS = {
    field.name.replace("_", "-"): field.name
    for field in dataclasses.fields(Settings)
    if field.name not in ("root", "fixes")
}
_CODE_KEYS = ("select", "ignore", "extend-select")


def find_settings(start: str | os.PathLike[str]) -> Settings:
    """Return the settings of the nearest pyproject.toml, at `start` or above, that has a `[tool.gradlint]`.

    Raises SettingsError if that file cannot be read or followed.
    """
    start = os.path.realpath(start)
    for folder in upward(start):
        file = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(file):
            table = _table(file)
            if table is not None:
                return _settings(table, file)
    return Settings(root=start if os.path.isdir(start) else os.path.dirname(start))


def upward(folder: str) -> Iterator[str]:
    """Yield a folder, the one that it lies in, and so on."""
    while True:
        yield folder
        inner, folder = folder, os.path.dirname(folder)
        if inner == folder:
            return


def _table(file: str) -> Mapping[str, Any] | None:
    from gradlint import toml

    try:
        with open(file, encoding="utf-8") as stream:
            document = toml.loads(stream.read())
    except (OSError, UnicodeDecodeError, toml.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from error
    table = document.get("tool", {}).get("gradlint")
    if table is not None and not isinstance(table, Mapping):
        raise SettingsError(f"{file}: `tool.gradlint` must be a table")
    return table


def _settings(table: Mapping[str, Any], file: str) -> Settings:
    values: dict[str, Any] = {"root": os.path.dirname(file)}
    for key, value in table.items():
        place = f"{file}: `{key}` of [tool.gradlint]"
        if key not in _KEYS:
            raise SettingsError(f"{file}: unknown key `{key}` in [tool.gradlint]{_hint(key, _KEYS)}")
        values[_KEYS[key]] = _READERS.get(key, _strings)(value, place)
        if key in _CODE_KEYS:
            _require_known(value, place)
    return Settings(**values)


def _strings(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise SettingsError(f'{place} must be a list of strings, such as ["GL101"]')
    return tuple(value)


def _per_file(value: object, place: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not isinstance(value, Mapping):
        raise SettingsError(f'{place} must be a table, such as {{"tests/" = ["GL1"]}}')
    ignores = tuple((pattern, _strings(codes, place)) for pattern, codes in value.items())
    for _, codes in ignores:
        _require_known(codes, place)
    return ignores


def _switch(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{place} must be true or false")
    return value


def _count(value: object, place: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingsError(f"{place} must be a number of batches, such as 4")
    return value


def _models(value: object, place: str) -> Model:
    try:
        return read_model(value, built_in_kinds())
    except ModelError as error:
        raise SettingsError(f"{place}: {error}") from error


_READERS: Mapping[str, Callable[[object, str], Any]] = {
    "per-file-ignores": _per_file,
    "preview": _switch,
    "accumulation-steps": _count,
    "models": _models,
}


def _require_known(codes: Iterable[str], place: str) -> None:
    for code in codes:
        if not code or not any(known.startswith(code) for known in rules()):
            near = nearest(code)
            hint = f"; did you mean `{near}`?" if near else "; `gradlint rule --all` lists them"
            raise SettingsError(f"{place}: unknown rule code `{code}`{hint}")


def _longest(prefixes: Iterable[str], code: str) -> int:
    return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=0)


def _hint(word: str, known: Iterable[str]) -> str:
    import difflib  # Only mistakes need it.

    near = difflib.get_close_matches(word, [*known], n=1, cutoff=0.5)
    return f"; did you mean `{near[0]}`?" if near else f"; known keys are {', '.join(sorted(known))}"
