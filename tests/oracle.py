"""Slow, independent twins of what the package computes: autograd, with a function mode that changes ReLU's backward.

Nothing here uses the package's tape, rules or mirror.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class _Rectify(torch.autograd.Function):
    """ReLU whose backward rectifies what comes from above; with `mask`, as guided backpropagation does."""

    @staticmethod
    def forward(ctx, x, mask):
        ctx.mask = mask
        ctx.save_for_backward(x > 0)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (positive,) = ctx.saved_tensors
        grad = grad.clamp(min=0)
        return (grad * positive if ctx.mask else grad), None


class _Identity(torch.autograd.Function):
    """Local response normalisation that lets the signal through unchanged."""

    @staticmethod
    def forward(ctx, x, *arguments):
        return F.local_response_norm(x, *arguments)

    @staticmethod
    def backward(ctx, grad):
        return grad, None, None, None, None


RELUS = {F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_}


class ReplacedBackward(TorchFunctionMode):
    """Runs each ReLU with the backward of a rule: "deconvnet", "guided", or "gradient" (its own)."""

    def __init__(self, rule: str, lrn: str = "identity") -> None:
        super().__init__()
        self.rule, self.lrn = rule, lrn

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in RELUS and self.rule != "gradient":
            return _Rectify.apply(args[0], self.rule == "guided")
        if func in RELUS:
            return F.relu(args[0])
        if func is F.local_response_norm and self.lrn == "identity":
            return _Identity.apply(args[0], *_lrn_arguments(*args[1:], **kwargs))
        if func is F.dropout:
            return args[0]
        return func(*args, **kwargs)


def _lrn_arguments(size, alpha=1e-4, beta=0.75, k=1.0):
    return size, alpha, beta, k


def project_by_autograd(model, images, layer, signal, rule="deconvnet", lrn="identity"):
    """Return d<signal, layer>/d images with the rule's backward; `layer` is a module's path, `signal` its shape."""
    images = images.clone().requires_grad_()
    found = {}

    def keep(module, inputs, output):
        found.setdefault("value", output)
        return output.clone()  # an in-place call that follows must not change what was found

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        with ReplacedBackward(rule, lrn), contextlib.suppress(StopIteration), torch.enable_grad():
            model(images)
    finally:
        handle.remove()
    (grad,) = torch.autograd.grad(found["value"], images, signal)
    return grad


def jacobian(function, x):
    """Return the Jacobian of function at x as a matrix (outputs, inputs), by autograd, in float64."""
    matrix = torch.autograd.functional.jacobian(function, x)
    return matrix.reshape(-1, x.numel())


def relative(a, b):
    """Return the largest deviation of a from b, in units of b's largest value."""
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))
