"""More correct loops, of kinds that few programs are of, each with one mistake that can be put in (`wrong`): as `unusual`."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, grad, hessian, jvp, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune
from torch.optim import swa_utils
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from unusual import STEPS, data, net, weights


class Cube(torch.autograd.Function):
    """A power that can be differentiated twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * slope


def twice_through_a_function_of_ones_own(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        given = x.clone().requires_grad_()
        out = Cube.apply(model(given))
        (slope,) = torch.autograd.grad(out.sum(), given, create_graph=True)
        (F.mse_loss(out, y) + slope.pow(2).mean()).backward()
        opt.step()  # GL101
    return weights(model)


def adjoint_inside_a_backward_pass(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    head = nn.Linear(4, 1)

    class Solve(torch.autograd.Function):
        """Steps without a graph forth, and through a graph of one step back."""

        @staticmethod
        def forward(ctx: Any, state: Tensor, *params: Tensor) -> Tensor:
            states = [state]
            for _ in range(3):
                states.append(states[-1] + 0.1 * model(states[-1]))
            ctx.states, ctx.params = states, params
            return states[-1]

        @staticmethod
        def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, ...]:
            sums = [torch.zeros_like(each) for each in ctx.params]
            for state in reversed(ctx.states[:-1]):
                with torch.enable_grad():
                    given = state.detach().requires_grad_()
                    out = given + 0.1 * model(given)
                slope, *more = torch.autograd.grad(out, (given, *ctx.params), slope)
                sums = [one + other for one, other in zip(sums, more, strict=True)]
            return (slope, *sums)

    opt = optim.SGD([*model.parameters(), *head.parameters()], lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(head(Solve.apply(x, *model.parameters())), y).backward()
        if wrong:
            opt.zero_grad()
        opt.step()  # GL103
    return weights(model, head)


def fixed_point_with_a_hook(wrong: bool) -> list[Tensor]:
    x, y = data()
    cell, head = nn.Linear(4, 4), nn.Linear(4, 1)
    nn.init.normal_(cell.weight, std=0.05)
    opt = optim.Adam([*cell.parameters(), *head.parameters()], lr=0.01)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        with torch.no_grad():
            z = torch.zeros_like(x)
            for _ in range(8):
                z = torch.tanh(cell(z) + x)
        z = torch.tanh(cell(z) + x)
        before = z.clone().detach().requires_grad_()
        again = torch.tanh(cell(before) + x)

        def solve(slope: Tensor, again: Tensor = again, before: Tensor = before) -> Tensor:
            found = slope
            for _ in range(8):
                found = torch.autograd.grad(again, before, found, retain_graph=True)[0] + slope
            return found

        z.register_hook(solve)
        F.mse_loss(head(z), y).backward()
        opt.step()  # GL101
    return weights(cell, head)


def forward_gradients(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        params = {name: each.detach() for name, each in model.named_parameters()}
        noise = {name: torch.randn_like(each) for name, each in params.items()}

        def loss(params: dict[str, Tensor]) -> Tensor:
            return F.mse_loss(functional_call(model, params, (x,)), y)

        _, slope = jvp(loss, (params,), (noise,))
        for name, p in model.named_parameters():
            p.grad = slope * noise[name]
        opt.step()
        if wrong:
            opt.step()  # GL109
    return weights(model)


def evolution(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        with torch.no_grad():
            for p in model.parameters():
                kept = p.clone()
                total = torch.zeros_like(p)
                for _ in range(4):
                    noise = torch.randn_like(p)
                    p.copy_(kept + 0.1 * noise)
                    total += F.mse_loss(model(x), y) * noise
                p.copy_(kept)
                p.grad = total / 4
        if wrong:
            opt.zero_grad()
        opt.step()  # GL117
    return weights(model)


def curvature_by_hutchinson(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.01)
    curvature = [torch.zeros_like(p) for p in model.parameters()]
    for step in range(STEPS):
        if not wrong:
            opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        if step % 3 == 0:
            params = list(model.parameters())
            slopes = torch.autograd.grad(loss, params, create_graph=True)
            signs = [torch.randint_like(p, 2) * 2 - 1 for p in params]
            products = torch.autograd.grad(slopes, params, signs, retain_graph=True)
            for each, sign, product in zip(curvature, signs, products, strict=True):
                each.mul_(0.9).add_(sign * product, alpha=0.1)
        loss.backward()
        with torch.no_grad():
            for p, each in zip(model.parameters(), curvature, strict=True):
                p.grad.div_(each.abs().clamp(min=1.0))
        opt.step()  # GL101
    return weights(model)


def newton_by_hessian(wrong: bool) -> list[Tensor]:
    x, y = data()
    w = torch.zeros(4, requires_grad=True)
    opt = optim.SGD([w], lr=1.0)

    def loss(w: Tensor) -> Tensor:
        return F.mse_loss(x @ w, y.squeeze()) + 0.1 * w.pow(4).sum()

    for _ in range(STEPS):
        opt.zero_grad()
        loss(w).backward()
        with torch.no_grad():
            w.grad.copy_(torch.linalg.solve(hessian(loss)(w.detach()) + 0.1 * torch.eye(4), w.grad))
        opt.step()
        if wrong:
            opt.step()  # GL109
    return [w.detach().clone()]


def learned_rate(wrong: bool) -> list[Tensor]:
    x, y = data()
    rate = torch.tensor(-3.0, requires_grad=True)
    outer = optim.Adam([rate], lr=0.1)
    start = torch.randn(4, 1)
    for _ in range(STEPS):
        if not wrong:
            outer.zero_grad()
        leaf = start.clone().requires_grad_()
        w = leaf.clone()
        inner = optim.SGD([w], lr=rate.exp(), differentiable=True)
        for _ in range(2):
            w.grad = torch.autograd.grad(F.mse_loss(x @ w, y), w, create_graph=True)[0]
            inner.step()
        F.mse_loss(x @ w, y).backward()
        outer.step()  # GL101
    return [rate.detach().clone()]


def compiled_whole(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.05)

    @torch.compile(backend="aot_eager", fullgraph=True)
    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(model(x), y)

    for _ in range(STEPS):
        if not wrong:
            model.zero_grad()
        loss_of(x, y).backward()
        opt.step()  # GL101
    return weights(model)


def compiled_optimizer(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.Adam(model.parameters(), lr=0.05)
    step = torch.compile(opt.step, backend="aot_eager")
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        step()  # GL101
    return weights(model)


def parametrized(wrong: bool) -> list[Tensor]:
    x, y = data()
    one, other, last = nn.Linear(4, 4), nn.Linear(4, 8), nn.Linear(8, 1)
    parametrizations.orthogonal(one)
    parametrizations.spectral_norm(other)
    parametrizations.weight_norm(last)
    model = nn.Sequential(one, nn.Tanh(), other, nn.Tanh(), last)
    opt = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(STEPS):
        if not wrong:
            opt.zero_grad()
        with parametrize.cached():
            F.mse_loss(model(x), y).backward()
        opt.step()  # GL101
        if step % 5 == 4:
            model.eval()
            with torch.no_grad():
                model(x)
            model.train()
    return weights(model)


def pruned(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.05)
    for epoch in range(4):
        for _ in range(4):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101
        prune.l1_unstructured(model[0], "weight", amount=0.2)
        if epoch == 2:
            prune.remove(model[0], "weight")
            opt = optim.SGD(model.parameters(), lr=0.05)
    return weights(model)


def muon_beside_adamw(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    matrices = [p for p in model.parameters() if p.ndim == 2]
    opts = [
        optim.Muon(matrices, lr=0.01),
        optim.AdamW([p for p in model.parameters() if p.ndim < 2], lr=0.01),
    ]
    for _ in range(STEPS):
        F.mse_loss(model(x), y).backward()
        for opt in opts:
            opt.step()  # GL101
        for opt in opts[wrong:]:
            opt.zero_grad()
    return weights(model)


def free_of_a_schedule(wrong: bool) -> list[Tensor]:
    class ScheduleFree(optim.Optimizer):
        """Descent whose parameters are an average, but for the time of training."""

        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr, "k": 0, "training": False})

        @torch.no_grad()
        def swap(self, training: bool) -> None:
            for group in self.param_groups:
                if group["training"] != training:
                    group["training"] = training
                    for p in group["params"]:
                        if "z" in self.state[p]:
                            p.lerp_(self.state[p]["z"], 0.1 if training else 1 - 1 / 0.9)

        def train(self) -> None:
            self.swap(True)

        def eval(self) -> None:
            self.swap(False)

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                group["k"] += 1
                for p in group["params"]:
                    z = self.state[p].setdefault("z", p.clone())
                    p.lerp_(z, 1 / group["k"])
                    p.add_(p.grad, alpha=-group["lr"] * 0.1)
                    z.sub_(p.grad, alpha=group["lr"])

    x, y = data()
    model = net()
    opt = ScheduleFree(model.parameters(), lr=0.05)
    for _ in range(4):
        model.train()
        opt.train()
        for _ in range(4):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101
        model.eval()
        opt.eval()
        with torch.no_grad():
            model(x)
    return weights(model)


def lion(wrong: bool) -> list[Tensor]:
    class Lion(optim.Optimizer):
        """The sign of a momentum; it clears the gradients itself."""

        def __init__(self, params: Any, lr: float) -> None:
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        m = self.state[p].setdefault("m", torch.zeros_like(p))
                        p.add_(torch.sign(m * 0.9 + p.grad * 0.1), alpha=-group["lr"])
                        m.lerp_(p.grad, 0.01)
                        if not wrong:
                            p.grad = None

    x, y = data()
    model = net()
    opt = Lion(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        F.mse_loss(model(x), y).backward()
        opt.step()  # GL101
    return weights(model)


def swapped_for_evaluation(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.AdamW(model.parameters(), lr=0.01)
    shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
    for step in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        if wrong:
            opt.zero_grad()
        opt.step()  # GL103
        for name, p in model.named_parameters():
            shadow[name].lerp_(p.detach(), 0.1)
        if step % 4 == 3:
            kept = {name: p.detach().clone() for name, p in model.named_parameters()}
            model.load_state_dict(shadow, strict=False)
            model.eval()
            with torch.inference_mode():
                model(x)
            model.load_state_dict(kept, strict=False)
            model.train()
    return weights(model)


def checkpoints_in_a_row(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Tanh()) for _ in range(4)))
    head = nn.Linear(4, 1)
    opt = optim.Adam([*model.parameters(), *head.parameters()], lr=0.01)
    for step in range(STEPS):
        if not wrong:
            opt.zero_grad()
        given = x.clone().requires_grad_()
        hidden = checkpoint_sequential(model, 2, given, use_reentrant=step % 2 == 0)
        hidden = checkpoint(lambda z: torch.tanh(z) * 2, hidden, use_reentrant=False, preserve_rng_state=False)
        F.mse_loss(head(hidden), y).backward()
        opt.step()  # GL101
    return weights(model, head)


def anomaly_all_along(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.SGD(model.parameters(), lr=0.05)
    with torch.autograd.set_detect_anomaly(True):
        for _ in range(STEPS):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101
    return weights(model)


def deterministic(wrong: bool) -> list[Tensor]:
    x, y = data()
    table, head = nn.EmbeddingBag(8, 4, mode="sum"), nn.Linear(4, 1)
    opt = optim.Adam([*table.parameters(), *head.parameters()], lr=0.01)
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(STEPS):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(head(table(x.topk(2).indices)), y).backward()
            opt.step()  # GL101
    finally:
        torch.use_deterministic_algorithms(False)
    return weights(table, head)


def sparse_beside_dense(wrong: bool) -> list[Tensor]:
    x, y = data()
    table, head = nn.Embedding(8, 4, sparse=True), nn.Linear(4, 1)
    opts = [optim.SparseAdam(table.parameters(), lr=0.01), optim.Adam(head.parameters(), lr=0.01)]
    for step in range(STEPS):
        for opt in opts:
            if not wrong:
                opt.zero_grad()
        F.mse_loss(head(table((x.argmax(1) + step) % 8)), y).backward()
        for opt in opts:
            opt.step()  # GL101
    return weights(table, head)


def federated(wrong: bool) -> list[Tensor]:
    x, y = data()
    server = net()
    for round_ in range(3):
        clients = []
        for client in range(3):
            model = copy.deepcopy(server)
            opt = optim.SGD(model.parameters(), lr=0.05)
            for _ in range(3):
                if not wrong:
                    opt.zero_grad()
                F.mse_loss(model(x), y + client + round_).backward()
                opt.step()  # GL101
            clients.append(model.state_dict())
        server.load_state_dict({name: torch.stack([each[name] for each in clients]).mean(0) for name in clients[0]})
    return weights(server)


def momentum_contrast(wrong: bool) -> list[Tensor]:
    x, _ = data()
    query = nn.Linear(4, 4)
    key = copy.deepcopy(query).requires_grad_(False)
    queue = F.normalize(torch.randn(16, 4), dim=1)
    opt = optim.SGD(query.parameters(), lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        q = F.normalize(query(x + 0.1 * torch.randn_like(x)), dim=1)
        with torch.no_grad():
            for p, k in zip(query.parameters(), key.parameters(), strict=True):
                k.lerp_(p, 0.01)
            k = F.normalize(key(x + 0.1 * torch.randn_like(x)), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
        if not wrong:
            opt.zero_grad()
        F.cross_entropy(logits, torch.zeros(8, dtype=torch.long)).backward()
        opt.step()  # GL101
        queue = torch.cat([queue[8:], k])
    return weights(query)


def replayed(wrong: bool) -> list[Tensor]:
    torch.manual_seed(3)
    model, memory = net(), deque[tuple[Tensor, Tensor]](maxlen=32)
    target = copy.deepcopy(model)
    opt = optim.Adam(model.parameters(), lr=0.01)

    def collect() -> Iterator[int]:
        state = torch.randn(4)
        for frame in range(60):
            model.eval()
            with torch.no_grad():
                action = model(state)
            model.train()
            memory.append((state, action - state.sum()))
            state = torch.randn(4)
            yield frame

    for frame in collect():
        if frame < 16 or frame % 3:
            continue
        picked = [memory[i] for i in torch.randint(len(memory), (8,)).tolist()]
        states, rewards = torch.stack([s for s, _ in picked]), torch.stack([r for _, r in picked])
        with torch.no_grad():
            wanted = rewards + 0.9 * target(states)
        loss = F.smooth_l1_loss(model(states), wanted)
        if not wrong:
            opt.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.grad.clamp_(-1, 1)
        opt.step()  # GL101
        if frame % 6 == 0:
            target.load_state_dict(model.state_dict())
    return weights(model, target)


def rolled_back(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.Adam(model.parameters(), lr=0.01)
    good = copy.deepcopy((model.state_dict(), opt.state_dict()))
    for step in range(STEPS):
        if not wrong:
            opt.zero_grad()
        loss = F.mse_loss(model(x), y) * (float("nan") if step in (6, 11) else 1.0)
        if not torch.isfinite(loss):
            model.load_state_dict(good[0])
            opt.load_state_dict(good[1])
            continue
        loss.backward()
        opt.step()  # GL101
        good = copy.deepcopy((model.state_dict(), opt.state_dict()))
    return weights(model)


def scripted(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = torch.jit.trace(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), x)
    opt = optim.SGD(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()  # GL101
    return weights(model)


def complex_numbers(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1, dtype=torch.complex64)
    opt = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        (model(x.to(torch.complex64)) - y).abs().pow(2).mean().backward()
        opt.step()  # GL101
    return weights(model)


def autocast_and_accumulation(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(2 * STEPS):
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.mse_loss(model(x).float(), y) / 2
        loss.backward()
        if step % 2:
            nn.utils.clip_grad_value_(model.parameters(), 0.5)
            if wrong:
                opt.zero_grad()
            opt.step()  # GL103
            opt.zero_grad()
    return weights(model)


def several_roots_at_once(wrong: bool) -> list[Tensor]:
    x, y = data()
    trunk, one, other = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)
    opt = optim.Adam([*trunk.parameters(), *one.parameters(), *other.parameters()], lr=0.01)
    for _ in range(STEPS):
        hidden = torch.relu(trunk(x))
        if not wrong:
            for p in opt.param_groups[0]["params"]:
                p.grad = None
        torch.autograd.backward([F.mse_loss(one(hidden), y), F.l1_loss(other(hidden), y)])
        opt.step()  # GL101
    return weights(trunk, one, other)


def ensemble_as_one(wrong: bool) -> list[Tensor]:
    x, y = data()
    models = [nn.Linear(4, 1) for _ in range(3)]
    params, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")
    opt = optim.SGD(params.values(), lr=0.05)

    def run(params: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(functional_call(base, (params, buffers), (x,)), y)

    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        vmap(run)(params, buffers).sum().backward()
        opt.step()  # GL101
    return [each.detach().clone() for each in params.values()]


def influence_of_each_sample(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.05)

    def one(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(functional_call(model, params, (x[None],)), y[None])

    for _ in range(STEPS):
        params = {name: p.detach() for name, p in model.named_parameters()}
        slopes = vmap(grad(one), in_dims=(None, 0, 0))(params, x, y)
        norms = torch.stack([each.flatten(1).norm(dim=1) for each in slopes.values()]).norm(dim=0)
        weight = norms / norms.sum()
        if not wrong:
            opt.zero_grad()
        (weight * (model(x) - y).pow(2).squeeze()).sum().backward()
        opt.step()  # GL101
    return weights(model)


def in_two_threads(wrong: bool) -> list[Tensor]:
    x, y = data()
    models = [nn.Linear(4, 1), nn.Linear(4, 1)]

    def train(model: nn.Module) -> None:
        opt = optim.SGD(model.parameters(), lr=0.05)
        for _ in range(STEPS):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101

    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return weights(*models)


def three_players(wrong: bool) -> list[Tensor]:
    x, _ = data()
    encoder, decoder, critic = nn.Linear(4, 2), nn.Linear(2, 4), nn.Linear(4, 1)
    opts = [optim.Adam(each.parameters(), lr=0.01) for each in (encoder, decoder, critic)]
    for _ in range(STEPS):
        code = encoder(x)
        fake = decoder(code + 0.1 * torch.randn_like(code))
        rebuilt = F.mse_loss(fake, x)
        fooled = F.softplus(-critic(fake)).mean()
        opts[0].zero_grad()
        rebuilt.backward(retain_graph=True, inputs=list(encoder.parameters()))
        if not wrong:
            opts[1].zero_grad()
        (rebuilt + fooled).backward(inputs=list(decoder.parameters()))
        opts[2].zero_grad()
        (F.softplus(critic(fake.detach())) + F.softplus(-critic(x))).mean().backward()
        for opt in opts:
            opt.step()  # GL101
    return weights(encoder, decoder, critic)


def noised_and_averaged(wrong: bool) -> list[Tensor]:
    x, _ = data()
    model = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 4))
    average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    opt = optim.AdamW(model.parameters(), lr=0.01)
    for step in range(STEPS):
        t = torch.rand(8, 1)
        noise = torch.randn_like(x)
        loss = F.mse_loss(model(torch.cat([x * (1 - t) + noise * t, t], 1)), noise - x)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()  # GL101
        if not wrong:
            opt.zero_grad(set_to_none=True)
        average.update_parameters(model)
        if step % 5 == 4:
            with torch.no_grad():
                sample = torch.randn(4, 4)
                for i in range(4):
                    sample = sample - average(torch.cat([sample, torch.full((4, 1), 1 - i / 4)], 1)) / 4
    return weights(model, average)


def steps_of_a_generator(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.SGD(model.parameters(), lr=0.05)

    def losses() -> Iterator[float]:
        while True:
            if not wrong:
                opt.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            opt.step()  # GL101
            yield loss.item()

    for _, _loss in zip(range(STEPS), losses(), strict=False):
        pass
    return weights(model)


def parameters_that_are_swapped(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.SGD(model.parameters(), lr=0.05)
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        for step in range(2 * STEPS):
            if step == STEPS:
                model.double()
                x, y = x.double(), y.double()
            opt.zero_grad(set_to_none=step % 2 == 0)
            F.mse_loss(model(x), y).backward()
            if wrong and step > STEPS:
                opt.zero_grad()
            opt.step()  # GL103
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)
    return weights(model)


def evolution_in_inference_mode(wrong: bool) -> list[Tensor]:
    x, y = data()
    model, other = net(), net()
    opt, plain = optim.Adam(model.parameters(), lr=0.05), optim.SGD(other.parameters(), lr=0.05)
    model.eval()

    @torch.inference_mode()
    def generation() -> None:
        base = [each.clone() for each in model.parameters()]
        found = []
        for _ in range(4):
            noise = [torch.randn_like(each) for each in base]
            for weight, before, change in zip(model.parameters(), base, noise, strict=True):
                weight.copy_(before + 0.1 * change)
            found.append((F.mse_loss(model(x), y), noise))
        for index, (weight, before) in enumerate(zip(model.parameters(), base, strict=True)):
            weight.copy_(before)
            weight.grad = sum(loss * noise[index] for loss, noise in found) / len(found)
        opt.step()

    for _ in range(40):
        generation()
        if not wrong:
            plain.zero_grad()
        F.mse_loss(other(x), y).backward()
        plain.step()  # GL101
    return weights(model, other)


class Careful(optim.Optimizer):
    """Asks its closure for more than one evaluation, by a method and an attribute of it."""

    @torch.no_grad()
    def step(self, closure: Any) -> Tensor:
        with torch.enable_grad():
            before = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-group["lr"])
        if closure.value() > before or not closure.evaluations:
            self.param_groups[0]["lr"] *= 0.5
        return before


def closure_that_is_an_object(wrong: bool) -> list[Tensor]:
    x, y = data()
    model, other = net(), net()
    opt, plain = Careful(model.parameters(), {"lr": 0.5}), optim.SGD(other.parameters(), lr=0.05)

    class Closure:
        evaluations = 0

        def value(self) -> Tensor:
            return F.mse_loss(model(x), y)

        def __call__(self) -> Tensor:
            self.evaluations += 1
            opt.zero_grad()
            loss = self.value()
            loss.backward()
            return loss

    def closure() -> Tensor:
        closure.evaluations += 1
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss

    closure.evaluations, closure.value = 0, lambda: F.mse_loss(model(x), y)
    for step in range(STEPS):
        opt.step(Closure() if step % 2 else closure)
        if not wrong:
            plain.zero_grad()
        F.mse_loss(other(x), y).backward()
        plain.step()  # GL101
    return weights(model, other)


Program = Callable[[bool], list[Tensor]]
