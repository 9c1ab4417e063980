"""Every rule against a slow independent twin: autograd's Jacobian in float64, on tiny unequal sizes."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import deconvnet
from deconvnet import rules
from deconvnet.axes import TokenAxes, from_maps, map_size
from deconvnet.errors import NoRuleError, OptionError
from deconvnet.forward import ModelInputs, trace
from deconvnet.mirror import project_value
from deconvnet.rules.call import Saved, plain_name
from deconvnet.rules.pool import MaxPool2d
from deconvnet.rules.switches import to_indices, unpool, unpool_by_offsets
from deconvnet.units import Window
from support.oracle import jacobian, relative
from support.recurrent import slow_cell, slow_recurrent

# torch says that a "same" convolution with an even kernel copies its input; so it does, and so what
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

GRADIENT = rules.DEFAULT.with_options(mask=True, rectify=False, lrn="derivative")


class Of(nn.Module):
    """A module that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def weights(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def conv(*shape, **options):
    module = nn.Module()
    module.weight, module.bias = weights(*shape), weights(shape[0])
    module.forward = lambda x: F.conv2d(x, module.weight, module.bias, **options)
    return module


def double(module):
    return module.double().eval()


def norm():
    module = nn.BatchNorm2d(4).double().eval()
    for tensor in (module.weight, module.bias, module.running_mean):
        nn.init.uniform_(tensor, -1, 1)
    nn.init.uniform_(module.running_var, 0.5, 2)
    return module


PLACES = torch.rand(2, 4, 6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2.4 - 1.2
PLACES_3D = torch.rand(2, 1, 4, 6, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2.4 - 1.2

# name: (module, size of the input without the batch axis); each row of the table must be met by one
CASES = {
    "conv": (conv(6, 4, 3, 2), (4, 7, 5)),
    "conv stride": (conv(6, 4, 3, 3, stride=(2, 3), padding=1), (4, 8, 9)),
    "conv stride leaves rows": (conv(6, 4, 3, 3, stride=4), (4, 9, 10)),
    "conv dilation": (conv(6, 4, 3, 3, dilation=(2, 1), padding=(1, 2)), (4, 9, 6)),
    "conv groups": (conv(6, 2, 3, 3, groups=2, padding=1), (4, 5, 6)),
    "conv depthwise": (conv(4, 1, 3, 3, groups=4, stride=2), (4, 7, 6)),
    "conv same": (conv(6, 4, 3, 5, padding="same"), (4, 7, 6)),
    "conv same, even kernel": (conv(6, 4, 4, 2, padding="same", dilation=(1, 3)), (4, 7, 6)),
    "conv valid": (conv(6, 4, 2, 2, padding="valid"), (4, 7, 6)),
    "conv reflect": (double(nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect")), (4, 7, 5)),
    "conv replicate": (double(nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate")), (4, 7, 5)),
    "conv circular": (double(nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", stride=2)), (4, 7, 6)),
    "linear": (double(nn.Linear(5, 3)), (4, 5)),
    "relu": (nn.ReLU(), (4, 3, 5)),
    "relu in place": (Of(lambda x: F.relu(x + 0.0, inplace=True)), (4, 3, 5)),
    "torch.relu": (Of(torch.relu), (4, 3, 5)),
    "torch.relu_": (Of(lambda x: torch.relu_(x + 0.0)), (4, 3, 5)),
    "Tensor.relu": (Of(lambda x: x.relu()), (4, 3, 5)),
    "Tensor.relu_": (Of(lambda x: (x + 0.0).relu_()), (4, 3, 5)),
    "max pool": (nn.MaxPool2d(2), (4, 6, 8)),
    "max pool overlapping": (nn.MaxPool2d(3, stride=2), (4, 9, 8)),
    "max pool padded": (nn.MaxPool2d(3, stride=2, padding=1), (4, 7, 8)),
    "max pool dilated": (nn.MaxPool2d((2, 3), stride=1, dilation=(3, 2)), (4, 8, 9)),
    "max pool ceil": (nn.MaxPool2d(3, stride=2, ceil_mode=True), (4, 8, 10)),
    "max pool ceil padded": (nn.MaxPool2d(3, stride=3, padding=1, ceil_mode=True), (4, 9, 11)),
    "max pool large": (nn.MaxPool2d(17, stride=3, padding=8), (4, 20, 19)),
    "max pool wider than the frame": (nn.MaxPool2d((3, 8), stride=1, padding=(1, 4)), (4, 6, 5)),
    "max pool with indices": (Of(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]), (4, 6, 5)),
    "torch.max_pool2d": (Of(lambda x: torch.max_pool2d(x, 2, 1)), (4, 6, 5)),
    "avg pool": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (4, 7, 8)),
    "avg pool ceil": (nn.AvgPool2d((2, 3), ceil_mode=True), (4, 7, 8)),
    "adaptive avg pool": (nn.AdaptiveAvgPool2d((3, 2)), (4, 7, 5)),
    "global avg pool": (nn.AdaptiveAvgPool2d(1), (4, 7, 5)),
    "batch norm": (norm(), (4, 3, 5)),
    "lrn": (nn.LocalResponseNorm(3, alpha=0.7, beta=0.6, k=1.5), (6, 3, 5)),
    "clamp_min": (Of(lambda x: x.clamp_min(0.2)), (4, 3, 5)),
    "clamp_min in place": (Of(lambda x: (x + 0.0).clamp_min_(0.2)), (4, 3, 5)),
    "clamp_max": (Of(lambda x: torch.clamp_max(x, 0.2)), (4, 3, 5)),
    "clamp_max in place": (Of(lambda x: (x + 0.0).clamp_max_(0.2)), (4, 3, 5)),
    "threshold": (nn.Threshold(0.1, 0.3), (4, 3, 5)),
    "threshold in place": (Of(lambda x: F.threshold_(x + 0.0, 0.1, 0.3)), (4, 3, 5)),
    "rrelu": (nn.RReLU().eval(), (4, 3, 5)),
    "hardshrink": (nn.Hardshrink(), (4, 3, 5)),
    "softshrink": (nn.Softshrink(), (4, 3, 5)),
    "tanhshrink": (nn.Tanhshrink(), (4, 3, 5)),
    "softsign": (nn.Softsign(), (4, 3, 5)),
    "pow": (Of(lambda x: x**3), (4, 3, 5)),
    "torch.pow": (Of(lambda x: torch.pow(x, 2)), (4, 3, 5)),
    "pow in place": (Of(lambda x: (x + 0.0).pow_(3)), (4, 3, 5)),
    "generalised mean": (Of(lambda x: F.avg_pool2d(x.clamp(min=1e-6).pow(3), (3, 5)).pow(1 / 3)), (4, 3, 5)),
    "sqrt": (Of(lambda x: torch.sqrt(x.clamp(min=0.1))), (4, 3, 5)),
    "Tensor.sqrt": (Of(lambda x: x.clamp(min=0.1).sqrt()), (4, 3, 5)),
    "square": (Of(torch.square), (4, 3, 5)),
    "Tensor.square": (Of(lambda x: x.square()), (4, 3, 5)),
    "abs": (Of(torch.abs), (4, 3, 5)),
    "Tensor.abs": (Of(lambda x: x.abs()), (4, 3, 5)),
    "exp": (Of(torch.exp), (4, 3, 5)),
    "Tensor.exp": (Of(lambda x: x.exp()), (4, 3, 5)),
    "log": (Of(lambda x: torch.log(x.clamp(min=0.1))), (4, 3, 5)),
    "Tensor.log": (Of(lambda x: x.clamp(min=0.1).log()), (4, 3, 5)),
    "log1p": (Of(lambda x: torch.log1p(x.clamp(min=0))), (4, 3, 5)),
    "Tensor.log1p": (Of(lambda x: x.clamp(min=0).log1p()), (4, 3, 5)),
    "normal length": (Of(lambda x: torch.sum(x * 0.5, (1, 2), keepdim=True)), (4, 3, 5)),
    "maximum with a constant": (Of(lambda x: torch.maximum(x, torch.tensor(0.1, dtype=x.dtype))), (4, 3, 5)),
    "maximum of a constant": (Of(lambda x: torch.maximum(torch.full((5,), 0.1, dtype=x.dtype), x)), (4, 3, 5)),
    "maxout": (Of(lambda x: torch.max(*x.chunk(2, 1))), (4, 3, 5)),
    "maximum broadcast": (Of(lambda x: x.maximum(x[:, :1] * 0.5)), (4, 3, 5)),
    "fmax": (Of(lambda x: torch.fmax(x, x.flip(2))), (4, 3, 5)),
    "Tensor.fmax": (Of(lambda x: x.fmax(x.flip(2))), (4, 3, 5)),
    "minimum": (Of(lambda x: torch.minimum(x, x.flip(3))), (4, 3, 5)),
    "Tensor.minimum": (Of(lambda x: x.minimum(x.flip(3))), (4, 3, 5)),
    "fmin": (Of(lambda x: torch.fmin(x, x.flip(1))), (4, 3, 5)),
    "Tensor.fmin": (Of(lambda x: x.fmin(x.flip(1))), (4, 3, 5)),
    "min of two": (Of(lambda x: torch.min(x, x.flip(1))), (4, 3, 5)),
    "amax": (Of(lambda x: x.amax((2, 3), keepdim=True)), (4, 3, 5)),
    "amax of outer axes": (Of(lambda x: torch.amax(x, dim=(3, 1))), (4, 3, 5)),
    "amin": (Of(lambda x: x.amin(-1)), (4, 3, 5)),
    "torch.amin": (Of(lambda x: torch.amin(x, 1, keepdim=True)), (4, 3, 5)),
    "max along an axis": (Of(lambda x: torch.max(x, 1)[0] * 1), (4, 3, 5)),
    "min along an axis": (Of(lambda x: x.min(dim=2, keepdim=True).values * 1), (4, 3, 5)),
    "where": (Of(lambda x: torch.where(x > 0, x, 0.1 * x)), (4, 3, 5)),
    "where, one constant": (Of(lambda x: torch.where(x > 0.2, 0.5, x)), (4, 3, 5)),
    "where, a constant condition": (Of(lambda x: torch.where(torch.arange(5) > 2, x, x.flip(1) * 2)), (4, 3, 5)),
    "masked_fill": (Of(lambda x: x.masked_fill(x < 0.3, 0.0)), (4, 3, 5)),
    "masked_fill in place": (Of(lambda x: (x + 0.0).masked_fill_(x < 0.3, 0.0)), (4, 3, 5)),
    "torch.masked_fill": (Of(lambda x: torch.masked_fill(x, torch.arange(5) > 2, 0.0)), (4, 3, 5)),
    "matmul with a constant": (Of(lambda x: x.permute(0, 2, 3, 1) @ weights(4, 6)), (4, 3, 5)),
    "a constant's matmul": (Of(lambda x: weights(6, 3) @ x), (4, 3, 5)),
    "torch.matmul": (Of(lambda x: torch.matmul(x, x.transpose(2, 3))), (4, 3, 5)),
    "matmul of vectors": (Of(lambda x: x @ weights(7, 4)), (7,)),
    "bmm": (Of(lambda x: torch.bmm(x, x.transpose(1, 2) * 0.5)), (3, 5)),
    "Tensor.bmm": (Of(lambda x: x.bmm(x.transpose(1, 2))), (3, 5)),
    "einsum with a constant": (Of(lambda x: torch.einsum("nchw,cd->ndhw", x, weights(4, 6))), (4, 3, 5)),
    "einsum of two": (Of(lambda x: torch.einsum("n c h w, n d h w -> n c d", x, x * 2)), (4, 3, 5)),
    "images moved": (Of(lambda x: (F.silu(x.permute(1, 0, 2, 3) * weights(4, 1, 3, 5)) + 1).transpose(0, 1)), (4, 3, 5)),
    "images moved, layer norm": (Of(lambda x: (x.transpose(0, 1) @ weights(5, 6)).transpose(1, 0)), (4, 3, 5)),
    "queries, keys and values": (
        Of(
            lambda x: (
                (lambda q, k, v: (q @ k.mT) @ v)(
                    *(x @ weights(8, 24)).reshape(x.shape[0], 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
                )
                .transpose(1, 2)
                .reshape(x.shape[0], 5, 8)
            )
        ),
        (5, 8),
    ),
    "heads among the images": (
        Of(
            lambda x: (
                torch.bmm(
                    *(lambda y: (y, F.silu(y).transpose(1, 2)))(x.transpose(0, 1).reshape(5, x.shape[0] * 2, 4).transpose(0, 1))
                )
                .view(x.shape[0], 2, 5, 5)
                .flatten(1)
            )
        ),
        (5, 8),
    ),
    "windows among the images": (
        Of(
            lambda x: (
                (
                    F.conv2d(
                        torch.roll(x, (1, -1), (2, 3)).view(-1, 3, 2, 2, 3, 2).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, 2, 2),
                        weights(3, 3, 1, 1),
                    )
                    * weights(2, 2)
                )
                .view(-1, 2, 3, 3, 2, 2)
                .permute(0, 3, 1, 4, 2, 5)
                .reshape(-1, 3, 4, 6)
            )
        ),
        (3, 4, 6),
    ),
    "max pool in windows": (
        Of(lambda x: F.max_pool2d(x.view(-1, 3, 2, 4, 6).transpose(1, 2).flatten(0, 1), 2).unflatten(0, (-1, 2)).mean(1)),
        (3, 8, 6),
    ),
    "stacked before the images": (
        Of(lambda x: torch.stack([x, x.flip(1) * 2], 0).sum(0) * torch.stack([x, x * 3])[1]),
        (4, 3, 5),
    ),
    "parts of what is moved": (
        Of(lambda x: torch.cat(x.permute(2, 3, 0, 1).chunk(2, 1)[::-1], 0).max(1)[0].transpose(0, 1) * 1),
        (4, 3, 6),
    ),
    "einsum moves the images": (
        Of(lambda x: torch.einsum("ncw,wd->cnd", x, weights(5, 6)).square().transpose(0, 1).mean(2)),
        (4, 5),
    ),
    "where, images moved": (
        Of(
            lambda x: (lambda y: torch.where(y > 0.1, y, 0.3 * y).masked_fill(y < -0.2, 0.0))(x.permute(1, 2, 0, 3)).permute(
                2, 0, 1, 3
            )
        ),
        (4, 3, 5),
    ),
    "where, channels last": (
        Of(lambda x: (lambda y: torch.where(y > 0.1, y, 0.3 * y))(x.permute(0, 2, 3, 1)) @ weights(4, 2)),
        (4, 3, 5),
    ),
    "maximum, images moved": (Of(lambda x: torch.max(x.transpose(0, 1), x.transpose(0, 1).flip(2)).transpose(0, 1)), (4, 3, 5)),
    "hstack": (Of(lambda x: torch.hstack([x, x.flip(1)])), (4, 3, 5)),
    "swapdims": (Of(lambda x: x.swapdims(2, 3)), (4, 3, 5)),
    "torch.swapdims": (Of(lambda x: torch.swapdims(x, 1, 3)), (4, 3, 5)),
    "mT": (Of(lambda x: x.mT * 1), (4, 3, 5)),
    "t": (Of(lambda x: (x.t() * 2).t()), (3,)),
    "torch.t": (Of(lambda x: torch.t(torch.t(x) * 2)), (3,)),
    "type_as": (Of(lambda x: (2 * x).type_as(x)), (4, 3, 5)),
    "type_as of a constant": (Of(lambda x: x * torch.arange(5.0).type_as(x)), (4, 3, 5)),
    "to another's type": (Of(lambda x: (2 * x).to(x)), (4, 3, 5)),
    "to another's type of a constant": (Of(lambda x: x * torch.arange(5.0).to(x)), (4, 3, 5)),
    "expand_as of a constant": (Of(lambda x: x * torch.arange(5.0, dtype=x.dtype).expand_as(x)), (4, 3, 5)),
    "view_as of a constant": (Of(lambda x: x * torch.arange(2.0 * 60, dtype=x.dtype).reshape(2, -1).view_as(x)), (4, 3, 5)),
    "grid_sample": (Of(lambda x: F.grid_sample(x, PLACES, "bilinear", "reflection", False)), (4, 3, 5)),
    "grid_sample of corners": (Of(lambda x: F.grid_sample(x, PLACES, mode="bicubic", align_corners=True)), (4, 3, 5)),
    "grid_sample of a volume": (
        Of(lambda x: F.grid_sample(x[:, :, None], PLACES_3D, align_corners=False).squeeze(2)),
        (4, 3, 5),
    ),
    "real": (Of(lambda x: x.real * 2), (4, 3, 5)),
    "channel_shuffle": (nn.ChannelShuffle(2), (4, 3, 5)),
    "repeat_interleave": (Of(lambda x: x.repeat_interleave(2, 1)), (4, 3, 5)),
    "torch.repeat_interleave": (Of(lambda x: torch.repeat_interleave(x, 3, dim=2)), (4, 3, 5)),
    "unfold and fold": (Of(lambda x: F.fold(F.unfold(x, 2, padding=1), (3, 5), 2, padding=1)), (4, 3, 5)),
    "unfold of an axis": (Of(lambda x: x.unfold(2, 2, 1).unfold(3, 3, 2)), (4, 3, 5)),
    "dropout": (nn.Dropout(0.5).eval(), (4, 3, 5)),
    "dropout2d": (nn.Dropout2d(0.5).eval(), (4, 3, 5)),
    "contiguous": (Of(lambda x: x.contiguous(memory_format=torch.channels_last)), (4, 3, 5)),
    "flatten": (nn.Flatten(), (4, 3, 5)),
    "torch.flatten": (Of(lambda x: torch.flatten(x, 2)), (4, 3, 5)),
    "view": (Of(lambda x: x.view(x.shape[0], -1, 5)), (4, 3, 5)),
    "Tensor.reshape": (Of(lambda x: x.reshape(-1, 60)), (4, 3, 5)),
    "torch.reshape": (Of(lambda x: torch.reshape(x, (x.size(0), 12, 5))), (4, 3, 5)),
    "add": (Of(lambda x: torch.add(x, x, alpha=3)), (4, 3, 5)),
    "x + x": (Of(lambda x: x + x), (4, 3, 5)),
    "1 + x": (Of(lambda x: 1 + x), (4, 3, 5)),
    "x += constant": (Of(lambda x: (x + 0.0).add_(torch.ones(5).double())), (4, 3, 5)),
    "add broadcasts": (Of(lambda x: x + F.adaptive_avg_pool2d(x, (1, 5))), (4, 3, 5)),
    "cat": (Of(lambda x: torch.cat([x, torch.ones(2, 1, 3, 5).double(), x], 1)), (4, 3, 5)),
    "cat rows": (Of(lambda x: torch.concat([x, x], dim=-2)), (4, 3, 5)),
    "concatenate": (Of(lambda x: torch.concatenate([x, x], axis=3)), (4, 3, 5)),
    "pad": (Of(lambda x: F.pad(x, (1, 2, 0, 3))), (4, 3, 5)),
    "pad crops": (Of(lambda x: F.pad(x, (-1, 1, 2, -2), value=3.0)), (4, 4, 5)),
}


def written(x):
    y = x * 2
    y[:, 1:3] = x[:, :1]  # broadcast
    y[..., 2] = 5
    return y


def written_on_canvas(x):
    canvas = torch.ones(2, 4, 5, 5, dtype=x.dtype)
    canvas[:, :, 1:4] = x * 3
    return canvas


F_OF = {  # activations: name -> function; all smooth or with kinks that random numbers do not hit
    "relu6": lambda x: F.relu6(4 * x),
    "relu6 in place": lambda x: F.relu6(x * 4, inplace=True),
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
    "clamp": lambda x: x.clamp(min=-0.3, max=0.8),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x + 0.0, inplace=True),
    "gelu": F.gelu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "sigmoid in place": lambda x: (x + 0.0).sigmoid_(),
    "logsigmoid": F.logsigmoid,
    "hardsigmoid": F.hardsigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: F.softmax(x, 1),
    "softmax over columns": lambda x: x.softmax(-1),
    "log_softmax": lambda x: F.log_softmax(x, dim=1),
    # joins
    "x - 1": lambda x: x - 1,
    "1 - x": lambda x: 1 - x,
    "rsub": lambda x: torch.rsub(x, x * 3, alpha=2),
    "sub": lambda x: torch.sub(x, x * 3, alpha=2),
    "subtract": lambda x: torch.subtract(x, 2),
    "x * 3": lambda x: x * 3,
    "x *= constant": lambda x: (x + 0.0).mul_(torch.linspace(1, 2, 5).double()),
    "multiply by rows": lambda x: torch.multiply(torch.linspace(1, 2, 3).double()[:, None], x),
    "x * x": lambda x: x * x,
    "product": lambda x: (x + 1) * x.flip(3),
    "x / 3": lambda x: x / 3,
    "3 / x": lambda x: 3 / (x + 10),
    "quotient": lambda x: torch.div(x, x.flip(3) + 10),
    "true_divide": lambda x: torch.true_divide(x, 4),
    "x /= 3": lambda x: (x + 0.0).div_(3),
    "addcmul": lambda x: torch.addcmul(x, torch.linspace(1, 2, 5).double(), x.flip(2), value=3),
    "addcmul of constants": lambda x: torch.addcmul(torch.ones(5).double(), x, torch.linspace(1, 2, 5).double()),
    "stack": lambda x: torch.stack([x, x * 0.0 + 1, x], 2),
    "stack last": lambda x: torch.stack([x, x], -1),
    # moves
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "view_as": lambda x: x.view_as(torch.zeros(2, 2, 2, 3, 5)),
    "reshape_as its own": lambda x: x.reshape_as(x.flatten(1)),
    "squeeze": lambda x: x.mean((2, 3), keepdim=True).squeeze(-1),
    "unsqueeze": lambda x: torch.unsqueeze(x, 2),
    "expand": lambda x: x[:, :, :1].expand(-1, -1, 3, -1),
    "expand_as": lambda x: x.mean(1, keepdim=True).expand_as(x),
    "broadcast_to": lambda x: torch.broadcast_to(x[:, :1], (2, 4, 3, 5)),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "swapaxes": lambda x: torch.swapaxes(x, 2, 3),
    "movedim": lambda x: torch.movedim(x, 1, 3),
    "moveaxis": lambda x: x.moveaxis(3, 1),
    "channels last and back": lambda x: F.linear(x.permute(0, 2, 3, 1), torch.ones(4, 4).double().tril()).permute(0, 3, 1, 2),
    "chunk": lambda x: torch.cat([x.chunk(2, 1)[1], x], 1),
    "split": lambda x: x.split([1, 3], dim=1)[1],
    "tensor_split": lambda x: torch.tensor_split(x, 2, dim=3)[0],
    "unbind": lambda x: x.unbind(1)[-1],
    "getitem": lambda x: x[:, 1:, ::2],
    "getitem channel": lambda x: x[:, 1],
    "getitem new axis first": lambda x: (x[None, :, 1:] * 2).squeeze(0),
    "getitem new axes before": lambda x: (x[None, None] * 2).squeeze(1).squeeze(0),
    "getitem list": lambda x: x[:, :, [2, 0, 1]],
    "getitem ellipsis": lambda x: x[..., 1:4],
    "setitem": written,
    "setitem on a canvas": written_on_canvas,
    "index_select": lambda x: torch.index_select(x, 1, torch.tensor([2, 0, 0])),
    "index_select of columns": lambda x: x.index_select(3, torch.tensor([4, 3, 2, 1, 0])),
    "narrow": lambda x: x.narrow(3, 1, 3),
    "select": lambda x: x.select(2, 1),
    "mean": lambda x: x.mean((2, 3)),
    "mean of channels": lambda x: x.mean(1, keepdim=True),
    "sum": lambda x: torch.sum(x, 2),
    "flip": lambda x: x.flip(2),
    "roll": lambda x: torch.roll(x, 2, 3),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "tile": lambda x: torch.tile(x, (1, 1, 2, 1)),
    "neg": lambda x: -x,
    "clone": lambda x: x.clone(),
    "to": lambda x: x.to(torch.float64, copy=True),
    "float and double": lambda x: x.float().double(),
    "interpolate nearest": lambda x: F.interpolate(x, scale_factor=2),
    "interpolate down": lambda x: F.interpolate(x, size=(2, 3), mode="nearest"),
    "interpolate bilinear": lambda x: F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=False),
    "interpolate corners": lambda x: F.interpolate(x, size=(7, 9), mode="bilinear", align_corners=True),
    "interpolate bicubic": lambda x: F.interpolate(x, size=(7, 4), mode="bicubic"),
    "interpolate area": lambda x: F.interpolate(x, size=(2, 2), mode="area"),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[:, :, :2, :4], 2),
}
CASES |= {name: (Of(function), (4, 3, 5)) for name, function in F_OF.items()}


def up(*shape, bias=True, **options):
    module = nn.Module()
    module.weight, module.bias = weights(*shape), weights(shape[1] * options.get("groups", 1))
    module.forward = lambda x: F.conv_transpose2d(x, module.weight, module.bias, **options)
    return module


def unpooled(x):
    pooled, switches = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(pooled * 3, switches, 2, output_size=x.shape[2:])


CASES |= {
    "conv1d": (double(nn.Conv1d(4, 6, 3, stride=2)), (4, 9)),
    "conv3d": (double(nn.Conv3d(2, 3, 2, padding=1)), (2, 3, 4, 5)),
    "conv_transpose1d": (double(nn.ConvTranspose1d(4, 3, 4, stride=2)), (4, 5)),
    "conv_transpose2d": (up(4, 3, 3, 2), (4, 4, 5)),
    "conv_transpose2d stride": (up(4, 2, 4, 3, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2), (4, 4, 5)),
    "conv_transpose2d dilation": (up(4, 3, 3, 3, stride=2, dilation=(3, 2), output_padding=(2, 1)), (4, 4, 3)),
    "conv_transpose3d": (double(nn.ConvTranspose3d(2, 3, 2)), (2, 2, 3, 4)),
    "prelu": (double(nn.PReLU(4)), (4, 3, 5)),
    "adaptive max pool": (nn.AdaptiveMaxPool2d((3, 2)), (4, 7, 5)),
    "adaptive max pool with indices": (Of(lambda x: F.adaptive_max_pool2d(x, 2, return_indices=True)[0]), (4, 7, 5)),
    "max unpool": (Of(unpooled), (4, 6, 7)),
    "max_pool1d": (nn.MaxPool1d(3, 2, 1), (4, 9)),
    "max_pool1d with indices": (Of(lambda x: F.max_pool1d(x, 2, return_indices=True)[0]), (4, 9)),
    "torch.max_pool1d": (Of(lambda x: torch.max_pool1d(x, 2, ceil_mode=True)), (4, 9)),
    "max_pool3d": (nn.MaxPool3d((2, 1, 3), 1), (2, 3, 4, 5)),
    "max_pool3d with indices": (Of(lambda x: F.max_pool3d(x, 2, return_indices=True)[0]), (2, 3, 4, 5)),
    "torch.max_pool3d": (Of(lambda x: torch.max_pool3d(x, 2)), (2, 3, 4, 5)),
    "adaptive_max_pool1d": (nn.AdaptiveMaxPool1d(4), (4, 9)),
    "adaptive_max_pool1d with indices": (Of(lambda x: F.adaptive_max_pool1d(x, 4, return_indices=True)[0]), (4, 9)),
    "adaptive_max_pool3d": (nn.AdaptiveMaxPool3d(2), (2, 3, 4, 5)),
    "adaptive_max_pool3d with indices": (Of(lambda x: F.adaptive_max_pool3d(x, 2, return_indices=True)[0]), (2, 3, 4, 5)),
    "avg_pool1d": (nn.AvgPool1d(3), (4, 9)),
    "adaptive_avg_pool1d": (nn.AdaptiveAvgPool1d(2), (4, 9)),
    "avg_pool3d": (nn.AvgPool3d(2), (4, 4, 2, 6)),
    "adaptive_avg_pool3d": (nn.AdaptiveAvgPool3d((1, 2, 2)), (2, 3, 4, 5)),
    "instance norm of running statistics": (double(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)), (4, 3, 5)),
    "dropout1d": (nn.Dropout1d(0.5).eval(), (4, 5)),
    "dropout3d": (nn.Dropout3d(0.5).eval(), (4, 2, 3, 5)),
    "alpha_dropout": (nn.AlphaDropout(0.5).eval(), (4, 3, 5)),
    "feature_alpha_dropout": (nn.FeatureAlphaDropout(0.5).eval(), (4, 3, 5)),
}


def held_norm(x, axes, eps=1e-5):
    """(x - mean) / deviation with both held."""
    return (x - x.mean(axes, keepdim=True).detach()) / (x.var(axes, unbiased=False, keepdim=True) + eps).sqrt().detach()


def in_groups(x, groups):
    return held_norm(x.reshape(len(x), groups, -1), (2,)).view_as(x)


# name: (what runs, its twin with what is held as constants)
HEADS = nn.MultiheadAttention(4, 2, dtype=torch.float64).eval()
nn.init.normal_(HEADS.in_proj_bias)


def heads(x, layer):
    return lambda tokens, **options: layer(tokens, tokens, tokens, **options)[0]


def held_heads(tokens):
    """A layer of attention from its definition, (L, N, 4), with its patterns held."""
    q, k, v = (F.linear(tokens, HEADS.in_proj_weight, HEADS.in_proj_bias)).chunk(3, -1)
    q, k, v = (part.unflatten(-1, (2, 2)).permute(1, 2, 0, 3) for part in (q, k, v))  # (N, heads, L, 2)
    pattern = (q @ k.mT / 2**0.5).softmax(-1).detach()
    return HEADS.out_proj((pattern @ v).permute(2, 0, 1, 3).flatten(2))


def observed_rounding(x):
    """Round as a net in training for quantisation does, by a range that was observed."""
    state = [torch.ones(1, dtype=kind) for kind in (torch.long, torch.long, torch.float, torch.float, torch.float, torch.int32)]
    return torch.fused_moving_avg_obs_fake_quant(x.float(), *state, 0.01, 0, 255, -1, False, False).to(x.dtype)


RECURRENT = {
    "lstm": nn.LSTM(12, 5),
    "gru": nn.GRU(12, 5),
    "rnn": nn.RNN(12, 5),
    "rnn of relu": nn.RNN(12, 5, nonlinearity="relu"),
}
RECURRENT_CELLS = {"lstm cell": nn.LSTMCell(60, 4), "gru cell": nn.GRUCell(60, 4), "rnn cell": nn.RNNCell(60, 4)}
RECURRENT_CELLS |= {"rnn cell of relu": nn.RNNCell(60, 4, nonlinearity="relu")}


def in_steps(layer, run=None):
    """Return a function that gives columns to a recurrent layer one after the other."""
    layer.double()
    return lambda x: (run or type(layer).__call__)(layer, x.flatten(1, 2).permute(2, 0, 1))[0].movedim(0, 1) * 1


def as_cell(cell, run=None):
    """Return a function that gives a whole picture to a cell, once."""
    cell.double()

    def step(x):
        state = (x.new_zeros(len(x), 4),) * (2 if isinstance(cell, nn.LSTMCell) else 1)
        made = run(cell, x.flatten(1), state) if run else cell(x.flatten(1), state if len(state) == 2 else state[0])
        return (made[0] if isinstance(made, tuple) else made) * 1

    return step


HELD = {
    "normalize": (lambda x: F.normalize(x, dim=1), lambda x: x / x.norm(dim=1, keepdim=True).clamp(min=1e-12).detach()),
    "normalize of two axes": (
        lambda x: F.normalize(x, p=1.0, dim=(2, 3)),
        lambda x: x / x.abs().sum((2, 3), keepdim=True).detach(),
    ),
    "data": (lambda x: x.data * 2, lambda x: x * 2),
    "attention": (
        lambda x: F.scaled_dot_product_attention(x, x.flip(2), 2 * x),
        lambda x: (x @ x.flip(2).mT / 5**0.5).softmax(-1).detach() @ (2 * x),
    ),
    "causal attention": (
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.7),
        lambda x: (x @ x.mT * 0.7 - 1e9 * torch.ones(3, 3).triu(1)).softmax(-1).detach() @ x,
    ),
    "attention with a mask": (
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.eye(3, dtype=torch.bool)[[1, 2, 0]] | (torch.arange(3) < 1)),
        lambda x: (
            (x @ x.mT / 5**0.5 - 1e9 * ~(torch.eye(3, dtype=torch.bool)[[1, 2, 0]] | (torch.arange(3) < 1)))
            .softmax(-1)
            .detach()
            @ x
        ),
    ),
    "attention with a bias": (
        lambda x: F.scaled_dot_product_attention(x, x, x, torch.arange(9.0, dtype=x.dtype).view(3, 3)),
        lambda x: (x @ x.mT / 5**0.5 + torch.arange(9.0).view(3, 3)).softmax(-1).detach() @ x,
    ),
    "attention in steps": (
        lambda x: F.dropout((x @ x.mT).softmax(-1), 0.5, False) @ (3 * x),
        lambda x: (x @ x.mT).softmax(-1).detach() @ (3 * x),
    ),
    "multi-head attention": (
        lambda x: heads(x, HEADS)(x.flatten(2).permute(2, 0, 1), need_weights=False).permute(1, 0, 2) * 1,
        lambda x: held_heads(x.flatten(2).permute(2, 0, 1)).permute(1, 0, 2),
    ),
    "attention as einsum": (
        lambda x: torch.einsum("ncij,ncjd->ncid", torch.einsum("ncid,ncjd->ncij", x, x).softmax(-1), x),
        lambda x: (x @ x.mT).softmax(-1).detach() @ x,
    ),
    "places from the image": (
        lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1).tanh(), align_corners=False),
        lambda x: F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1).tanh().detach(), align_corners=False),
    ),
    "rounding": (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), lambda x: x + 0),
    "rounding of channels": (
        lambda x: torch.fake_quantize_per_channel_affine(x, torch.full((4,), 0.1), torch.zeros(4), 1, -128, 127),
        lambda x: x + 0,
    ),
    "rounding as observed": (observed_rounding, lambda x: x + 0),
    "squeeze and excite": (
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
        lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)).detach(),
    ),
    "gate first": (lambda x: torch.mul(F.hardsigmoid(x.flip(2)), x), lambda x: F.hardsigmoid(x.flip(2)).detach() * x),
    "tanh gate in place": (lambda x: (x + 0.0).mul_(x.flip(2).tanh()), lambda x: x * x.flip(2).tanh().detach()),
    "gate expanded": (lambda x: x * x.mean(1, keepdim=True).expand_as(x), lambda x: x * x.mean(1, keepdim=True).detach()),
    "broadcast factor": (lambda x: x.mean(1, keepdim=True) * x, lambda x: x.mean(1, keepdim=True).detach() * x),
    "broadcast divisor": (
        lambda x: x / (x.square().mean(1, keepdim=True) + 1),
        lambda x: x / (x.square().mean(1, keepdim=True) + 1).detach(),
    ),
    "x * sigmoid(x)": (lambda x: x * torch.sigmoid(x), F.silu),
    "sigmoid(x) * x in place": (lambda x: torch.sigmoid(x := x + 0.0).mul_(x), F.silu),
    "layer norm": (lambda x: F.layer_norm(x, (5,)), lambda x: held_norm(x, (3,))),
    "layer norm of two axes": (lambda x: torch.layer_norm(x, (3, 5)), lambda x: held_norm(x, (2, 3))),
    "group norm": (lambda x: F.group_norm(x, 2), lambda x: in_groups(x, 2)),
    "torch.group_norm": (lambda x: torch.group_norm(x, 4), lambda x: in_groups(x, 4)),
    "instance norm": (lambda x: F.instance_norm(x), lambda x: in_groups(x, 4)),
    "batch statistics": (lambda x: F.batch_norm(x, None, None, training=True), lambda x: held_norm(x, (0, 2, 3))),
    "torch.batch_norm": (
        lambda x: torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False),
        lambda x: held_norm(x, (0, 2, 3)),
    ),
    "detach": (lambda x: (x * 2).detach(), lambda x: x * 2),
    "half": (lambda x: x.half().double(), lambda x: x),
    "bfloat16": (lambda x: x.bfloat16().double(), lambda x: x),
    "rms norm": (
        lambda x: F.rms_norm(x, (5,), eps=1e-5),
        lambda x: x / (x.square().mean(3, keepdim=True) + 1e-5).sqrt().detach(),
    ),
    **{name: (in_steps(layer), in_steps(layer, slow_recurrent)) for name, layer in RECURRENT.items()},
    **{name: (as_cell(cell), as_cell(cell, slow_cell)) for name, cell in RECURRENT_CELLS.items()},
}


@pytest.mark.parametrize("name", HELD)
def test_held_factors_are_constants(name):
    """Gates and statistics that come from the image are constants on the way down, and the call's status says so."""
    function, twin = HELD[name]
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    run = trace(Of(function), ModelInputs(x), GRADIENT)
    signal = torch.randn(run.output.shape, dtype=torch.float64)
    projected = project_value(run.tape, len(run.tape.shapes) - 1, signal, GRADIENT)
    expected = (signal.flatten() @ jacobian(twin, x)).view_as(x)
    assert relative(projected, expected) < 1e-10
    call = run.tape.calls[-1]
    expected = {"x * sigmoid(x)": "generalised", "sigmoid(x) * x in place": "generalised"}
    expected |= dict.fromkeys(
        ("detach", "data", "half", "bfloat16", "rounding as observed", "multi-head attention", *RECURRENT, *RECURRENT_CELLS),
        "exact",
    )  # the last call is a cast, or a product with 1
    expected |= dict.fromkeys(("rounding", "rounding of channels"), "generalised")
    assert (call.saved.status or rules.DEFAULT[call.func].status) == expected.get(name, "held")


def test_gates_change_nothing_of_the_layers_inside_them():
    """A layer inside a gate is projected by its own way down, which the gate's product does not touch."""
    model = nn.Sequential()
    model.conv, model.gate = nn.Conv2d(3, 4, 3), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1), nn.Sigmoid())

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = model.conv, model.gate

        def forward(self, x):
            x = self.conv(x)
            return x * self.gate(x)

    images = torch.randn(1, 3, 6, 7)
    run = trace(Gated(), ModelInputs(images), rules.DEFAULT)
    value = run.records["gate.1"].value
    signal = torch.randn(1, 4, 1, 1)
    expected = jacobian(lambda x: model.gate[1](model.gate[0](model.conv(x))), images)
    assert relative(project_value(run.tape, value, signal, rules.DEFAULT), (signal.flatten() @ expected).view_as(images)) < 1e-5


def run_case(name, table=GRADIENT):
    module, size = CASES[name]
    x = torch.randn(2, *size, dtype=torch.float64)
    run = trace(module, ModelInputs(x), table)
    output = run.output
    return module, x, run.tape, len(run.tape.shapes) - 1, output


@pytest.mark.parametrize("name", CASES)
def test_mirror_is_the_transposed_jacobian(name):
    """Under the gradient bits each rule carries a signal back as the transposed Jacobian does."""
    module, x, tape, value, output = run_case(name)
    if output.dtype == torch.int64:
        pytest.skip("indices carry no signal")
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    signal = torch.randn(output.shape, dtype=torch.float64)
    projected = project_value(tape, value, signal, GRADIENT)
    matrix = jacobian(lambda x: module(x), x)
    expected = (signal.flatten() @ matrix).view_as(x)
    assert projected.shape == x.shape
    assert relative(projected, expected) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_signals_of_one_image_share_its_recording(name):
    """Three signals that belong to image 1 come down as the same three, each with a recording of its own."""
    _, _, tape, value, output = run_case(name)
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    signal = torch.randn(3, *output.shape[1:], dtype=torch.float64)
    shared = project_value(tape, value, signal, GRADIENT, rows=1)
    one_each = project_value(tape, value, signal, GRADIENT, rows=torch.tensor([1, 1, 1]))
    as_images = torch.cat(
        [project_value(tape, value, part.expand(2, *part.shape[1:]).contiguous(), GRADIENT)[1:] for part in signal.split(1)]
    )
    assert relative(shared, as_images) < 1e-12
    assert torch.equal(shared, one_each)


@pytest.mark.parametrize("name", CASES)
def test_the_call_itself_is_unchanged(name):
    """A recorded call returns the bits that the plain call returns."""
    module, x, _, _, output = run_case(name)
    with torch.no_grad():
        assert torch.equal(output, module(x))


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name][1]) == 3])
def test_window_holds_all_that_a_place_depends_on(name):
    """No pixel outside a place's window has an influence on it, wherever the axes of rows and columns went."""
    _, x, tape, value, output = run_case(name)
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    axes = tape.axes[value]
    _, rows, cols = axes
    for row, col in itertools.product(*map(range, map_size(output.shape, axes))):
        signal = torch.zeros(output.shape, dtype=torch.float64)
        if isinstance(axes, TokenAxes):
            place = signal.select(axes.tokens, axes.prefix + row * axes.width + col)
        else:
            place = signal if rows is None else signal.select(rows, row).select(cols - (cols > rows), col)
        place += 1 + torch.rand(place.shape, dtype=torch.float64)
        inside = tape.pixel_window(value, Window(row, col, 1, 1)).clip(*x.shape[2:])
        reached = project_value(tape, value, signal, GRADIENT)
        reached[:, :, inside.top : inside.bottom, inside.left : inside.right] = 0
        assert not reached.any()


def test_every_row_of_the_table_has_a_case():
    """A rule that no case meets is a rule that nobody checked."""
    met = set()

    class Meet(TorchFunctionMode):  # not the tape: dropout in eval mode returns its input, and makes no value
        def __torch_function__(self, func, types, args=(), kwargs=None):
            met.add(plain_name(func))
            return func(*args, **(kwargs or {}))

    every = [*CASES.values(), *((Of(function), (4, 3, 5)) for function, _ in HELD.values())]
    for module, size in every:
        with Meet():
            module(torch.randn(2, *size, dtype=torch.float64))
    assert {plain_name(func) for func in rules.DEFAULT} - met == set()


def test_relu_rectifies_the_signal_and_masks_by_bits():
    """The eight settings of mask and rectify do what their names say, on numbers one can check by eye."""
    x = torch.tensor([[-1.0, 2.0, 3.0, -4.0]])
    signal = torch.tensor([[5.0, -6.0, 7.0, -8.0]])
    expected = {
        "FTT": [5.0, 0.0, 7.0, 0.0],
        "TTT": [0.0, 0.0, 7.0, 0.0],
        "TTF": [0.0, -6.0, 7.0, 0.0],
        "FTF": [5.0, -6.0, 7.0, -8.0],
    }
    for bits, values in expected.items():
        table = rules.DEFAULT.with_options(**rules.parse_rule(bits))
        tape = trace(nn.ReLU(), ModelInputs(x), table).tape
        assert project_value(tape, 1, signal, table).tolist() == [values]


def slow_unpool(signal, indices, size, overlap):
    """A loop over pooled places in row-major order, adding or overwriting."""
    result = torch.zeros(*signal.shape[:2], size[0] * size[1], dtype=signal.dtype)
    for n in range(signal.shape[0]):
        for c in range(signal.shape[1]):
            for value, index in zip(signal[n, c].flatten(), indices[n, c].flatten(), strict=True):
                result[n, c, index] = value + (result[n, c, index] if overlap == "sum" else 0)
    return result.view(*signal.shape[:2], *size)


POOLS = [(3, 2, 0, 1, True), (3, 2, 1, 1, False), ((2, 3), (1, 2), (1, 0), (2, 1), False), (3, 1, 1, 2, True)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("overlap", ["sum", "last"])
def test_unpooling_equals_a_plain_loop(pool, overlap):
    """Colliding switches add up, or the last in row-major order stays, as a plain loop over places has it."""
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    output, indices = F.max_pool2d(x, *pool[:4], ceil_mode=pool[4], return_indices=True)
    rule = MaxPool2d(overlap=overlap)
    table = rules.DEFAULT.replace(max_pool2d=rule)
    tape = trace(nn.MaxPool2d(*pool[:4], ceil_mode=pool[4]), ModelInputs(x), table).tape
    signal = torch.randn_like(output)
    assert relative(project_value(tape, 1, signal, table), slow_unpool(signal, indices, (9, 8), overlap)) < 1e-12
    assert torch.equal(to_indices(tape.calls[0].saved.switches, tape.calls[0].saved), indices)


@pytest.mark.parametrize("pool", POOLS)
def test_unpooling_offset_by_offset_is_the_same(pool):
    """The deterministic way that GPUs take equals the fast way that the CPU takes."""
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    tape = trace(nn.MaxPool2d(*pool[:4], ceil_mode=pool[4]), ModelInputs(x), rules.DEFAULT).tape
    kept, signal = tape.calls[0].saved, torch.randn(tape.shapes[1], dtype=torch.float64)
    assert relative(unpool_by_offsets(signal, kept.switches, kept), unpool(signal, kept.switches, kept)) < 1e-12


def test_switches_take_one_byte_each():
    """Switches are offsets within the pooling window: one byte, four where a window has more than 256 places."""
    x = torch.randn(1, 2, 40, 40)
    for kernel, type_ in ((3, torch.uint8), (16, torch.uint8), (17, torch.int32)):
        tape = trace(nn.MaxPool2d(kernel), ModelInputs(x), rules.DEFAULT).tape
        assert tape.calls[0].saved.switches.dtype == type_


def test_without_switches_values_go_to_the_middle():
    """With the switches bit off, each value is put in the middle of its window, inside the frame."""
    table = rules.DEFAULT.with_options(switches=False)
    tape = trace(nn.MaxPool2d(3), ModelInputs(torch.randn(1, 1, 6, 6)), table).tape
    result = project_value(tape, 1, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), table)
    expected = torch.zeros(1, 1, 6, 6)
    expected[0, 0, 1::3, 1::3] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(result, expected)
    tape = trace(nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), ModelInputs(torch.randn(1, 1, 6, 5)), table).tape
    assert project_value(tape, 1, torch.ones(1, 1, *tape.shapes[1][2:]), table).sum() == tape.shapes[1].numel()


@pytest.mark.parametrize("name", ["conv stride", "avg pool", "pad crops", "linear", "max pool overlapping", "batch norm"])
def test_linear_calls_are_adjoint(name):
    """<A x, y> = <x, A' y> for the calls that are linear (with the biases taken off)."""
    module, x, tape, value, output = run_case(name)
    y = torch.randn_like(output)
    matrix = jacobian(lambda x: module(x), x)
    up = (matrix @ x.flatten()).view_as(output)
    down = project_value(tape, value, y, rules.DEFAULT.with_options(mask=True, rectify=False))
    assert torch.allclose((up * y).sum(), (x * down).sum())


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: F.conv2d(x, x[:, :, :1, :1]), "more than its first argument descends from the image"),
        (lambda x: torch.cat([x, x], 0), "it mixes the images of the batch"),
        (lambda x: x.flip(0), "it mixes the images of the batch"),
        (lambda x: torch.flip(x, dims=(1, 0)), "it mixes the images of the batch"),
        (lambda x: x.roll(1, 0), "it mixes the images of the batch"),
        (lambda x: torch.roll(x, shifts=1), "it mixes the images of the batch"),
        (lambda x: x.transpose(0, 2).flip(2), "it mixes the images of the batch"),
        (lambda x: x.transpose(0, 1).sum(1), "it mixes the images of the batch"),
        (lambda x: x.amax(0), "it mixes the images of the batch"),
        (
            lambda x: F.grid_sample(torch.ones(2, 1, 3, 3), x.permute(0, 2, 3, 1)[..., :2], align_corners=False),
            "its values do not descend from the image",
        ),
        (
            lambda x: F.grid_sample(x.transpose(0, 1), x.permute(0, 2, 3, 1), align_corners=False),
            "it mixes the images of the batch",
        ),
        (lambda x: torch.where(x > 0)[1], "it returns places, which carry no signal"),
        (lambda x: x.transpose(0, 3) @ x.transpose(0, 2), "it mixes the images of the batch"),
        (lambda x: x.flatten(1).mT @ x.flatten(1), "it mixes the images of the batch"),
        (lambda x: torch.einsum("nchw,ndhw->cd", x, x), "it mixes the images of the batch"),
        (lambda x: torch.einsum("nchw,mchw->nm", x, x), "it mixes the images of the batch"),
        (
            lambda x: F.linear(x.flatten(1).transpose(0, 1), torch.ones(2, len(x), dtype=x.dtype)),
            "it mixes the images of the batch",
        ),
        (lambda x: F.layer_norm(x.transpose(0, 3), (len(x),)), "it mixes the images of the batch"),
        (lambda x: x.transpose(0, 1) + x.transpose(0, 1)[:, :1], "it mixes the images of the batch"),
        (lambda x: x + x.permute(1, 0, 2, 3), "it mixes the images of the batch"),
        (
            lambda x: F.max_pool2d(x.transpose(0, 1), 2),
            "it mixes the images of the batch, which are not on its first axis",
        ),
        (lambda x: F.dropout(x), "it drops values at random even in eval mode"),
        (lambda x: torch.add(x, x, out=torch.zeros_like(x)), "it writes into out="),
    ],
)
def test_arguments_that_a_rule_cannot_mirror_raise_when_projected(function, why):
    """A call with arguments beyond its rule records, and raises with the reason when a projection meets it."""
    module = Of(function)
    tape = trace(module, ModelInputs(torch.randn(2, 2, 3, 3)), rules.DEFAULT).tape
    call = next(call for call in tape.calls if call.problem)
    with pytest.raises(NoRuleError) as error:
        project_value(tape, call.outputs[0], torch.randn(tape.shapes[call.outputs[0]]), rules.DEFAULT)
    text = f"no mirror rule for {call.name} in '{call.layer}' ({why}). Add one: see docs/your-own-rule.md."
    assert str(error.value) == text


def test_table_refuses_a_second_row():
    """Two rows for one call raise: a registry must not overwrite in silence."""
    with pytest.raises(OptionError) as error:
        rules.Table({(torch.relu,): rules.Same(), (torch.relu, torch.tanh): rules.Same()})
    assert str(error.value) == "the rule table has two rows for relu. Use replace() to change one."


def test_replace_by_name_changes_all_aliases():
    """rules.replace(relu=...) replaces the rule of every way to call ReLU, and leaves the default table alone."""
    rule = rules.Same()
    table = rules.replace(relu=rule)
    assert all(table[func] is rule for func in (F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_))
    assert rules.DEFAULT[F.relu] is not rule


def test_replace_says_what_it_does_not_know():
    """An unknown name raises with close matches."""
    with pytest.raises(OptionError) as error:
        rules.replace(rellu=rules.Same())
    assert (
        str(error.value)
        == "the rule table has no row named 'rellu'. Did you mean 'relu' or 'rrelu' or 'relu6'? Give a new call by its function."
    )


def test_rule_names_and_bits():
    """A rule is a name or its three bits; anything else is refused with the names."""
    assert rules.parse_rule("guided") == rules.parse_rule("TTT") == {"mask": True, "switches": True, "rectify": True}
    with pytest.raises(OptionError) as error:
        rules.parse_rule("deconv")
    expected = "rule cannot be 'deconv': it is one of deconvnet, guided, gradient, or three bits such as FTT."
    assert str(error.value) == f"{expected} Did you mean 'deconvnet'?"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class SavedTable(Saved):
    table: torch.Tensor = rules.per_image()
    weight: torch.Tensor


def test_what_is_saved_picks_rows_of_images():
    """Per-image tensors are picked by image, shared ones are left."""
    saved = SavedTable(table=torch.arange(6).view(3, 2), weight=torch.arange(3), size=torch.Size((3, 2)))
    assert saved.for_images(1).table.tolist() == [[2, 3]]
    assert saved.for_images(torch.tensor([2, 0])).table.tolist() == [[4, 5], [0, 1]]
    assert saved.for_images(None) is saved
    assert saved.for_images(1).size == (3, 2)
    assert saved.for_images(1).weight is saved.weight
    assert [tensor.shape for tensor in saved.image_tensors()] == [(3, 2)]


class Followed(nn.Module):
    """A convolution, one of the cases, and a name for what it makes."""

    def __init__(self, module):
        super().__init__()
        self.conv, self.module, self.last = nn.Conv2d(3, 4, (2, 1)).double(), module, nn.Hardtanh(-99, 99)

    def forward(self, x):
        return self.last(self.module(self.conv(x)))


OTHERS = {
    "layer norm with weights": lambda x: F.layer_norm(x, (5,), torch.linspace(1, 3, 5).double()),
    "mask of positions": lambda x: x.masked_fill(torch.arange(15).view(3, 5) % 4 == 0, 0.0),
    "bounds of positions": lambda x: torch.clamp(x, min=torch.linspace(-1, 0.2, 5).double()),
    "exponents of positions": lambda x: x.abs() ** torch.linspace(1, 3, 3).double()[:, None],
}
ON_MAPS = [*(name for name in CASES if len(CASES[name][1]) == 3), *HELD, *OTHERS]


@pytest.mark.parametrize("name", ON_MAPS)
def test_a_unit_s_window_has_what_the_full_frame_has(name):
    """What a rule saved along rows and columns is cut with a unit's window, or the frame is mirrored in full."""
    module = CASES[name][0] if name in CASES else Of(OTHERS.get(name) or HELD[name][0])
    size = CASES[name][1] if name in CASES else (4, 3, 5)
    torch.manual_seed(0)
    images = torch.randn(2, 3, size[1] + 1, size[2], dtype=torch.float64)
    net = deconvnet.DeconvNet(Followed(module))
    if size[0] != 4 or not module_makes_maps(net, images):
        pytest.skip("it makes no maps")
    recording = net.record(images)
    found = net.project(recording, "last", channels=[0], top=4, image=1, rule="gradient", start="one")
    for unit, pixels in zip(found.units, found.pixels, strict=True):
        maps = torch.zeros_like(recording.maps("last"))
        maps[1, unit.channel, unit.row or 0, unit.col or 0] = 1
        signal = from_maps(maps, recording.axes("last"))
        full = net.project_signal(recording, "last", signal, rule="gradient")
        assert relative(torch.as_tensor(pixels), full[1]) < 1e-6


def module_makes_maps(net, images):
    """Say whether the layer has maps with places."""
    recording = net.record(images)
    value = recording.value("last")
    return value is not None and recording.tape.map_axes(value)[0] is not None and recording.tape.shapes[value][0] == 2
