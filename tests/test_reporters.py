"""What reports look like: frames as text, JSON as data, and no source that can spoil either."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlint.diagnostics import Confidence, Diagnostic, Edit, Fix, Location, Related, Severity, Side
from gradlint.reporters import FORMATS, render, wants_color

LOOP = """\
import torch

for x, y in loader:
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
"""
STEP = Location("train.py", 6, 5, 6, 21)
BACKWARD = Related(Location("train.py", 5, 5, 5, 20), "added to by this backward")


def finding(
    location: Location = STEP,
    *related: Related,
    severity: Severity = Severity.ERROR,
    side: Side = Side.STATIC,
    fix: Fix | None = None,
    count: int = 0,
    iteration: int = 0,
) -> Diagnostic:
    return Diagnostic(
        "GL101",
        "missing-zero-grad",
        severity,
        Confidence.CERTAIN,
        side,
        "steps on old gradients",
        location,
        related,
        "clear them",
        fix,
        count,
        iteration,
    )


def shown(
    found: Sequence[Diagnostic],
    output_format: str = "full",
    *,
    files: int | None = None,
    color: bool = False,
    **sources: str,
) -> str:
    stream = io.StringIO()
    texts = {name.replace("_", "."): text for name, text in sources.items()}
    render(
        found,
        stream,
        output_format,
        files=files,
        color=color,
        lines=lambda name: texts.get(name, "").splitlines(keepends=True),
    )
    return stream.getvalue()


def frame(found: Diagnostic, **sources: str) -> str:
    """Return the report on `found` without its first line and its summary."""
    return shown([found], **sources).split("\n", 1)[1].split("\n\n")[0] + "\n"


def test_full() -> None:
    assert (
        shown([finding(STEP, BACKWARD)], files=3, train_py=LOOP)
        == """\
error[GL101]: steps on old gradients
 --> train.py:6:5
  |
3 | for x, y in loader:
4 |     loss = criterion(model(x), y)
5 |     loss.backward()
  |     --------------- added to by this backward
6 |     optimizer.step()
  |     ^^^^^^^^^^^^^^^^
  |
  = help: clear them

Found 1 error in 3 files.
`gradlint rule GL101` explains the rule.
"""
    )


FAR = "\n".join(["a()", "", *(f"x{row} = 0" for row in range(3, 12)), "b()", ""])
FRAMES = {
    "far-apart": (
        finding(Location("f.py", 12, 1, 12, 4), Related(Location("f.py", 1, 1, 1, 4), "first here")),
        {"f_py": FAR},
        """\
  --> f.py:12:1
   |
 1 | a()
   | --- first here
 2 |
 3 | x3 = 0
...
10 | x10 = 0
11 | x11 = 0
12 | b()
   | ^^^
   |
   = help: clear them
""",
    ),
    "another-file": (
        finding(Location("b.py", 1, 1, 1, 4), Related(Location("a.py", 1, 5, 1, 8), "made here")),
        {"a_py": "x = f()\n", "b_py": "g()\n"},
        """\
 --> b.py:1:1
  |
1 | g()
  | ^^^
  |
 ::: a.py:1:5
  |
1 | x = f()
  |     --- made here
  |
  = help: clear them
""",
    ),
    "two-on-one-line": (
        finding(Location("f.py", 1, 14, 1, 22), Related(Location("f.py", 1, 1, 1, 13), "used here")),
        {"f_py": "l.backward(); o.step()\n"},
        """\
 --> f.py:1:14
  |
1 | l.backward(); o.step()
  | ------------ used here
  |              ^^^^^^^^
  |
  = help: clear them
""",
    ),
    "tabs": (
        finding(Location("f.py", 2, 2, 2, 10)),
        {"f_py": "if a:\n\to.step()\n"},
        """\
 --> f.py:2:2
  |
1 | if a:
2 |     o.step()
  |     ^^^^^^^^
  |
  = help: clear them
""",
    ),
    "wide-characters": (
        finding(Location("f.py", 1, 7, 1, 15)),
        {"f_py": "'学習'; o.step()\n"},
        """\
 --> f.py:1:7
  |
1 | '学習'; o.step()
  |         ^^^^^^^^
  |
  = help: clear them
""",
    ),
    "no-end": (
        finding(Location("f.py", 1, 1)),
        {"f_py": "    o.step()\n"},
        """\
 --> f.py:1:1
  |
1 |     o.step()
  |     ^^^^^^^^
  |
  = help: clear them
""",
    ),
    "several-lines": (
        finding(Location("f.py", 1, 1, 3, 2)),
        {"f_py": "o.step(\n    closure\n)\n"},
        """\
 --> f.py:1:1
  |
1 | o.step(
  | ^^^^^^^
2 |     closure
3 | )
  |
  = help: clear them
""",
    ),
    "file-as-a-whole": (
        finding(Location("f.py", 1, 1, 1, 1)),
        {"f_py": "o.step()\n"},
        """\
 --> f.py:1:1
  = help: clear them
""",
    ),
    "no-source": (
        finding(),
        {},
        """\
 --> train.py:6:5
  = help: clear them
""",
    ),
    "control-characters": (
        finding(Location("f.py", 1, 1, 1, 4)),
        {"f_py": "f()  # \x1b[2J\x07\n"},
        """\
 --> f.py:1:1
  |
1 | f()  # \N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}
  | ^^^
  |
  = help: clear them
""",
    ),
    "seen-at-run-time": (
        finding(Location("f.py", 1, 1, 1, 9), side=Side.RUNTIME, count=7, iteration=2),
        {"f_py": "o.step()\n"},
        """\
 --> f.py:1:1
  |
1 | o.step()
  | ^^^^^^^^
  |
  = note: seen 7 times, first in iteration 2
  = help: clear them
""",
    ),
}


@pytest.mark.parametrize(("found", "sources", "text"), FRAMES.values(), ids=FRAMES)
def test_frame(found: Diagnostic, sources: dict[str, str], text: str) -> None:
    assert frame(found, **sources) == text


def test_long_line_is_cut_around_its_mark() -> None:
    line = "x" * 1_000_000 + "o.step()" + "y" * 1_000_000
    text = frame(finding(Location("f.py", 1, 1_000_001, 1, 1_000_009)), f_py=line)
    code, mark = text.splitlines()[2:4]
    assert len(code) < 200
    assert code[mark.index("^") : mark.rindex("^") + 1] == "o.step()"


@pytest.mark.parametrize(
    ("severities", "files", "said"),
    [
        ("", 12, "Found nothing in 12 files."),
        ("", None, "Found nothing."),
        ("e", 1, "Found 1 error in 1 file."),
        ("eeew", 12, "Found 3 errors and 1 warning in 12 files."),
        ("ewwi", None, "Found 1 error, 2 warnings and 1 hint."),
    ],
)
@pytest.mark.parametrize("output_format", ["full", "concise"])
def test_summary(severities: str, files: int | None, said: str, output_format: str) -> None:
    levels = {level.value[0]: level for level in Severity}
    assert f"{said}\n" in shown([finding(severity=levels[one]) for one in severities], output_format, files=files)


def test_concise() -> None:
    text = shown([finding(STEP, BACKWARD)], "concise")
    assert text == "train.py:6:5: GL101 steps on old gradients\nFound 1 error.\n"


def test_json() -> None:
    fix = Fix("Insert the call", (Edit(Location("train.py", 4, 5, 4, 5), "optimizer.zero_grad()\n    "),))
    [item] = json.loads(shown([finding(STEP, BACKWARD, fix=fix)], "json"))
    assert item == {
        "code": "GL101",
        "name": "missing-zero-grad",
        "severity": "error",
        "confidence": "certain",
        "side": "static",
        "message": "steps on old gradients",
        "help": "clear them",
        "filename": "train.py",
        "location": {"row": 6, "column": 5},
        "end_location": {"row": 6, "column": 21},
        "related": [
            {
                "filename": "train.py",
                "location": {"row": 5, "column": 5},
                "end_location": {"row": 5, "column": 20},
                "message": "added to by this backward",
            }
        ],
        "fix": {
            "message": "Insert the call",
            "applicability": "unsafe",
            "edits": [
                {
                    "filename": "train.py",
                    "location": {"row": 4, "column": 5},
                    "end_location": {"row": 4, "column": 5},
                    "content": "optimizer.zero_grad()\n    ",
                }
            ],
        },
        "url": "rules/GL101-missing-zero-grad.md",
    }


def test_json_of_a_run_counts() -> None:
    [item] = json.loads(shown([finding(Location("f.py", 3), side=Side.RUNTIME, count=7, iteration=2)], "json"))
    assert (item["count"], item["iteration"], item["fix"]) == (7, 2, None)
    assert item["end_location"] == item["location"] == {"row": 3, "column": 1}


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(shown([], "json", files=3)) == []


def test_colour_changes_nothing_but_the_colour() -> None:
    colourful = shown([finding(STEP, BACKWARD)], files=3, color=True, train_py=LOOP)
    assert colourful.startswith("\x1b[1;31merror[GL101]\x1b[0m")
    plain = "".join(part.partition("m")[2] if index else part for index, part in enumerate(colourful.split("\x1b[")))
    assert plain == shown([finding(STEP, BACKWARD)], files=3, train_py=LOOP)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "stream", "color"),
    [
        ({}, Terminal(), True),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({}, io.StringIO(), False),
    ],
)
def test_colour_is_for_terminals(
    environment: dict[str, str], stream: io.StringIO, color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_color(stream) is color


ROWS = st.integers(1, 9)
PLACES = st.builds(Location, st.sampled_from(["f.py", "g.py"]), ROWS, ROWS, st.integers(0, 9), st.integers(0, 9))
FINDINGS = st.builds(
    lambda place, related: finding(place, *related),
    PLACES,
    st.lists(st.builds(Related, PLACES, st.text(max_size=5)), max_size=3),
)


@given(st.lists(FINDINGS, max_size=3), st.text(max_size=60), st.sampled_from(FORMATS), st.booleans())
def test_no_place_and_no_source_stops_a_report(
    found: list[Diagnostic], source: str, output_format: str, color: bool
) -> None:
    nothing = output_format == "github" and not found
    assert nothing or shown(found, output_format, color=color, f_py=source)


def test_full_names_what_is_around_all_files_that_can_be_mended() -> None:
    def told(*names: str) -> str:
        edits = (Edit(Location("train.py", 4, 5, 4, 5), "optimizer.zero_grad()\n    "),)
        fix = Fix("Insert the call", edits)
        found = [finding(replace(STEP, filename=name), fix=fix) for name in names]
        return shown(found, train_py=LOOP).partition("--diff ")[2].partition("`")[0]

    assert told("a/train.py") == "a/train.py"
    assert told("a/b/train.py", "a/c/train.py") == "a"
    assert told("a/train.py", "b/train.py") == "."
    assert told("a/train.py", "/b/train.py") == "."


@pytest.mark.parametrize(
    ("safe", "told"),
    [
        ((), []),
        ((True,), ["1 finding can be mended: `gradlint --diff train.py` shows how."]),
        ((True, False), ["2 findings can be mended: `gradlint --unsafe-fixes --diff train.py` shows how."]),
    ],
)
def test_full_says_how_many_can_be_mended(safe: tuple[bool, ...], told: list[str]) -> None:
    edits = (Edit(Location("train.py", 4, 5, 4, 5), "optimizer.zero_grad()\n    "),)
    found = [finding(), *(finding(fix=Fix("Insert the call", edits, each)) for each in safe)]
    assert [line for line in shown(found, train_py=LOOP).splitlines() if "can be mended" in line] == told
