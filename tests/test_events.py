"""`gradlint events`: what is shown of small programs, word for word, and that every program can be shown."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import CASES, ROOT, RULES, Block, read_blocks

from gradlint.cli import main
from gradlint.protocols import GRAPH, MODE, OPTIMIZER, SAMPLER, SCHEDULER
from gradlint.reporters.story import MEANINGS, render
from gradlint.static.analysis import Analysis
from gradlint.static.flow.protocols import GRADIENT, RATE, SHARDING
from gradlint.static.story.arrivals import SHOWN
from gradlint.static.story.narration import narrate

_TOLD = re.compile(
    r"^```py (?P<name>\S+)\n(?P<source>.*?)^```\n\n```text\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL
)
PROGRAMS = [
    found.groups()
    for page in (ROOT / "docs" / "events.md", ROOT / "tests" / "stories.md")
    for found in _TOLD.finditer(page.read_text(encoding="utf-8"))
]
PROTOCOLS = (OPTIMIZER, SCHEDULER, MODE, GRAPH, GRADIENT, RATE, SAMPLER, SHARDING)
BLOCKS = [block for path in (*sorted(RULES.glob("GL*.md")), *sorted(CASES.glob("*.md"))) for block in read_blocks(path)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _events(folder: Path, name: str, source: str, *options: str) -> str:
    (folder / name).write_text(source, encoding="utf-8")
    result = CliRunner().invoke(main, ["events", name, *options])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize(("name", "source", "shown"), PROGRAMS, ids=[name for name, _, _ in PROGRAMS])
def test_program_is_shown_word_for_word(folder: Path, name: str, source: str, shown: str) -> None:
    assert _events(folder, name, source) == shown


def test_json_has_the_same_story(folder: Path) -> None:
    name, source, _ = PROGRAMS[0]
    story = json.loads(_events(folder, name, source, "--output-format", "json"))
    [section] = story["sections"]
    step = next(event for event in section["events"] if event["event"] == "step")
    assert (step["source"], step["location"]["row"], step["loops"]) == ("optimizer.step()", 12, [7, 9])
    assert step["changes"][0]["broken"] == [{"code": "GL101", "if": ["dirty"], "not_if": ["unknown-fresh"]}]
    assert section["findings"] == [{"code": "GL101", "row": 12}]
    assert {subject["name"]: subject["of"] for subject in story["subjects"]}["optimizer"] == ["model"]


def test_finding_of_a_rule_without_states_stands_at_its_line(folder: Path) -> None:
    source = (
        "import torch\nnet = torch.nn.Linear(2, 1)\nopt = torch.optim.SGD(net.parameters(), lr=0.1)\ntotal = 0\n"
        "for x in torch.ones(8, 4, 2):\n    opt.zero_grad()\n    loss = net(x).mean()\n    loss.backward()\n"
        "    opt.step()\n    total += loss\nprint(total)\n"
    )
    [line] = [line for line in _events(folder, "train.py", source).split("\n") if "GL501" in line]
    assert re.fullmatch(r"10      total \+= loss +\| ! GL501: reported", line)


def test_what_cannot_be_parsed_is_one_clear_line(folder: Path) -> None:
    (folder / "broken.py").write_text("def train(:\n", encoding="utf-8")
    result = CliRunner().invoke(main, ["events", "broken.py"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: broken.py: ")


def test_every_state_has_a_meaning() -> None:
    states = {state for protocol in PROTOCOLS for state in protocol.states}
    assert {SHOWN.get(state, state) for state in states} <= set(MEANINGS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.id)
def test_every_page_block_can_be_shown(block: Block) -> None:
    try:
        tree = ast.parse(block.source)
    except SyntaxError:
        pytest.skip("a block that cannot be parsed")
    story = narrate(Analysis(tree, block.source, "block.py"), ())
    for output_format in ("full", "json"):
        stream = io.StringIO()
        render(story, stream, output_format)
        assert stream.getvalue()
