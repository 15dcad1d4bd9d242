"""What is recorded of real loops: how they are cut into iterations, and what is told of each event."""

from __future__ import annotations

import copy
import io
import json
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.nn.modules import module as modules
from torch.optim import lr_scheduler

import gradlint
from gradlint.events import EventKind
from gradlint.recordings import from_json, to_json
from gradlint.reporters.signatures import several, signature
from gradlint.runtime.iterations import Store
from gradlint.runtime.progress import Progress
from gradlint.timeline import Recording

X, Y = torch.randn(8, 4), torch.randn(8, 1)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def sgd(module: nn.Module) -> optim.SGD:
    return optim.SGD(module.parameters(), lr=0.1)


def plain() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(6):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()


def cleared_at_the_end() -> None:
    model = net()
    optimizer = sgd(model)
    optimizer.zero_grad()
    for _ in range(6):
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
        optimizer.zero_grad()


def never_cleared() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(6):
        F.mse_loss(model(X), Y).backward()
        optimizer.step()


def accumulation() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(12):
        (F.mse_loss(model(X), Y) / 4).backward()
        if index % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()


def sometimes_not_cleared() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(6):
        if index != 4:
            optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()


def two_branches_without_clearing() -> None:
    model = net()
    optimizer = sgd(model)
    for index in range(6):
        if index % 2:
            F.mse_loss(model(X), Y).backward()
        else:
            F.l1_loss(model(X), Y).backward()
        optimizer.step()


def stepped_twice() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(6):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
        optimizer.step()


def gan() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for _ in range(6):
        fake = generator(torch.randn(8, 2))
        opt_d.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def scheduled() -> None:
    model = net()
    optimizer = sgd(model)
    schedule = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(2):
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()
        schedule.step()


def lbfgs() -> None:
    model = net()
    optimizer = optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(4):
        optimizer.step(closure)


def penalty() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(3):
        optimizer.zero_grad()
        x = X.clone().requires_grad_()
        [slope] = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        slope.pow(2).mean().backward()
        optimizer.step()


def evaluated() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(3):
        model.train()
        for _ in range(2):
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            model(X)


def one_after_the_other() -> None:
    for _ in range(2):
        model = net()
        optimizer = sgd(model)
        for _ in range(30):
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()


def pretrained() -> None:
    model = net()
    first, second = sgd(model), optim.Adam(model.parameters())
    for optimizer in (first, second):
        for _ in range(30):
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()


def failing_step() -> None:
    class Odd(optim.SGD):
        def step(self, closure=None):
            if closure is None and not hasattr(self, "tried"):
                self.tried = True
                raise ArithmeticError
            return super().step(closure)

    model = net()
    optimizer = Odd(model.parameters(), lr=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        try:
            optimizer.step()
        except ArithmeticError:
            continue


def recorded(program: Callable[[], None]) -> Recording:
    with gradlint.watch(output=None, timeline=True) as report:
        program()
    assert report.failure is None
    assert report.recording is not None
    return report.recording


def kinds(recording: Recording) -> list[tuple[int, str]]:
    """Return how often each kind of iteration came, in the order of the first ones."""
    return [(each.count, signature(each, several(recording))) for each in recording.patterns]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (plain, [(6, "z f b s")]),
        (cleared_at_the_end, [(1, "z f b s z"), (5, "f b s z")]),
        (never_cleared, [(6, "f b s")]),
        (accumulation, [(3, "(f b)x4 s z")]),
        (sometimes_not_cleared, [(5, "z f b s"), (1, "f b s")]),
        (two_branches_without_clearing, [(3, "f b s"), (3, "f b s")]),
        (stepped_twice, [(6, "z f b s s")]),
        (gan, [(6, "f:generator z:opt_d f:critic f:critic b s:opt_d z:opt_g f:critic b s:opt_g")]),
        (scheduled, [(4, "z f b s"), (2, "z f b s r")]),
        (lbfgs, [(4, "s (z f b)")]),
        (penalty, [(3, "z f g b s")]),
        (evaluated, [(3, "z f b s"), (2, "z f b s e t"), (1, "z f b s e")]),
        (one_after_the_other, [(60, "z f b s")]),
        (failing_step, [(1, "z f b"), (3, "z f b s")]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_loop_is_cut_into_iterations(program: Callable[[], None], expected: list[tuple[int, str]]) -> None:
    assert kinds(recorded(program)) == expected


def test_an_optimizer_that_has_had_its_time_is_followed_by_the_next() -> None:
    recording = recorded(pretrained)
    assert recording.total == 60
    assert [group.optimizer for group in recording.groups] == ["first", "second"]


def events(recording: Recording, number: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    for event in recording.iterations[number].events:
        yield event.act.letter, event.states


def test_states_of_gradients_follow_the_events() -> None:
    assert list(events(recorded(plain), 2)) == [
        ("z", ("clean",)),
        ("f", ("clean",)),
        ("b", ("fresh",)),
        ("s", ("spent",)),
    ]


def test_each_group_has_its_own_states() -> None:
    states = dict(events(recorded(gan), 2))
    assert [(group.optimizer, group.tensors) for group in recorded(gan).groups] == [("opt_d", 2), ("opt_g", 2)]
    assert states["s"] == ("dirty", "spent")  # the generator's backward runs through the critic, which is cleared


def test_a_mistake_is_marked_where_it_happened_and_only_there() -> None:
    recording = recorded(sometimes_not_cleared)
    marked = {
        (iteration.number, event.act.letter)
        for iteration in recording.iterations
        for event in iteration.events
        for _ in recording.marks(event)
    }
    assert [finding.code for finding in recording.findings] == ["GL101"]
    assert marked == {(4, "s")}


def test_right_code_has_no_marks() -> None:
    recording = recorded(gan)
    assert recording.findings == ()
    assert not any(list(recording.marks(event)) for each in recording.iterations for event in each.events)


def test_learning_rate_is_the_one_that_the_step_used() -> None:
    recording = recorded(scheduled)
    assert [point.rates for point in recording.points] == [(0.1,)] * 3 + [(0.05,)] * 3
    assert [point.schedules for point in recording.points] == [0, 0, 1, 1, 1, 2]


def test_graphs_are_measured_and_counted() -> None:
    kept = []

    def leaking() -> None:
        model = net()
        optimizer = sgd(model)
        for _ in range(5):
            optimizer.zero_grad()
            loss = F.mse_loss(model(X), Y)
            loss.backward()
            optimizer.step()
            kept.append(loss)

    points = recorded(leaking).points
    assert [point.graphs for point in points] == [1, 2, 3, 4, 5]
    assert len({point.nodes for point in points}) == 1
    assert all(point.graphs <= 1 for point in recorded(plain).points)


def test_a_recording_survives_its_journey_through_json() -> None:
    for program in (gan, lbfgs, scheduled, sometimes_not_cleared):
        recording = recorded(program)
        copied = from_json(json.loads(json.dumps(to_json(recording), allow_nan=False)))
        assert copied == recording
    with pytest.raises(ValueError, match="version 0"):
        from_json({**to_json(recording), "version": 0})


def test_a_long_run_keeps_its_ends_and_one_of_each_kind(tmp_path: Path) -> None:
    event = recorded(plain).iterations[0].events[0]
    rare = recorded(plain).iterations[0].events[3]
    store = Store(lambda: (math.nan,), kept=10)
    for number in range(20_000):
        store.add([rare if number == 7000 else event], 0)
    numbers = [iteration.number for iteration in store.iterations]
    assert numbers == [*range(10), 7000, *range(19_990, 20_000)]
    assert [(each.count, each.first, each.last) for each in store.patterns] == [(19_999, 0, 19_999), (1, 7000, 7000)]
    points = store.points
    assert 1000 <= len(points) <= 2000
    assert [point.number for point in points if point.pattern == 1] == [7000 // 16 * 16]


def test_kinds_without_number_do_not_pile_up() -> None:
    events = recorded(plain).iterations[0].events
    store = Store(lambda: (), kept=10)
    for number in range(1000):
        store.add(list(events) * (number % 700 + 1), 0)
    assert len(store.patterns) == 200
    assert sum(each.count for each in store.patterns) == 1000


@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW], ids=lambda kind: kind.__name__)
def test_recording_changes_no_bit(kind: Callable[..., optim.Optimizer]) -> None:
    def run() -> tuple[list[torch.Tensor], torch.Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        optimizer = kind(model.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            F.mse_loss(model(X), Y).backward()
            optimizer.step()
        return [copy.deepcopy(each) for each in model.state_dict().values()], torch.get_rng_state()

    bare = run()
    with gradlint.watch(output=None, timeline=io.StringIO()):
        seen = run()
    assert all(torch.equal(*pair) for pair in zip(bare[0], seen[0], strict=True))
    assert torch.equal(bare[1], seen[1])


def test_what_is_not_wanted_is_not_recorded() -> None:
    with gradlint.watch(output=None) as report:
        assert not modules._global_forward_pre_hooks
        plain()
    assert report.recording is None
    with gradlint.watch(output=None, timeline=io.StringIO()):
        assert modules._global_forward_pre_hooks
    assert not modules._global_forward_pre_hooks
    assert not modules._global_forward_hooks


def test_findings_are_the_same_with_a_recording() -> None:
    for program in (plain, never_cleared, sometimes_not_cleared, stepped_twice, gan, lbfgs):
        with gradlint.watch(output=None) as bare:
            program()
        assert list(recorded(program).findings) == bare.diagnostics, program.__name__


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, of torch
@pytest.mark.filterwarnings("error")
def test_compiled_models_are_compiled_once() -> None:
    def frames() -> int:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model = net()
        compiled, optimizer = torch.compile(model, backend="eager"), sgd(model)
        for _ in range(8):
            optimizer.zero_grad()
            F.mse_loss(compiled(X), Y).backward()
            optimizer.step()
        return torch._dynamo.utils.counters["frames"]["ok"]

    bare, filters = frames(), list(warnings.filters)
    with gradlint.watch(output=None, timeline=io.StringIO()) as report:
        assert frames() == bare
    assert report.recording is not None
    assert kinds(report.recording) == [(8, "z f b s")]
    assert warnings.filters == filters


def test_pictures_are_drawn_when_the_run_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with gradlint.watch(output=None, html=tmp_path / "run.html", record=tmp_path / "run.jsonl"):
            plain()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert "</html>" in (tmp_path / "run.html").read_text(encoding="utf-8")
    [line] = (tmp_path / "run.jsonl").read_text(encoding="utf-8").splitlines()
    assert from_json(json.loads(line)).total == 6


def test_what_cannot_be_written_costs_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with gradlint.watch(output=None, html=tmp_path / "nowhere" / "run.html"):
        plain()
    assert capsys.readouterr().err.startswith(f"gradlint: {tmp_path / 'nowhere' / 'run.html'} cannot be written: ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlint.runtime.progress._PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        progress = Progress(stream)
        progress.tick(1)
        assert ("iteration 1" in stream.getvalue()) is shown
        progress.end()
        assert stream.getvalue().endswith("\r\x1b[K") is shown


def test_kind_of_every_event_has_a_letter() -> None:
    acts = {
        act.kind
        for program in (gan, penalty, scheduled, evaluated)
        for p in recorded(program).patterns
        for act in p.acts
    }
    assert acts == {
        EventKind(kind) for kind in ("zero", "forward", "backward", "read", "step", "schedule", "eval", "train")
    }
