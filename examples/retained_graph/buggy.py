"""Train a small autoencoder and report the mean loss of each epoch."""

import torch
from torch import nn
from torch.utils.data import DataLoader


def main() -> None:
    torch.manual_seed(0)
    loader = DataLoader(torch.rand(256, 64), batch_size=16, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 64), nn.Sigmoid())
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(3):
        total_loss = 0
        for images in loader:
            loss = criterion(model(images), images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total_loss += loss
        print(f"epoch {epoch}: loss {total_loss / len(loader):.4f}")


if __name__ == "__main__":
    main()
