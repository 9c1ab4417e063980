"""What a scan says of whole layers: dead and rarely firing channels, and how strong the channels are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import OptionError
from ..render.palette import BLUE, FAINT, INK, ORANGE, hex_text
from .table import ScanTable, channels_in_state

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINEAR = 10  # channels up to which the height of bars is linear
MOST_ROWS = 250  # layers on a figure, which are 64,000 pixels high at 150 dots per inch
HEADING = ("layer", "channels", "dead", "rare", "fires on (median)", "mean", "maximum (median)", "maximum (largest)")
CHANNEL_HEADING = ("layer", "channel", "state", "fires", "mean", "maximum")


@dataclass(frozen=True, eq=False)
class LayerReport:
    """One layer's channels, C of them.

    Attributes:
        layer: its name.
        channels: C.
        dead: the channels that fired on no picture.
        not_a_number: those whose maximum was NaN on every picture.
        rare: those that fired on a few only.
        fires: (C,) the share of the pictures on which the channel's maximum was above 0, 0..1.
        mean: (C,) of the channel's maxima.
        maximum: (C,) of the channel's maxima; -inf where there is none.
    """

    layer: str
    channels: int
    dead: list[int]
    not_a_number: list[int]
    rare: list[int]
    fires: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain lists and numbers; what is not finite as None."""
        return {
            "layer": self.layer,
            "channels": self.channels,
            "dead": self.dead,
            "not_a_number": self.not_a_number,
            "rare": self.rare,
            "fires": self.fires.tolist(),
            "mean": self.mean.tolist(),
            "maximum": [value if np.isfinite(value) else None for value in self.maximum.tolist()],
        }

    def channel_rows(self) -> list[tuple[object, ...]]:
        """Return a row for each channel, as `CHANNEL_HEADING` names them; a maximum that is not finite as ""."""
        states = {
            **dict.fromkeys(self.dead, "dead"),
            **dict.fromkeys(self.not_a_number, "NaN"),
            **dict.fromkeys(self.rare, "rare"),
        }
        numbers = zip(self.fires.tolist(), self.mean.tolist(), self.maximum.tolist(), strict=True)
        return [
            (self.layer, channel, states.get(channel, ""), fires, mean, maximum if np.isfinite(maximum) else "")
            for channel, (fires, mean, maximum) in enumerate(numbers)
        ]

    def row(self) -> tuple[str, ...]:
        """Return the row of the printed table, below `HEADING`."""
        finite = self.maximum[np.isfinite(self.maximum)]
        strongest = (_number(float(np.median(finite))), _number(float(finite.max()))) if finite.size else ("-", "-")
        dead = f"{len(self.dead)} + {len(self.not_a_number)} NaN" if self.not_a_number else str(len(self.dead))
        counts = (str(self.channels), dead, str(len(self.rare)))
        return (self.layer, *counts, f"{100 * np.median(self.fires):.3g} %", _number(float(self.mean.mean())), *strongest)


def _number(value: float) -> str:
    """Write a number with four significant digits, and large ones without an exponent: "13860", not "1.386e+04"."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"


def layer_report(table: ScanTable, layer: str, rare: float = 0.01) -> LayerReport:
    """Sum a layer up.

    Args:
        table: of the scan.
        layer: a scanned layer.
        rare: a channel is rare if it fires on some pictures, but on a smaller share of them than this, 0..1.

    Raises:
        UnknownLayerError: the layer was not scanned.
        OptionError: `rare` is not a share.
    """
    if not 0 <= rare <= 1:
        raise OptionError(f"rare cannot be {rare:g}: it is a share of the pictures, 0..1.")
    statistics = table.statistics(layer)
    fires = statistics["fired"] / np.maximum(statistics["pictures"], 1)
    rare_channels = np.flatnonzero((fires > 0) & (fires < rare)).tolist()
    silent = channels_in_state(statistics, "dead"), channels_in_state(statistics, "NaN")
    return LayerReport(layer, len(fires), *silent, rare_channels, fires, statistics["mean"], statistics["maximum"])


def plot(table: ScanTable, reports: Sequence[LayerReport]) -> Figure:
    """Draw two histograms for each layer: how often its channels fire, and how strong their mean and largest maxima are.

    Raises:
        OptionError: there are too many layers for one figure.
    """
    from matplotlib.figure import Figure

    if len(reports) > MOST_ROWS:
        raise OptionError(f"a figure of {len(reports)} layers would be too tall: {MOST_ROWS} at most. Choose layers: --layer.")
    figure = Figure(figsize=(10, 0.6 + 1.7 * len(reports)), layout="constrained")
    axes = figure.subplots(len(reports), 2, squeeze=False)
    for (left, right), report in zip(axes, reports, strict=True):
        _plot_fires(left, report)
        _plot_maxima(right, report)
        for histogram in (left, right):
            histogram.spines[["top", "right"]].set_visible(False)
        right.yaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_title("pictures on which a channel fires (%)", fontsize=10)
    axes[0, 1].set_title("a channel's maxima", fontsize=10)
    axes[0, 1].legend(frameon=False, fontsize=8)
    done, _ = table.progress()
    figure.suptitle(
        f"{table.settings['model']}: {done:,} pictures; height: channels, on the left above {LINEAR} by powers of ten",
        fontsize=11,
        parse_math=False,
    )
    return figure


def _plot_fires(axes: Axes, report: LayerReport) -> None:
    axes.hist(100 * report.fires, bins=np.linspace(0, 100, 26).tolist(), color=hex_text(BLUE, 0.3))
    axes.set_yscale("symlog", linthresh=LINEAR)  # six dead channels among a thousand have to be seen
    axes.yaxis.set_major_formatter("{x:.0f}")
    # "$" is a letter of names, too
    axes.set_ylabel(report.layer, rotation=0, ha="right", va="center", labelpad=12, parse_math=False)
    counts = f"{len(report.dead)} dead, {len(report.rare)} rare"
    counts += f", {len(report.not_a_number)} NaN" if report.not_a_number else ""
    axes.text(0.02, 0.9, counts, transform=axes.transAxes, va="top", color=hex_text(FAINT))


def _plot_maxima(axes: Axes, report: LayerReport) -> None:
    strongest = report.maximum[np.isfinite(report.maximum)]
    lowest, highest = min(0.0, report.mean.min(initial=0)), max(float(strongest.max(initial=0)), 1e-12)
    edges = np.linspace(lowest, highest, 41).tolist()
    axes.hist(strongest, bins=edges, color=hex_text(ORANGE), label="strongest")
    axes.hist(report.mean, bins=edges, color=hex_text(INK, 0.3), alpha=0.75, label="mean over the pictures")
