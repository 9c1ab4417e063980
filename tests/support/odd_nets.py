"""Nets as strangers write them: each does something odd in its forward pass, its state or its layers. Small, and seeded."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

Pair = namedtuple("Pair", "maps scores")


def body(width: int = 6) -> nn.Sequential:
    """Return two convolutions with a pool between them."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
    )


class Odd(nn.Module):
    """A body, and a forward that is given as a function of the module and its images."""

    def __init__(self, run: Callable[[Any, Tensor], Any], **parts: Any) -> None:
        super().__init__()
        self.body, self.run = body(), run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        """Run the function."""
        return self.run(self, x)


def with_hook(kind: str, hook: Callable[..., Any]) -> nn.Module:
    """Return a body whose first layer has a hook of the user's."""
    net = body()
    getattr(net[0], kind)(hook)
    return net


def counting(net: Any, x: Tensor) -> Tensor:
    """Count its passes in an attribute, a list and a buffer."""
    net.passes += 1
    net.seen.append(tuple(x.shape))
    net.total += x.detach().mean()
    return net.body(x)


def raising(net: Any, x: Tensor) -> Tensor:
    """Raise half-way."""
    net.body(x)
    raise KeyError("half-way\nwith a second line")


def leaving(net: Any, x: Tensor) -> Tensor:
    """Leave the program."""
    raise SystemExit(3)


def stopping(net: Any, x: Tensor) -> Tensor:
    """Be stopped by the keyboard."""
    raise KeyboardInterrupt


def recursive(net: Any, x: Tensor) -> Tensor:
    """Never end."""
    return net(net.body[0](x)[:, :3])


def in_inference_mode(net: Any, x: Tensor) -> Tensor:
    """Run under inference mode of its own."""
    with torch.inference_mode():
        x = net.body[0](x)
        F.relu_(x)
        maps = net.body[2](x)
        maps[:, :2] = 0.5 * maps[:, :2]
        return F.relu(net.body[3](maps), inplace=True)


def under_autocast(net: Any, x: Tensor) -> Tensor:
    """Run in bfloat16 inside."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.body(x)


def writing_its_weights(net: Any, x: Tensor) -> Tensor:
    """Normalise its own filters before each pass."""
    with torch.no_grad():
        net.body[0].weight.data /= net.body[0].weight.data.norm()
    return net.body(x)


def growing(net: Any, x: Tensor) -> Tensor:
    """Make a layer in its first pass."""
    if not hasattr(net, "late"):
        net.late = nn.Conv2d(6, 4, 1)
    return F.relu(net.late(net.body(x)))


def by_numpy(net: Any, x: Tensor) -> Tensor:
    """Take the maps out of torch and back."""
    return net.top(torch.from_numpy(np.sqrt(np.abs(net.body(x).detach().numpy()))))


def by_branches(net: Any, x: Tensor) -> Tensor:
    """Choose a way by what the images show."""
    return net.body(x) if float(x.mean()) > 0.5 else net.body(x.flip(-1))


def by_images(net: Any, x: Tensor) -> Tensor:
    """Take the images one by one."""
    return torch.cat([net.body(image.unsqueeze(0)) for image in x])


def swallowing(net: Any, x: Tensor) -> Tensor:
    """Catch whatever happens inside."""
    with contextlib.suppress(Exception):
        net.body(x[:, :1])  # one colour is too few
    return net.body(x)


def with_nans(net: Any, x: Tensor) -> Tensor:
    """Divide by zero in one channel."""
    maps = net.body(x)
    return torch.cat([maps[:, :5], maps[:, 5:] / 0], 1)


def complex_valued(net: Any, x: Tensor) -> Tensor:
    """Go through a Fourier transform."""
    return net.top(torch.fft.irfft2(torch.fft.rfft2(net.body(x)), s=(16, 16)))


def random_rows(net: Any, x: Tensor) -> Tensor:
    """Add noise."""
    return net.body(x + 0.3 * torch.randn_like(x))


def warning_and_printing(net: Any, x: Tensor) -> Tensor:
    """Talk."""
    print("forward", tuple(x.shape))
    warnings.warn("deprecated", stacklevel=1)
    return net.body(x)


def in_place_chain(net: Any, x: Tensor) -> Tensor:
    """Write over everything that can be written over."""
    x -= x.mean((1, 2, 3), keepdim=True)
    x = net.body[0](x)
    x.mul_(0.5).add_(0.1).relu_()
    return F.relu(net.body[3](net.body[2](x)), inplace=True)


class Slotted(nn.Module):
    """Has a property that raises, and attributes that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.lock = body(), (item for item in range(3))

    @property
    def broken(self) -> int:
        """Raise, whoever asks."""
        raise RuntimeError("not today")

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot be copied")

    def forward(self, x: Tensor) -> Tensor:
        """Run the body."""
        return self.body(x)


class Square(torch.autograd.Function):
    """A function of the user's own."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Square."""
        context.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Twice the value."""
        return 2 * context.saved_tensors[0] * gradient


def deep(depth: int) -> nn.Sequential:
    """Return a net of many layers."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), *(layer for _ in range(depth) for layer in (nn.Conv2d(4, 4, 1), nn.ReLU()))
    )


def wrapped(module: nn.Module) -> nn.Sequential:
    """Return a body with one more layer."""
    return nn.Sequential(*body(), module)


def tied() -> nn.Module:
    """Return a net in which one layer stands twice, and its weight in another."""
    net = Odd(lambda net, x: net.body[4](net.again(net.again(net.body(x)))))
    net.again = nn.Conv2d(6, 6, 3, padding=1)
    net.other = nn.Conv2d(6, 6, 3)
    net.other.weight = net.again.weight
    return net


def parametrized(function: Callable[[nn.Module], object]) -> nn.Module:
    """Return a body whose second convolution has its weight from somewhere else."""
    net = body()
    function(net[3])
    return net


def quiet(module: nn.Module) -> nn.Module:
    """Return a net that needs no gradients."""
    return module.requires_grad_(False)


#: What they give for every unit: "exact", as autograd has it; "held", where a norm's scale comes from the image and is held; or
#: the kind of error that says why not.
NETS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "writes to its input": (lambda: Odd(lambda net, x: net.body(x.mul_(2))), "exact"),
    "counts its passes": (lambda: Odd(counting, passes=0, seen=[], total=nn.Buffer(torch.zeros(()))), "exact"),
    "raises half-way": (lambda: Odd(raising), "ModelError"),
    "leaves the program": (lambda: Odd(leaving), "SystemExit"),
    "is stopped": (lambda: Odd(stopping), "KeyboardInterrupt"),
    "never ends": (lambda: Odd(recursive), "ModelError"),
    "runs in inference mode": (lambda: Odd(in_inference_mode), "exact"),
    "runs in bfloat16 inside": (lambda: Odd(under_autocast), "exact"),
    "writes its weights": (lambda: Odd(writing_its_weights), "exact"),
    "grows a layer": (lambda: Odd(growing), "exact"),
    "goes through numpy": (lambda: Odd(by_numpy, top=nn.Conv2d(6, 3, 1)), "NoRuleError"),
    "chooses by what it sees": (lambda: Odd(by_branches), "exact"),
    "takes images one by one": (lambda: Odd(by_images), "NoRuleError"),
    "catches errors": (lambda: Odd(swallowing), "exact"),
    "divides by zero": (lambda: Odd(with_nans), "exact"),
    "goes through a Fourier transform": (lambda: Odd(complex_valued, top=nn.Conv2d(6, 3, 1)), "NoRuleError"),
    "adds noise": (lambda: Odd(random_rows), "UnstableModelError"),
    "talks": (lambda: Odd(warning_and_printing), "exact"),
    "writes over everything": (lambda: Odd(in_place_chain), "exact"),
    "cannot be copied": (Slotted, "exact"),
    "has a function of its own": (lambda: Odd(lambda net, x: net.top(Square.apply(net.body(x))), top=nn.Conv2d(6, 3, 1)), "exact"),
    "is deep": (lambda: deep(120), "exact"),
    "stands twice": (tied, "exact"),
    "returns a tuple": (lambda: Odd(lambda net, x: (net.body(x), x.mean())), "exact"),
    "returns a named tuple": (lambda: Odd(lambda net, x: Pair(net.body(x), x.mean((1, 2, 3)))), "exact"),
    "returns a dictionary": (lambda: Odd(lambda net, x: OrderedDict(out=net.body(x), aux={"mean": [x.mean()]})), "exact"),
    "returns nothing": (lambda: Odd(lambda net, x: (net.body(x), None)[1]), "exact"),
    "returns a generator": (lambda: Odd(lambda net, x: (maps for maps in [net.body(x)])), "exact"),
    "has a hook that changes": (lambda: with_hook("register_forward_hook", lambda m, i, out: out * 2), "exact"),
    "has a hook before": (lambda: with_hook("register_forward_pre_hook", lambda m, i: (i[0] + 1,)), "exact"),
    "has a hook that raises": (lambda: with_hook("register_forward_hook", lambda m, i, o: 1 / 0), "ModelError"),
    "has weight norm": (lambda: parametrized(parametrizations.weight_norm), "exact"),
    "has spectral norm": (lambda: parametrized(parametrizations.spectral_norm), "exact"),
    "is pruned": (lambda: parametrized(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)), "exact"),
    "is checkpointed": (lambda: Odd(lambda net, x: checkpoint(net.body, x, use_reentrant=False)), "exact"),
    "is wrapped for several devices": (lambda: nn.DataParallel(body()), "exact"),
    "needs no gradients": (lambda: quiet(body()), "exact"),
    "is in double precision": (lambda: body().double(), "exact"),
    "is in bfloat16": (lambda: body().bfloat16(), "exact"),
    "is channels last": (lambda: body().to(memory_format=torch.channels_last), "exact"),
    "pads in circles": (lambda: wrapped(nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular")), "exact"),
    "pads by reflection": (lambda: wrapped(nn.Conv2d(6, 6, 5, padding=2, padding_mode="reflect")), "exact"),
    "pads to the same size": (lambda: wrapped(nn.Conv2d(6, 6, 4, padding="same", dilation=2)), "exact"),
    "leaves pixels out": (lambda: wrapped(nn.Conv2d(6, 6, 1, stride=5)), "exact"),
    "is larger than its image": (lambda: wrapped(nn.Conv2d(6, 6, 31, padding=15)), "exact"),
    "is a layer for each channel": (lambda: wrapped(nn.Conv2d(6, 12, 3, groups=6)), "exact"),
    "has no channels in between": (lambda: nn.Sequential(nn.Conv2d(3, 0, 1), nn.Conv2d(0, 4, 1)), "PictureError"),
    "pools over the edge": (lambda: wrapped(nn.MaxPool2d(3, 2, 1, ceil_mode=True)), "exact"),
    "pools to a size": (lambda: wrapped(nn.AdaptiveMaxPool2d((5, 3))), "exact"),
    "pools with a power": (lambda: wrapped(nn.LPPool2d(2, 2)), "NoRuleError"),
    "pools at random": (lambda: wrapped(nn.FractionalMaxPool2d(2, output_ratio=0.5)), "NoRuleError"),
    "drops out": (lambda: wrapped(nn.Dropout2d(0.5)), "exact"),
    "norms its batch as it goes": (lambda: wrapped(nn.BatchNorm2d(6, track_running_stats=False)), "held"),
    "norms each image": (lambda: wrapped(nn.InstanceNorm2d(6)), "held"),
    "shuffles its pixels": (lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3), nn.ReLU(), nn.PixelShuffle(2)), "exact"),
    "samples a grid": (lambda: wrapped(nn.Upsample(size=(11, 7), mode="bicubic")), "exact"),
    "takes another number of colours": (lambda: nn.Conv2d(7, 4, 3), "PictureError"),
}  # fmt: skip


def make(name: str) -> nn.Module:
    """Return one of the nets, seeded, in training mode as it was made."""
    torch.manual_seed(0)
    return NETS[name][0]()


def state_of(model: nn.Module) -> dict[str, Any]:
    """Return all that a pass should not change: tensors by value, training flags, plain attributes, hooks."""
    state: dict[str, Any] = {}
    for path, module in model.named_modules():
        state[f"{path} training"] = module.training
        state[f"{path} hooks"] = len(module._forward_hooks), len(module._forward_pre_hooks)
        for name, tensor in {**module._parameters, **module._buffers}.items():
            state[f"{path}.{name}"] = None if tensor is None else tensor.detach().clone()
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, (int, float, str)):
                state[f"{path}.{name} attribute"] = copy.copy(value)
    return state
