"""Which of a layer's channels are worth showing: those that few pictures excite, and those strongly.

A channel's *strength* is the mean activation of its top pictures. Its *selectivity* is (s - m) / (s + m), with s its strength
and m the mean of its maxima over all pictures: 0 for a channel that every picture excites alike, 1 for one that only its top
pictures excite (the index of Morcos et al. 2018, with the top pictures in place of a class).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..choices import TABLE_SORTS, TableSort
from ..errors import OptionError, check_option
from .table import ScanTable

FAINT = 0.5  # of the layer's median strength: a channel that is weaker is not among the best


def strengths(table: ScanTable, layer: str) -> npt.NDArray[np.float64]:
    """Return the mean activation of each channel's top pictures, (C,), 0 where there is none above 0."""
    table.size(layer)
    means = np.zeros(table.size(layer)[0])
    query = "select channel, avg(activation) from hits where layer = ? group by channel"
    for channel, mean in table.store.rows(query, (layer,)):
        means[channel] = mean if np.isfinite(mean) else 0
    return np.maximum(means, 0)


def selectivities(table: ScanTable, layer: str) -> npt.NDArray[np.float64]:
    """Return each channel's selectivity, (C,), 0..1; 0 for a channel that never fired."""
    strength = strengths(table, layer)
    mean = np.clip(np.nan_to_num(table.statistics(layer)["mean"], neginf=0), 0, strength)
    return np.divide(strength - mean, strength + mean, out=np.zeros_like(strength), where=strength > 0)


def sort_channels(table: ScanTable, layer: str, by: TableSort = "selectivity") -> list[int]:
    """Return all channels of a layer, the best first, among equals by number.

    Raises:
        UnknownLayerError: the layer was not scanned.
        OptionError: there is no such order.
    """
    check_option("sort", by, TABLE_SORTS)
    values = strengths(table, layer) if by == "strength" else selectivities(table, layer)
    return np.argsort(-values, kind="stable").tolist()


def best_channels(table: ScanTable, layer: str, count: int, by: TableSort = "selectivity") -> list[int]:
    """Return the channels that are worth showing, the best first: neither dead, nor faint, with all their top pictures.

    Args:
        table: of the scan.
        layer: a scanned layer.
        count: how many, 1 or more; there may be fewer.
        by: their order.

    Raises:
        UnknownLayerError: the layer was not scanned.
        OptionError: `count` is below 1, or there is no such order.
    """
    if count < 1:
        raise OptionError(f"best cannot be {count}: it is how many channels to choose, 1 or more.")
    strength = strengths(table, layer)
    enough = min(table.settings["top"], table.progress()[0])
    alive = table.statistics(layer)["fired"] >= enough
    faint = FAINT * np.median(strength[strength > 0]) if (strength > 0).any() else 0
    return [channel for channel in sort_channels(table, layer, by) if alive[channel] and strength[channel] >= faint][:count]
