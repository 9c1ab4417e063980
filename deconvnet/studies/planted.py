"""A net whose answers have a known cause: trained here, in seconds, on drawings in which one small part decides the class.

It is as small as it can be with all that the paper leaves open in it: convolutions, overlapping max pools and a response norm.
The maximum over places at its end makes it look for the cause anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..drawings import Drawing
from ..drawings.planted import PLANTED, draw_planted
from ..images import Preprocess
from ..models import LoadedModel
from ..models.seeding import seeded
from ..net import DeconvNet
from ..progress import PROGRESS_DELAY

SIZE = 64  # pixels
LAYER = "11"  # the scores of the classes
TRAINING_SEED, TEST_SEED = 40_000_000, 50_000_000  # of drawings: far from the small ones that people use, and from each other
DRAWINGS, EPOCHS, BATCH, RATE = 500, 8, 32, 0.003


@dataclass(frozen=True, eq=False)
class PlantedNet:
    """A trained net and fresh drawings that it classifies right.

    Attributes:
        net: the net.
        drawings: N fresh drawings of which it is right; only there is the cause known to have been used.
        accuracy: the share of all fresh drawings, 0..1, of which it is right.
    """

    net: DeconvNet
    drawings: list[Drawing]
    accuracy: float


def train_planted(*, seed: int = 0, count: int = 50, epochs: int = EPOCHS, drawings: int = DRAWINGS) -> PlantedNet:
    """Train a small net to tell rings from crosses among clutter; the same arguments give the same net on the same machine.

    Args:
        seed: of its first weights and of the order of drawings.
        count: fresh drawings to test it on.
        epochs: passes over the training drawings.
        drawings: how many of these there are.
    """
    preprocess = Preprocess(SIZE, SIZE, (0.5,) * 3, (0.25,) * 3)
    images, labels = _batch([draw_planted(seed=TRAINING_SEED + number, size=SIZE) for number in range(drawings)], preprocess)
    with seeded(seed), torch.inference_mode(False), torch.enable_grad():
        model = _model()
        _fit(model, images, labels, epochs, np.random.default_rng(seed))
    fresh = [draw_planted(seed=TEST_SEED + number, size=SIZE) for number in range(count)]
    inputs, truth = _batch(fresh, preprocess)
    with torch.no_grad():
        right = np.flatnonzero((model.eval()(inputs).argmax(1) == truth).numpy())
    loaded = LoadedModel.from_module(model, preprocess)
    return PlantedNet(DeconvNet(loaded), [fresh[number] for number in right], len(right) / count)


def _model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),  # (N, 3, 64, 64) -> (N, 16, 64, 64)
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> (N, 16, 32, 32)
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> (N, 32, 16, 16)
        nn.LocalResponseNorm(5, alpha=0.5, k=2.0),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(32, len(PLANTED)),
    )


def _fit(model: nn.Module, images: Tensor, labels: Tensor, epochs: int, rng: np.random.Generator) -> None:
    steps = epochs * -(-len(images) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    with tqdm(total=steps, desc="training", unit="step", delay=PROGRESS_DELAY, leave=False, disable=None) as bar:
        for _ in range(epochs):
            for chosen in torch.from_numpy(rng.permutation(len(images))).split(BATCH):  # type: ignore[no-untyped-call]
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                bar.update()


def _batch(drawings: list[Drawing], preprocess: Preprocess) -> tuple[Tensor, Tensor]:
    images = torch.stack([preprocess(drawing.picture) for drawing in drawings])
    return images, torch.tensor([drawing.label for drawing in drawings])
