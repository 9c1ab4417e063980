"""One layer's channels at one step of a training, as a strip of tiles."""

from __future__ import annotations

from ..choices import Tone
from ..render.page import Box, text_line, vstack
from ..render.palette import FAINT
from ..render.text import BODY, HEADING, size_text, text_width
from ..render.tile import Tile, tile_rows
from ..render.tone import apply_tone
from ..studies.evolve_result import LayerEvolution

SIDE = 120  # of a tile
COLUMNS = 12  # tiles in a row


def layer_strip(layer: LayerEvolution, tone: Tone) -> Box:
    """Return a layer's heading over a tile for each channel, with the channel, its unit's position and its activation.

    Args:
        layer: a layer at one step.
        tone: how signed values become pixels.
    """
    crops = list(layer.crops[0])
    tiles = [
        Tile(crop, label=str(channel), activation=float(activation), row=int(row), col=int(col))
        for crop, channel, activation, row, col in zip(
            crops, layer.channels, layer.activations[0], layer.rows[0], layer.cols[0], strict=True
        )
    ]
    rows = tile_rows(tiles, apply_tone(crops, tone), [None] * len(tiles), COLUMNS, SIDE)
    note = f"{size_text(layer.crops.shape[-2:])} pixels, 95 % of the energy"
    width = max(rows.width, text_width(note, BODY))
    return vstack([text_line(layer.layer, HEADING, width), text_line(note, BODY, width, ink=FAINT), rows], gap=4)
