"""The pictures of an atlas: for each channel a sheet of tiles, projections left and patches right; and what the net saw.

All sheets of an atlas have one layout, so that a page can show a half, or a tile, of one by styles alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..choices import Tone
from ..render.example import draw_examples

if TYPE_CHECKING:
    from ..scanning.plates import PlateExample

SLIT = 2  # between tiles, as on plates
MIDDLE = 10  # between projections and patches
QUALITY = 60  # of WebP: projections are noise to it, and take three quarters of an atlas
PHOTO_QUALITY = 80


@dataclass(frozen=True)
class Layout:
    """Where tiles of `tile` pixels stand on a sheet of the `top` strongest."""

    tile: int
    top: int

    @property
    def across(self) -> int:
        """Tiles in a row of a half, and rows."""
        return max(1, math.ceil(math.sqrt(self.top)))

    @property
    def half(self) -> int:
        """The side of a half in pixels."""
        return self.across * (self.tile + SLIT) - SLIT

    @property
    def width(self) -> int:
        """The width of a sheet in pixels; its height is `half`."""
        return 2 * self.half + MIDDLE

    def place(self, rank: int) -> tuple[int, int]:
        """Return left and top of a projection; its patch lies `half + MIDDLE` to the right. Ranks begin with 1."""
        row, col = divmod(rank - 1, self.across)
        return col * (self.tile + SLIT), row * (self.tile + SLIT)


def draw_sheet(shown: Sequence[PlateExample], layout: Layout, tone: Tone) -> Image.Image:
    """Draw a channel's examples at their places, RGBA; what lies between tiles is clear, as is the place of a missing one."""
    sheet = Image.new("RGBA", (layout.width, layout.half))
    drawn = draw_examples([one.example for one in shown], layout.tile, tone=tone)
    for one, tiles in zip(shown, drawn, strict=True):
        left, top = layout.place(one.hit.rank)
        for at, tile in ((left, tiles.projection), (left + layout.half + MIDDLE, tiles.patch)):
            height, width = tile.shape[:2]
            sheet.paste(Image.fromarray(tile), (at + (layout.tile - width) // 2, top + (layout.tile - height) // 2))
    return sheet


def as_webp(picture: Image.Image | npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return a picture as WebP; the same pixels give the same bytes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
