"""Entry points of torch.hub: `torch.hub.load("deconvnet/deconvnet", "tiny")`."""

from __future__ import annotations

from typing import Any as _Any

dependencies = ["torch", "torchvision", "matplotlib", "fontTools", "PIL", "click", "numpy", "safetensors", "tqdm"]


def tiny(pretrained: bool = True, **_: _Any) -> _Any:
    """Return `tiny`, a small ZFNet for drawings of 96 pixels, in eval mode.

    Args:
        pretrained: with its trained weights, which are part of the package; else random ones.
    """
    from deconvnet.models.tiny import tiny as build

    return build(pretrained=pretrained)


def deconvnet(model: str = "tiny", weights: str | None = "DEFAULT", device: str = "auto", **options: _Any) -> _Any:
    """Return a model and its mirrored deconvnet: a `deconvnet.DeconvNet`, which records pictures and projects units.

    Args:
        model: as `deconvnet.load_model` takes it: "tiny", "torchvision:alexnet", ...
        weights: "DEFAULT", None for random ones, or the path of a file.
        device: "cpu", "cuda", "mps", or "auto" for a GPU if there is one.
        options: further options of `DeconvNet`, such as lrn="derivative".
    """
    from deconvnet import DeconvNet, load_model

    return DeconvNet(load_model(model, weights=weights, device=device), **options)
