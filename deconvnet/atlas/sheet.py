"""The sheets of an atlas: for each channel its tiles, projections left and patches right.

All sheets of an atlas have one layout, so that a page can show half a sheet, or one tile of it, by styles alone.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..choices import Tone
from ..render.example import draw_examples
from ..scanning.examples import PlateExample

SLIT = 2  # pixels between tiles, as on plates
MIDDLE = 10  # pixels between projections and patches
SHEET_QUALITY = 60  # of WebP: projections compress badly, and take three quarters of an atlas
PHOTO_QUALITY = 80


@dataclass(frozen=True)
class SheetLayout:
    """Where the tiles of a channel are on its sheet.

    Attributes:
        tile: pixels of a tile's longer side.
        top: how many projections there are, and patches.
    """

    tile: int
    top: int

    @property
    def across(self) -> int:
        """Tiles in a row of each half, and rows."""
        return max(1, math.ceil(math.sqrt(self.top)))

    @property
    def half(self) -> int:
        """The side of a half in pixels."""
        return self.across * (self.tile + SLIT) - SLIT

    @property
    def width(self) -> int:
        """The width of a sheet in pixels; its height is `half`."""
        return 2 * self.half + MIDDLE

    def corner(self, rank: int) -> tuple[int, int]:
        """Return left and top of the projection of a rank, 1 or more; its patch is `half + MIDDLE` to the right."""
        row, col = divmod(rank - 1, self.across)
        return col * (self.tile + SLIT), row * (self.tile + SLIT)


def draw_tile_sheet(examples: Sequence[PlateExample], layout: SheetLayout, tone: Tone) -> Image.Image:
    """Draw a channel's examples where their ranks belong, RGBA; the rest is clear, as are the tiles of missing ranks."""
    sheet = Image.new("RGBA", (layout.width, layout.half))
    drawn = draw_examples([example.example for example in examples], layout.tile, tone=tone)
    for example, tiles in zip(examples, drawn, strict=True):
        left, top = layout.corner(example.hit.rank)
        for column, tile in ((left, tiles.projection), (left + layout.half + MIDDLE, tiles.patch)):
            height, width = tile.shape[:2]
            sheet.paste(Image.fromarray(tile), (column + (layout.tile - width) // 2, top + (layout.tile - height) // 2))
    return sheet


def encode_webp(picture: Image.Image | npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return a picture as WebP; the same pixels give the same bytes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
