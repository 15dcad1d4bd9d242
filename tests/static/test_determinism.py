"""The same code has the same findings, whatever order sets and dictionaries of strings have in a process.

Where something is found, that is: what is silent is silent in every process that runs the pages, and each has its own order.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
PROBE = """
import sys, gradlint, pages
paths = (*sorted(pages.RULES.glob("GL*.md")), *sorted(pages.CASES.glob("*.md")))
for path in paths[int(sys.argv[1]) :: int(sys.argv[2])]:
    for block in (block for block in pages.read_blocks(path) if block.assertions):
        source = f"{block.prelude}\\n{block.source}"
        for item in gradlint.check_source(source, "train.py", settings=pages.EVERYTHING):
            print(block.id, item)
"""


def told(seed: int, part: int, parts: int) -> str:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": paths}
    command = [sys.executable, "-c", PROBE, str(part), str(parts)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("part", range(3))
def test_findings_do_not_depend_on_hashes(part: int) -> None:
    assert told(0, part, 3) == told(1 + part, part, 3)
