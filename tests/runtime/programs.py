"""Small training programs, right and wrong: a line that gradlint must report ends in a comment with the code.

Each is a function without arguments; `test_programs.py` runs them all under watch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.checkpoint import checkpoint

X, Y = torch.randn(8, 4), torch.randn(8, 1)
STEPS = 12


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))


def sgd(module: nn.Module) -> optim.SGD:
    return optim.SGD(module.parameters(), lr=0.01)


def gan() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        opt_d.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def gan_cleared_through_data() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        for parameter in critic.parameters():
            if parameter.grad is not None:
                parameter.grad.data.zero_()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def gan_critic_never_cleared() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()  # GL101
        opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def wgan_gp() -> None:
    critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = sgd(critic)
    for _ in range(STEPS):
        opt.zero_grad()
        mixed = X.clone().requires_grad_()
        [slope] = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).pow(2).mean()
        (critic(X).mean() + penalty).backward()
        opt.step()


def accumulation() -> None:
    model = net()
    opt = sgd(model)
    for i in range(STEPS):
        (F.mse_loss(model(X), Y) / 4).backward()
        if (i + 1) % 4 == 0:
            opt.step()
            opt.zero_grad()


def accumulation_never_cleared() -> None:
    model = net()
    opt = sgd(model)
    for i in range(STEPS):
        (F.mse_loss(model(X), Y) / 4).backward()
        if (i + 1) % 4 == 0:
            opt.step()  # GL101


def scaler_disabled() -> None:
    model = net()
    opt = sgd(model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()


def scaler_that_skips() -> None:
    model = net()
    opt = sgd(model)
    schedule = lr_scheduler.StepLR(opt, 1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    for _ in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        scaler.step(opt)
        scaler.update()
        schedule.step()


def lbfgs() -> None:
    model = net()
    solver = optim.LBFGS(model.parameters(), max_iter=4)

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        solver.step(closure)


def lbfgs_cleared_by_hand() -> None:
    model = net()
    solver = optim.LBFGS(model.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        for parameter in model.parameters():
            parameter.grad = None
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        solver.step(closure)


def lbfgs_with_gradients_assigned() -> None:
    weight = nn.Parameter(torch.zeros(4))
    solver = optim.LBFGS([weight], max_iter=4)

    def closure() -> torch.Tensor:
        residual = X @ weight.detach() - Y[:, 0]
        weight.grad = X.T @ residual
        return residual.pow(2).sum()

    for _ in range(STEPS):
        solver.step(closure)


def adam_before_lbfgs() -> None:
    model = net()
    adam, solver = optim.Adam(model.parameters(), lr=0.01), optim.LBFGS(model.parameters(), max_iter=4)

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        adam.zero_grad()
        F.mse_loss(model(X), Y).backward()
        adam.step()
    solver.step(closure)


def backward_before_lbfgs_beside_adam() -> None:
    model = net()
    adam, solver = optim.Adam(model.parameters(), lr=0.01), optim.LBFGS(model.parameters(), max_iter=4)

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        adam.zero_grad()
        F.mse_loss(model(X), Y).backward()
        adam.step()
    adam.zero_grad()
    F.mse_loss(model(X), Y).backward()  # GL407
    solver.step(closure)


class Sam(optim.Optimizer):
    def __init__(self, params, base, **defaults):
        super().__init__(params, defaults)
        self.base = base(self.param_groups, **defaults)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["nudge"] = 0.05 * parameter.grad
                parameter.add_(self.state[parameter]["nudge"])
        self.zero_grad()

    @torch.no_grad()
    def second_step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(self.state[parameter]["nudge"])
        self.base.step()
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.first_step()
        closure()
        self.second_step()


def sam_in_two_steps() -> None:
    model = nn.Linear(4, 1)
    opt = Sam(model.parameters(), optim.SGD, lr=0.01)
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        opt.first_step()
        F.mse_loss(model(X), Y).backward()
        opt.second_step()


def sam_with_closure() -> None:
    model = nn.Linear(4, 1)
    opt = Sam(model.parameters(), optim.SGD, lr=0.01)

    def closure() -> torch.Tensor:
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        opt.step(closure)


class Lookahead(optim.Optimizer):
    def __init__(self, base):
        self.base, self.count = base, 0
        super().__init__(base.param_groups, {})
        self.slow = [parameter.detach().clone() for parameter in base.param_groups[0]["params"]]

    @torch.no_grad()
    def step(self, closure=None):
        self.base.step()
        self.count += 1
        if self.count % 5 == 0:
            for slow, parameter in zip(self.slow, self.base.param_groups[0]["params"], strict=True):
                slow.lerp_(parameter, 0.5)
                parameter.copy_(slow)


def lookahead() -> None:
    model = net()
    opt = Lookahead(optim.SGD(model.parameters(), lr=0.01))
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def lookahead_never_cleared() -> None:
    model = net()
    opt = Lookahead(optim.SGD(model.parameters(), lr=0.01))
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101


def optimizer_in_backward() -> None:
    model = net()
    optimizers = {parameter: optim.SGD([parameter], lr=0.01) for parameter in model.parameters()}

    def update(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()


def optimizer_in_backward_never_cleared() -> None:
    model = nn.Linear(4, 1)
    optimizers = {parameter: optim.SGD([parameter], lr=0.01) for parameter in model.parameters()}

    def update(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()  # GL101

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()


def gradients_by_hand() -> None:
    weight = nn.Parameter(torch.zeros(4))
    opt = optim.SGD([weight], lr=0.01)
    for _ in range(STEPS):
        weight.grad = torch.randn(4)
        opt.step()


def gradients_copied_in() -> None:
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.zeros(4)
    opt = optim.SGD([weight], lr=0.01)
    for _ in range(STEPS):
        weight.grad.copy_(torch.randn(4))
        opt.step()


def gradients_copied_in_through_data() -> None:
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.zeros(4)
    opt = optim.SGD([weight], lr=0.01)
    for _ in range(STEPS):
        weight.grad.data.copy_(torch.randn(4))
        opt.step()


def gradients_never_renewed() -> None:
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.randn(4)
    opt = optim.SGD([weight], lr=0.01)
    for _ in range(STEPS):
        opt.step()  # GL109


def master_weights() -> None:
    model = nn.Linear(4, 1).bfloat16()
    masters = [parameter.detach().float().requires_grad_() for parameter in model.parameters()]
    opt = optim.SGD(masters, lr=0.01)
    for _ in range(STEPS):
        model.zero_grad()
        F.mse_loss(model(X.bfloat16()), Y.bfloat16()).backward()
        for master, parameter in zip(masters, model.parameters(), strict=True):
            master.grad = parameter.grad.float()
        opt.step()
        with torch.no_grad():
            for master, parameter in zip(masters, model.parameters(), strict=True):
                parameter.copy_(master)


def cleared_by_hand() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        for parameter in model.parameters():
            parameter.grad = None
        F.mse_loss(model(X), Y).backward()
        opt.step()


def cleared_in_place() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        opt.step()
        for parameter in model.parameters():
            parameter.grad.zero_()


def cleared_through_data() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(3 * STEPS):
        F.mse_loss(model(X), Y).backward()
        opt.step()
        for parameter in model.parameters():
            parameter.grad.data.zero_()


def cleared_through_the_module() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        model.zero_grad(set_to_none=False)
        F.mse_loss(model(X), Y).backward()
        opt.step()


def clipped_but_never_cleared() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()  # GL101


def only_the_head_is_cleared() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        model[3].zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101


def clearing_stops_after_a_hundred_steps() -> None:
    model = net()
    opt = sgd(model)
    for i in range(120):
        if i < 100:
            opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101


def heads_in_turn() -> None:
    body, heads = nn.Linear(4, 8), nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])
    opt = optim.Adam([*body.parameters(), *heads.parameters()])
    for i in range(5 * STEPS):
        opt.zero_grad()
        F.mse_loss(heads[i % 2](body(X)), Y).backward()
        opt.step()


def no_gradient_in_some_batches() -> None:
    model = net()
    opt = sgd(model)
    for i in range(STEPS):
        opt.zero_grad()
        if i % 4:
            F.mse_loss(model(X), Y).backward()
        opt.step()


def warm_up_step() -> None:
    model = net()
    opt = sgd(model)
    schedule = lr_scheduler.LambdaLR(opt, lambda step: 1 / (step + 1))
    opt.step()
    for _ in range(STEPS):
        schedule.step()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def truncated_backpropagation() -> None:
    rnn = nn.RNN(4, 4)
    opt = sgd(rnn)
    hidden = torch.zeros(1, 8, 4)
    for _ in range(STEPS):
        opt.zero_grad()
        out, hidden = rnn(X.unsqueeze(0), hidden.detach())
        out.pow(2).mean().backward()
        opt.step()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(4, 4)
        self.state = torch.zeros(8, 4)

    def forward(self, x):
        self.state = torch.tanh(self.cell(x + self.state))
        return self.state


def state_carried_in_a_module() -> None:
    model = Recurrent()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = model(X).pow(2).mean()
        loss.backward()  # GL506
        opt.step()


def state_carried_and_cut() -> None:
    model = Recurrent()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        model.state = model.state.detach()
        loss = model(X).pow(2).mean()
        loss.backward()
        opt.step()


def graph_made_before_the_loop_in_a_helper() -> None:
    model = net()
    opt = sgd(model)

    def forward() -> torch.Tensor:
        return torch.tanh(model(X))

    prediction = forward()
    for _ in range(STEPS):
        opt.zero_grad()
        loss = F.mse_loss(prediction, Y)
        loss.backward()  # GL504
        opt.step()


def step_between_two_backwards() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    opt = sgd(model)
    out = model(X)
    first, second = out.mean(), out.pow(2).mean()
    opt.zero_grad()
    first.backward(retain_graph=True)
    opt.step()
    second.backward()  # GL508


def frozen_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    opt = sgd(model)
    for _ in range(STEPS):
        model.train()
        model[1].eval()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def finetuning_in_evaluation_mode() -> None:
    model = net().eval()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def attack_on_a_trained_model() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
    model.eval()
    for _ in range(3):
        image = X.clone().requires_grad_()
        F.mse_loss(model(image), Y).backward()
        image = image + 0.1 * image.grad.sign()


def evaluation_of_a_net_without_modes() -> None:
    model = nn.Linear(4, 1)
    opt = sgd(model)
    for _ in range(3):
        for _ in range(4):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            F.mse_loss(model(X), Y)


def forces() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(3):
        model.train()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        model.eval()
        for _ in range(4):
            place = X.clone().requires_grad_()
            torch.autograd.grad(model(place).sum(), place)


def functional_gradients() -> None:
    model = nn.Linear(4, 1)
    opt = sgd(model)
    names = dict(model.named_parameters())

    def loss_of(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return F.mse_loss(torch.func.functional_call(model, parameters, (X,)), Y)

    for _ in range(STEPS):
        for name, grad in torch.func.grad(loss_of)(names).items():
            names[name].grad = grad.detach()
        opt.step()


def maml() -> None:
    model = nn.Linear(4, 1)
    opt = sgd(model)
    names = dict(model.named_parameters())
    for _ in range(STEPS):
        opt.zero_grad()
        for _ in range(2):
            loss = F.mse_loss(torch.func.functional_call(model, names, (X,)), Y)
            grads = torch.autograd.grad(loss, list(names.values()), create_graph=True)
            fast = {name: value - 0.1 * grad for (name, value), grad in zip(names.items(), grads, strict=True)}
            F.mse_loss(torch.func.functional_call(model, fast, (X,)), Y).backward()
        opt.step()


def checkpointing_reentrant() -> None:
    _checkpointing(reentrant=True)


def checkpointing() -> None:
    _checkpointing(reentrant=False)


def _checkpointing(*, reentrant: bool) -> None:
    first, second = nn.Linear(4, 8), nn.Linear(8, 1)
    opt = optim.SGD([*first.parameters(), *second.parameters()], lr=0.01)
    for _ in range(STEPS):
        opt.zero_grad()
        hidden = checkpoint(first, X.clone().requires_grad_(), use_reentrant=reentrant)
        F.mse_loss(second(hidden), Y).backward()
        opt.step()


def moving_average() -> None:
    model = net()
    average = copy.deepcopy(model).eval()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.1)
            average(X)


def actor_critic() -> None:
    actor, critic = nn.Linear(4, 2), nn.Linear(4, 1)
    opt_actor, opt_critic = optim.Adam(actor.parameters()), optim.Adam(critic.parameters())
    for _ in range(STEPS):
        policy = torch.distributions.Categorical(logits=actor(X))
        action = policy.sample()
        value = critic(X).squeeze(1)
        opt_actor.zero_grad()
        (-policy.log_prob(action) * value.detach()).mean().backward()
        opt_actor.step()
        opt_critic.zero_grad()
        F.mse_loss(value, Y[:, 0]).backward()
        opt_critic.step()


def one_backward_two_optimizers() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    first, second = sgd(model[0]), optim.Adam(model[1].parameters())
    for _ in range(STEPS):
        model.zero_grad()
        F.mse_loss(model(X), Y).backward()
        first.step()
        second.step()


def sparse_and_dense() -> None:
    table, head = nn.Embedding(10, 4, sparse=True), nn.Linear(4, 1)
    sparse, dense = optim.SparseAdam(table.parameters()), optim.Adam(head.parameters())
    for _ in range(STEPS):
        sparse.zero_grad()
        dense.zero_grad()
        F.mse_loss(head(table(torch.arange(8))), Y).backward()
        sparse.step()
        dense.step()


def two_sweeps_over_one_model() -> None:
    model = net()
    for rate in (0.1, 0.01):
        opt = optim.SGD(model.parameters(), lr=rate)
        for _ in range(STEPS):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()


def schedule_preview() -> None:
    opt = optim.SGD(net().parameters(), lr=0.1)
    schedule = lr_scheduler.StepLR(opt, 2)
    for _ in range(STEPS):
        schedule.get_last_lr()
        schedule.step()


def schedules_composed() -> None:
    model = net()
    opt = sgd(model)
    warm, cool = lr_scheduler.LinearLR(opt, total_iters=3), lr_scheduler.CosineAnnealingLR(opt, T_max=9)
    schedule = lr_scheduler.SequentialLR(opt, [warm, cool], milestones=[3])
    plateau = lr_scheduler.ReduceLROnPlateau(opt)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        schedule.step()
        plateau.step(loss.item())


def plateau_first() -> None:
    model = net()
    opt = sgd(model)
    plateau = lr_scheduler.ReduceLROnPlateau(opt)
    for _ in range(STEPS):
        plateau.step(1.0)  # GL201
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def window_of_losses() -> None:
    model = net()
    opt = sgd(model)
    running = 0.0
    for i in range(4 * STEPS):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        running = loss if i % 6 == 0 else running + loss


def losses_kept_in_a_dict() -> None:
    model = net()
    opt = sgd(model)
    history = {}
    for i in range(4 * STEPS):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        history[i] = loss  # GL501


def custom_training_function() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(Double.apply(model(X)), Y).backward()
        opt.step()


def frozen_then_unfrozen() -> None:
    model = net()
    opt = sgd(model)
    model[0].requires_grad_(False)
    for i in range(4 * STEPS):
        if i == STEPS:
            model[0].requires_grad_(True)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


LATE = 100  # by then the loop is known to be steady, and only its order is looked at


def late_clearing_by_hand_stops() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        if i < LATE:
            for parameter in model.parameters():
                parameter.grad = None
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101


def late_clearing_in_place_stops() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101
        if i < LATE:
            for parameter in model.parameters():
                parameter.grad.zero_()


def late_clearing_stops_under_a_trainer_that_passes_no_closure() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        if i < LATE:
            opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step(None)  # GL101


def clearing_never_stops_under_a_trainer_that_passes_no_closure() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * LATE):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step(None) if i % 3 else opt.step(closure=None)


def late_clearing_is_skipped_now_and_then() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * LATE):
        if i % 37:
            opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL101


def late_switch_to_clearing_by_hand() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * LATE):
        if i < LATE:
            opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        if i >= LATE - 1:
            for parameter in model.parameters():
                parameter.grad.zero_()


def late_second_step() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        if i > LATE:
            opt.step()  # GL109


def late_clearing_before_the_step() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        if i > LATE:
            opt.zero_grad()
        opt.step()  # GL103


def late_gan_critic_not_cleared() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for i in range(LATE + 20):
        fake = generator(torch.randn(8, 2))
        if i < LATE:
            opt_d.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()  # GL101
        opt_g.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def late_gan_trains_its_critic_more_often() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    for i in range(2 * LATE):
        fake = generator(torch.randn(8, 2))
        opt_d.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        opt_d.step()
        if i < LATE or i % 7 == 0:
            opt_g.zero_grad()
            (-critic(fake).mean()).backward()
            opt_g.step()


def total_of_scaled_losses() -> None:
    model = net()
    opt = sgd(model)
    total = 0
    for _ in range(LATE):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        (loss / 2).backward()
        opt.step()
        total += loss  # GL501


def total_of_one_term() -> None:
    model = net()
    opt = sgd(model)
    fits, sizes = 0, 0
    for _ in range(LATE):
        opt.zero_grad()
        out = model(X)
        fit, size = F.mse_loss(out, Y), out.pow(2).mean()
        (fit + 0.1 * size).backward()
        opt.step()
        fits += fit.item()
        sizes += size  # GL501


def totals_of_values() -> None:
    model = net()
    opt = sgd(model)
    fits, sizes, recent = 0, 0, []
    for _ in range(LATE):
        opt.zero_grad()
        out = model(X)
        fit, size = F.mse_loss(out, Y), out.pow(2).mean()
        (fit + 0.1 * size).backward()
        opt.step()
        fits += fit.item()
        sizes += size.detach()
        recent = [*recent[-1:], fit]


def late_second_backward() -> None:
    model = net()
    opt = sgd(model)
    for i in range(LATE + 20):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        if i > LATE:
            loss.backward()  # GL503
        opt.step()


def late_leak() -> None:
    model = net()
    opt = sgd(model)
    losses = []
    for i in range(4 * LATE):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        opt.step()
        if i > LATE:
            losses.append(loss)  # GL501


def late_evaluation_with_gradients() -> None:
    model = net()
    opt = sgd(model)
    for epoch in range(3):
        model.train()
        for _ in range(LATE):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
        model.eval()
        with torch.set_grad_enabled(epoch == 2):
            for _ in range(4):
                model(X)  # GL302


def whole_graph_is_measured_with_gradients() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        model.train()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        model.eval()
        model(X)  # GL302


def one_look_at_a_model_now_and_then() -> None:
    model = net()
    opt = sgd(model)
    for step in range(STEPS):
        model.train()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        if step % 6 == 5:
            model.eval()
            model(X)


_hub: dict[str, Callable[[nn.Module], nn.Module]] = {}
exec(compile("def load(model): return model.eval()", "/usr/lib/site-packages/hub.py", "exec"), _hub)  # noqa: S102


def _measure(model: nn.Module) -> None:
    model.eval()
    with torch.no_grad():
        model(X)


def trained_in_the_mode_in_which_a_library_returned_it() -> None:
    model = _hub["load"](net())
    opt = sgd(model)
    for _ in range(3):
        for _ in range(STEPS):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()  # GL304
        _measure(model)


def trained_in_the_mode_of_a_library_that_the_user_chose_as_well() -> None:
    model = _hub["load"](net())
    model.eval()
    opt = sgd(model)
    for _ in range(3):
        for _ in range(STEPS):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
        _measure(model)


def late_evaluation_mode() -> None:
    model = net()
    opt = sgd(model)
    for epoch in range(3):
        if epoch < 2:
            model.train()
        for _ in range(LATE):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()  # GL304
        model.eval()


@torch.no_grad()
def _measured(model: nn.Module, *, restores: bool) -> float:
    was = model.training
    model.eval()
    loss = F.mse_loss(model(X), Y).item()
    model.train(was and restores)
    return loss


def measured_first_and_trained_in_evaluation_mode() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * STEPS):
        if i % STEPS == 0:
            _measured(model, restores=False)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL304
    _measured(model, restores=False)


def measured_first_and_trained_in_training_mode() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * STEPS):
        if i % STEPS == 0:
            _measured(model, restores=True)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
    _measured(model, restores=True)


def put_into_evaluation_mode_and_trained_there_on_purpose() -> None:
    model = net()
    opt = sgd(model)
    for i in range(2 * STEPS):
        if i % STEPS == 0:
            model.eval()
            _measured(model, restores=False)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def all_pairs_with_a_detached_side() -> None:
    model = nn.Linear(4, 1)
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        out = model(X)
        loss = (out - out.detach().T).abs().mean()
        loss.backward()
        opt.step()


def schedule_is_given_a_loss_that_grows() -> None:
    model = net()
    opt = sgd(model)
    schedule = lr_scheduler.ExponentialLR(opt, 0.9)
    for epoch in range(4):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y) + epoch
        loss.backward()
        opt.step()
        schedule.step(loss.detach())  # GL206


def schedule_is_given_parts_of_epochs() -> None:
    model = net()
    opt = sgd(model)
    schedule = lr_scheduler.ExponentialLR(opt, 0.9)
    for batch in range(8):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        schedule.step(batch / 4)


def updated_by_hand_after_clipping() -> None:
    model = net()
    for _ in range(STEPS):
        model.zero_grad()
        F.mse_loss(model(X), Y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)


def updated_by_hand_after_clipping_and_never_cleared() -> None:
    model = net()
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)  # GL115


def updated_by_hand_with_gradients_of_ones_own() -> None:
    model = net()
    for _ in range(STEPS):
        loss = F.mse_loss(model(X), Y)
        loss.backward(retain_graph=True)
        own = torch.autograd.grad(loss, list(model.parameters()))
        for parameter, grad in zip(model.parameters(), own, strict=True):
            parameter.grad.copy_(grad)
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.1)


def optimizer_without_parameters() -> None:
    model = net()
    opt, other = sgd(model), optim.AdamW([{"params": []}, {"params": []}], lr=0.01)
    schedule = lr_scheduler.StepLR(other, 4)
    for _ in range(STEPS):
        for each in (opt, other):
            each.zero_grad()
        F.mse_loss(model(X), Y).backward()
        for each in (opt, other):
            each.step()
        schedule.step()


def late_unfreezing() -> None:
    model = net()
    opt = sgd(model)
    model[0].requires_grad_(False)
    for i in range(3 * LATE):
        if i == LATE:
            model[0].requires_grad_(True)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def encoder_and_decoder_left_in_evaluation() -> None:
    encoder, decoder = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.1)), nn.Linear(8, 1)
    opt = optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    for _ in range(3):
        for _ in range(4):
            opt.zero_grad()
            F.mse_loss(decoder(encoder(X)), Y).backward()
            opt.step()  # GL304
        encoder.eval()
        decoder.eval()
        with torch.no_grad():
            decoder(encoder(X))


def batch_norm_frozen_after_a_while() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    opt = sgd(model)
    for i in range(2 * STEPS):
        if i == STEPS:
            model[1].eval()
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
    opt.zero_grad()
    F.mse_loss(model(X), Y).backward()
    opt.step()


def _scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=1024.0)


def scaled_and_clipped_in_order() -> None:
    model = net()
    opt = sgd(model)
    scaler = _scaler()
    for _ in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()


def scaled_and_unscaled_by_hand() -> None:
    model = net()
    opt = sgd(model)
    scaler = _scaler()
    for _ in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        for parameter in model.parameters():
            parameter.grad.div_(scaler.get_scale())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()


def scaled_losses_accumulate() -> None:
    model = net()
    opt = sgd(model)
    scaler = _scaler()
    for i in range(4 * STEPS):
        (scaler.scale(F.mse_loss(model(X), Y)) / 4).backward()
        if i % 4 == 3:
            scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
            opt.zero_grad()


def one_scaler_for_two_models() -> None:
    first, second = net(), net()
    opt, other = sgd(first), sgd(second)
    scaler = _scaler()
    for _ in range(STEPS):
        opt.zero_grad()
        other.zero_grad()
        loss = F.mse_loss(first(X), Y)
        scaler.scale(loss).backward()
        scaler.scale(F.mse_loss(second(X), Y) + loss.detach()).backward()
        scaler.unscale_(other)
        torch.nn.utils.clip_grad_norm_(second.parameters(), 1.0)
        scaler.step(opt)
        scaler.step(other)
        scaler.update()


def one_model_is_scaled_and_one_is_not() -> None:
    first, second = net(), net()
    opt, other = sgd(first), sgd(second)
    scaler = _scaler()
    for _ in range(STEPS):
        opt.zero_grad()
        other.zero_grad()
        scaler.scale(F.mse_loss(first(X), Y)).backward()
        scaler.step(opt)
        scaler.update()
        F.mse_loss(second(X), Y).backward()
        torch.nn.utils.clip_grad_norm_(second.parameters(), 1.0)
        other.step()


def disabled_scaler() -> None:
    model = net()
    opt = sgd(model)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()


def norm_is_only_told_after_the_step() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
        torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))


def clipped_while_scaled_now_and_then() -> None:
    model = net()
    opt = sgd(model)
    scaler = _scaler()
    for i in range(STEPS):
        opt.zero_grad()
        scaler.scale(F.mse_loss(model(X), Y)).backward()
        if i % 3:
            scaler.unscale_(opt)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # GL601
        scaler.step(opt)
        scaler.update()


def gradients_are_only_looked_at() -> None:
    model = net()
    opt = sgd(model)
    total = 0.0
    for _ in range(3):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        total += float(model[0].weight.grad.norm())
    assert total


def never_stepped() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()  # GL106


def critic_is_never_stepped() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    assert opt_d
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        critic.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()  # GL106
        generator.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def critic_is_trained_already() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    assert opt_d
    for _ in range(STEPS):
        critic.zero_grad()
        generator.zero_grad()
        (-critic(generator(torch.randn(8, 2))).mean()).backward()
        opt_g.step()


def critic_is_only_measured() -> None:
    generator, critic = nn.Linear(2, 4), nn.Linear(4, 1)
    opt_g, opt_d = sgd(generator), sgd(critic)
    total = 0.0
    for _ in range(STEPS):
        fake = generator(torch.randn(8, 2))
        critic.zero_grad()
        (critic(fake.detach()).mean() - critic(X).mean()).backward()
        total += _norm(opt_d)
        generator.zero_grad()
        (-critic(fake).mean()).backward()
        opt_g.step()


def _norm(optimizer: optim.Optimizer) -> float:
    return sum(float(each.grad.norm()) for each in optimizer.param_groups[0]["params"])


def first_the_one_and_then_the_other() -> None:
    first, second = net(), net()
    opt, late = sgd(first), sgd(second)
    for i in range(STEPS):
        opt.zero_grad()
        late.zero_grad()
        (F.mse_loss(first(X), Y) + F.mse_loss(second(X), Y)).backward()
        opt.step()
        if i > STEPS // 2:
            late.step()


def updated_by_hand_beside_an_optimizer() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.01 * parameter.grad


def only_the_head_is_trained() -> None:
    body, head = net(), nn.Linear(1, 1)
    opt = sgd(head)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(head(body(X)), Y).backward()
        opt.step()


def only_frozen_parameters_are_held() -> None:
    body, head = net(), nn.Linear(1, 1)
    opt = sgd(head)
    head.requires_grad_(False)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(head(body(X)), Y).backward()
        opt.step()  # GL801


def old_model_is_held() -> None:
    model = net()
    opt = sgd(model)
    model = net()
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()  # GL806


def attack_and_training_in_turn() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        attacked = X.clone().requires_grad_()
        F.mse_loss(model(attacked), Y).backward()
        opt.zero_grad()
        F.mse_loss(model(X + 0.1 * attacked.grad.sign()), Y).backward()
        opt.step()


def one_gradient_for_each_sample() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        sums = [torch.zeros_like(parameter) for parameter in model.parameters()]
        for x, y in zip(X, Y, strict=True):
            opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for total, parameter in zip(sums, model.parameters(), strict=True):
                total += parameter.grad
        for total, parameter in zip(sums, model.parameters(), strict=True):
            parameter.grad.copy_(total / len(X))
        opt.step()


def cleared_in_every_microbatch() -> None:
    model = net()
    opt = sgd(model)
    for i in range(4 * STEPS):
        opt.zero_grad()  # GL701
        (F.mse_loss(model(X), Y) / 4).backward()
        if i % 4 == 3:
            opt.step()


def _train(epochs: int, schedule: Callable[[optim.Optimizer], object], per_batch: bool = False) -> optim.Optimizer:
    model = net()
    opt = sgd(model)
    scheduler = schedule(opt)
    for _ in range(epochs):
        for _ in range(10):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
            if per_batch:
                scheduler.step()
        if not per_batch:
            scheduler.step()
    return opt


def schedules_that_count_what_they_are_stepped_with() -> None:
    _train(5, lambda opt: lr_scheduler.StepLR(opt, 2))
    _train(5, lambda opt: lr_scheduler.StepLR(opt, 20), per_batch=True)
    _train(5, lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=50), per_batch=True)
    _train(5, lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=5))
    _train(5, lambda opt: lr_scheduler.CosineAnnealingLR(opt, 5), per_batch=True)
    _train(30, lambda opt: lr_scheduler.ExponentialLR(opt, 0.5))


def schedule_is_told_parts_of_epochs() -> None:
    model = net()
    opt = sgd(model)
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(opt, 2)
    cosine = lr_scheduler.CosineAnnealingLR(opt, 4)
    for epoch in range(4):
        for i in range(4):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
            scheduler.step(epoch + i / 4)
            cosine.step(epoch + i / 4)


def scheduler_is_built_anew_with_its_optimizer() -> None:
    model = net()
    for _ in range(2):
        opt = sgd(model)
        scheduler = lr_scheduler.StepLR(opt, 2)
        for _ in range(STEPS):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
            scheduler.step()


def graph_is_kept_for_a_second_loss() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        prediction = model(X)
        F.mse_loss(prediction, Y).backward(retain_graph=True)
        prediction.abs().mean().backward()
        opt.step()


def graph_is_kept_for_a_gradient() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward(retain_graph=True)
        assert torch.autograd.grad(loss, model[0].weight)[0].shape == model[0].weight.shape
        opt.step()


def graph_is_kept_in_all_but_the_last_pass() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        prediction = model(X)
        for target in (Y, Y + 1, Y + 2):
            F.mse_loss(prediction, target).backward(retain_graph=True)
        opt.step()


def graph_is_kept_for_nobody() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward(retain_graph=True)  # GL505
        opt.step()


def pairwise_distances() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        scores = model(X)
        loss = (scores - scores.squeeze(1)).abs().mean() + F.mse_loss(scores, Y)
        loss.backward()
        opt.step()


def one_target_for_all() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        (model(X) - torch.tensor([0.5])).pow(2).mean().backward()
        opt.step()


def optimizer_is_built_for_each_task() -> None:
    model = net()
    start = copy.deepcopy(model.state_dict())
    for _ in range(2 * STEPS):
        model.load_state_dict(start)
        opt = optim.Adam(model.parameters())
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def optimizer_without_memory_is_built_for_each_step() -> None:
    model = net()
    for _ in range(2 * STEPS):
        opt = sgd(model)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def optimizer_is_built_for_each_step() -> None:
    model = net()
    for _ in range(2 * STEPS):
        opt = optim.Adam(model.parameters())  # GL805
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()


def updated_by_hand_and_cleared() -> None:
    weight = torch.zeros(4, 1, requires_grad=True)
    for _ in range(STEPS):
        F.mse_loss(X @ weight, Y).backward()
        weight.data -= 0.1 * weight.grad
        weight.grad.data.zero_()


def gradients_of_by_hand_are_summed_up_over_batches() -> None:
    weight = torch.zeros(4, 1, requires_grad=True)
    for i in range(4 * STEPS):
        F.mse_loss(X @ weight, Y).backward()
        if i % 4 == 3:
            with torch.no_grad():
                weight -= 0.1 * weight.grad
            weight.grad = None


def attacked_in_many_steps() -> None:
    model = net()
    delta = torch.zeros_like(X, requires_grad=True)
    for _ in range(STEPS):
        F.mse_loss(model(X + delta), Y).backward()
        delta.data = (delta + 0.01 * delta.grad.sign()).clamp(-0.1, 0.1)
        delta.grad.zero_()
    model.zero_grad()


def updated_by_hand_and_never_cleared() -> None:
    weight = torch.zeros(4, 1, requires_grad=True)
    for _ in range(STEPS):
        F.mse_loss(X @ weight, Y).backward()
        weight.data -= 0.1 * weight.grad  # GL115


def averages_follow_the_weights() -> None:
    model, average = net(), copy.deepcopy(net())
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        (F.mse_loss(model(X), Y) + F.mse_loss(model(X), average(X))).backward()
        opt.step()
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                ours.lerp_(theirs, 0.1)


def clip_of_a_model_for_one_optimizer_at_a_time() -> None:
    both = nn.ModuleDict({"actor": net(), "critic": net()})
    opt_a, opt_c = sgd(both["actor"]), sgd(both["critic"])
    for step in range(2 * STEPS):
        opt_a.zero_grad()
        if step >= STEPS:
            opt_c.zero_grad()
        both["actor"](X).mean().backward()
        nn.utils.clip_grad_norm_(both.parameters(), 0.5)
        opt_a.step()
        opt_c.zero_grad()
        F.mse_loss(both["critic"](X), Y).backward()
        nn.utils.clip_grad_norm_(both.parameters(), 0.5)
        opt_c.step()


def clip_of_a_model_after_both_steps() -> None:
    both = nn.ModuleDict({"actor": net(), "critic": net()})
    opt_a, opt_c = sgd(both["actor"]), sgd(both["critic"])
    for _ in range(STEPS):
        opt_a.zero_grad()
        opt_c.zero_grad()
        (both["actor"](X).mean() + F.mse_loss(both["critic"](X), Y)).backward()
        opt_a.step()
        opt_c.step()
        nn.utils.clip_grad_norm_(both.parameters(), 0.5)  # GL602


def scaler_that_skips_every_step() -> None:
    model = net()
    optimizer = sgd(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(1e9 * F.mse_loss(model(X), Y)).backward()
        scaler.step(optimizer)
        scaler.update()


def fused_optimizer_that_skips_steps_itself() -> None:
    model = net()
    optimizer = optim.Adam(model.parameters(), lr=0.01, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    for _ in range(STEPS):
        optimizer.zero_grad()
        scaler.scale(1e9 * F.mse_loss(model(X), Y)).backward()
        scaler.step(optimizer)
        scaler.update()


def batch_whose_gradients_are_only_compared() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        norms = []
        for sign in (1, -1):
            optimizer.zero_grad()
            F.mse_loss(model(sign * X), Y).backward()
            norms.append(sum(float(parameter.grad.norm()) for parameter in model.parameters()))
        optimizer.step()


def _train_on(model: nn.Module, x: torch.Tensor) -> None:
    F.mse_loss(model(x), Y).backward()


def _attacked(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    _train_on(model, x)
    assert x.grad is not None
    return (x + 0.1 * x.grad.sign()).detach()


def attack_that_shares_its_backward_pass() -> None:
    model = net()
    optimizer = sgd(model)
    for _ in range(STEPS):
        x = X
        for _ in range(3):
            x = _attacked(model, x)
            optimizer.zero_grad()
        _train_on(model, x)
        optimizer.step()


def clipped_and_never_stepped_beside_updates_by_hand() -> None:
    by_hand = bool(X.isnan().any())
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()  # GL106
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if by_hand:
            for parameter in model.parameters():
                parameter.data.add_(parameter.grad, alpha=-0.01)


def norms_of_gradients_that_nobody_steps_on() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        [parameter.grad.norm() for parameter in model.parameters()]


def clipped_for_updates_by_hand() -> None:
    model = net()
    opt = sgd(model)
    for _ in range(STEPS):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for parameter in model.parameters():
            parameter.data.add_(parameter.grad, alpha=-0.01)


def penalized_and_never_stepped() -> None:
    critic = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    opt = sgd(critic)
    for _ in range(STEPS):
        opt.zero_grad()
        mixed = X.clone().requires_grad_()
        [slope] = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        penalty = (slope.norm(dim=1) - 1).pow(2).mean()
        (critic(X).mean() + penalty).backward()  # GL106


def momentum_by_hand_never_cleared() -> None:
    model = nn.Linear(4, 1)
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        with torch.no_grad():
            for parameter, each in zip(model.parameters(), velocity, strict=True):
                each.mul_(0.9).add_(parameter.grad)  # GL115
                parameter -= 0.01 * each


def momentum_by_hand() -> None:
    model = nn.Linear(4, 1)
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for _ in range(STEPS):
        F.mse_loss(model(X), Y).backward()
        with torch.no_grad():
            for parameter, each in zip(model.parameters(), velocity, strict=True):
                each.mul_(0.9).add_(parameter.grad)
                parameter -= 0.01 * each
                parameter.grad = None


def decay_by_hand_never_cleared() -> None:
    weight = torch.randn(4, 1, requires_grad=True)
    for _ in range(STEPS):
        (X @ weight - Y).pow(2).mean().backward()
        with torch.no_grad():
            weight -= 0.01 * (weight.grad + 0.1 * weight)  # GL115


def line_by_hand_never_cleared() -> None:
    slope, offset = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(STEPS):
        (slope * X[:, :1] + offset - Y).pow(2).mean().backward()
        with torch.no_grad():
            slope -= 0.01 * slope.grad
            offset -= 0.01 * offset.grad  # GL115


def line_by_hand() -> None:
    slope, offset = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(STEPS):
        (slope * X[:, :1] + offset - Y).pow(2).mean().backward()
        with torch.no_grad():
            for each in (slope, offset):
                each -= 0.01 * each.grad
                each.grad.zero_()


def average_that_is_not_trained() -> None:
    model = nn.Linear(4, 1)
    opt = sgd(model)
    average = copy.deepcopy(model)
    for _ in range(STEPS):
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y) + F.mse_loss(average(X), model(X))
        loss.backward()
        opt.step()
        with torch.no_grad():
            for mine, other in zip(average.parameters(), model.parameters(), strict=True):
                mine.lerp_(other, 0.1)


def schedule_that_runs_while_another_optimizer_warms_up() -> None:
    model = net()
    main, first = sgd(model), optim.Adam(model.parameters(), lr=0.01)
    schedules = [lr_scheduler.LambdaLR(each, lambda step: 1 / (step + 1)) for each in (main, first)]
    for step in range(2 * STEPS):
        optimizer = first if step < STEPS else main
        optimizer.zero_grad()
        F.mse_loss(model(X), Y).backward()
        optimizer.step()
        for schedule in schedules:
            schedule.step()
