"""The teacher follows the student before the backward pass that runs through it."""

import torch
from torch import nn


def follow(student, teacher):
    with torch.no_grad():
        for p, q in zip(student.parameters(), teacher.parameters(), strict=True):
            q.mul_(0.9).add_(p, alpha=0.1)  # mark: changed here # right: q * 0.9


student, teacher = nn.Linear(4, 4), nn.Linear(4, 4)
opt = torch.optim.SGD(student.parameters(), lr=0.1)
for x in torch.randn(3, 8, 4):
    x.requires_grad_()
    target = teacher(x)  # mark: saved by this operation
    loss = (student(x) - target).pow(2).mean()
    follow(student, teacher)
    opt.zero_grad()
    loss.backward()  # GL521 in iteration 1, the parameter `teacher.weight`
    opt.step()
