"""The backward of one's own function returns a gradient of another shape."""

import torch


class Shifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, by):
        return x + by

    @staticmethod
    def backward(ctx, gradient):  # GL526 in iteration 0, returns a gradient for `by` that does not fit: got [2]
        return gradient, gradient[0, :2]  # right: return gradient, gradient.sum(0)


w = torch.ones(5, 3, requires_grad=True)
by = torch.ones(3, requires_grad=True)
out = Shifted.apply(w, by)  # mark: it was applied here
out.sum().backward()  # mark: this backward runs through it
