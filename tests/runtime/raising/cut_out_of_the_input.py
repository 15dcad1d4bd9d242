"""A coordinate is cut out of the input after the output was computed from it."""

import torch
from torch import nn

net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
points = torch.rand(5, 2, requires_grad=True)
u, t = net(points), points[:, 1:]  # mark: `t` is made here # right: t = points[:, 1:].detach().requires_grad_(); u = net(torch.cat([points[:, :1], t], 1))  # fmt: skip
slope = torch.autograd.grad(u.sum(), t, create_graph=True)[0]  # GL525 in iteration 0, `u.sum()` is not computed from `t`, but from what `t` was made of # help: compute `t` first  # fmt: skip
slope.pow(2).mean().backward()
