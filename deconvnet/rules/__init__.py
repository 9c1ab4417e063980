"""The rule table: for each call of torch that a net can make, how it is mirrored. One row a call, looked up exactly.

A call without a row is recorded all the same, and raises `NoRuleError` when a projection's path to the pixels meets it.
To add one: `rules.DEFAULT.replace(relu=MyReLU())`, or by function, `rules.DEFAULT.replace({my_function: MyRule()})`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, did_you_mean
from ..receptive_field import NOTHING
from .activation import Activation, FakeQuantize, ReLU, Softmax
from .arithmetic import Add, AddCMul, Cat, Div, HStack, Mul, Stack
from .base import STATUSES, Adjoint, Cast, Placewise, Rule, Same, Status
from .call import CallContext, Saved, UnsupportedCall, per_image
from .conv import Conv, ConvTranspose
from .extreme import Extreme, ExtremeOrReduction, MaskedFill, Reduction, Where
from .grid_sample import GridSample
from .indexed_pool import AdaptiveMaxPool, MaxPool
from .linear import Linear
from .norm import AtenBatchNorm, BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LocalResponseNorm, Normalize, RMSNorm
from .pool import AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, MaxPool2d, MaxUnpool2d
from .product import Attention, MultiHeadAttention, Product
from .recurrent import Recurrent, RecurrentCell
from .recurrent_step import GRUStep, LSTMStep, PlainStep
from .repeat import Expand, Repeat, RepeatInterleave
from .shape import Dropout, GetItem, IndexSelect, Interpolate, Pad, Parts, Permute, PixelShuffle, Reshape, SetItem
from .table import Table

__all__ = [
    "BITS",
    "DEFAULT",
    "NOTHING",
    "STATUSES",
    "Activation",
    "Adjoint",
    "CallContext",
    "Conv",
    "Placewise",
    "ReLU",
    "Rule",
    "Same",
    "Saved",
    "Status",
    "Table",
    "UnsupportedCall",
    "parse_rule",
    "per_image",
    "replace",
]

T = Tensor
DEFAULT = Table(
    {
        # what computes
        (torch.conv1d, torch.conv2d, torch.conv3d): Conv(),
        (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d): ConvTranspose(),
        (F.linear,): Linear(),
        # rectifiers, and activations that are mirrored as they are
        (F.relu, torch.relu, torch.relu_, T.relu, T.relu_): ReLU(),
        (F.relu6, F.hardtanh, F.hardtanh_, torch.clamp, torch.clamp_, T.clamp, T.clamp_): Activation(),
        (F.leaky_relu, F.leaky_relu_, F.elu, F.elu_, F.selu, F.celu, F.prelu, T.prelu): Activation(),
        (torch.clamp_min, torch.clamp_min_, T.clamp_min, T.clamp_min_): Activation(),
        (
            torch.clamp_max,
            torch.clamp_max_,
            T.clamp_max,
            T.clamp_max_,
            F.threshold,
            torch.threshold_,
        ): Activation(),
        (F.rrelu, F.hardshrink, F.softshrink, F.tanhshrink, F.softsign): Activation(),
        (torch.pow, T.pow, T.pow_, T.__pow__, torch.sqrt, T.sqrt, torch.square, T.square, torch.abs, T.abs): Activation(),
        (torch.exp, T.exp, torch.log, T.log, torch.log1p, T.log1p): Activation(),
        (F.silu, F.gelu, F.mish, F.hardswish, F.softplus): Activation(),
        (torch.sigmoid, torch.sigmoid_, T.sigmoid, T.sigmoid_, F.sigmoid, F.logsigmoid, F.hardsigmoid): Activation(),
        (torch.tanh, torch.tanh_, T.tanh, T.tanh_, F.tanh): Activation(),
        (F.softmax, torch.softmax, T.softmax, F.log_softmax, torch.log_softmax, T.log_softmax): Softmax(),
        # pools
        (F.max_pool2d, F.max_pool2d_with_indices, torch.max_pool2d): MaxPool2d(),
        (F.max_pool1d, F.max_pool1d_with_indices, torch.max_pool1d): MaxPool(),
        (F.max_pool3d, F.max_pool3d_with_indices, torch.max_pool3d): MaxPool(),
        (F.adaptive_max_pool1d, F.adaptive_max_pool1d_with_indices): AdaptiveMaxPool(),
        (F.adaptive_max_pool2d, F.adaptive_max_pool2d_with_indices): AdaptiveMaxPool(),
        (F.adaptive_max_pool3d, F.adaptive_max_pool3d_with_indices): AdaptiveMaxPool(),
        (F.max_unpool2d,): MaxUnpool2d(),
        (F.avg_pool2d,): AvgPool2d(),
        (F.adaptive_avg_pool2d,): AdaptiveAvgPool2d(),
        (F.avg_pool1d,): AvgPool1d(),
        (F.adaptive_avg_pool1d, F.avg_pool3d, F.adaptive_avg_pool3d): Adjoint(),
        # norms
        (F.batch_norm,): BatchNorm(),
        (torch.batch_norm,): AtenBatchNorm(),
        (F.layer_norm, torch.layer_norm): LayerNorm(),
        (F.group_norm, torch.group_norm): GroupNorm(),
        (F.instance_norm,): InstanceNorm(),
        (F.rms_norm,): RMSNorm(),
        (F.local_response_norm,): LocalResponseNorm(),
        (F.normalize,): Normalize(),
        # where branches meet; operators arrive as methods, all but two reflected ones
        (torch.add, T.add, T.add_): Add(),
        (torch.sub, torch.subtract, T.sub, T.sub_, T.subtract): Add(signs=(1, -1)),
        (torch.rsub, T.__rsub__): Add(signs=(-1, 1)),
        (torch.mul, torch.multiply, T.mul, T.mul_, T.multiply): Mul(),
        (torch.div, torch.true_divide, T.div, T.div_, T.true_divide): Div(),
        (T.__rdiv__,): Div(reflected=True),
        (torch.addcmul, T.addcmul, T.addcmul_): AddCMul(),
        (torch.cat, torch.concat, torch.concatenate): Cat(),
        (torch.hstack,): HStack(),
        (torch.stack,): Stack(),
        # products of matrices, and attention
        (torch.matmul, T.matmul, T.__rmatmul__, torch.bmm, T.bmm, torch.einsum): Product(),
        (F.scaled_dot_product_attention,): Attention(),
        (F.multi_head_attention_forward,): MultiHeadAttention(),
        # through time
        (torch.lstm,): Recurrent(LSTMStep()),
        (torch.gru,): Recurrent(GRUStep()),
        (torch.rnn_tanh,): Recurrent(PlainStep()),
        (torch.rnn_relu,): Recurrent(PlainStep(is_relu=True)),
        (torch.lstm_cell,): RecurrentCell(LSTMStep()),
        (torch.gru_cell,): RecurrentCell(GRUStep()),
        (torch.rnn_tanh_cell,): RecurrentCell(PlainStep()),
        (torch.rnn_relu_cell,): RecurrentCell(PlainStep(is_relu=True)),
        # choices between values
        (torch.maximum, T.maximum, torch.fmax, T.fmax): Extreme(),
        (torch.minimum, T.minimum, torch.fmin, T.fmin): Extreme(largest=False),
        (torch.amax, T.amax): Reduction(),
        (torch.amin, T.amin): Reduction(largest=False),
        (torch.max, T.max): ExtremeOrReduction(),
        (torch.min, T.min): ExtremeOrReduction(largest=False),
        (torch.where,): Where(),
        (T.masked_fill, T.masked_fill_, torch.masked_fill): MaskedFill(),
        # what moves values about
        (torch.flatten, T.flatten, T.unflatten, torch.unflatten, T.view, T.reshape, torch.reshape): Reshape(),
        (T.view_as, T.reshape_as, torch.squeeze, T.squeeze, torch.unsqueeze, T.unsqueeze): Reshape(),
        (T.expand, T.expand_as, torch.broadcast_to, T.broadcast_to): Expand(),
        (torch.permute, T.permute, torch.transpose, T.transpose, torch.swapaxes, T.swapaxes): Permute(),
        (torch.swapdims, T.swapdims, torch.t, T.t, T.mT.__get__): Permute(),  # type: ignore[attr-defined]
        (torch.movedim, T.movedim, torch.moveaxis, T.moveaxis): Permute(),
        (torch.chunk, T.chunk, torch.split, T.split, T.unbind, torch.unbind, torch.tensor_split, T.tensor_split): Parts(),
        (T.__getitem__,): GetItem(),
        (T.__setitem__,): SetItem(),
        (torch.index_select, T.index_select): IndexSelect(),
        (torch.narrow, T.narrow, torch.select, T.select): Adjoint(),
        (torch.mean, T.mean, torch.sum, T.sum): Parts(),
        (torch.flip, T.flip, torch.roll, T.roll, torch.neg, T.neg): Adjoint(),
        (T.repeat, torch.tile, T.tile): Repeat(),
        (torch.repeat_interleave, T.repeat_interleave): RepeatInterleave(),
        (torch.channel_shuffle, F.unfold, F.fold, T.unfold): Adjoint(),
        (F.pad,): Pad(),
        (F.interpolate,): Interpolate(),
        (F.grid_sample,): GridSample(),
        (torch.pixel_shuffle, torch.pixel_unshuffle): PixelShuffle(),
        (torch.fake_quantize_per_tensor_affine, torch.fake_quantize_per_channel_affine): FakeQuantize(),
        (torch.fused_moving_avg_obs_fake_quant,): FakeQuantize(),
        (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout): Dropout(),
        (T.data.__get__, T.real.__get__): Same(),  # type: ignore[attr-defined]
        (T.to, T.type_as): Cast(),
        (T.contiguous, T.clone, torch.clone, T.detach, torch.detach, T.float, T.double, T.half, T.bfloat16): Same(),
    }
)
replace = DEFAULT.replace

#: The three bits of a reversal: forward mask, switches, backward rectification (Mahendran & Vedaldi 2016).
Bits = dict[Literal["mask", "switches", "rectify"], bool]

#: The reversals that have a name, and their bits.
BITS = {"deconvnet": "FTT", "guided": "TTT", "gradient": "TTF"}


def parse_rule(rule: str, *, also: Sequence[str] = ()) -> Bits:
    """Read a rule's name or its three bits: "deconvnet" or "FTT" -> mask=False, switches=True, rectify=True.

    Args:
        rule: a name, or three bits.
        also: words that may stand there besides, for the error.

    Raises:
        OptionError: it is neither.
    """
    bits = BITS.get(rule, rule)
    if len(bits) != 3 or set(bits) - set("FT"):
        names = [*also, *BITS]
        raise OptionError(
            f"rule cannot be {rule!r}: it is one of {', '.join(names)}, or three bits such as FTT.{did_you_mean(rule, names)}"
        )
    return {"mask": bits[0] == "T", "switches": bits[1] == "T", "rectify": bits[2] == "T"}
