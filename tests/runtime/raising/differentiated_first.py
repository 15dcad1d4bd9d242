"""A helper asks for gradients first, and frees the graph: `loss`."""

import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def norm_of(loss):
    grads = torch.autograd.grad(loss, list(model.parameters()))  # mark: freed by # right: grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)  # fmt: skip
    return sum(each.pow(2).sum() for each in grads).sqrt().item()


for _ in range(3):
    loss = model(torch.randn(2, 4)).pow(2).mean()  # mark: made here
    norm = norm_of(loss)
    optimizer.zero_grad()
    loss.backward()  # GL503 in iteration 1, both run through `loss` # help: `retain_graph=True` to the first one
    optimizer.step()
