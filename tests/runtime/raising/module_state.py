"""An attribute of the module carries it: `model.state`."""

import torch
from torch import nn


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.f, self.g = nn.Linear(4, 4), nn.Linear(4, 4)
        self.state = torch.zeros(2, 4)

    def forward(self, x):
        z = self.f(x)
        z = z + self.g(self.state)  # mark: used here # right: z = z + self.g(self.state.detach())
        self.state = torch.tanh(z)  # mark: made here
        return self.state


def main():
    model = Cell()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        opt.zero_grad()
        loss = model(torch.randn(2, 4)).pow(2).mean()
        loss.backward()  # GL506 in iteration 2, `model.state`; mark: freed
        opt.step()


main()
