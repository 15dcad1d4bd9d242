"""A backward pass is given a gradient, and starts from what has no graph."""

import torch

w = torch.ones(3, requires_grad=True)
out = (w * 2).detach()  # mark: the graph is lost here # right: out = w * 2
upper = torch.ones(3)
out.backward(upper)  # GL112 in iteration 1, `out` comes from `(w * 2).detach()`
