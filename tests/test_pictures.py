"""Pictures of a recording: the text, the page and the trace, drawn from a recording that is written down here."""

from __future__ import annotations

import dataclasses
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gradlint.diagnostics import Confidence, Diagnostic, Location, Related, Severity, Side
from gradlint.events import EventKind
from gradlint.reporters import html, recorded, timeline, trace
from gradlint.reporters.signatures import signature
from gradlint.timeline import Act, Event, Group, Iteration, Pattern, Point, Recording, told

EVIL = "<script>alert(1)</script>&\"'"
SOURCE = ["opt.zero_grad()", f"loss = model(x)  # </script>{EVIL}", "loss.backward()", "opt.step()", "schedule.step()"]


def recording(folder: Path, *, rank: int = 0, name: str = "opt", count: int = 5) -> Recording:
    """A run whose third iteration forgets to clear."""
    file = folder / "train.py"
    file.write_text("\n".join(SOURCE), encoding="utf-8")
    places = [Location(str(file), row) for row in range(1, 6)]
    z, f, b, s, r = (
        Act(kind, subject, place)
        for kind, subject, place in zip(
            (EventKind.ZERO, EventKind.FORWARD, EventKind.BACKWARD, EventKind.STEP, EventKind.SCHEDULE),
            (name, "model", "", name, "schedule"),
            places,
            strict=True,
        )
    )
    finding = Diagnostic(
        "GL101", "missing-zero-grad", Severity.ERROR, Confidence.CERTAIN, Side.RUNTIME, f"`{name}` steps {EVIL}",
        places[3], (Related(places[2], "added to by this backward"),), "call `zero_grad()`", None, 1, 3,
    )  # fmt: skip
    iterations = []
    for number in range(count):
        wrong, start = number == 2, 1000 * number
        events = [
            Event(f, start + 100, 50, states=("spent" if wrong else "clean",)),
            Event(b, start + 200, 60, states=("dirty" if wrong else "fresh",), nodes=11, graphs=1),
            Event(s, start + 300, 20, states=("spent",), rates=(0.1,), broken=("GL101",) if wrong else ()),
            Event(r, start + 400, 0, states=("spent",)),
        ]
        if not wrong:
            events.insert(0, Event(z, start, 0, states=("clean",)))
        iterations.append(Iteration(number, int(wrong), tuple(events)))
    return Recording(
        program="train.py", rank=rank, ranks=2, total=count, duration=1.0, anchor=name,
        groups=(Group(name, 0, 2),),
        patterns=(
            Pattern((z, f, b, s, r), (False,) * 5, count - 1, 0, count - 1, (0, 1, 3, 4)),
            Pattern((f, b, s, r), (False,) * 4, 1, 2, 2, (2,)),
        ),
        iterations=tuple(iterations),
        points=tuple(Point(each.number, each.pattern, (0.1 / (each.number + 1),), each.number + 1, 11, 1) for each in iterations),
        findings=(finding,),
    )  # fmt: skip


def drawn(render: Any, *recordings: Recording) -> str:
    stream = io.StringIO()
    render(recordings, stream)
    return stream.getvalue()


def test_text(tmp_path: Path) -> None:
    assert drawn(timeline.render, recording(tmp_path)).splitlines() == [
        "train.py, rank 0 of 2: 5 iterations, each up to a step of `opt`; 1.0 s",
        "",
        "  x4  at 0, 1, 3, 4  z f b s r",
        "  x1  at 2           f b s r     <-- one less zero_grad, train.py:1",
        "                                 <-- GL101 at step, train.py:4",
        "",
        "  the usual iteration, here number 1",
        "    z  zero_grad opt            train.py:1  opt.zero_grad()                                   gradients: clean",
        f"    f  forward model            train.py:2  {SOURCE[1][:45]}...",
        "    b  backward                 train.py:3  loss.backward()                                   gradients: fresh",
        "    s  step opt                 train.py:4  opt.step()                                        gradients: spent",
        "    r  scheduler step schedule  train.py:5  schedule.step()",
        "  learning rate of opt[0]: 0.1 to 0.02 (from 0.02 up to 0.1)",
        "  scheduler steps: 5 in 5 iterations",
        "  graph: 11 nodes; alive at a backward: 1 at first, 1 at last",
        "",
    ]


def test_text_of_a_run_in_which_nothing_happened() -> None:
    empty = Recording("x.py", 0, 1, 0, 0.0, "", (), (), (), ())
    assert drawn(timeline.render, empty) == "x.py: 0 iterations; 0.0 s\n  nothing of a training loop was seen\n"
    assert "Nothing was found" in drawn(html.render, empty)
    assert json.loads(drawn(trace.render, empty))["traceEvents"]


@pytest.mark.parametrize(
    ("letters", "text"),
    [
        ("zfbs", "z f b s"),
        ("zfbfbs", "z f b f b s"),
        ("zfbfbfbfbs", "z (f b)x4 s"),
        ("zzz", "(z)x3"),
        ("zfffbfffbfffbs", "z (f f f b)x3 s"),
    ],
)
def test_signature_folds_what_repeats_itself(letters: str, text: str) -> None:
    kinds = {"z": EventKind.ZERO, "f": EventKind.FORWARD, "b": EventKind.BACKWARD, "s": EventKind.STEP}
    acts = tuple(Act(kinds[letter], "", Location("a.py", 1)) for letter in letters)
    assert signature(Pattern(acts, (False,) * len(acts), 1, 0, 0, (0,))) == text


class Page(HTMLParser):
    """The elements of a page, and the texts of some."""

    VOID = frozenset({"meta", "link", "br", "input", "hr", "img"})
    OPTIONAL = frozenset({"th", "td", "tr", "li", "p"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag and self.open[-1] in self.OPTIONAL:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    text = drawn(html.render, recording(tmp_path), recording(tmp_path, rank=1))
    page = Page(text)
    assert page.open == []
    assert "{{" not in text.partition("<script>")[0]
    outside = [value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")]
    assert outside
    assert all("GL101" in (value or "") for value in outside)
    assert "url(" not in text
    assert "@import" not in text


def test_page_has_every_lane(tmp_path: Path) -> None:
    page = Page(drawn(html.render, recording(tmp_path)))
    assert {attributes["data-lane"] for _, attributes in page.tags if "data-lane" in attributes} == {
        "learning rate",
        "graph size",
        "living graphs",
    }
    classes = " ".join(attributes.get("class") or "" for _, attributes in page.tags).split()
    assert {"k-zero", "k-forward", "k-backward", "k-step", "k-schedule"} <= set(classes)
    assert {"s-clean", "s-fresh", "s-spent", "s-dirty"} <= set(classes)


def data_of(text: str) -> dict[str, Any]:
    [data] = [part for part in Page(text).texts["script"] if part.startswith("{")]
    return json.loads(data)


def test_page_holds_the_ranks_side_by_side(tmp_path: Path) -> None:
    ranks = [recording(tmp_path, rank=rank, count=5 + rank) for rank in (1, 0)]
    data = data_of(drawn(html.render, *ranks))
    assert [(rank["rank"], rank["total"]) for rank in data["ranks"]] == [(0, 5), (1, 6)]
    assert [event[-1] for event in data["ranks"][0]["iterations"][2][3]] == [[], [], [0], []]
    assert data["ranks"][0]["sources"][1] == SOURCE[1]


def test_page_escapes_everything(tmp_path: Path) -> None:
    program = dataclasses.replace(recording(tmp_path, name=EVIL), program=f"/tmp/{EVIL.replace('/', '')}.py")
    page = Page(drawn(html.render, program))
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2
    assert not any("alert" in text for text in page.texts["script"] if not text.startswith("{"))
    assert any(EVIL in text for texts in page.texts.values() for text in texts)


def test_ranks_that_did_the_same_share_a_table(tmp_path: Path) -> None:
    ranks = [recording(tmp_path, rank=rank) for rank in range(3)]
    ranks.append(recording(tmp_path, rank=3, count=4))
    assert Page(drawn(html.render, *ranks)).texts["h3"] == ["ranks 0, 1, 2", "rank 3"]


def test_trace_is_what_perfetto_opens(tmp_path: Path) -> None:
    events = json.loads(drawn(trace.render, recording(tmp_path), recording(tmp_path, rank=1)))["traceEvents"]
    assert {event["pid"] for event in events} == {0, 1}
    assert {event["ph"] for event in events} == {"M", "X", "C"}
    for event in events:
        assert {"M": {"name", "args", "tid"}, "X": {"ts", "dur", "tid", "cat"}, "C": {"ts", "args"}}[
            event["ph"]
        ] <= set(event)
        assert all(
            isinstance(event[key], int) and event[key] >= 0 for key in ("ts", "dur", "pid", "tid") if key in event
        )
    [step, _] = [event for event in events if event["name"] == "step opt [GL101]"]
    assert step["args"]["line"].endswith("train.py:4")
    assert step["args"]["iteration"] == 2
    assert step["args"]["findings"] == [f"GL101 `opt` steps {EVIL}"]
    slices = [event for event in events if event["ph"] == "X" and event["pid"] == 0]
    assert len(slices) == 5 + 24  # a slice for each iteration and for each event


def test_recordings_are_lines(tmp_path: Path) -> None:
    ranks = [recording(tmp_path), recording(tmp_path, rank=1)]
    assert list(recorded.read(drawn(recorded.render, *ranks).splitlines())) == ranks


def test_findings_are_called_what_the_report_calls_them(tmp_path: Path) -> None:
    ranks = [recording(tmp_path), recording(tmp_path, rank=1)]
    [finding] = ranks[0].findings
    better = dataclasses.replace(finding, code="GL108", verdict="confirmed at run time")
    elsewhere = dataclasses.replace(better, code="GL102", location=Location(finding.location.filename, 1))
    of_all = dataclasses.replace(finding, code="GL710", location=Location(finding.location.filename, 3))
    static = dataclasses.replace(of_all, code="GL901", side=Side.STATIC)

    def codes(*report: Diagnostic) -> list[list[str]]:
        return [[each.code for each in drawn.findings] for drawn in told(ranks, report)]

    assert codes(finding) == [["GL101"], ["GL101"]]
    assert codes(better) == [["GL108"], ["GL108"]]
    assert codes(better, of_all, static) == [["GL108", "GL710"], ["GL108"]]
    assert codes(elsewhere) == [["GL101"], ["GL101"]]
    marked = [event for each in told(ranks, [better])[0].iterations for event in each.events if event.broken]
    assert [event.broken for event in marked] == [("GL108",)]
