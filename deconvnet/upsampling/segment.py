"""Does it matter how a net unpools? Small nets that label the parts of drawings, and differ in nothing but their unpooling.

They have the same parameters, start from the same weights and see the same drawings in the same order, so that any difference
in the end comes from the unpooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from ..choices import UNPOOLINGS, Unpooling
from ..errors import OptionError, check_option
from ..progress import counting
from .iou import boundary_iou, iou
from .part_labels import LABELS, draw_labelled
from .segmentation import SegmentationComparison
from .segmenter import BATCH, LEARNING_RATE, predict_labels, train

TRAINING_SEEDS, TEST_SEEDS = 20_000_000, 30_000_000  # of drawings: far from the small ones that people use, and from each other
SMALLEST_SIZE = 16  # pixels


def run(
    *,
    unpoolings: Sequence[Unpooling] = UNPOOLINGS,
    seeds: Sequence[int] = (0,),
    steps: int = 400,
    drawings: int = 1024,
    test_drawings: int = 140,
    size: int = 64,
    device: str | torch.device = "cpu",
    shown: int = 5,
) -> SegmentationComparison:
    """Train a net for each unpooling and seed on the same drawings, and compare its labels with the truth.

    With the defaults three nets train for about a minute on two cores; three times the steps are worth the wait. The same call
    gives the same result on one machine.

    Args:
        unpoolings: "switch", "fixed" and "nearest", or some of them.
        seeds: of the first weights and of the order of the drawings.
        steps: batches of 8 drawings in a training.
        drawings: how many different ones to train on.
        test_drawings: how many fresh ones to measure on.
        size: the side of the drawings, in pixels.
        device: where to compute.
        shown: how many test drawings, every third one, are kept for the figure.

    Returns:
        The measures of each unpooling and seed, and labelled drawings.

    Raises:
        OptionError: there is nothing to train or to compare, or there is no such unpooling.
    """
    check_settings(unpoolings, seeds, steps, min(drawings, test_drawings), size)
    training = _draw(TRAINING_SEEDS, drawings, size, device)
    pictures, truth = _draw(TEST_SEEDS, test_drawings, size, device)
    predictions, losses = [], []
    with counting(len(unpoolings) * len(seeds) * steps, "training", "step") as counter:
        for unpooling, seed in product(unpoolings, seeds):
            model, course = train(unpooling, *training, seed=seed, steps=steps, on_progress=counter.update)
            predictions.append(predict_labels(model, pictures))
            losses.append(course)
    areas = torch.stack([iou(predicted, truth, len(LABELS)) for predicted in predictions])
    borders = torch.stack([boundary_iou(predicted, truth, len(LABELS)) for predicted in predictions])
    grid = (len(unpoolings), len(seeds), -1)
    return SegmentationComparison(
        unpoolings=tuple(unpoolings),
        seeds=tuple(seeds),
        labels=LABELS,
        iou=areas.view(grid).cpu().numpy(),
        boundary=borders.view(grid).cpu().numpy(),
        losses=np.array(losses).reshape(grid),
        pictures=np.rint(255 * pictures[::3][:shown].permute(0, 2, 3, 1).cpu().numpy()).astype(np.uint8),
        truth=truth[::3][:shown].cpu().numpy(),
        answers=torch.stack(predictions[:: len(seeds)])[:, ::3][:, :shown].cpu().numpy(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        settings={
            "ways": list(unpoolings),
            "seeds": list(seeds),
            "drawings": drawings,
            "test_drawings": test_drawings,
            "size": size,
            "batch": BATCH,
            "rate": LEARNING_RATE,
            "steps": steps,
        },
    )


def check_settings(unpoolings: Sequence[str], seeds: Sequence[int], steps: int, drawings: int, size: int) -> None:
    """Raise `OptionError`, before anything is drawn, if there is nothing to train or to compare."""
    for unpooling in unpoolings:
        check_option("unpooling", unpooling, UNPOOLINGS)
    if not unpoolings or not seeds or len(set(unpoolings)) < len(unpoolings) or len(set(seeds)) < len(seeds):
        raise OptionError(
            f"cannot compare unpoolings {list(unpoolings)} with seeds {list(seeds)}. Give at least one of each, none twice."
        )
    if steps < 1 or drawings < BATCH or size < SMALLEST_SIZE:
        raise OptionError(
            f"cannot train {steps} steps on {drawings} drawings of {size} pixels. "
            f"Give at least one step, {BATCH} drawings and {SMALLEST_SIZE} pixels."
        )


def _draw(first: int, count: int, size: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Draw `count` labelled scenes on the device."""
    pictures, labels = draw_labelled(range(first, first + count), size)
    return pictures.to(device).contiguous(memory_format=torch.channels_last), labels.to(device)
