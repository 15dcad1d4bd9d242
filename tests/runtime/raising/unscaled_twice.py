"""Gradients are unscaled in each turn of a window."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for i in range(4):
    scaler.scale(criterion(net(torch.randn(2, 4)), torch.randn(2, 1))).backward()
    scaler.unscale_(opt)  # GL607 in iteration 0, `opt`; mark: unscaled here # right: pass
    if i % 2:
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
