"""The loss is not reduced."""

import torch
from torch import nn

net = nn.Linear(4, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    out, y = net(torch.randn(2, 4)), torch.randn(2, 1)
    loss = nn.functional.mse_loss(out, y, reduction="none")  # mark: computed here # right: loss = out.mean()
    loss.backward()  # GL516 in iteration 0, `loss`
    opt.step()
