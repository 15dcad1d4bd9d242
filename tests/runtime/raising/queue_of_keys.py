"""A queue of keys carries the graphs of the last ones, joined and cut since: `queue`."""

import torch
from torch import nn
from torch.nn import functional as F

encoder = nn.Linear(4, 8)
optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
queue = torch.randn(16, 8)
for _ in range(3):
    q = F.normalize(encoder(torch.randn(2, 4)), dim=1)
    k = F.normalize(encoder(torch.randn(2, 4)), dim=1)  # mark: made here
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.t()], 1)
    loss = F.cross_entropy(logits, torch.zeros(2, dtype=torch.long))
    optimizer.zero_grad()
    loss.backward()  # GL506 in iteration 2, `queue`; mark: freed # help: `queue = queue.detach()`
    optimizer.step()
    queue = torch.cat([k, queue])[:16]  # mark: used here # right: queue = torch.cat([k.detach(), queue])[:16]
