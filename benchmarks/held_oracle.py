"""The oracle of the zoo's pages: autograd, with what the mirror holds detached.

Held are patterns of attention, gates, statistics of norms, and the smaller factor or divisor of two of different sizes.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import deconvnet

T = torch.Tensor
CLOSE = 1e-5  # deviation, relative to the largest pixel
SOFTMAXES = (F.softmax, torch.softmax, T.softmax)
SIGMOIDS = (torch.sigmoid, T.sigmoid, T.sigmoid_, F.sigmoid)
GATES = (*SIGMOIDS, F.hardsigmoid, torch.tanh, T.tanh, F.tanh)
PRODUCTS = (torch.mul, T.mul, T.mul_)
QUOTIENTS = (torch.div, T.div, T.div_, T.true_divide)
#: What a gate may go through, and still is one: what moves all of it.
MOVES = {T.view, T.reshape, T.permute, T.transpose, T.unsqueeze, T.squeeze, T.contiguous, T.flatten, T.unflatten}
MOVES |= {torch.reshape, torch.squeeze, torch.permute, torch.transpose, torch.unsqueeze, torch.flatten}


class Held(TorchFunctionMode):
    """Lets autograd see what the mirror holds as constants."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = self.call(func, args, kwargs)
        if func in GATES or (func in MOVES and getattr(args[0], "is_gate", False)):
            for tensor in output if isinstance(output, (tuple, list)) else (output,):
                tensor.is_gate = True
        if func in SIGMOIDS:
            output.sigmoid_of = args[0]
        if func in (T.expand, T.expand_as):
            output.is_gate = True
        return output

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Make a call with what it holds held."""
        if func in SOFTMAXES:
            return func(*args, **kwargs).detach()
        if func in (*PRODUCTS, *QUOTIENTS) and len(args) > 1 and all(isinstance(x, T) and x.requires_grad for x in args[:2]):
            return held_product(func, args, kwargs)
        if func in (torch.matmul, T.matmul) and args[0].requires_grad and getattr(args[0], "is_gate", False):
            return func(args[0].detach(), *args[1:], **kwargs)
        if func is F.scaled_dot_product_attention:
            return held_attention(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return held_heads(*args, **kwargs)
        if func in (F.grid_sample, torch.grid_sampler):
            return func(args[0], args[1].detach(), *args[2:], **kwargs)
        if func in (F.layer_norm, F.group_norm):
            return held_norm(func, *args, **kwargs)
        if func is F.instance_norm:
            given = inspect.signature(func).bind(*args, **kwargs).arguments
            norm = (given.get("weight"), given.get("bias"), given.get("eps", 1e-5))
            return held_norm(F.group_norm, args[0], args[0].shape[1], *norm)
        if func is F.rms_norm:
            return held_rms_norm(*args, **kwargs)
        if func is torch.lstm:
            return held_lstm(*args)
        if func is F.normalize:
            dim = kwargs.get("dim", args[2] if len(args) > 2 else 1)
            return args[0] / args[0].norm(dim=dim, keepdim=True).clamp(min=1e-12).detach()
        return func(*args, **kwargs)


def held_product(func: Any, args: Any, kwargs: Any) -> T:
    """Hold a gate, the smaller of two factors, and a divisor smaller than what it divides; x * sigmoid(x) is SiLU."""
    first, second = args[:2]
    if any(getattr(gate, "sigmoid_of", None) is x for gate, x in ((first, second), (second, first))):
        return func(first, second, *args[2:], **kwargs)
    if second.numel() < first.numel() or getattr(second, "is_gate", False):
        second = second.detach()
    elif func in PRODUCTS and (first.numel() < second.numel() or getattr(first, "is_gate", False)):
        first = first.detach()
    return func(first, second, *args[2:], **kwargs)


def held_attention(
    q: T,
    k: T,
    v: T,
    attn_mask: T | None = None,
    dropout_p: float = 0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> T:
    """Attention from its definition, with the pattern held."""
    if enable_gqa:
        k, v = (x.repeat_interleave(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1).detach() @ v


def held_heads(*args: Any, **kwargs: Any) -> tuple[T, None]:
    """A layer of attention from its definition, on (L, N, E), with its patterns held."""
    given = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs).arguments
    heads, joint, bias = given["num_heads"], given["in_proj_weight"], given["in_proj_bias"]
    weights = [given[f"{name}_proj_weight"] for name in "qkv"] if joint is None else joint.chunk(3)
    biases = [None] * 3 if bias is None else bias.chunk(3)
    inputs = [given[name] for name in ("query", "key", "value")]
    parts = [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]
    q, k, v = (part.unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for part in parts)
    scores, mask, padding = q @ k.mT / q.shape[-1] ** 0.5, given.get("attn_mask"), given.get("key_padding_mask")
    for part in (mask, None if padding is None else padding[:, None, None]):
        if part is not None:
            part = part.unflatten(0, (-1, heads)) if part.dim() == 3 else part
            scores = scores.masked_fill(part, -torch.inf) if part.dtype == torch.bool else scores + part
    pattern = scores.softmax(-1).detach()
    return F.linear((pattern @ v).permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"]), None


def held_norm(func: Any, x: T, groups: Any, weight: T | None = None, bias: T | None = None, eps: float = 1e-5) -> T:
    """A layer norm, or a group norm, from its definition, with its statistics held."""
    rows = x.flatten(-len(groups)) if func is F.layer_norm else x.reshape(len(x), groups, -1)
    mean, variance = rows.mean(-1, keepdim=True).detach(), rows.var(-1, unbiased=False, keepdim=True).detach()
    normed = ((rows - mean) / (variance + eps).sqrt()).reshape(x.shape)
    size = () if func is F.layer_norm else (1, -1, *[1] * (x.dim() - 2))
    for parameter, call in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            normed = call(normed, parameter.reshape(size) if size else parameter)
    return normed


def held_rms_norm(x: T, shape: Any, weight: T | None = None, eps: float | None = None) -> T:
    """A norm by the root of the mean square, with that held."""
    axes = tuple(range(-len(shape), 0))
    scale = (x.square().mean(axes, keepdim=True) + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt().detach()
    return x * scale if weight is None else x * scale * weight


def held_lstm(
    x: T, states: Any, weights: Any, biases: bool, layers: int, dropout: float, train: bool, both: bool, batch_first: bool
) -> tuple[T, T, T]:
    """An LSTM from its equations, with its gates held."""
    x, given, last = x.transpose(0, 1) if batch_first else x, list(weights), []
    for number in range(layers):
        outputs = []
        for way in range(1 + both):
            w, u, *rest = (given.pop(0) for _ in range(4 if biases else 2))
            (h, c), made = (state[number * (1 + both) + way] for state in states), []
            for step in x.flip(0) if way else x:
                i, f, g, o = (step @ w.T + h @ u.T + sum(rest)).chunk(4, -1)
                c = f.sigmoid().detach() * c + i.sigmoid().detach() * g.tanh()
                h = o.sigmoid().detach() * c.tanh()
                made.append(h)
            outputs.append(torch.stack(made[::-1] if way else made))
            last.append((h, c))
        x = torch.cat(outputs, -1)
    return (x.transpose(0, 1) if batch_first else x, *(torch.stack(parts) for parts in zip(*last, strict=True)))


def by_autograd(model: nn.Module, images: T, layers: Sequence[str]) -> dict[str, T]:
    """Run a net once with what is held held.

    Args:
        model: the net.
        images: (N, C, H, W), requiring a gradient.
        layers: modules, in the order of their first calls.

    Returns:
        What the first calls of an early, a middle and a late one of those made that a signal can go down from: a pattern of
        attention is held, and no place to begin.
    """
    outputs: dict[str, T] = {}
    waiting, called = [len(layers) // 4, len(layers) // 2, len(layers) - 1], set[str]()

    def keep(place: int, output: Any) -> None:
        if layers[place] in called:
            return
        called.add(layers[place])
        if waiting and place >= waiting[0] and first_of(output).requires_grad:
            del waiting[0]
            outputs[layers[place]] = first_of(output) * 1

    hooks = [
        model.get_submodule(layer).register_forward_hook(lambda _, inputs, output, place=place: keep(place, output))
        for place, layer in enumerate(layers)
    ]
    with Held():
        model(images)
    for hook in hooks:
        hook.remove()
    return outputs


def deviation(
    net: deconvnet.DeconvNet, recording: deconvnet.Recording, images: T, layer: str, output: T, channel: int | None = 0
) -> float | None:
    """Return by how much a random signal's way down from a layer deviates from the oracle's, relative to the largest pixel.

    None where the oracle finds no way down. A unit's projection is made besides, if `channel` is one; it may raise.
    """
    start = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    found = net.project_signal(recording, layer, start, rule="gradient", silent="first")
    if channel is not None:
        net.project(recording, layer, channels=[channel], image=len(images) - 1)
    (expected,) = torch.autograd.grad(output, images, start, allow_unused=True, retain_graph=True)
    if expected is None or not expected.any():
        return None
    return float((found - expected).abs().max() / expected.abs().max())


def first_of(output: Any) -> T:
    """Return a tensor, or the first of several."""
    if isinstance(output, T):
        return output
    return first_of(next(iter(output.values() if isinstance(output, dict) else output)))
