"""A tensor without a graph is changed between forward and backward pass."""

import torch

weight = torch.zeros(4, requires_grad=True)
average = torch.ones(4)
opt = torch.optim.SGD([weight], lr=0.1)
for _ in range(3):
    opt.zero_grad()
    loss = (weight.exp() * average).sum()  # mark: saved by this operation
    average.mul_(0.9)  # mark: changed here # right: average = average * 0.9
    loss.backward()  # GL521 in iteration 1, `average`
    opt.step()
