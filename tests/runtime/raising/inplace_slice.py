"""A slice of a hidden state is overwritten."""

import torch
from torch import nn

net = nn.Linear(4, 4)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    h = torch.tanh(net(torch.randn(2, 4)))
    out = h.pow(2)  # mark: saved by this operation # right: out = h.clone().pow(2); h = h.clone()
    h[:, 0] = 0.0  # mark: changed here
    loss = out.mean()
    loss.backward()  # GL521 in iteration 1, `h`
    opt.step()
