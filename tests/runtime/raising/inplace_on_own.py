"""What a function of one's own has saved is changed in place."""

import torch
from torch import nn


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


model = nn.Linear(4, 4)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for x in torch.randn(3, 2, 4):
    hidden = model(x)
    out = Squared.apply(hidden)  # mark: saved by this operation
    hidden += 1  # mark: changed here # right: hidden = hidden + 1
    opt.zero_grad()
    (out + hidden).mean().backward()  # GL521 in iteration 1, `hidden`, saved by SquaredBackward, by AddBackward0
    opt.step()
