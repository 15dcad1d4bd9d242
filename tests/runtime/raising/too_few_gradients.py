"""The backward of one's own function forgets an argument that needs no gradient."""

import torch


class Raised(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, low):
        return x.clamp(min=low)

    @staticmethod
    def backward(ctx, gradient):  # GL526 in iteration 0, returns 1 gradient, and its forward takes `x`, `low`
        return gradient  # right: return gradient, None


w = torch.ones(4, requires_grad=True)
out = Raised.apply(w, 0.5)  # mark: it was applied here
out.sum().backward()  # mark: this backward runs through it
