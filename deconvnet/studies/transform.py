"""Pictures moved, enlarged and turned, by numbers that need not be whole pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..choices import BORDERS, BorderName, GridInterpolation, TranslationAxis
from ..errors import check_option
from ..net import DeconvNet
from .fill import fill_colour


@dataclass(frozen=True)
class Transform:
    """How pictures are transformed.

    Attributes:
        axis: along which axis a translation goes.
        interpolation: how pixels are taken from between pixels.
        fill: what comes in at the border: a fill, or "edge", which continues the border.
    """

    axis: TranslationAxis = "vertical"
    interpolation: GridInterpolation = "bilinear"
    fill: BorderName | Sequence[float] = "mean"

    def __call__(self, net: DeconvNet, image: Tensor, kind: str, values: Sequence[float]) -> Tensor:
        """Transform an image to each of several values.

        Args:
            net: the net that sees the image.
            image: (C, H, W), normalised as the net expects it.
            kind: "translation", "scale" or "rotation".
            values: S pixels down or to the right, ratios, or degrees counter-clockwise.

        Returns:
            (S, C, H, W), of the image's type and device.
        """
        origins = torch.cat([self._origins(kind, float(value), *image.shape[1:]) for value in values])
        image, device = image.cpu(), image.device  # in double precision, which not every device has
        if isinstance(self.fill, str):
            check_option("fill", self.fill, BORDERS)
        colour = fill_colour(net, image, "mean" if self.fill == "edge" else self.fill).double()
        moved = F.grid_sample(
            (image.double() - colour).expand(len(values), *image.shape),
            origins,
            mode=self.interpolation,
            padding_mode="border" if self.fill == "edge" else "zeros",
            align_corners=False,
        )
        return (moved + colour).to(device, image.dtype)

    def _origins(self, kind: str, value: float, height: int, width: int) -> Tensor:
        """Return where each pixel of the transform comes from, (1, H, W, 2) as `grid_sample` wants it, in double precision."""
        rows = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
        cols = torch.arange(width, dtype=torch.float64)[None] - (width - 1) / 2
        if kind == "translation":
            rows, cols = (rows - value, cols) if self.axis == "vertical" else (rows, cols - value)
        elif kind == "scale":
            rows, cols = rows / value, cols / value
        else:  # counter-clockwise as seen, with rows that grow downwards
            cosine, sine = np.cos(np.radians(value)), np.sin(np.radians(value))
            rows, cols = cosine * rows + sine * cols, cosine * cols - sine * rows
        across, down = (2 * cols / width).expand(height, width), (2 * rows / height).expand(height, width)
        return torch.stack([across, down], 2)[None]
