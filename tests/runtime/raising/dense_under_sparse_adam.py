"""SparseAdam is given all parameters."""

import torch
from torch import nn

words, head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 1)
given = [*words.parameters(), *head.parameters()]  # right: given = list(words.parameters())
opt = torch.optim.SparseAdam(given, lr=0.1)
for each in torch.randint(0, 9, (3, 8)):
    opt.zero_grad()
    head(words(each)).mean().backward()
    opt.step()  # GL824 in iteration 0, `head.weight` has a dense gradient # help: only what is looked up
