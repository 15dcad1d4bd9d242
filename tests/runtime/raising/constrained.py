"""A parameter is put back into its bounds between forward and backward: `out.weight`."""

import torch
from torch import nn

body, out = nn.Linear(4, 8), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*body.parameters(), *out.parameters()], lr=0.1)
for _ in range(3):
    loss = out(body(torch.randn(2, 4)).tanh()).pow(2).mean()  # mark: saved by
    with torch.no_grad():
        out.weight.div_(out.weight.norm())  # mark: changed here # right: pass
    optimizer.zero_grad()
    loss.backward()  # GL521 in iteration 1, the parameter `out.weight` # help: change parameters after the backward pass
    optimizer.step()
