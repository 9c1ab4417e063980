"""The source "zfnet": the paper's own net, whose weights the user brings."""

from __future__ import annotations

from ..errors import UnknownModelError, WeightsError
from ..images import Preprocess
from .model import LoadedModel
from .seeding import seeded
from .weights import hash_file, load_checked, read_state
from .zfnet import MAPS, ZFNet


def load(name: str, weights: str) -> LoadedModel:
    """Load ZFNet, or its wide variant, with the user's weights or with random ones."""
    full = f"zfnet:{name}" if name else "zfnet"
    if name not in MAPS:
        raise UnknownModelError(f"{full!r} is not a model. Models: zfnet, zfnet:wide.")
    if weights == "DEFAULT":
        raise WeightsError(f"{full} has no weights of its own. Give --weights FILE, or --weights none for random ones.")
    state = {} if weights == "none" else read_state(weights)
    classes = len(state["classifier.7.bias"]) if "classifier.7.bias" in state else 1000
    with seeded():
        model = ZFNet(classes, maps=MAPS[name]).eval()
    if state:
        load_checked(model, state, weights, full)
    return LoadedModel(
        model=model,
        # the paper subtracts a per-pixel mean; today's weights are trained with the channels' mean and deviation
        preprocess=Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        name=full,
        weights="random" if weights == "none" else hash_file(weights),
    )
