"""The optimizer steps between a forward pass and its second backward pass."""

import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
opt = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    out = model(torch.randn(2, 4))  # mark: the graph that needs them was made here
    first, second = out.mean(), out.pow(2).mean()
    first.backward(retain_graph=True)
    opt.step()  # mark: changed by this step # right: pass
    second.backward()  # GL508 in iteration 1, `model.2.weight`
    opt.step()
