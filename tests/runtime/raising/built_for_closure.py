"""A closure runs backward through a graph that was built before it: `loss`."""

import torch
from torch import nn

model = nn.Linear(4, 1)
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
x = torch.randn(2, 4)
loss = model(x).pow(2).mean()  # mark: built here, outside `closure`


def closure():
    optimizer.zero_grad()
    loss.backward()  # GL504 in iteration 1, of `loss` is built once, before `closure`; mark: freed # help: into `closure` # right: loss = model(x).pow(2).mean(); loss.backward()
    return loss


optimizer.step(closure)
