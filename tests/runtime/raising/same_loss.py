"""The loss is computed once, before the loop."""

import torch
from torch import nn

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.1)
x, y = torch.randn(2, 4), torch.randn(2, 1)
loss = nn.functional.mse_loss(net(x), y)  # mark: built here
for _ in range(3):
    opt.zero_grad()  # right: opt.zero_grad(); loss = nn.functional.mse_loss(net(x), y)
    loss.backward()  # GL504 in iteration 2, `loss`; mark: freed
    opt.step()
