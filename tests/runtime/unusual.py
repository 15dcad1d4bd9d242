"""Correct loops of unusual make, each with one mistake that can be put in: `wrong`.

A line that must be reported then ends in a comment with the code. Each returns what it has trained, so that two runs can be compared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.optim import lr_scheduler, swa_utils
from torch.utils.checkpoint import checkpoint

STEPS = 14


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return torch.randn(8, 4), torch.randn(8, 1)


def net(wide: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(wide, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))


def weights(*modules: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for module in modules for value in module.state_dict().values()]


def gan_with_one_generator_pass(wrong: bool) -> list[Tensor]:
    x, _ = data()
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g = optim.Adam(generator.parameters(), lr=0.01, betas=(0.0, 0.9))
    opt_d = optim.Adam(critic.parameters(), lr=0.01, betas=(0.0, 0.9))
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        critic.requires_grad_(True)
        opt_d.zero_grad()
        loss = F.relu(1 - critic(x)).mean() + F.relu(1 + critic(fake.detach())).mean()
        loss.backward()
        opt_d.step()
        critic.requires_grad_(False)
        if not wrong:
            opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()  # GL101
    return weights(generator, critic)


def gan_whose_critic_steps_five_times(wrong: bool) -> list[Tensor]:
    x, _ = data()
    generator, critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    opt_g = optim.RMSprop(generator.parameters(), lr=5e-4)
    opt_d = optim.RMSprop(critic.parameters(), lr=5e-4)
    for _ in range(6):
        for _ in range(5):
            if not wrong:
                opt_d.zero_grad()
            fake = generator(torch.randn(8, 2)).detach()
            (critic(fake).mean() - critic(x).mean()).backward()
            opt_d.step()  # GL101
            with torch.no_grad():
                for p in critic.parameters():
                    p.clamp_(-0.1, 0.1)
        opt_g.zero_grad()
        (-critic(generator(torch.randn(8, 2))).mean()).backward()
        opt_g.step()
    return weights(generator, critic)


def wgan_gp(wrong: bool) -> list[Tensor]:
    x, _ = data()
    generator, critic = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt_g, opt_d = optim.Adam(generator.parameters(), lr=0.01), optim.Adam(critic.parameters(), lr=0.01)
    for step in range(STEPS):
        opt_d.zero_grad()
        fake = generator(torch.randn(8, 2)).detach()
        mixed = torch.lerp(x, fake, torch.rand(8, 1)).requires_grad_()
        slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
        penalty = (slope.norm(2, 1) - 1).pow(2).mean()
        (critic(fake).mean() - critic(x).mean() + 10 * penalty).backward()
        if wrong:
            opt_d.zero_grad()
        opt_d.step()  # GL103
        if step % 3 == 2:
            opt_g.zero_grad()
            (-critic(generator(torch.randn(8, 2))).mean()).backward()
            opt_g.step()
    return weights(generator, critic)


def r1_penalty_now_and_then(wrong: bool) -> list[Tensor]:
    x, _ = data()
    critic = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
    opt = optim.Adam(critic.parameters(), lr=0.01)
    for step in range(STEPS):
        opt.zero_grad()
        F.softplus(-critic(x)).mean().backward()
        opt.step()
        if step % 4 == 0:
            if not wrong:
                opt.zero_grad()
            real = x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
            (slope.pow(2).sum(1).mean() * 4).backward()
            opt.step()  # GL101
    return weights(critic)


def maml_by_torch_func(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.Adam(model.parameters(), lr=0.01)

    def inner(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(functional_call(model, params, (x,)), y)

    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        params = dict(model.named_parameters())
        slopes = grad(inner)(params, x[:4], y[:4])
        adapted = {name: value - 0.1 * slopes[name] for name, value in params.items()}
        inner(adapted, x[4:], y[4:]).backward()
        opt.step()  # GL101
    return weights(model)


def maml_by_autograd_grad(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        opt.zero_grad()
        total = torch.zeros(())
        for task in range(3):
            params = list(model.parameters())
            for _ in range(2):
                loss = F.mse_loss(F.linear(x, *params), y + task)
                slopes = torch.autograd.grad(loss, params, create_graph=True)
                params = [p - 0.1 * g for p, g in zip(params, slopes, strict=True)]
            total = total + F.mse_loss(F.linear(x, *params), y + task)
        total.backward()
        if wrong:
            opt.step()
        opt.step()  # GL109
    return weights(model)


def reptile(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    outer = optim.SGD(model.parameters(), lr=0.5)
    for task in range(8):
        fast = copy.deepcopy(model)
        inner = optim.SGD(fast.parameters(), lr=0.05)
        for _ in range(3):
            if not wrong:
                inner.zero_grad()
            F.mse_loss(fast(x), y + task).backward()
            inner.step()  # GL101
        outer.zero_grad()
        for p, q in zip(model.parameters(), fast.parameters(), strict=True):
            p.grad = p.detach() - q.detach()
        outer.step()
    return weights(model)


def sam(wrong: bool) -> list[Tensor]:
    class SAM(optim.Optimizer):
        """Sharpness-aware minimization in two steps."""

        def __init__(
            self, params: Iterable[Tensor], base: type[optim.Optimizer], rho: float = 0.05, **given: Any
        ) -> None:
            super().__init__(params, {"rho": rho, **given})
            self.base = base(self.param_groups, **given)
            self.param_groups = self.base.param_groups

        @torch.no_grad()
        def first_step(self, clears: bool) -> None:
            norm = torch.stack([p.grad.norm() for group in self.param_groups for p in group["params"]]).norm()
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["e"] = e = p.grad * (group["rho"] / (norm + 1e-12))
                    p.add_(e)
            if clears:
                self.zero_grad()

        @torch.no_grad()
        def second_step(self, clears: bool) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.sub_(self.state[p]["e"])
            self.base.step()  # GL101
            if clears:
                self.zero_grad()

    x, y = data()
    model = net()
    opt = SAM(model.parameters(), optim.SGD, lr=0.05, momentum=0.9)
    for _ in range(STEPS):
        F.mse_loss(model(x), y).backward()
        opt.first_step(not wrong)
        F.mse_loss(model(x), y).backward()
        opt.second_step(not wrong)
    return weights(model)


def lookahead(wrong: bool) -> list[Tensor]:
    class Lookahead:
        """Slow weights around another optimizer, which is no `Optimizer` itself."""

        def __init__(self, optimizer: optim.Optimizer, k: int = 5) -> None:
            self.optimizer, self.k, self.count = optimizer, k, 0
            self.slow = [[p.clone().detach() for p in group["params"]] for group in optimizer.param_groups]

        def zero_grad(self) -> None:
            self.optimizer.zero_grad()

        def step(self) -> None:
            self.optimizer.step()  # GL101
            self.count += 1
            if self.count % self.k == 0:
                with torch.no_grad():
                    for group, slow in zip(self.optimizer.param_groups, self.slow, strict=True):
                        for p, q in zip(group["params"], slow, strict=True):
                            q.add_(p - q, alpha=0.5)
                            p.copy_(q)

    x, y = data()
    model = net()
    opt = Lookahead(optim.Adam(model.parameters(), lr=0.01))
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
    return weights(model)


def averaged(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.05)
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9))
    swa = swa_utils.AveragedModel(model)
    schedule, swa_schedule = lr_scheduler.CosineAnnealingLR(opt, 12), swa_utils.SWALR(opt, swa_lr=0.01)
    for epoch in range(6):
        model.train()
        for _ in range(3):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101
            ema.update_parameters(model)
        if epoch >= 3:
            swa.update_parameters(model)
            swa_schedule.step()
        else:
            schedule.step()
        ema.eval()
        with torch.no_grad():
            ema(x)
    swa_utils.update_bn([(x, y)], swa)
    return weights(model, ema, swa)


def gradnorm(wrong: bool) -> list[Tensor]:
    x, y = data()
    trunk, heads = nn.Linear(4, 8), nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])
    balance = nn.Parameter(torch.ones(2))
    opt = optim.Adam([*trunk.parameters(), *heads.parameters()], lr=0.01)
    opt_balance = optim.Adam([balance], lr=0.01)
    first = None
    for _ in range(STEPS):
        shared = torch.tanh(trunk(x))
        losses = torch.stack([F.mse_loss(head(shared), y * k) for k, head in enumerate(heads, 1)])
        first = losses.detach() if first is None else first
        if not wrong:
            opt.zero_grad()
        (balance * losses).sum().backward(retain_graph=True)
        balance.grad = None
        norms = torch.stack(
            [
                torch.autograd.grad(w * loss, trunk.weight, retain_graph=True, create_graph=True)[0].norm()
                for w, loss in zip(balance, losses, strict=True)
            ]
        )
        ratio = losses.detach() / first
        target = norms.mean().detach() * ratio / ratio.mean()
        opt_balance.zero_grad()
        balance.grad = torch.autograd.grad((norms - target).abs().sum(), balance)[0]
        opt.step()  # GL101
        opt_balance.step()
        with torch.no_grad():
            balance.mul_(2 / balance.sum())
    return weights(trunk, heads)


def pcgrad(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    opt = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(STEPS):
        out = model(x)
        slopes = []
        for task in range(2):
            opt.zero_grad()
            F.mse_loss(out[:, task : task + 1], y * (task + 1)).backward(retain_graph=task == 0)
            slopes.append([p.grad.clone() for p in model.parameters()])
        if not wrong:
            opt.zero_grad()
        for p, g, h in zip(model.parameters(), *slopes, strict=True):
            dot = (g * h).sum()
            p.grad = g + h - (h * dot / h.pow(2).sum() if dot < 0 else 0)
        if wrong:
            opt.zero_grad()
        opt.step()  # GL103
    return weights(model)


def checkpointed(wrong: bool) -> list[Tensor]:
    x, y = data()
    first, second = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3)), nn.Linear(8, 1)
    opt = optim.SGD([*first.parameters(), *second.parameters()], lr=0.05)
    for step in range(STEPS):
        if not wrong:
            opt.zero_grad()
        hidden = checkpoint(first, x.clone().requires_grad_(), use_reentrant=step % 2 == 0)
        F.mse_loss(second(hidden), y).backward()
        opt.step()  # GL101
    return weights(first, second)


def sac(wrong: bool) -> list[Tensor]:
    x, _ = data()
    actor, one, other = nn.Linear(4, 2), nn.Linear(6, 1), nn.Linear(6, 1)
    targets = copy.deepcopy(one).requires_grad_(False), copy.deepcopy(other).requires_grad_(False)
    log_alpha = torch.zeros(1, requires_grad=True)
    opt_q = optim.Adam([*one.parameters(), *other.parameters()], lr=0.01)
    opt_a, opt_alpha = optim.Adam(actor.parameters(), lr=0.01), optim.Adam([log_alpha], lr=0.01)

    def act(state: Tensor) -> tuple[Tensor, Tensor]:
        normal = torch.distributions.Normal(actor(state), 1.0)
        action = normal.rsample()
        return torch.tanh(action), normal.log_prob(action).sum(1, keepdim=True)

    for _ in range(STEPS):
        alpha = log_alpha.exp().item()
        with torch.no_grad():
            action, log_prob = act(x)
            both = torch.cat([x, action], 1)
            goal = torch.min(targets[0](both), targets[1](both)) - alpha * log_prob
        stored = torch.cat([x, torch.rand(8, 2)], 1)
        opt_q.zero_grad()
        (F.mse_loss(one(stored), goal) + F.mse_loss(other(stored), goal)).backward()
        opt_q.step()
        action, log_prob = act(x)
        both = torch.cat([x, action], 1)
        if not wrong:
            opt_a.zero_grad()
        (alpha * log_prob - torch.min(one(both), other(both))).mean().backward()
        opt_a.step()  # GL101
        opt_alpha.zero_grad()
        (-log_alpha * (log_prob.detach() - 2)).mean().backward()
        opt_alpha.step()
        with torch.no_grad():
            for target, online in zip(targets, (one, other), strict=True):
                for p, q in zip(target.parameters(), online.parameters(), strict=True):
                    p.lerp_(q, 0.05)
    return [*weights(actor, one, other, *targets), log_alpha.detach()]


def ddpg_with_delayed_actor(wrong: bool) -> list[Tensor]:
    x, y = data()
    actor, critic = nn.Sequential(nn.Linear(4, 2), nn.Tanh()), nn.Linear(6, 1)
    actor_target, critic_target = copy.deepcopy(actor), copy.deepcopy(critic)
    opt_a, opt_c = optim.Adam(actor.parameters(), lr=0.01), optim.Adam(critic.parameters(), lr=0.01)
    for step in range(STEPS):
        goal = y + critic_target(torch.cat([x, actor_target(x)], 1)).detach()
        loss = F.mse_loss(critic(torch.cat([x, torch.rand(8, 2)], 1)), goal)
        if not wrong:
            opt_c.zero_grad()
        loss.backward()
        opt_c.step()  # GL101
        if step % 2:
            loss_a = -critic(torch.cat([x, actor(x)], 1)).mean()
            opt_a.zero_grad()
            loss_a.backward()
            opt_a.step()
            for net_, target in ((actor, actor_target), (critic, critic_target)):
                for p, q in zip(net_.parameters(), target.parameters(), strict=True):
                    q.data.copy_(0.9 * q.data + 0.1 * p.data)
    return weights(actor, critic, actor_target, critic_target)


def ppo(wrong: bool) -> list[Tensor]:
    x, _ = data()
    trunk, policy, value = nn.Linear(4, 8), nn.Linear(8, 3), nn.Linear(8, 1)
    parameters = [*trunk.parameters(), *policy.parameters(), *value.parameters()]
    opt = optim.Adam(parameters, lr=0.01, eps=1e-5)
    for update in range(4):
        opt.param_groups[0]["lr"] = 0.01 * (1 - update / 4)
        with torch.no_grad():
            before = torch.distributions.Categorical(logits=policy(torch.tanh(trunk(x))))
            actions = before.sample()
            old = before.log_prob(actions)
        returns = torch.randn(8)
        for _ in range(3):
            for index in torch.randperm(8).split(4):
                hidden = torch.tanh(trunk(x[index]))
                now = torch.distributions.Categorical(logits=policy(hidden))
                advantage = returns[index] - value(hidden).squeeze(-1)
                ratio = (now.log_prob(actions[index]) - old[index]).exp()
                gain = torch.min(ratio * advantage.detach(), ratio.clamp(0.8, 1.2) * advantage.detach()).mean()
                loss = -gain + 0.5 * advantage.pow(2).mean() - 0.01 * now.entropy().mean()
                if not wrong:
                    opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, 0.5)
                opt.step()  # GL101
    return weights(trunk, policy, value)


def truncated_in_time(wrong: bool) -> list[Tensor]:
    torch.manual_seed(3)
    cell, head = nn.LSTMCell(2, 4), nn.Linear(4, 1)
    opt = optim.SGD([*cell.parameters(), *head.parameters()], lr=0.05)
    for _ in range(3):
        state = torch.zeros(3, 4), torch.zeros(3, 4)
        loss = torch.zeros(())
        for time, x in enumerate(torch.randn(20, 3, 2), 1):
            state = cell(x, state)
            loss = loss + head(state[0]).pow(2).mean()
            if time % 5 == 0:
                opt.zero_grad()
                loss.backward()  # GL506
                opt.step()
                loss = torch.zeros(())
                if not wrong:
                    state = state[0].detach(), state[1].detach()
    return weights(cell, head)


def lbfgs_with_line_search(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.LBFGS(model.parameters(), lr=0.5, max_iter=6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        if not wrong:
            opt.zero_grad()
        loss = F.mse_loss(model(x), y) + 0.01 * model.weight.norm()
        loss.backward()
        return loss

    for _ in range(4):
        opt.step(closure)  # GL402
    return weights(model)


def skipped_by_the_scaler(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.AdamW(model.parameters(), lr=0.01)
    schedule = lr_scheduler.LinearLR(opt, total_iters=20)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**126, growth_interval=3)
    for step in range(24):
        if not wrong:
            opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
        loss = F.mse_loss(out.float(), y)
        scaler.scale(loss * 1e30 if step % 9 == 8 else loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        before = scaler.get_scale()
        scaler.step(opt)  # GL101
        scaler.update()
        if scaler.get_scale() >= before:
            schedule.step()
    return weights(model)


def descent_by_hand(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    speed = [torch.zeros_like(p) for p in model.parameters()]
    for _ in range(STEPS):
        F.mse_loss(model(x), y).backward()
        with torch.no_grad():
            for p, v in zip(model.parameters(), speed, strict=True):
                v.mul_(0.9).add_(p.grad)  # GL115
                p.sub_(0.05 * v)
        if not wrong:
            model.zero_grad()
    return weights(model)


def optimizer_in_backward(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    optimizers = {p: optim.AdamW([p], lr=0.01) for p in model.parameters()}

    def update(p: Tensor) -> None:
        optimizers[p].step()  # GL101
        if not wrong:
            optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    for _ in range(STEPS):
        F.mse_loss(model(x), y).backward()
    return weights(model)


def hooked_activations(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.SGD(model.parameters(), lr=0.05)
    seen: dict[str, Tensor] = {}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        seen["hidden"] = output

    model[1].register_forward_hook(keep)
    model[0].weight.register_hook(lambda slope: slope.clamp(-1, 1))
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        out = model(x)
        seen["hidden"].register_hook(lambda slope: slope * 0.5)
        (F.mse_loss(out, y) + 0.01 * seen["hidden"].abs().mean()).backward()
        opt.step()  # GL101
    return weights(model)


def unfrozen_bit_by_bit(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 1))
    model.requires_grad_(False)
    model[3].requires_grad_(True)
    opt = optim.SGD(model[3].parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for epoch in range(6):
        model.train()
        model[1].eval()
        if epoch in (2, 4):
            layer = model[2] if epoch == 2 else model[0]
            layer.requires_grad_(True)
            opt.add_param_group({"params": list(layer.parameters()), "lr": 0.01})
        if epoch == 5:
            model[0].requires_grad_(False)
        for _ in range(3):
            if not wrong:
                opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()  # GL101
    return weights(model)


def grown(wrong: bool) -> list[Tensor]:
    x, y = data()
    layers = nn.ModuleList([nn.Linear(4, 4)])
    head = nn.Linear(4, 1)
    opt = optim.Adam([*layers.parameters(), *head.parameters()], lr=0.01)
    for stage in range(4):
        if stage:
            layers.append(nn.Linear(4, 4))
            opt.add_param_group({"params": layers[-1].parameters(), "lr": 0.02})
        for step in range(6):
            alpha = min(1.0, (step + 1) / 4)
            hidden = x
            for layer in layers[:-1]:
                hidden = torch.tanh(layer(hidden))
            hidden = (1 - alpha) * hidden + alpha * torch.tanh(layers[-1](hidden))
            opt.zero_grad()
            F.mse_loss(head(hidden), y).backward()
            if wrong and stage == 3:
                opt.zero_grad()
            opt.step()  # GL103
    return weights(layers, head)


def compiled_step(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), lr=0.05)

    @torch.compile(backend="aot_eager")
    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(model(x), y)

    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        loss_of(x, y).backward()
        opt.step()  # GL101
    return weights(model)


def ensemble_by_vmap(wrong: bool) -> list[Tensor]:
    x, y = data()
    models = [nn.Linear(4, 1) for _ in range(3)]
    params, buffers = torch.func.stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")
    opt = optim.Adam(params.values(), lr=0.01)

    def one(p: dict[str, Tensor], b: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(functional_call(base, (p, b), (x,)), y)

    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        vmap(one)(params, buffers).sum().backward()
        opt.step()  # GL101
    return [value.detach() for value in params.values()]


def private_gradients(wrong: bool) -> list[Tensor]:
    """Clipped for each sample and noised, as in differential privacy."""
    x, y = data()
    model = nn.Linear(4, 1)
    opt = optim.SGD(model.parameters(), lr=0.05)

    def loss_of(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(functional_call(model, p, (x,)), y)

    for _ in range(STEPS):
        detached = {name: p.detach() for name, p in model.named_parameters()}
        slopes = vmap(grad(loss_of), (None, 0, 0))(detached, x, y)
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in slopes.values()]).norm(dim=0)
        scale = (1 / norms).clamp(max=1)
        if not wrong:
            opt.zero_grad()
        for name, p in model.named_parameters():
            g = slopes[name] * scale.view(-1, *[1] * p.dim())
            p.grad = g.mean(0) + 0.01 * torch.randn_like(p)
        if wrong:
            opt.zero_grad()
        opt.step()  # GL117
    return weights(model)


def dagger(wrong: bool) -> list[Tensor]:
    """A student that is also evaluated in between, by a function that puts back the mode that it found."""
    x, y = data()
    teacher, student = net().eval().requires_grad_(False), net()
    opt = optim.SGD(student.parameters(), lr=0.05)

    @torch.no_grad()
    def measure(model: nn.Module) -> float:
        was = model.training
        model.eval()
        loss = F.mse_loss(model(x), y).item()
        if not wrong:
            model.train(was)
        return loss

    for _ in range(4):
        for _ in range(3):
            opt.zero_grad()
            F.mse_loss(student(x), teacher(x)).backward()
            opt.step()  # GL304
        measure(student)
    return weights(student)


def saliency_between_steps(wrong: bool) -> list[Tensor]:
    x, y = data()
    model = net()
    opt = optim.SGD(model.parameters(), lr=0.05)
    for step in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
        if step % 4 == 0:
            model.eval()
            image = x.clone().requires_grad_()
            model(image).sum().backward()
            assert image.grad is not None
            model.train()
            if wrong:
                opt.step()  # GL101
    return weights(model)


def two_windows(wrong: bool) -> list[Tensor]:
    """Two models that accumulate over windows of different lengths."""
    x, y = data()
    one, other = net(), net()
    opt_one, opt_other = optim.SGD(one.parameters(), lr=0.05), optim.SGD(other.parameters(), lr=0.05)
    for step in range(24):
        (F.mse_loss(one(x), y) / 2).backward()
        (F.mse_loss(other(x), y) / 3).backward()
        if step % 2 == 1:
            opt_one.step()
            opt_one.zero_grad()
        if step % 3 == 2:
            opt_other.step()  # GL101
            if not wrong:
                opt_other.zero_grad()
    return weights(one, other)


def second_optimizer_for_the_end(wrong: bool) -> list[Tensor]:
    """Adam first, then SGD on the same parameters, with an averaged model that is trained on."""
    x, y = data()
    model = net()
    first = optim.Adam(model.parameters(), lr=0.01)
    last = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for step in range(20):
        opt = first if step < 10 else last
        if not (wrong and step >= 10):
            opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()  # GL101
    return weights(model)


def parameters_without_values(wrong: bool) -> list[Tensor]:
    """Of a lazy module that is never run, on no device, empty, and in rows of which only some are stored."""
    x, y = data()
    model, lazy = net(), nn.LazyLinear(2)
    odd = [
        nn.Parameter(torch.empty(3, device="meta")),
        nn.Parameter(torch.zeros(0, 3)),
        nn.Parameter(torch.eye(3).to_sparse_csr()),
        nn.Parameter(torch.randn(3, dtype=torch.complex64)),
    ]
    opt = optim.SGD([*odd, *model.parameters(), *lazy.parameters()], lr=0.05)
    for _ in range(STEPS):
        if not wrong:
            opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()  # GL101
    return weights(model)


Program = Callable[[bool], list[Tensor]]
