"""The optimizer that the scaler steps is that of another model."""

import torch
from torch import nn

net, other, criterion = nn.Linear(4, 1), nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(other.parameters(), lr=0.1)  # right: opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    opt.zero_grad()
    scaler.scale(criterion(net(torch.randn(2, 4)), torch.randn(2, 1))).backward()
    scaler.step(opt)  # GL806 in iteration 0, `opt` holds parameters that no backward pass reaches
    scaler.update()
