"""The backward of one's own function uses what its forward has not kept."""

import torch


class Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, by):
        ctx.save_for_backward(x)  # right: ctx.save_for_backward(x, by)
        return x * by

    @staticmethod
    def backward(ctx, gradient):
        x, by = ctx.saved_tensors  # GL526 in iteration 0, the backward pass of `Scaled` raises an error here
        return gradient * by, gradient * x


w = torch.ones(4, requires_grad=True)
by = torch.ones(4, requires_grad=True)
out = Scaled.apply(w, by)  # mark: it was applied here
out.sum().backward()
