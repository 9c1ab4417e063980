"""The source "zfnet": the net of Zeiler & Fergus 2014, whose weights the user brings."""

from __future__ import annotations

import torch

from ..errors import UnknownModelError, WeightsError
from .model import LoadedModel, default_preprocess
from .seeding import seeded
from .weights import count_classes, hash_file, load_checked, read_state
from .zfnet import MAPS, ZFNet


def load(name: str, weights: str) -> LoadedModel:
    """Load ZFNet or its wide variant.

    Args:
        name: "" or "wide".
        weights: "none" for random ones, or the path of a file; "DEFAULT" is refused, since none are published.
    """
    full = f"zfnet:{name}" if name else "zfnet"
    if name not in MAPS:
        raise UnknownModelError(f"{full!r} is not a model. Models: zfnet, zfnet:wide.")
    if weights == "DEFAULT":
        raise WeightsError(f"{full} has no weights of its own. Give --weights FILE, or --weights none for random ones.")
    with torch.device("meta"):
        usual = ZFNet(maps=MAPS[name]).state_dict()
    state = {} if weights == "none" else read_state(weights, like=usual)
    classes = count_classes(state, usual, "classifier.7.weight") or len(usual["classifier.7.weight"])
    with seeded():
        model = ZFNet(classes, maps=MAPS[name]).eval()
    if state:
        load_checked(model, state, weights, full)
    return LoadedModel(
        model=model,
        # the paper subtracts a mean for each pixel; today nets are trained with a mean and a deviation for each channel
        preprocess=default_preprocess(3),
        name=full,
        weights="random" if weights == "none" else hash_file(weights),
    )
