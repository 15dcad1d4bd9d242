"""The gradients are cleared before the scaler steps."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
scaler = torch.amp.GradScaler("cpu")
for _ in range(3):
    scaler.scale(criterion(net(torch.randn(2, 4)), torch.randn(2, 1))).backward()  # mark: after this backward
    opt.zero_grad()  # mark: the gradients are cleared here # right: pass
    scaler.step(opt)  # GL103 in iteration 0, `opt` steps right after
    scaler.update()
    opt.zero_grad()
