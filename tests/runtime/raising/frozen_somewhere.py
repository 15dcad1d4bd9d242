"""Whoever loaded the model has frozen it."""

import torch
from torch import nn


class Trainer:
    def __init__(self, model):
        self.model = model
        self.opt = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss(self, x):
        return self.model(x).pow(2).mean()

    def train(self, x):
        self.opt.zero_grad()
        loss = self.loss(x)
        loss.backward()  # GL112 in iteration 1, those of `self.model` are all frozen # help: requires_grad_(True)
        self.opt.step()


net = nn.Linear(4, 1)
net.requires_grad_(False)  # right: net.requires_grad_(True)
trainer = Trainer(net)
for x in torch.randn(3, 8, 4):
    trainer.train(x)
