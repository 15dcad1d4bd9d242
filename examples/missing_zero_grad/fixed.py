"""Fit a noisy line with a small network."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_loader() -> DataLoader:
    x = torch.linspace(-1, 1, 256).unsqueeze(1)
    y = 3 * x + 0.5 + 0.1 * torch.randn_like(x)
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)


def train(model: nn.Module, loader: DataLoader, epochs: int = 20) -> float:
    criterion = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(epochs):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
    return total / len(loader)


if __name__ == "__main__":
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    print(f"loss {train(network, make_loader()):.4f}")
