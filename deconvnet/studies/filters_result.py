"""What `filters` measures, and its figure: filters, their RMS and frequencies, second-layer projections, their spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..choices import Tone
from ..images import to_rgb
from ..render import apply_tone
from ..render.palette import BLUE, VERMILION, hex_text
from ..render.table import table_text
from ..results import PIXELS, Result
from .arrays import Floats, Integers, Pixels
from .figure import add_footer, new_figure, open_axes
from .statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAP = 0.1  # Zeiler & Fergus 2014, 3: the RMS to which a larger filter is scaled back while training
MARK = hex_text(VERMILION)
BAND_COLOURS = (hex_text(BLUE, 0.75), hex_text(BLUE, 0.4), hex_text(BLUE))


@dataclass(frozen=True, eq=False)
class Filters(Result):
    """F first-layer filters of k x k pixels in C channels, and the projections of M second-layer units.

    Attributes:
        layer: the first layer.
        second: the second layer.
        stride: of the first layer, in rows and columns of pixels.
        rms: (F,): the filters' root mean squares, in the net's units.
        dominance: the largest RMS over the median.
        over_cap: the numbers of the filters whose RMS exceeds the paper's 0.1.
        faint: the numbers of the filters whose RMS is below a tenth of the median.
        silent: the numbers of the filters that fire nowhere on the pictures.
        shares: (F, 3): the shares, 0..1, of a filter's energy in low, middle and high frequencies.
        bands: where low frequencies end and where high ones begin, in cycles per pixel.
        noise_shares: (3,): the same shares of white noise.
        units: (M,): the second layer's strongest channels, each at its strongest position.
        windows: (M, 4): top, left, height, width of the units' windows.
        grid: (M,): the share of a projection's energy around 1/stride and its harmonics.
        patch_grid: (M,): the same of the picture's own pixels in that window.
        grid_mean: the mean of `grid` over pictures.
        patch_grid_mean: the mean of `patch_grid` over pictures.
        flat_grid: the same of white noise.
        filters: (F, C, k, k): the filters.
        projections: (M, C, h, w), signed: the units' projections.
        patches: (M, h, w, C), 0..255: what the net saw there.
        spectrum: (64, 64): the mean spectrum of the projections, frequency zero in the middle.
        settings: all that is needed to run the study again.
    """

    layer: str
    second: str
    stride: tuple[int, int]
    rms: Floats
    dominance: float
    over_cap: Integers
    faint: Integers
    silent: Integers
    shares: Floats
    bands: tuple[float, float]
    noise_shares: Floats
    units: tuple[str, ...]
    windows: Integers
    grid: Floats
    patch_grid: Floats
    grid_mean: Estimate
    patch_grid_mean: Estimate
    flat_grid: float
    filters: Floats = field(metadata=PIXELS)
    projections: Floats = field(metadata=PIXELS)
    patches: Pixels = field(metadata=PIXELS)
    spectrum: Floats = field(metadata=PIXELS)
    settings: dict[str, Any]

    def table(self) -> str:
        """Return the shares of the energy over those of white noise, and the grid's with its 95 % interval, as text."""
        means = self.shares.mean(0)
        rows = [("energy", "share", "of white noise", "over white noise")]
        for name, share, noise in zip(_band_names(self.bands), means, self.noise_shares, strict=True):
            rows.append((f"filters, {name}", f"{share:.1%}", f"{noise:.1%}", f"{share / noise:.2f}"))
        for name, estimate in (("projections", self.grid_mean), ("patches", self.patch_grid_mean)):
            over = f"{estimate.mean / self.flat_grid:.2f}" if self.flat_grid else "-"
            rows.append((f"{name}, at the grid", estimate.text(".1%"), f"{self.flat_grid:.1%}", over))
        return table_text(rows)

    def plot(self, *, tone: Tone = "symmetric") -> Figure:
        """Draw the filters as the paper's Figure 6 does, beside what was measured.

        Args:
            tone: how the signed values of filters and projections become pixels.
        """
        figure = new_figure(11.4, 7.2)
        above, below = figure.subfigures(2, 1, height_ratios=[1, 1])  # type: ignore[misc]
        mosaic, rms, bands = above.subplots(1, 3, width_ratios=[3, 3.4, 3.4])
        _draw_mosaic(mosaic, apply_tone(list(self.filters), tone))
        mosaic.set_title(f"{len(self.filters)} filters of {self.layer}, each on its own scale", fontsize=8)
        _draw_rms(rms, self)
        _draw_bands(bands, self)
        projections, patches, spectrum = below.subplots(1, 3, width_ratios=[3.2, 3.2, 3.4])
        _draw_mosaic(projections, apply_tone(list(self.projections), tone))
        projections.set_title(f"projections of {len(self.units)} units of {self.second}", fontsize=8)
        _draw_mosaic(patches, [to_rgb(patch) for patch in self.patches])
        patches.set_title("what the net saw there", fontsize=8)
        _draw_spectrum(spectrum, self)
        dead = f"{len(self.faint)} faint, {len(self.silent)} silent on {len(self.settings['pictures'])} pictures"
        add_footer(figure, self.settings, dead, f"largest RMS {self.dominance:.1f} times the median")
        return figure


def _draw_mosaic(axes: Axes, tiles: Sequence[Pixels]) -> None:
    """Lay tiles of one size out in a block that is nearly square, white between them."""
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width = (side + 1 + side // 20 for side in tiles[0].shape[:2])
    mosaic = np.full((-(-len(tiles) // columns) * height, columns * width, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        mosaic[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    axes.imshow(mosaic, interpolation="nearest")
    axes.set_axis_off()


def _draw_rms(axes: Axes, result: Filters) -> None:
    ordered = np.sort(result.rms)[::-1]
    axes.plot(range(1, len(ordered) + 1), ordered, ".-", color=hex_text(BLUE), markersize=4, linewidth=0.8)
    axes.axhline(float(np.median(ordered)), color="0.5", linewidth=0.8, linestyle="--", label="median")
    if CAP / 3 < ordered[0] < 10 * CAP:  # else the net's pixels are on another scale than the paper's
        axes.axhline(CAP, color=MARK, linewidth=0.8, label=f"the paper's cap {CAP}: {len(result.over_cap)} above")
    axes.set_ylim(0, None)
    axes.legend(fontsize=7, frameon=False)
    axes.set_title("RMS of each filter, sorted", fontsize=8)
    _label_axes(axes, "filter, strongest first", "")


def _draw_bands(axes: Axes, result: Filters) -> None:
    order = np.argsort(result.shares @ np.arange(3), kind="stable")
    bottom = np.zeros(len(order))
    for band, (name, colour) in enumerate(zip(_band_names(result.bands), BAND_COLOURS, strict=True)):
        shares = result.shares[order, band]
        label = f"{name}: {shares.mean():.0%}, {shares.mean() / result.noise_shares[band]:.1f} times white noise's"
        axes.bar(range(1, len(order) + 1), shares, 1.0, bottom=bottom, color=colour, label=label)
        bottom = bottom + shares
    axes.set(ylim=(0, 1), xlim=(0.5, len(order) + 0.5))
    axes.set_title("energy at low, middle and high frequencies", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    _label_axes(axes, "filter, lowest frequencies first", "share of energy")


def _band_names(bands: tuple[float, float]) -> tuple[str, str, str]:
    low, high = bands
    return f"below {low:g}", f"{low:g} to {high:g}", f"above {high:g} cycles a pixel"


def _draw_spectrum(axes: Axes, result: Filters) -> None:
    """Show the mean spectrum of the projections, with the squares that `measure_grid` counts."""
    from matplotlib.patches import Rectangle

    values = np.log10(np.maximum(result.spectrum, result.spectrum.max() * 1e-4))
    axes.imshow(values, extent=(-0.5, 0.5, 0.5, -0.5), cmap="Greys_r", interpolation="nearest")
    down, across = result.stride
    for row in range(-(down // 2), down // 2 + 1):
        for col in range(-(across // 2), across // 2 + 1):
            if row or col:
                corner = (col / across - 1 / (8 * across), row / down - 1 / (8 * down))
                axes.add_patch(Rectangle(corner, 0.25 / across, 0.25 / down, fill=False, edgecolor=MARK, linewidth=1))
    axes.set(xlim=(-0.5, 0.5), ylim=(0.5, -0.5))
    title = (
        f"spectrum of the projections; energy in the squares (stride {down}):",
        f"projections {result.grid_mean.text('.1%')}, patches {result.patch_grid_mean.text('.1%')},",
        f"white noise {result.flat_grid:.1%}",
    )
    axes.set_title("\n".join(title), fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("cycles per pixel", fontsize=7)


def _label_axes(axes: Axes, across: str, up: str) -> None:
    axes.tick_params(labelsize=7)
    axes.set_xlabel(across, fontsize=7)
    axes.set_ylabel(up, fontsize=7)
    open_axes(axes)
