"""What a run says of what was read in its source: one finding where both sides see it, a verdict where only one does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_runner import run, write

from gradlint.confirmation import CONFIRMED

SOURCE = """\
import sys
import torch
from torch import nn, optim
from helpers import apart

def never(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for x in torch.randn(6, 2, 4):
        model(x).mean().backward()
        optimizer.step()  # never

def main():
    model = nn.Linear(4, 2)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for x in torch.randn(6, 2, 4):
        loss = criterion(torch.softmax(model(x), 1), torch.tensor([0, 1]))  # alone
        loss.backward()
        optimizer.step()  # twin
    apart(model)

if __name__ == "__main__":
    main()
    if len(sys.argv) > 2:
        never(nn.Linear(4, 1))
"""
HELPERS = """\
import torch
from torch import optim

def apart(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for x in torch.randn(6, 2, 4):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()
"""


SOMETIMES = """\
import torch
from torch import nn, optim

model = nn.Linear(4, 2)
optimizer = optim.SGD(model.parameters(), lr=0.1)
for step, x in enumerate(torch.randn(6, 2, 4)):
    if step % 2 == 0:
        optimizer.zero_grad()
    model(x).mean().backward()
    optimizer.step()
"""


def row(mark: str) -> int:
    return next(number for number, line in enumerate(SOURCE.splitlines(), 1) if line.endswith(f"# {mark}"))


def reported(folder: Path, *options: str) -> dict[int, dict[str, Any]]:
    ended = run(folder, *options, "--output-format", "json", "--output-file", "report.json", "train.py")
    assert ended.code == 0, ended.err
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert len({each["location"]["row"] for each in found}) == len(found)
    return {each["location"]["row"]: each for each in found}


def test_each_finding_has_its_verdict(tmp_path: Path) -> None:
    write(tmp_path, SOURCE)
    write(tmp_path, HELPERS, "helpers.py")
    found = reported(tmp_path)
    twin, alone, never = (found[row(mark)] for mark in ("twin", "alone", "never"))
    assert (twin["code"], twin["side"], twin["verdict"], twin["count"]) == ("GL101", "runtime", CONFIRMED, 5)
    assert (alone["code"], alone["side"]) == ("GL901", "static")
    assert "source alone" in alone["verdict"]
    assert (never["code"], never["verdict"]) == ("GL101", "not reached by this run")


def test_no_lint_reports_the_run_alone(tmp_path: Path) -> None:
    write(tmp_path, SOURCE)
    write(tmp_path, HELPERS, "helpers.py")
    assert {(at, each["code"]) for at, each in reported(tmp_path, "--no-lint").items()} == {(row("twin"), "GL101")}


@pytest.mark.parametrize(("argument", "code"), [("", 0), ("x", 1)], ids=["not-seen", "seen"])
def test_only_what_was_seen_fails_the_run(tmp_path: Path, argument: str, code: int) -> None:
    write(
        tmp_path,
        "import sys, torch\n"
        "model = torch.nn.Linear(4, 1)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for x in torch.randn(6, 2, 4) if sys.argv[1:] else torch.randn(1, 2, 4):\n"
        "    model(x).mean().backward()\n"
        "    optimizer.step()\n",
    )
    ended = run(tmp_path, "--fail-on", "error", "train.py", *([argument] if argument else []))
    assert ended.code == code
    assert ("(not confirmed in 1 iteration)" in ended.err) is (code == 0)


APART = """\
import torch
from torch import nn, optim

def fit(model, optimizer):
    for x in torch.randn(6, 2, 4):
        optimizer.zero_grad()
        model(x).mean().backward()
        optimizer.step()

def evaluate(model):
    model.eval()
    with torch.no_grad():
        model(torch.randn(2, 4))

model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
optimizer = optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    fit(model, optimizer)
    evaluate(model)
"""


def test_what_a_run_sees_at_a_place_that_the_source_only_tells_of_is_one_finding(tmp_path: Path) -> None:
    write(tmp_path, APART)
    head = APART.splitlines().index("for epoch in range(3):") + 1
    found = reported(tmp_path)
    assert {at: (each["code"], each["verdict"]) for at, each in found.items()} == {head: ("GL304", CONFIRMED)}


def test_a_picture_calls_a_finding_what_the_report_calls_it(tmp_path: Path) -> None:
    write(tmp_path, SOMETIMES)
    ended = run(tmp_path, "--timeline", "--html", "run.html", "train.py")
    text, _, report = ended.err.partition("warning[GL108]")
    assert "<-- GL108 at step, train.py:10" in text
    assert "GL101" not in ended.err + (tmp_path / "run.html").read_text(encoding="utf-8")
    assert CONFIRMED in report
