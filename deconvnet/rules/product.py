"""Products of matrices, and other calls that are linear in each of two operands.

With a constant, the call is a linear map, mirrored by its transpose. Where both operands descend from the image, a pattern of
attention - what a softmax makes - is held: the signal goes through the values, as it goes through the switches of a max pool.
Two other values follow the product rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..axes import Axes
from .arithmetic import GATES
from .base import Rule, Signals, check_batch
from .call import CallContext, Function, Saved, UnsupportedCall, per_image, tensors_in


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedProduct(Saved):
    """The call as a function of its two operands, their sizes, and those that another operand's signal is multiplied by."""

    product: Callable[[Tensor, Tensor], Tensor]
    sizes: tuple[torch.Size, torch.Size]
    descend: tuple[bool, bool]
    constant: Tensor | None = None  # the operand that does not descend from the image
    first: Tensor | None = per_image()  # what the second operand's signal is multiplied by
    second: Tensor | None = per_image()


class Product(Rule[SavedProduct]):
    """matmul, bmm, and einsum of two operands."""

    def run(self, call: CallContext, *args: Any, **kwargs: Any) -> tuple[Any, SavedProduct]:
        """Save what each signal is multiplied by."""
        first, second = operands = _two_operands(args, kwargs)
        descend = call.descends(first), call.descends(second)
        product = _as_function(call.func, args, kwargs)
        held = (False, False)
        if all(descend):
            held = (_is_pattern(call, first), not _is_pattern(call, first) and _is_pattern(call, second))
        values = [operand.clone() if all(descend) and not held[1 - place] else None for place, operand in enumerate(operands)]
        _check_images_apart(call, operands, descend)
        output = call()
        check_batch(call, output.shape, *(operand.shape for operand, own in zip(operands, descend, strict=True) if own))
        return output, SavedProduct(
            size=first.shape if descend[0] else second.shape,
            held=tuple(hold for hold, own in zip(held, descend, strict=True) if own),
            status="held" if any(held) else None,
            product=product,
            sizes=(first.shape, second.shape),
            descend=descend,
            constant=None if all(descend) else call.as_used(second if descend[0] else first),
            first=values[0],
            second=values[1],
        )

    def mirror(self, saved: SavedProduct, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand that descends from the image, None for a pattern that is held."""
        parts = []
        for place, own in enumerate(saved.descend):
            other = saved.constant if saved.constant is not None else (saved.second, saved.first)[place]
            if own:
                parts.append(None if other is None else _transposed(saved, signal, place, other.to(signal.dtype)))
        return parts[0] if len(parts) == 1 and parts[0] is not None else tuple(parts)


def _check_images_apart(call: CallContext, operands: tuple[Tensor, Tensor], descend: tuple[bool, bool]) -> None:
    """Refuse a product that sums over the images, or puts other axes before theirs."""
    if call.func is torch.einsum:
        is_apart = _starts_with_images(call.args[0], descend)
    else:  # of the last two axes, the second operand's first one is summed over
        most = max(operand.dim() for operand in operands)
        is_apart = all(operand.dim() == most for operand, own in zip(operands, descend, strict=True) if own)
        is_apart = is_apart and most >= 2 and not (descend[1] and most == 2)
    if not is_apart:
        raise UnsupportedCall("it mixes the images of the batch")


def _starts_with_images(equation: Any, descend: tuple[bool, bool]) -> bool:
    """Say whether the first axis of an einsum's operands that descend from the image is the first of its result."""
    if not isinstance(equation, str) or "->" not in equation:
        return False
    inputs, result = equation.replace(" ", "").split("->")
    first = [terms[:1] for terms, own in zip(inputs.split(","), descend, strict=True) if own]
    return bool(result) and set(first) == {result[0]}


def _transposed(saved: SavedProduct, signal: Tensor, place: int, other: Tensor) -> Tensor:
    """Carry a signal to one operand: the product with the transpose of a map that is linear in it."""
    if saved.constant is None:
        other = other.expand(len(signal), *other.shape[1:])
    with torch.enable_grad():
        below = signal.new_zeros((signal.shape[0], *saved.sizes[place][1:])).requires_grad_()
        above = saved.product(*((below, other) if place == 0 else (other, below)))
        (result,) = torch.autograd.grad(above, below, signal)
    return result


def _is_pattern(call: CallContext, operand: Tensor) -> bool:
    """Say whether an operand is a pattern of attention: what a softmax, or another gate, makes."""
    origin = call.origin(operand)
    return origin is not None and origin.name in GATES


def _two_operands(args: Any, kwargs: Any) -> tuple[Tensor, Tensor]:
    operands = tensors_in((args, kwargs))
    if len(operands) != 2:
        raise UnsupportedCall(f"it has {len(operands)} operands, not two")
    return operands[0], operands[1]


def _as_function(func: Function, args: Any, kwargs: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a call as a function of its two tensors."""

    def product(first: Tensor, second: Tensor) -> Tensor:
        waiting = iter((first, second))
        result: Tensor = func(*_replaced(args, waiting), **{name: _replaced(value, waiting) for name, value in kwargs.items()})
        return result

    return product


def _replaced(tree: Any, tensors: Any) -> Any:
    """Return nested tuples and lists with the next of `tensors` in place of each tensor."""
    if isinstance(tree, Tensor):
        return next(tensors)
    if isinstance(tree, (tuple, list)):
        return type(tree)(_replaced(item, tensors) for item in tree)
    return tree


VALUES = 2  # which argument of attention the values are


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedAttention(Saved):
    """The pattern of attention, (N, ..., L, S)."""

    pattern: Tensor = per_image()


class Attention(Rule[SavedAttention]):
    """scaled_dot_product_attention: the pattern of this picture is held, and the signal goes through the values."""

    @property
    def status(self) -> str:  # type: ignore[override]
        """The pattern is held."""
        return "held"

    def run(
        self,
        call: CallContext,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> tuple[Any, SavedAttention]:
        """Save the pattern, worked out as the formula in torch's documentation says."""
        if dropout_p or enable_gqa:
            raise UnsupportedCall("it drops values at random" if dropout_p else "its heads share keys and values")
        if not call.descends(value):
            raise UnsupportedCall("its values do not descend from the image")
        output = call()
        check_batch(call, output.shape, value.shape)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        reads = [place for place, part in enumerate((query, key, value, attn_mask)) if call.descends(part)]
        return output, SavedAttention(
            size=value.shape,
            pattern=scores.softmax(-1).nan_to_num(0.0),
            held=tuple(place != VALUES for place in reads),
        )

    def mirror(self, saved: SavedAttention, signal: Tensor) -> Signals:
        """(K, ..., L, E) -> (K, ..., S, E) for the values, None for what made the pattern."""
        below = saved.pattern.to(signal.dtype).transpose(-2, -1) @ signal
        return tuple(None if hold else below for hold in saved.held)

    def axes(self, saved: SavedAttention, axes: Any, shape: Any) -> Axes:
        """Those of the first operand."""
        first: Axes = axes[0]
        return first
