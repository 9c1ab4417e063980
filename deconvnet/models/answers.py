"""Reading what a model returned: a detector's boxes, a segmenter's classes of pixels. What fits neither is left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..images import FoundObject, Segments

LEAST_SCORE = 0.5  # of the objects that are named
MOST_OBJECTS = 6  # that are named, those with the highest scores
BOXES = ("boxes", "labels", "scores")  # what torchvision's detectors return of an image

#: Returns the name of a class, given its number.
ClassName = Callable[[int], str]


def found_objects(output: Any, image: int, frame: tuple[int, int], class_name: ClassName) -> tuple[FoundObject, ...] | None:
    """Return the objects that a detector found in one image of a batch, those with the highest scores.

    Two forms are known: torchvision's, a list of a dict for each image with `boxes` (left, top, right, bottom in pixels),
    `labels` and `scores`; and DETR's, a mapping with `pred_boxes` (centre, width and height as shares of the frame) and
    `logits`, whose last class is "no object".

    Args:
        output: what the model returned.
        image: the image's number in the batch.
        frame: (H, W) of the images.
        class_name: names a class.

    Returns:
        At most `MOST_OBJECTS` objects with at least `LEAST_SCORE`; None where the output is no detector's.
    """
    if isinstance(output, Mapping) and {"pred_boxes", "logits"} <= set(output):
        boxes, labels, scores = _of_queries(output["pred_boxes"][image], output["logits"][image], frame)
    elif _is_list_of_boxes(output, image):
        boxes, labels, scores = (output[image][key] for key in BOXES)
    else:
        return None
    order = scores.detach().argsort(descending=True, stable=True)[:MOST_OBJECTS].tolist()
    return tuple(
        FoundObject(class_name(int(labels[at])), float(scores[at]), _top_first(boxes[at]))
        for at in order
        if float(scores[at]) >= LEAST_SCORE
    )


def found_segments(output: Any, image: int, frame: tuple[int, int], class_name: ClassName, classes: int) -> Segments | None:
    """Return the most probable class of each pixel of one image of a batch.

    Known are mappings with "out" or "logits" of (N, K, h, w), as torchvision's and Transformers' segmenters return them; and a
    plain (N, K, H, W) as large as the image, if the model is known to have K classes: a net that returns pictures has the
    same form.

    Args:
        output: what the model returned.
        image: the image's number in the batch.
        frame: (H, W) of the images.
        class_name: names a class.
        classes: how many classes have names; 0: not known.

    Returns:
        Labels (h, w) and names; None where the output is no segmenter's.
    """
    if isinstance(output, Mapping):
        scores = output.get("out", output.get("logits"))
    else:
        known = isinstance(output, Tensor) and output.dim() == 4 and output.shape[1] == classes
        scores = output if known and tuple(output.shape[2:]) == frame else None
    if not isinstance(scores, Tensor) or scores.dim() != 4 or scores.shape[1] < 2:
        return None
    labels = scores[image].detach().argmax(0).cpu().numpy()
    segments = Segments(labels)
    return Segments(labels, {number: class_name(number) for number, _ in segments.shares()})


def _is_list_of_boxes(output: Any, image: int) -> bool:
    if not isinstance(output, Sequence) or isinstance(output, (str, bytes)) or len(output) <= image:
        return False
    detections = output[image]
    return isinstance(detections, Mapping) and all(isinstance(detections.get(key), Tensor) for key in BOXES)


def _of_queries(boxes: Tensor, logits: Tensor, frame: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return DETR's boxes in pixels, its classes, and their probabilities."""
    scores, labels = logits.detach().softmax(1)[:, :-1].max(1)
    centre, half = boxes.detach()[:, :2], boxes.detach()[:, 2:] / 2
    shares = boxes.new_tensor([frame[1], frame[0]])
    return torch.cat([(centre - half) * shares, (centre + half) * shares], 1), labels, scores


def _top_first(box: Tensor) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in box.detach())
    return top, left, bottom, right
