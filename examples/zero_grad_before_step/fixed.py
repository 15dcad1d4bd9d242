"""Classify points by the quadrant they lie in."""

import torch
from torch import nn, optim
from torch.nn import functional as F


class Quadrants(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 32)
        self.out = nn.Linear(32, 4)

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.hidden(points)))


def main() -> None:
    torch.manual_seed(0)
    points = torch.randn(512, 2)
    labels = (points[:, 0] > 0).long() * 2 + (points[:, 1] > 0).long()
    model = Quadrants()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(30):
        for batch in torch.randperm(len(points)).split(64):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(points[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}")
    with torch.no_grad():
        accuracy = (model(points).argmax(1) == labels).float().mean()
    print(f"accuracy {accuracy:.2f}")


if __name__ == "__main__":
    main()
