"""The optimizer is given the tensor itself."""

import torch

w = torch.zeros(2, requires_grad=True)
opt = torch.optim.Adam(w, lr=0.1)  # GL825 in iteration 0, `w` is a tensor # help: `[w]` # right: opt = torch.optim.Adam([w], lr=0.1)  # fmt: skip
