"""The first part is checkpointed the old way, and its input requires no gradients."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

net, criterion = nn.Linear(4, 1), nn.MSELoss()
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    opt.zero_grad()
    out = checkpoint(net, torch.randn(2, 4), use_reentrant=True)  # mark: the graph is lost here # right: out = checkpoint(net, torch.randn(2, 4), use_reentrant=False)  # fmt: skip
    loss = criterion(out, torch.randn(2, 1))
    loss.backward()  # GL112 in iteration 1, `loss` comes from `checkpoint`, which is reentrant # help: use_reentrant=False
    opt.step()
