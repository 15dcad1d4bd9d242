"""Pixels that have no class are marked by 255."""

import torch
from torch.nn import functional as F

w = torch.zeros(1, 3, 2, 2, requires_grad=True)
mask = torch.tensor([[[0, 2], [255, 1]]])  # mark: made here # right: mask = torch.tensor([[[0, 2], [-100, 1]]])
loss = F.cross_entropy(w, mask)  # GL924 in iteration 0, `mask` holds classes from 0 to 255 # help: `ignore_index=255`
loss.backward()
