"""What `evolve` finds, and its figure: the paper's Figure 4, a row for each checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..render import apply_tone
from ..render.palette import ORANGE, hex_text
from ..results import PIXELS, Result, json_key
from .arrays import Floats, Integers
from .figure import add_footer, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARK = hex_text(ORANGE)  # where another picture takes over
TILE_SIDE = 0.85  # inches


@dataclass(frozen=True, eq=False)
class LayerEvolution:
    """K channels of one layer at E checkpoints, each shown by its strongest unit over all pictures.

    Attributes:
        layer: the layer's name.
        channels: (K,): the channels' numbers.
        activations: (E, K): the activations of the strongest units.
        images: (E, K): the numbers of the pictures in which they are.
        rows: (E, K): their rows in the map.
        cols: (E, K): their columns in the map.
        windows: (E, K, 4): top, left, height, width of what is drawn, all of one size.
        crops: (E, K, C, h, w), signed: the projections there.
    """

    layer: str
    channels: Integers
    activations: Floats
    images: Integers
    rows: Integers
    cols: Integers
    windows: Integers
    crops: Floats = field(metadata=PIXELS)


@dataclass(frozen=True, eq=False)
class Evolution(Result):
    """Channels at a series of E checkpoints.

    Attributes:
        names: (E,): the checkpoints' epochs where the files' names contain them, otherwise the files' names.
        weights: (E,): the files' SHA-256.
        layers: each layer's channels (in files: blocks).
        settings: all that is needed to run the study again.
    """

    names: tuple[str, ...]
    weights: tuple[str, ...]
    layers: tuple[LayerEvolution, ...] = field(metadata=json_key("blocks"))
    settings: dict[str, Any]

    def plot(self, *, tone: Tone = "soft") -> Figure:
        """Draw a block for each layer, a column for each channel, a row for each checkpoint.

        A line marks where another picture has become the strongest.

        Args:
            tone: how the signed values of projections become pixels.
        """
        counts = [len(layer.channels) for layer in self.layers]
        width = max(5.0, TILE_SIDE * sum(counts) + 0.35 * len(counts) + 0.6)
        figure = new_figure(width, TILE_SIDE * len(self.names) + 1.2)
        panels = figure.subplots(1, len(counts), squeeze=False, gridspec_kw={"width_ratios": counts})[0]
        for axes, layer in zip(panels, self.layers, strict=True):
            _draw_layer(axes, layer, tone)
        panels[0].set_yticks(np.arange(len(self.names)) + 0.5, self.names, fontsize=8)
        counted_in = self.settings.get("counted_in", "epoch")
        panels[0].set_ylabel(counted_in if all(name.isdigit() for name in self.names) else "checkpoint", fontsize=9)
        notes = f"strongest of {self.settings['pictures']} pictures", "orange: another picture than in the row above"
        add_footer(figure, self.settings, *notes)
        return figure


def _draw_layer(axes: Axes, layer: LayerEvolution, tone: Tone) -> None:
    """Draw one layer's tiles, and mark where another picture takes over."""
    epochs, count = layer.activations.shape
    tiles = apply_tone([crop for row in layer.crops for crop in row], tone)
    for index, tile in enumerate(tiles):
        row, col = divmod(index, count)
        axes.imshow(tile, extent=(col + 0.03, col + 0.97, row + 0.97, row + 0.03), interpolation="nearest")
        if row and layer.images[row, col] != layer.images[row - 1, col]:
            axes.plot([col + 0.03, col + 0.97], [row, row], color=MARK, linewidth=2, solid_capstyle="butt")
    height, width = layer.crops.shape[-2:]
    axes.set(xlim=(0, count), ylim=(epochs, -0.03), aspect=height / width, yticks=[], frame_on=False)
    axes.set_xticks(np.arange(count) + 0.5, [str(channel) for channel in layer.channels], fontsize=7)
    axes.tick_params(length=0)
    axes.set_title(f"{layer.layer}\n{height}x{width} px", fontsize=8)
