"""Gradients are measured, also those of a part that the loss leaves out."""

import torch
from torch import nn

net, criterion = nn.ModuleDict({"body": nn.Linear(4, 1), "aside": nn.Linear(4, 1)}), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    criterion(net["body"](torch.randn(2, 4)), torch.randn(2, 1)).backward()
    norm = sum(p.grad.norm() for p in net.parameters())  # GL116 in iteration 0, `p.grad` is None here: `net.aside.weight` takes no part in the loss # right: norm = sum(p.grad.norm() for p in net.parameters() if p.grad is not None)  # fmt: skip
    opt.step()
