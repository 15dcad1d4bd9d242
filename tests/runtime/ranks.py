"""Programs for two ranks, right and wrong, all in one run: a line that must be reported ends in a comment with the code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn, optim
from torch.distributed.algorithms.join import Join
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

STEPS = 9


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))


def sgd(module: nn.Module) -> optim.SGD:
    return optim.SGD(module.parameters(), lr=0.1)


def batches(number: int = STEPS) -> torch.Tensor:
    """Return other batches on each rank."""
    return torch.randn(number, 8, 4, generator=torch.Generator().manual_seed(dist.get_rank()))


def plain() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        opt.step()


def views_and_validation_on_one_rank() -> None:
    model = DistributedDataParallel(net(), gradient_as_bucket_view=True)
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        opt.step()
        if dist.get_rank() == 0:
            model.eval()
            with torch.no_grad():
                model.module(x)
            model.train()


def accumulated_under_no_sync() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        with model.no_sync():
            (model(x).pow(2).mean() / 2).backward()
        (model(x).pow(2).mean() / 2).backward()
        opt.step()


def uneven_under_join() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    with Join([model]):
        for x in batches(STEPS + 2 * dist.get_rank()):
            opt.zero_grad()
            model(x).pow(2).mean().backward()
            opt.step()


def uneven_and_in_shards() -> None:
    model = DistributedDataParallel(net())
    opt = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=optim.SGD, lr=0.1)
    with Join([model, opt]):
        for x in batches(STEPS + 3 * dist.get_rank()):
            opt.zero_grad()
            model(x).pow(2).mean().backward()
            opt.step()


def optimizer_in_shards() -> None:
    model = DistributedDataParallel(net())
    opt = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=optim.Adam, lr=0.1)
    for x in batches():
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        opt.step()


def optimizer_in_shards_never_cleared() -> None:
    model = DistributedDataParallel(net())
    opt = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=optim.Adam, lr=0.1)
    for x in batches():
        model(x).pow(2).mean().backward()
        opt.step()  # GL101


def averaged_by_hand_now_and_then() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for number, x in enumerate(batches(), 1):
        opt.zero_grad()
        with model.no_sync():
            model(x).pow(2).mean().backward()
        opt.step()
        if number % 4 == 0:
            for parameter in model.parameters():
                dist.all_reduce(parameter.data)
                parameter.data /= dist.get_world_size()


def epochs_that_are_told() -> None:
    data = TensorDataset(torch.randn(16, 4))
    sampler, unshuffled = DistributedSampler(data), DistributedSampler(data, shuffle=False)
    validation = DistributedSampler(data)
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for chosen in (sampler, unshuffled):
            for (x,) in DataLoader(data, batch_size=4, sampler=chosen):
                opt.zero_grad()
                model(x).pow(2).mean().backward()
                opt.step()
        with torch.no_grad():
            for (x,) in DataLoader(data, batch_size=4, sampler=validation):
                model(x)


def epoch_never_told() -> None:
    data = TensorDataset(torch.randn(16, 4))
    loader = DataLoader(data, batch_size=4, sampler=DistributedSampler(data))
    model = DistributedDataParallel(net())
    opt = sgd(model)
    next(iter(loader))
    for _ in range(3):
        for (x,) in loader:  # GL709
            opt.zero_grad()
            model(x).pow(2).mean().backward()
            opt.step()


def sharded() -> None:
    model = net()
    fully_shard(model)
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        opt.step()


def sharded_layer_by_layer() -> None:
    model = net()
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    opt = optim.AdamW(model.parameters(), lr=0.01)
    for x in batches():
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()


def sharded_and_never_cleared() -> None:
    model = net()
    for layer in model:
        fully_shard(layer)
    fully_shard(model)
    opt = sgd(model)
    for x in batches():
        model(x).pow(2).mean().backward()
        opt.step()  # GL101


def distributed_tensors() -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    weights = [nn.Parameter(distribute_tensor(torch.randn(4, 4), mesh, [kind])) for kind in (Shard(0), Replicate())]
    opt = optim.SGD(weights, lr=0.01)
    for _ in range(STEPS):
        opt.zero_grad()
        (weights[0] @ weights[1]).pow(2).sum().backward()
        opt.step()


def distributed_tensors_never_cleared() -> None:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    weight = nn.Parameter(distribute_tensor(torch.randn(4, 4), mesh, [Shard(0)]))
    opt = optim.SGD([weight], lr=0.01)
    for _ in range(STEPS):
        weight.pow(2).sum().backward()
        opt.step()  # GL101


def never_cleared() -> None:
    model = DistributedDataParallel(net(), gradient_as_bucket_view=dist.get_rank() > 1)
    opt = sgd(model)
    for x in batches(8):
        model(x).pow(2).mean().backward()
        opt.step()  # GL101


def out_of_sync_through_module() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        model.module(x).pow(2).mean().backward()
        opt.step()  # GL710


def out_of_sync_under_no_sync() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for x in batches():
        opt.zero_grad()
        with model.no_sync():
            model(x).pow(2).mean().backward()
        opt.step()  # GL710


def out_of_sync_by_wrapping_again() -> None:
    model = net()
    wrapped = DistributedDataParallel(model)
    opt = sgd(wrapped)
    for number, x in enumerate(batches()):
        opt.zero_grad()
        if number == 2:
            wrapped = DistributedDataParallel(model, process_group=dist.new_group())
            own = model
        (wrapped(x) if number < 2 else own(x)).pow(2).mean().backward()
        opt.step()  # GL710


def one_step_more_on_one_rank() -> None:
    model = DistributedDataParallel(net())
    opt = sgd(model)
    for x in batches(3):
        opt.zero_grad()
        model(x).pow(2).mean().backward()
        opt.step()
    if dist.get_rank() == 0:
        opt.zero_grad()
        model.module(batches()[0]).pow(2).mean().backward()
        opt.step()  # GL710


PROGRAMS: list[Callable[[], None]] = [
    function
    for name, function in inspect.getmembers(sys.modules[__name__], inspect.isfunction)
    if function.__module__ == __name__ and name not in ("net", "sgd", "batches", "main")
]


def main() -> None:
    dist.init_process_group("gloo")
    for program in PROGRAMS:
        torch.manual_seed(0)
        program()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
