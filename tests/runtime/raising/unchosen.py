"""No parameter has the name that is looked for."""

import torch
from torch import nn

model = nn.ModuleDict({"body": nn.Linear(4, 8), "head": nn.Linear(8, 1)})
chosen = [p for name, p in model.named_parameters() if "classifier" in name]  # right: chosen = list(model.parameters())
optimizer = torch.optim.SGD(chosen, lr=0.1)  # GL801 in iteration 0, none of them is chosen (the first is called `body.weight`)  # fmt: skip
for _ in range(3):
    optimizer.zero_grad()
    model["head"](model["body"](torch.randn(2, 4))).pow(2).mean().backward()
    optimizer.step()
