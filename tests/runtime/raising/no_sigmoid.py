"""Scores are given to a loss of probabilities."""

import torch
from torch import nn

model, criterion = nn.Linear(4, 1), nn.BCELoss()  # right: model, criterion = nn.Linear(4, 1), nn.BCEWithLogitsLoss()
nn.init.constant_(model.bias, 7)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
labels = torch.ones(8, 1)
for x in torch.zeros(3, 8, 4):
    opt.zero_grad()
    scores = model(x)  # mark: made here
    loss = criterion(scores, labels)  # GL923 in iteration 0, `scores` goes from 7 to 7, # help: `torch.sigmoid(scores)`
    loss.backward()
    opt.step()
