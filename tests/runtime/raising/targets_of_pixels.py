"""Pixels from 0 to 255 are the targets of a binary cross-entropy."""

import torch
from torch.nn import functional as F

w = torch.zeros(3, requires_grad=True)
pixels = torch.tensor([0.0, 51.0, 255.0])  # mark: made here # right: pixels = torch.tensor([0.0, 0.2, 1.0])
loss = F.binary_cross_entropy(w.sigmoid(), target=pixels)  # GL923 in iteration 0, `pixels` goes from 0 to 255
loss.backward()
