"""Two losses run backward through one application of a function of one's own."""

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
    out = Squared.apply(model(x))  # mark: the shared part was made here
    first, second = out.mean(), out.sum()  # mark: used again here
    opt.zero_grad()
    first.backward()  # mark: freed by this backward # right: first.backward(retain_graph=True)
    second.backward()  # GL503 in iteration 1, both run through `out`
    opt.step()
