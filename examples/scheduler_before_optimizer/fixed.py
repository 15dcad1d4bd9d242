"""Train with a learning rate that falls by a factor of ten every five epochs."""

import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR


class Trainer:
    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.criterion = nn.MSELoss()
        self.optimizer = SGD(model.parameters(), lr=0.1, momentum=0.5)
        self.scheduler = StepLR(self.optimizer, step_size=5, gamma=0.1)

    def train_step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self, x: torch.Tensor, y: torch.Tensor, epochs: int = 15) -> None:
        for epoch in range(epochs):
            lr = self.optimizer.param_groups[0]["lr"]
            losses = [self.train_step(*batch) for batch in zip(x.split(32), y.split(32), strict=True)]
            self.scheduler.step()
            print(f"epoch {epoch}: lr {lr:.4f} loss {sum(losses) / len(losses):.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    inputs = torch.randn(256, 4)
    targets = inputs.sum(dim=1, keepdim=True)
    Trainer(nn.Linear(4, 1)).fit(inputs, targets)
