"""A model that has become NaN meets a loss of probabilities."""

import torch
from torch.nn import functional as F

w = torch.tensor([1.0, float("nan")], requires_grad=True)  # right: w = torch.tensor([1.0, 1.0], requires_grad=True)
loss = F.binary_cross_entropy(w.sigmoid(), torch.ones(2))  # GL923 in iteration 0, 1 of the 2 values of `w.sigmoid()` are NaN # help: find what became NaN first  # fmt: skip
loss.backward()
