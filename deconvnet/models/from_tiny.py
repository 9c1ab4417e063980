"""The source "tiny": the net in the package."""

from __future__ import annotations

from ..drawings import CLASSES
from ..errors import UnknownModelError
from ..images import Preprocess
from .model import LoadedModel
from .seeding import seeded
from .tiny import INPUT_SIZE, MEAN, STD, WEIGHTS, Tiny
from .weights import hash_file, load_checked, read_state


def load(name: str, weights: str) -> LoadedModel:
    """Load the net `tiny`.

    Args:
        name: "", since there is only one.
        weights: "DEFAULT" for its own weights, "none" for random ones, or the path of a checkpoint of its training.
    """
    if name:
        raise UnknownModelError(f"'tiny:{name}' is not a model. Did you mean 'tiny'?")
    with seeded():
        model = Tiny().eval()
    path = str(WEIGHTS) if weights == "DEFAULT" else weights
    if weights != "none":
        load_checked(model, {key: value.float() for key, value in read_state(path, like=model).items()}, path, "tiny")
    return LoadedModel(
        model=model,
        preprocess=Preprocess(INPUT_SIZE, INPUT_SIZE, MEAN, STD),
        name="tiny",
        weights="random" if weights == "none" else hash_file(path),
        classes=CLASSES,
        input_size=(3, INPUT_SIZE, INPUT_SIZE),
    )
