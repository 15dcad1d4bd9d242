"""The names that the examples of the rule pages may use, on real, tiny data."""
# ruff: noqa: F401

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
X = torch.randn(8, 4)
Y = torch.randn(8, 1)
loader = DataLoader(TensorDataset(X, Y), batch_size=2)
val_loader = DataLoader(TensorDataset(X, Y), batch_size=4)
model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
rnn = nn.RNN(4, 4, batch_first=True)
criterion = nn.MSELoss()
optimizer = optim.SGD(model.parameters(), lr=0.01)
