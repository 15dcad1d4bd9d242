"""An update by hand of what was moved after it was told to require gradients."""

import torch

w = torch.zeros(4, 1, requires_grad=True).double()  # right: w = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)  # fmt: skip
for _ in range(3):
    (torch.randn(2, 4, dtype=torch.float64) @ w - 1.0).pow(2).mean().backward()
    with torch.no_grad():
        w -= 0.1 * w.grad  # GL116 in iteration 0, `w` is computed from others
    w.grad = None
