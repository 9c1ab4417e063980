"""What a scan says of a whole layer: dead and rarely firing channels, and how strong its channels are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .table import Scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class LayerReport:
    """One layer: `fires` is the share of the pictures on which a channel's maximum was above 0, (C,), 0..1.

    `mean` and `maximum` (C,) are of the pictures' maxima; `dead` and `rare` are channel numbers.
    """

    layer: str
    channels: int
    dead: list[int]
    rare: list[int]
    fires: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain lists and numbers; what is not finite as None."""
        plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in _fields(self).items()}
        return {**plain, "maximum": [value if np.isfinite(value) else None for value in self.maximum.tolist()]}

    def cells(self) -> tuple[str, ...]:
        """Return the row of the printed table."""
        finite = self.maximum[np.isfinite(self.maximum)]
        strongest = (f"{np.median(finite):.4g}", f"{finite.max():.4g}") if finite.size else ("-", "-")
        counts = (str(self.channels), str(len(self.dead)), str(len(self.rare)))
        return (self.layer, *counts, f"{100 * np.median(self.fires):.3g} %", f"{self.mean.mean():.4g}", *strongest)


def layer_report(scan: Scan, layer: str, rare: float = 0.01) -> LayerReport:
    """Sum a layer up; a channel is rare where it fires on some pictures, but on a smaller share than `rare`."""
    counted = scan.statistics(layer)
    fires = counted["fired"] / np.maximum(counted["pictures"], 1)
    seldom = np.flatnonzero((fires > 0) & (fires < rare)).tolist()
    return LayerReport(layer, len(fires), scan.dead(layer), seldom, fires, counted["mean"], counted["maximum"])


def plot(scan: Scan, rows: Sequence[LayerReport]) -> Figure:
    """Draw for each layer how often its channels stop, and how strong their mean and their strongest maxima are."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.6 + 1.7 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (often, strong), row in zip(axes, rows, strict=True):
        often.hist(100 * row.fires, bins=np.linspace(0, 100, 26).tolist(), color="#4a78b5")
        often.set_ylabel(row.layer, rotation=0, ha="right", va="center")
        often.text(
            0.02, 0.9, f"{len(row.dead)} dead, {len(row.rare)} rare", transform=often.transAxes, va="top", color="#444444"
        )
        strongest = row.maximum[np.isfinite(row.maximum)]
        edges = np.linspace(min(0.0, row.mean.min(initial=0)), max(float(strongest.max(initial=0)), 1e-12), 41).tolist()
        strong.hist(strongest, bins=edges, color="#d9a441", label="strongest")
        strong.hist(row.mean, bins=edges, color="#5f5f5f", alpha=0.75, label="mean over the pictures")
        for one in (often, strong):
            one.spines[["top", "right"]].set_visible(False)
            one.yaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_title("pictures on which a channel fires (%)", fontsize=10)
    axes[0, 1].set_title("a channel's maxima", fontsize=10)
    axes[0, 1].legend(frameon=False, fontsize=8)
    done, _ = scan.progress()
    figure.suptitle(f"{scan.settings['model']}: {done:,} pictures; height: channels", fontsize=11)
    return figure


def _fields(row: LayerReport) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
