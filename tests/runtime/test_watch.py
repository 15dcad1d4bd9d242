"""What a watched run must not notice: the same numbers, the same torch afterwards, no memory, no pickled trace of us."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import nn, optim
from torch._C._dynamo import eval_frame
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import gradlint
from gradlint.runtime import TrainingMistake
from gradlint.runtime.living import living, optimizers, remembering

X, Y = torch.randn(16, 4), torch.randn(16, 1)


def make() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))


def train(model: nn.Module, opt: optim.Optimizer, steps: int, *, clear: bool = True) -> list[float]:
    schedule = lr_scheduler.StepLR(opt, 10)
    losses = []
    for _ in range(steps):
        model.train()
        if clear:
            opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        schedule.step()
        losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            model(X)
    return losses


def everything(
    clear: bool, kind: Callable[..., optim.Optimizer]
) -> tuple[list[float], list[torch.Tensor], torch.Tensor]:
    model = make()
    losses = train(model, kind(model.parameters(), lr=0.01), 50, clear=clear)
    return losses, [value.clone() for value in model.state_dict().values()], torch.get_rng_state()


@pytest.mark.parametrize("clear", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("kind", [optim.SGD, optim.AdamW, optim.Adagrad], ids=lambda kind: kind.__name__)
def test_every_bit_is_the_same(clear: bool, kind: Callable[..., optim.Optimizer]) -> None:
    bare = everything(clear, kind)
    with gradlint.watch(output=None) as report:
        watched = everything(clear, kind)
    assert report.failure is None
    assert bool(report.diagnostics) is not clear
    assert watched[0] == bare[0]
    assert all(torch.equal(*pair) for pair in zip(watched[1], bare[1], strict=True))
    assert torch.equal(watched[2], bare[2])


def seams() -> list[object]:
    return [
        vars(torch.autograd)["_engine_run_backward"],
        vars(nn.parallel.DistributedDataParallel)["__init__"],
        vars(torch.utils.data.DistributedSampler)["__iter__"],
        vars(torch.utils.data.DataLoader)["__iter__"],
        vars(optim.Optimizer)["__init__"],
        vars(optim.Optimizer)["zero_grad"],
        vars(nn.Module)["zero_grad"],
        vars(nn.Module)["train"],
        vars(torch.amp.GradScaler)["step"],
        vars(lr_scheduler)["_enable_get_lr_call"],
        vars(lr_scheduler.ReduceLROnPlateau)["step"],
        vars(lr_scheduler.SequentialLR)["step"],
        vars(lr_scheduler.ChainedScheduler)["step"],
        torch.fx.traceback.format_stack,
        torch.set_anomaly_enabled,
        torch._C.is_anomaly_enabled(),
        len(_global_optimizer_pre_hooks),
        len(_global_optimizer_post_hooks),
        len(nn.modules.module._global_forward_pre_hooks),
    ]


def test_everything_is_put_back() -> None:
    before = seams()
    with gradlint.watch(output=None):
        make().eval()(X)
        during = seams()
    assert seams() == before
    assert all(one != other for one, other in zip(before, during, strict=True))


def test_everything_is_put_back_after_an_error() -> None:
    before = seams()
    error = KeyError("the user's own")
    with pytest.raises(KeyError) as raised, gradlint.watch(output=None):
        raise error
    assert raised.value is error
    assert seams() == before


def test_a_later_patch_of_somebody_else_stays() -> None:
    original = nn.Module.train
    try:
        with gradlint.watch(output=None):
            ours = nn.Module.train
            nn.Module.train = theirs = lambda self, mode=True: ours(self, mode)
        assert nn.Module.train is theirs
        assert not make().eval().training
        assert not nn.modules.module._global_forward_pre_hooks
    finally:
        nn.Module.train = original


def test_anomaly_mode_of_the_user_stays_on() -> None:
    with torch.autograd.set_detect_anomaly(True), gradlint.watch(output=None):
        assert torch.is_anomaly_enabled()
        train(model := make(), optim.SGD(model.parameters(), lr=0.01), 12)
        assert torch.is_anomaly_enabled()


def test_nothing_is_kept_alive() -> None:
    with gradlint.watch(output=None):
        model = make()
        opt = optim.SGD(model.parameters(), lr=0.01)
        train(model, opt, 3)
        gone = [weakref.ref(each) for each in (model, opt, *model.parameters(), *(p.grad for p in model.parameters()))]
        del model, opt
        gc.collect()
        assert [each() for each in gone] == [None] * len(gone)


def test_memory_does_not_grow() -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)

    def objects_after(steps: int) -> tuple[int, int]:
        train(model, opt, steps)
        gc.collect()
        return len(gc.get_objects()), len(living(torch.Tensor))

    with gradlint.watch(output=None):
        objects_after(300)
        objects, tensors = objects_after(10)
        more_objects, more_tensors = objects_after(290)
    assert more_tensors == tensors
    assert more_objects - objects < 50


def test_pickles_know_nothing_of_gradlint() -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)
    schedule = lr_scheduler.StepLR(opt, 1)
    with gradlint.watch(output=None):
        train(model, opt, 3)
        model.eval()
        file = io.BytesIO()
        torch.save(model, file)
        texts = [pickle.dumps(each) for each in (model, opt, opt.state_dict(), schedule.state_dict())]
        copy.deepcopy(model)
    assert b"gradlint" not in b"".join((file.getvalue(), *texts))


def test_strict_raises_where_it_happens() -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)
    with pytest.raises(TrainingMistake, match="GL101") as raised, gradlint.watch(strict=True, output=None):
        train(model, opt, 5, clear=False)
    assert raised.traceback[-1].path.name != "test_watch.py"
    assert raised.value.diagnostic.iteration == 2


def test_strict_lets_right_code_pass() -> None:
    model = make()
    with gradlint.watch(strict=True, output=None):
        train(model, optim.SGD(model.parameters(), lr=0.01), 50)


def test_report_goes_to_stderr_unless_told_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)
    elsewhere = io.StringIO()
    with gradlint.watch(output=elsewhere):
        train(model, opt, 5, clear=False)
    with gradlint.watch(output=None):
        train(model, opt, 5, clear=False)
    assert "GL101" in elsewhere.getvalue()
    assert capsys.readouterr() == ("", "")
    with gradlint.watch():
        train(model, opt, 5, clear=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "GL101" in captured.err


def test_right_code_is_met_with_silence(capsys: pytest.CaptureFixture[str]) -> None:
    model = make()
    with gradlint.watch():
        train(model, optim.SGD(model.parameters(), lr=0.01), 5)
    assert capsys.readouterr() == ("", "")


def test_findings_have_subject_count_and_iteration() -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        train(model, opt, 5, clear=False)
    [found] = report.diagnostics
    assert (found.code, found.count, found.iteration) == ("GL101", 4, 2)
    assert found.message.startswith("`opt` ")
    assert found.location.filename == __file__


def test_a_run_that_was_under_way_is_judged_from_there() -> None:
    model = make()
    opt = optim.SGD(model.parameters(), lr=0.01)
    schedule = lr_scheduler.StepLR(opt, 5)
    train(model, opt, 3)
    F.mse_loss(model(X), Y).backward()
    with gradlint.watch(output=None) as report:
        opt.step()
        schedule.step()
        train(model, opt, 3)
    assert report.diagnostics == []


@pytest.mark.parametrize("known", [nullcontext, remembering])
def test_who_was_made_before_is_known(known: Callable[[], AbstractContextManager[None]]) -> None:
    before = [*seams(), vars(optim.Optimizer)["__setstate__"]]
    model = make()
    made: list[optim.Optimizer] = [optim.SGD(model.parameters(), lr=0.01)]
    with known():
        made.append(optim.AdamW(model.parameters()))
        made += [copy.deepcopy(made[0]), pickle.loads(pickle.dumps(made[1]))]
        with gradlint.watch(output=None) as report:
            made.append(optim.Adagrad(model.parameters()))
        lost = weakref.ref(optim.SGD(model.parameters(), lr=0.01))
        assert lost() is None
        assert report.failure is None
        assert {id(each) for each in made} <= {id(each) for each in optimizers()}
    assert [*seams(), vars(optim.Optimizer)["__setstate__"]] == before


@pytest.mark.parametrize("known", [nullcontext, remembering])
def test_an_optimizer_whose_making_failed_is_none(known: Callable[[], AbstractContextManager[None]]) -> None:
    with pytest.raises(ValueError, match="rate") as failed:  # it lives on in the traceback
        optim.SGD(make().parameters(), lr=-0.1)
    with known(), gradlint.watch(output=None) as report:
        model = make()
        train(model, optim.SGD(model.parameters(), lr=0.01), 3)
    assert (report.diagnostics, report.failure) == ([], None)
    assert failed.tb is not None


def test_torch_errors_come_unchanged() -> None:
    def message() -> str:
        model = make()
        loss = model(X).mean()
        loss.backward()
        with pytest.raises(RuntimeError) as raised:
            loss.backward()
        return str(raised.value)

    bare = message()
    with gradlint.watch(output=None) as report:
        assert message() == bare
    assert [found.code for found in report.diagnostics] == ["GL503"]


def test_a_failure_of_our_own_never_reaches_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    class Odd(optim.SGD):
        @property
        def param_groups(self):
            if getattr(self, "broken", False):
                raise ArithmeticError("odd")
            return self.__dict__["groups"]

        @param_groups.setter
        def param_groups(self, value):
            self.__dict__["groups"] = value

        def step(self, closure=None):
            return None

    model = make()
    opt = Odd(model.parameters(), lr=0.01)
    with gradlint.watch() as report:
        opt.broken = True
        opt.step()
    assert isinstance(report.failure, ArithmeticError)
    assert "error of gradlint's own" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_models_are_not_recompiled(backend: str) -> None:
    def compiled_frames() -> tuple[int, int]:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model = make()
        train(torch.compile(model, backend=backend), optim.SGD(model.parameters(), lr=0.01), 12)
        counters = torch._dynamo.utils.counters
        return counters["frames"]["ok"], sum(counters["graph_break"].values())

    bare = compiled_frames()
    with gradlint.watch(output=None) as report:
        assert compiled_frames() == bare
    assert report.diagnostics == []
    assert report.failure is None


@pytest.mark.skipif(not hasattr(eval_frame, "set_code_exec_strategy"), reason="this torch keeps nobody out")
def test_what_listens_to_a_compiled_step_is_not_compiled() -> None:
    def compiled() -> tuple[int, int]:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model = make()
        opt = optim.Adam(model.parameters(), lr=0.01)

        @torch.compile(backend="eager")
        def finish() -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad()

        for _ in range(14):
            F.mse_loss(model(X), Y).backward()
            finish()
        counters = torch._dynamo.utils.counters
        return counters["stats"]["unique_graphs"], counters["frames"]["total"]

    graphs, frames = compiled()
    with gradlint.watch(output=None) as report:
        seen, looked_at = compiled()
    assert (report.diagnostics, report.failure) == ([], None)
    assert seen == graphs
    assert looked_at <= frames + 3  # the hooks themselves


def test_modes_of_the_program_hear_of_its_own_operations_only() -> None:
    def heard() -> Counter[str]:
        counted: Counter[str] = Counter()

        class Dispatched(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                counted[str(func)] += 1
                return func(*args, **(kwargs or {}))

        class Called(TorchFunctionMode):
            def __torch_function__(self, func, types, args=(), kwargs=None):
                counted[func.__name__] += 1
                return func(*args, **(kwargs or {}))

        model = make()
        with Dispatched(), Called():
            train(model, optim.SGD(model.parameters(), lr=0.01), 40)
        del counted["__get__"]  # a settled loop looks at one gradient and its version
        return counted

    bare = heard()
    with gradlint.watch(output=None) as report:
        assert heard() == bare
    assert report.failure is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("steps", [0, 2, 6, 12])
def test_anomaly_mode_is_the_programs_own(steps: int) -> None:
    def modes() -> list[tuple[bool, bool]]:
        model = nn.Linear(4, 1)
        seen = []

        def step(factor: float) -> None:
            seen.append((torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()))
            loss = model(X).pow(2).mean()
            (loss + (loss * factor).sqrt() * factor).backward()

        for _ in range(steps):
            step(1.0)
        with torch.autograd.detect_anomaly(check_nan=False):
            step(0.0)
        with pytest.raises(RuntimeError, match="SqrtBackward0"), torch.autograd.set_detect_anomaly(True):
            step(0.0)
        return [*seen, (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())]

    bare = modes()
    with gradlint.watch(output=None) as report:
        assert modes() == bare
    assert report.failure is None
    assert (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()) == bare[-1]


def test_each_forgotten_clearing_is_counted_whatever_else_goes_on() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.AdamW([{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 1e-3}])
    with gradlint.watch(output=None) as report:
        for i in range(120):
            if i % 20 != 7:
                opt.zero_grad()
            model(torch.ones(8, 4)).pow(2).mean().backward()
            opt.step()
            if i % 40 == 39:
                model.eval()
                with torch.no_grad():
                    model(torch.ones(8, 4))
                model.train()
    assert [(found.code, found.count) for found in report.diagnostics] == [("GL101", 6)]


def test_a_mistake_that_begins_late_is_found_at_once() -> None:
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        for i in range(5004):
            if i < 5000:
                opt.zero_grad()
            F.mse_loss(model(X), torch.randn(16, 1)).backward()  # the gradient never vanishes
            opt.step()
    assert [(found.code, found.iteration) for found in report.diagnostics] == [("GL101", 5001)]


@pytest.mark.parametrize("backward", [torch.Tensor.backward, torch.autograd.backward], ids=["method", "function"])
def test_who_calls_a_backward_pass_is_compared_too(backward: Callable[[torch.Tensor], None]) -> None:
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)

    def step(again: bool = False) -> None:
        loss = F.mse_loss(model(X), Y)
        opt.zero_grad()
        if again:
            backward(loss)
        else:
            backward(loss)
        opt.step()
        if again:
            backward(loss)

    with gradlint.watch(output=None) as report:
        for _ in range(60):
            step()
        assert report._monitor.rhythm.running
        with pytest.raises(RuntimeError, match="second time"):
            step(again=True)
    (found,) = report.diagnostics
    places = [found.location, *(each.location for each in found.related)]
    rows = [each.row - step.__code__.co_firstlineno for each in places]
    assert found.code == "GL503"
    assert rows == (
        [9, 4, 1] if sys.version_info >= (3, 12) else [9, 4]
    )  # later ones know where the loss was made, too


def test_what_is_found_again_is_counted_again() -> None:
    model, scaler = nn.Linear(4, 1), torch.amp.GradScaler("cpu", init_scale=4.0)
    opt = optim.SGD(model.parameters(), lr=0.01)
    with gradlint.watch(output=None) as report:
        for _ in range(30):
            opt.zero_grad()
            scaler.scale(F.mse_loss(model(X), Y)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
    assert [(found.code, found.count) for found in report.diagnostics] == [("GL601", 30)]
