"""An embedding with sparse gradients is trained by Adam."""

import torch
from torch import nn

net = nn.ModuleDict({"words": nn.Embedding(9, 4, sparse=True), "head": nn.Linear(4, 1)})  # right: net = nn.ModuleDict({"words": nn.Embedding(9, 4), "head": nn.Linear(4, 1)})  # fmt: skip
opt = torch.optim.AdamW(net.parameters(), lr=0.1)
for words in torch.randint(0, 9, (3, 8)):
    opt.zero_grad()
    net["head"](net["words"](words)).mean().backward()
    opt.step()  # GL824 in iteration 0, `net.words.weight` has a sparse gradient, which `opt` cannot use # help: the rest by AdamW  # fmt: skip
