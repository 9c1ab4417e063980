"""Products of matrices, and other calls that are linear in each of two operands.

With a constant, the call is a linear map, mirrored by its transpose. Where both operands descend from the image, a pattern of
attention - what a softmax makes - is held: the signal goes through the values, as it goes through the switches of a max pool.
Two other values follow the product rule.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..axes import Axes, TokenAxes, default_axes
from ..batch_axis import FIRST, MIXES, BatchAxis
from ..choices import Attending
from ..units import Window
from .arithmetic import GATES
from .base import Rule, Signals, Status, Windows
from .call import CallContext, Function, Saved, UnsupportedCall, per_image, tensors_in


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedProduct(Saved):
    """The call as a function of its two operands, their sizes, and those that another operand's signal is multiplied by."""

    product: Callable[[Tensor, Tensor], Tensor]
    sizes: tuple[torch.Size, torch.Size]
    descend: tuple[bool, bool]
    above: BatchAxis  # where the images are in the product
    is_matmul: bool  # of the last axes; not an einsum
    constant: Tensor | None = None  # the operand that does not descend from the image
    is_placewise: bool = False  # only channels were summed over
    first: Tensor | None = per_image()  # what the second operand's signal is multiplied by
    second: Tensor | None = per_image()


@dataclass(frozen=True)
class Product(Rule[SavedProduct]):
    """matmul, bmm, and einsum of two operands.

    With `attention="product"` a pattern of attention is an operand like any other, and takes a signal too.
    """

    attention: Attending = "held"

    def run(self, call: CallContext, *args: Any, **kwargs: Any) -> tuple[Any, SavedProduct]:
        """Save what each signal is multiplied by."""
        first, second = operands = _two_operands(args, kwargs)
        descend = call.descends(first), call.descends(second)
        above, held = _batch_of_product(call, operands, descend), (False, False)
        if all(descend) and self.attention == "held":
            held = _held(call, first, second)
        values = [operand.clone() if all(descend) and not held[1 - place] else None for place, operand in enumerate(operands)]
        return call(), SavedProduct(
            size=first.shape if descend[0] else second.shape,
            held=tuple(hold for hold, is_input in zip(held, descend, strict=True) if is_input),
            status="held" if any(held) else None,
            product=_as_function(call.func, args, kwargs),
            sizes=(first.shape, second.shape),
            descend=descend,
            constant=None if all(descend) else call.as_used(second if descend[0] else first),
            above=above,
            is_matmul=call.func is not torch.einsum,
            is_placewise=descend == (True, False)
            and second.dim() == 2
            and call.func is not torch.einsum
            and first.dim() - 1 not in call.axes(first)[1:],
            first=values[0],
            second=values[1],
        )

    def axes(self, saved: SavedProduct, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The first operand's, if only its channels were summed over; of a matrix of tokens, its tokens."""
        first = axes[0]
        if saved.is_placewise:
            return first
        keeps_tokens = saved.is_matmul and saved.descend[0]
        if isinstance(first, TokenAxes) and keeps_tokens and first.tokens == len(shape) - 2:
            return first.at(None, first.tokens)
        return default_axes(shape)

    def window(self, saved: SavedProduct, window: Window) -> Windows:
        """The same position, if only channels were summed over; else all."""
        return window if saved.is_placewise else None

    def batch(self, saved: SavedProduct, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the product has them."""
        return saved.above

    def mirror(self, saved: SavedProduct, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand that descends from the image, None for a pattern that is held."""
        parts = []
        for place, is_input in enumerate(saved.descend):
            factor = saved.constant if saved.constant is not None else (saved.second, saved.first)[place]
            if is_input:
                parts.append(None if factor is None else _transposed(saved, signal, place, factor.to(signal.dtype)))
        return parts[0] if len(parts) == 1 and parts[0] is not None else tuple(parts)


def _batch_of_product(call: CallContext, operands: tuple[Tensor, Tensor], descend: tuple[bool, bool]) -> BatchAxis:
    """Return where the images are in a product; refuse one that sums over them, or whose operands have them elsewhere."""
    from_image = [operand for operand, is_input in zip(operands, descend, strict=True) if is_input]
    batch = call.batch_axis(from_image[0])
    above: BatchAxis | None = batch
    if call.func is torch.einsum:
        above = _batch_of_einsum(call.args[0], descend, batch)
    else:
        most = max(operand.dim() for operand in operands)
        is_apart = all(operand.dim() == most for operand in from_image)
        # of the last two axes, the first operand's second one and the second operand's first one are summed over
        last = most - 2 if not descend[1] else most - 3
        above = batch if is_apart and batch.axis <= last else None
    if above is None or any(call.batch_axis(operand) != batch for operand in from_image):
        raise UnsupportedCall(MIXES)
    return above


def _batch_of_einsum(equation: Any, descend: tuple[bool, bool], batch: BatchAxis) -> BatchAxis | None:
    """Return where the images are in what an einsum makes."""
    if not isinstance(equation, str) or "->" not in equation or "." in equation:
        return None
    inputs, result = equation.replace(" ", "").split("->")
    letters = {terms[batch.axis] for terms, is_input in zip(inputs.split(","), descend, strict=True) if is_input}
    letter = letters.pop()
    return None if letters or letter not in result else dataclasses.replace(batch, axis=result.index(letter))


def _transposed(saved: SavedProduct, signal: Tensor, place: int, factor: Tensor) -> Tensor:
    """Carry a signal to one operand: the product with the transpose of a map that is linear in it."""
    count = saved.above.count(signal.shape)
    if saved.constant is None and not saved.batch.is_folded:
        factor = factor.expand(saved.batch.resized(factor.shape, count))
    with torch.enable_grad():
        below = signal.new_zeros(saved.batch.resized(saved.sizes[place], count)).requires_grad_()
        above = saved.product(*((below, factor) if place == 0 else (factor, below)))
        (result,) = torch.autograd.grad(above, below, signal)
    return result


def _held(call: CallContext, *operands: Tensor) -> tuple[bool, bool]:
    """Say which of two operands is held: a pattern of attention, which a softmax made, or else a gate; the first of two."""
    patterns = [call.is_pattern(operand) for operand in operands]
    if not any(patterns):
        origins = [call.origin(operand) for operand in operands]
        patterns = [origin is not None and origin.name in GATES for origin in origins]
    return patterns[0], patterns[1] and not patterns[0]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedAttention(Saved):
    """The pattern of attention, (N, ..., L, S), and how many heads share keys and values; or what made the pattern."""

    pattern: Tensor | None = per_image()
    shared_by: int = 1
    query: Tensor | None = per_image()
    key: Tensor | None = per_image()
    value: Tensor | None = per_image()
    attend: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None  # the call as a function of these three
    reads: tuple[str, ...] = ()  # which of them descend from the image


@dataclass(frozen=True)
class Attention(Rule[SavedAttention]):
    """scaled_dot_product_attention: the pattern of this picture is held, and the signal goes through the values.

    With `attention="product"` queries and keys take a signal too, by the call's derivative: its softmax is not rectified.
    """

    attention: Attending = "held"

    @property
    def status(self) -> Status:
        """The pattern is held."""
        return "held" if self.attention == "held" else "exact"

    @property
    def needs_values(self) -> bool:
        """Queries, keys and values are saved where all of them take a signal."""
        return self.attention == "product"

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
        if dropout_p:
            raise UnsupportedCall("it drops values at random")
        if not call.descends(value):
            raise UnsupportedCall("its values do not descend from the image")
        batch = call.batch_axis(value)
        if batch.axis > value.dim() - 3 or any(call.descends(part) and call.batch_axis(part) != batch for part in (query, key)):
            raise UnsupportedCall(MIXES)
        reads = tuple(call.read(("query", "key", "value", "attn_mask")))
        if self.attention == "product":
            saved = _saved_operands(call, query, key, value, attn_mask, is_causal, scale, enable_gqa, reads)
            return call(), saved
        output, shared_by = call(), query.shape[-3] // value.shape[-3] if enable_gqa else 1
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3) if enable_gqa else key
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
        return output, SavedAttention(
            size=value.shape,
            pattern=scores.softmax(-1).nan_to_num(0.0),
            shared_by=shared_by,
            held=tuple(name != "value" for name in reads),
        )

    def batch(self, saved: SavedAttention, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the values have them."""
        return batches[0]

    def mirror(self, saved: SavedAttention, signal: Tensor) -> Signals:
        """(K, ..., L, E) -> (K, ..., S, E) for the values, None for what made the pattern."""
        if saved.pattern is None:
            return _to_operands(saved, signal)
        below = saved.pattern.to(signal.dtype).transpose(-2, -1) @ signal
        if saved.shared_by > 1:
            below = below.unflatten(-3, (-1, saved.shared_by)).sum(-3)  # type: ignore[no-untyped-call]
        return tuple(None if hold else below for hold in saved.held)

    def axes(self, saved: SavedAttention, axes: Any, shape: Any) -> Axes:
        """Those of the first operand."""
        first: Axes = axes[0]
        return first


def _saved_operands(
    call: CallContext,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    is_causal: bool,
    scale: float | None,
    shared: bool,
    reads: tuple[str, ...],
) -> SavedAttention:
    """Save all that the derivative needs."""
    if "attn_mask" in reads:
        raise UnsupportedCall("its mask descends from the image")

    options: dict[str, Any] = {"is_causal": is_causal, "scale": scale, **({"enable_gqa": True} if shared else {})}

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        added = mask if mask is None or mask.dtype == torch.bool else mask.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, added, **options)

    return SavedAttention(
        size=value.shape, query=query.clone(), key=key.clone(), value=value.clone(), attend=attend, reads=reads
    )


def _to_operands(saved: SavedAttention, signal: Tensor) -> Signals:
    """Carry a signal to queries, keys and values: the call's vector-Jacobian product."""
    count, attend = saved.batch.count(signal.shape), saved.attend
    assert attend is not None
    operands: list[Tensor] = []
    for tensor in (saved.query, saved.key, saved.value):
        assert tensor is not None
        size = tensor.shape if saved.batch.is_folded else saved.batch.resized(tensor.shape, count)
        operands.append(tensor.to(signal.dtype).expand(size).detach().clone().requires_grad_())
    with torch.enable_grad():
        below = torch.autograd.grad(attend(*operands), operands, signal)
    named = dict(zip(("query", "key", "value"), below, strict=True))
    return tuple(named[name] for name in saved.reads)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedHeads(Saved):
    """The patterns of a layer of attention, (N, heads, L, S), and the matrices that the values go through."""

    pattern: Tensor = per_image()
    value_weight: Tensor  # (E, E')
    output_weight: Tensor  # (E, E)
    output: torch.Size
    above: BatchAxis  # where the images are in the output


@dataclass(frozen=True)
class MultiHeadAttention(Rule[SavedHeads]):
    """F.multi_head_attention_forward, which nn.MultiheadAttention calls, on (L, N, E).

    Each head's pattern is held; the signal goes through the values, their matrix and that of the output.
    """

    attention: Attending = "held"

    saves_like_input: ClassVar[bool] = False

    @property
    def status(self) -> Status:
        """The patterns are held."""
        return "held"

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedHeads]:
        """Save the patterns, which the function itself returns when asked."""
        signature = inspect.signature(F.multi_head_attention_forward)
        given = signature.bind(input, *args, **kwargs)
        given.apply_defaults()
        layer = given.arguments
        value, batch = layer["value"], call.batch_axis(layer["value"])
        if self.attention == "product":
            raise UnsupportedCall('nn.MultiheadAttention holds its patterns: there is no attention="product" of it')
        if value.dim() != 3 or batch.axis != 1 or batch.is_folded or not call.descends(value):
            raise UnsupportedCall(MIXES)
        if layer["add_zero_attn"] or any(layer[name] is not None for name in ("bias_k", "static_k", "static_v")):
            raise UnsupportedCall("it adds keys and values of its own")
        output = call()
        _, pattern = F.multi_head_attention_forward(**{**layer, "need_weights": True, "average_attn_weights": False})
        assert pattern is not None  # for the types: it was asked for
        joint = layer["in_proj_weight"]
        value_weight = layer["v_proj_weight"] if joint is None else joint[2 * layer["embed_dim_to_check"] :]
        return output, SavedHeads(
            size=value.shape,
            held=tuple(name != "value" for name in call.read(list(signature.parameters))),
            pattern=pattern,
            value_weight=call.as_used(value_weight),
            output_weight=call.as_used(layer["out_proj_weight"]),
            output=output[0].shape,
            above=batch,
        )

    def mirror(self, saved: SavedHeads, signal: Any) -> Signals:
        """(L, K, E) -> (S, K, E') for the values, None for what made the patterns."""
        arrived = signal[0] if isinstance(signal, tuple) else signal  # of (output, patterns), the output takes a signal
        heads = saved.pattern.shape[1]
        length, count, width = arrived.shape
        by_head = (arrived @ saved.output_weight.to(arrived.dtype)).view(length, count, heads, width // heads)
        patterns = saved.pattern.to(arrived.dtype).expand(count, -1, -1, -1)
        values = torch.einsum("khls,lkhd->skhd", patterns, by_head).flatten(2)
        below = values @ saved.value_weight.to(arrived.dtype)
        return tuple(None if hold else below for hold in saved.held)

    def axes(self, saved: SavedHeads, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Those of the queries."""
        return axes[0] if shape == saved.output else default_axes(shape)

    def batch(self, saved: SavedHeads, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The second axis of the output, the first of the patterns."""
        return saved.above if shape == saved.output else FIRST
