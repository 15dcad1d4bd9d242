"""One entry of what the model returns is cut off: `out["scores"]`."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 1)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        scores = self.b(h)
        return {"h": h, "scores": scores.detach()}  # mark: lost here # right: return {"h": h, "scores": scores}


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    out = model(torch.randn(2, 4))
    loss = out["scores"].pow(2).mean()
    optimizer.zero_grad()
    loss.backward()  # GL112 in iteration 1, comes from `scores.detach()` # help: without `.item()`, `.detach()`
    optimizer.step()
