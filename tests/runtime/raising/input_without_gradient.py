"""An attack differentiates by an input that does not require gradients."""

import torch
from torch import nn

net, criterion = nn.Linear(4, 1), nn.MSELoss()
x, y = torch.randn(2, 4), torch.randn(2, 1)
# right: x.requires_grad_()
loss = criterion(net(x), y)
(slope,) = torch.autograd.grad(loss, x)  # GL525 in iteration 0, `x` does not require gradients # help: call `x.requires_grad_()` before  # fmt: skip
adversarial = x + 0.1 * slope.sign()
