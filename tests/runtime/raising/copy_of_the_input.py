"""The output is computed from the input, and differentiated by a copy of it."""

import torch
from torch import nn

net = nn.Linear(4, 1)
x = torch.randn(2, 4)
copy = x.clone().requires_grad_()  # mark: `copy` is made here
out = net(x).sum()  # right: out = net(copy).sum()
(slope,) = torch.autograd.grad(out, [copy])  # GL525 in iteration 0, `out` is not computed from `copy` # help: from the other itself, not from a copy  # fmt: skip
