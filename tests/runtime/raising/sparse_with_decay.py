"""A decay makes a sparse gradient dense, which SGD cannot do."""

import torch
from torch import nn

words = nn.Embedding(9, 4, sparse=True)
opt = torch.optim.SGD(words.parameters(), lr=0.1, weight_decay=0.01)  # right: opt = torch.optim.SGD(words.parameters(), lr=0.1)  # fmt: skip
for each in torch.randint(0, 9, (3, 8)):
    opt.zero_grad()
    words(each).mean().backward()
    opt.step()  # GL824 in iteration 0, which `opt` with a `weight_decay` cannot use
