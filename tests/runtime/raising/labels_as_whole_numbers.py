"""Zeros and ones come as whole numbers."""

import torch
from torch.nn import functional as F

w = torch.zeros(3, requires_grad=True)
labels = torch.tensor([1, 0, 1])  # mark: made here # right: labels = torch.tensor([1.0, 0.0, 1.0])
loss = F.binary_cross_entropy(w.sigmoid(), labels)  # GL924 in iteration 0, `labels` is of int64, # help: .to(torch.float32)  # fmt: skip
loss.backward()
