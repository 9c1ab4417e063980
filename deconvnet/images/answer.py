"""What a net says of an image in its own terms, beside classes: the objects that it found, or a class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FoundObject:
    """An object that a detector found.

    Attributes:
        name: of its class.
        score: 0..1, as the net gives it.
        box: (top, left, bottom, right) in pixels of the image, not rounded; the last two are beyond the object.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Segments:
    """A segmenter's class of each pixel.

    Attributes:
        labels: (h, w), the number of the class; of the image, or of a grid over it.
        names: of the classes that occur, by number.
    """

    labels: npt.NDArray[np.int64]
    names: Mapping[int, str] = field(default_factory=dict)

    def shares(self) -> list[tuple[int, float]]:
        """Return the number of each class that occurs, and the share of pixels that has it, 0..1, the largest first."""
        numbers, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return [(int(numbers[at]), float(counts[at]) / self.labels.size) for at in order]
