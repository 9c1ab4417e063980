"""Slow, independent twins of what the package computes: autograd, with a function mode that changes backward passes.

Nothing here uses the package's tape, rules or mirror.
"""

from __future__ import annotations

import contextlib
import re

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

T = torch.Tensor
RELUS = {F.relu, torch.relu, torch.relu_, T.relu, T.relu_}
OTHERS = {F.relu6, F.hardtanh, F.leaky_relu, F.elu, F.selu, F.prelu, F.silu, F.gelu, F.mish, F.hardswish, F.softplus}
OTHERS |= {
    torch.sigmoid,
    T.sigmoid,
    F.hardsigmoid,
    torch.tanh,
    T.tanh,
    F.softmax,
    T.softmax,
    torch.softmax,
    T.clamp,
    torch.clamp,
}
GATES = {torch.sigmoid, T.sigmoid, F.sigmoid, F.hardsigmoid, torch.tanh, T.tanh, F.softmax, torch.softmax, T.softmax}
SHAPES = {T.view, T.reshape, T.unsqueeze, torch.unsqueeze, T.permute, torch.permute, T.transpose, torch.transpose, T.contiguous}
SHAPES |= {T.squeeze, torch.squeeze, torch.flatten, T.flatten, T.expand, T.expand_as, T.clone}
POOLS = {F.max_pool2d, F.max_pool2d_with_indices, torch.max_pool2d, F.adaptive_max_pool2d, F.adaptive_max_pool2d_with_indices}
PRODUCTS = {torch.mul, T.mul, T.mul_}
QUOTIENTS = {torch.div, T.div, T.div_}


class _Activation(torch.autograd.Function):
    """An activation whose backward rectifies what comes from above; with `mask`, times its own derivative."""

    @staticmethod
    def forward(ctx, x, function, mask):
        ctx.function, ctx.mask = function, mask
        ctx.save_for_backward(x)
        return function(x.clone())

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad = grad.clamp(min=0)
        if ctx.mask:
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                (grad,) = torch.autograd.grad(ctx.function(leaf * 1), leaf, grad)
        return grad, None, None


class _Identity(torch.autograd.Function):
    """A function that lets the signal through unchanged, times a scale."""

    @staticmethod
    def forward(ctx, x, value, scale):
        ctx.scale = scale
        return value.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.scale, None, None


class ReplacedBackward(TorchFunctionMode):
    """Runs each activation with the backward of a rule - "deconvnet", "guided", "gradient" - and holds gates and norms.

    Max pools keep autograd's backward (`silent="first"`), or pass nothing where their maximum is exactly zero.
    """

    def __init__(self, rule: str, lrn: str = "identity", silent: str = "drop") -> None:
        super().__init__()
        self.rule, self.lrn, self.silent = rule, lrn, silent

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = self.call(func, args, kwargs)
        if isinstance(result, T) and args and isinstance(args[0], T):
            if func in GATES:
                result.gate = True
            if func in (torch.sigmoid, T.sigmoid):
                result.sigmoid_of = args[0]
            if func in SHAPES and getattr(args[0], "gate", False):
                result.gate = True
            if func in (T.expand, T.expand_as):
                result.gate = True
        return result

    def call(self, func, args, kwargs):
        if func in RELUS | OTHERS:
            return self.activation(func, args, kwargs)
        if func is F.local_response_norm and self.lrn == "identity":
            return _Identity.apply(args[0], func(*args, **kwargs).detach(), 1)
        if func in (F.layer_norm, F.group_norm, F.instance_norm):
            return self.norm(func, args, kwargs)
        if func is F.batch_norm and args[0].requires_grad and _argument(args, kwargs, 1, "running_mean") is None:
            raise AssertionError("this oracle does not know batch statistics")
        if func is F.dropout:
            return args[0]
        if func in POOLS and self.silent == "drop":
            result = func(*args, **kwargs)
            pooled = result[0] if isinstance(result, tuple) else result
            fired = pooled * (pooled != 0).detach()  # the same values
            return (fired, *result[1:]) if isinstance(result, tuple) else fired
        if func in PRODUCTS | QUOTIENTS and all(isinstance(x, T) and x.requires_grad for x in args[:2]):
            return self.product(func, *args[:2])
        return func(*args, **kwargs)

    def activation(self, func, args, kwargs):
        def function(x):
            return func(x, *args[1:], **kwargs)

        if self.rule == "gradient":
            return function(args[0] * 1)
        return _Activation.apply(args[0], function, self.rule == "guided")

    def norm(self, func, args, kwargs):
        x, value = args[0], func(*args, **kwargs).detach()
        weight = _argument(args, kwargs, 2 if func is not F.instance_norm else 3, "weight")
        data = x.detach().double()
        eps = _argument(args, kwargs, 4, "eps", 1e-5) if func is not F.instance_norm else kwargs.get("eps", 1e-5)
        if func is F.layer_norm:
            axes = tuple(range(-len(args[1]), 0))
            scale = (data.var(axes, unbiased=False, keepdim=True) + eps).rsqrt()
        else:
            groups = args[1] if func is F.group_norm else x.shape[1]
            variance = data.reshape(x.shape[0], groups, -1).var(2, unbiased=False)
            scale = (variance + eps).rsqrt().repeat_interleave(x.shape[1] // groups, 1)
            scale = scale.reshape(*x.shape[:2], *[1] * (x.dim() - 2))
            weight = None if weight is None else weight.reshape(1, -1, *[1] * (x.dim() - 2))
        scale = scale.to(x.dtype) * (1 if weight is None else weight.detach())
        return _Identity.apply(x, value, scale)

    def product(self, func, a, b):
        divide = func in QUOTIENTS
        if not divide:
            for x, gate in ((a, b), (b, a)):
                if getattr(gate, "sigmoid_of", None) is x:
                    return self.activation(F.silu, (x,), {})
        held_b = getattr(b, "gate", False) or b.numel() < a.numel()
        held_a = not held_b and not divide and (getattr(a, "gate", False) or a.numel() < b.numel())
        a, b = (a.detach() if held_a else a), (b.detach() if held_b else b)
        return a / b if divide else a * b


def _argument(args, kwargs, position, name, default=None):
    return kwargs.get(name, args[position] if len(args) > position else default)


def project_by_autograd(model, images, layer, signal, rule="deconvnet", lrn="identity", silent="drop"):
    """Return d<signal, layer>/d images with the rule's backward.

    `layer` is a module's path, `signal` its shape; `path_2` is the module's third call.
    """
    images = images.clone().requires_grad_()
    path, calls, outputs = layer, 0, []
    if layer not in dict(model.named_modules()):
        path, count = re.fullmatch(r"(.*)_(\d+)", layer).groups()
        calls = int(count)

    def keep(module, inputs, output):
        outputs.append(output)
        return output.clone() if isinstance(output, T) else None  # a call in place must not change what was kept

    required = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = model.get_submodule(path).register_forward_hook(keep)
    try:
        for parameter in required:
            parameter.requires_grad_(False)
        with ReplacedBackward(rule, lrn, silent), torch.enable_grad(), contextlib.suppress(StopIteration):
            model(images)
    finally:
        handle.remove()
        for parameter in required:
            parameter.requires_grad_(True)
    (grad,) = torch.autograd.grad(outputs[calls], images, signal)
    return grad


def jacobian(function, x):
    """Return the Jacobian of function at x as a matrix (outputs, inputs), by autograd."""
    matrix = torch.autograd.functional.jacobian(function, x)
    return matrix.reshape(-1, x.numel())


def relative(a, b):
    """Return the largest deviation of a from b, in units of b's largest value."""
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))
