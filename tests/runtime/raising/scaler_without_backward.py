"""The scaled loss never runs backward."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    opt.zero_grad()
    loss = scaler.scale(criterion(net(torch.randn(2, 4)), torch.randn(2, 1)))
    # right: loss.backward()
    scaler.step(opt)  # GL104 in iteration 0, `opt` steps without a backward pass
    scaler.update()
