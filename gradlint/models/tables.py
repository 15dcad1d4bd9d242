"""The tables of `*.toml`, read as Python reads modules: parsed once, and kept as bytecode beside the file from then on.

To parse them takes a tenth of a short run.
"""

from __future__ import annotations

import functools
import os
from importlib.machinery import SourceFileLoader
from types import CodeType
from typing import Any


class _Loader(SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, **_: Any) -> CodeType:  # type: ignore[override]
        from gradlint import toml

        return compile(repr(toml.loads(data.decode("utf-8"))), path, "eval")


@functools.cache
def tables() -> tuple[dict[str, Any], ...]:
    """Return what is written in gradlint's own models."""
    folder = os.path.dirname(__file__)
    return tuple(read(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".toml"))


def read(file: str) -> Any:
    """Return the table in a file."""
    code = _Loader(file, file).get_code(file)
    return eval(code) if code is not None else {}
