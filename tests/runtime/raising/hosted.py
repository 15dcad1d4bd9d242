"""The loss is cut off in a step that the trainer of a library calls; what it was made of is cut off for a reason."""

import torch
from torch import nn

TRAINER = """
def fit(model, optimizer, batches):
    for batch in batches:
        optimizer.zero_grad()
        loss = model.training_step(batch)["loss"]
        loss.backward()
        optimizer.step()
"""
library = {}
exec(compile(TRAINER, "/usr/lib/site-packages/trainer.py", "exec"), library)  # noqa: S102


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def training_step(self, batch):
        loss = (self.layer(batch) - self.layer(batch).detach() - 1).pow(2).mean()
        return {"loss": loss.detach()}  # GL112 in iteration 1, `loss.detach()` # right: return {"loss": loss}


net = Net()
library["fit"](net, torch.optim.SGD(net.parameters(), lr=0.1), [torch.randn(2, 4) for _ in range(3)])
