"""A torch that is too old is refused by name, before anything of it is replaced; the package asks for no older one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradlint.runtime.versions import OLDEST, require


@pytest.mark.parametrize("version", ["1.13.1", "2.1.0", "2.2.2+cpu"])
def test_too_old(version: str) -> None:
    with pytest.raises(ImportError, match=f"torch 2.3 and later, not of torch {re.escape(version)}"):
        require(version)


@pytest.mark.parametrize("version", ["2.3.0", "2.13.0+cpu", "2.14.0a0+git1b2c3d", "3.0.0"])
def test_new_enough(version: str) -> None:
    require(version)


def test_the_package_asks_for_what_it_needs() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    bounds = set(re.findall(r"torch>=([\d.]+)", project))
    assert bounds == {".".join(map(str, OLDEST))}
