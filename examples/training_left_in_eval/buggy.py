"""Train with dropout and batch normalisation, and validate after every epoch."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
            total += len(y)
    return right / total


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(600, 8)
    y = (x[:, :4].sum(1) > x[:, 4:].sum(1)).long()
    train_set, val_set = random_split(TensorDataset(x, y), [500, 100])
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=100)

    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    model.train()
    for epoch in range(5):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: validation accuracy {accuracy(model, val_loader):.2f}")


if __name__ == "__main__":
    main()
