"""What is wrong with a first layer? Figure 6 of Zeiler & Fergus 2014, in numbers.

The paper looks at first-layer filters for four things, each measured here:

- one filter that dominates: its RMS over the median one. They cap each filter's RMS at 0.1, in the net's own units, where
  their pixels are 0..255 less the mean; a net with other pixels has other units, so the ratio is what compares;
- dead filters: `faint`, with an RMS below a tenth of the median, and `silent`, which fire nowhere on the pictures;
- "little coverage of the mid frequencies": how each filter's energy is shared among low, middle and high frequencies;
- aliasing from a large stride, which second-layer projections show as a grid (`measure_grid`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..choices import Tone
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..net import DeconvNet
from ..projection import rectified_values
from ..recording import Recording
from ..tape import Call, Tape
from ..units import Unit, Window
from .forward import net_maps
from .result import PIXELS, cut_window, first_layer, settings_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = npt.NDArray[Any]

CAP = 0.1  # Zeiler & Fergus 2014, 3: the RMS to which a larger filter is scaled back while training
FAINT = 0.1  # of the median RMS
FINE = 64  # samples of a filter's spectrum, each way: zeros are padded to that
DRAWINGS = 12  # where no picture is given


@dataclass(frozen=True)
class Filters:
    """F first-layer filters of k x k pixels in C channels, and the projections of M second-layer units."""

    layer: str
    second: str
    stride: tuple[int, int]  # of the first layer
    rms: Values  # (F,), in the net's units
    dominance: float  # the largest RMS over the median
    over_cap: Values  # numbers of the filters whose RMS exceeds the paper's 0.1
    faint: Values  # numbers of the filters below a tenth of the median
    silent: Values  # numbers of the filters that fire nowhere on the pictures
    shares: Values  # (F, 3): of a filter's energy in low, middle and high frequencies
    bands: tuple[float, float]  # cycles per pixel: where low ends and where high begins
    units: tuple[str, ...]  # M of the second layer: the strongest channels, each where it is strongest
    windows: Values  # (M, 4): top, left, height, width
    grid: Values  # (M,): the share of a projection's energy around 1/stride and its harmonics
    patch_grid: Values  # (M,): the same of the picture's own pixels in that window
    flat_grid: float  # the same of noise
    filters: Values = field(metadata=PIXELS)  # (F, C, k, k)
    projections: Values = field(metadata=PIXELS)  # (M, C, h, w)
    patches: Values = field(metadata=PIXELS)  # (M, h, w, 3 or 1), what the net saw
    spectrum: Values = field(metadata=PIXELS)  # (FINE, FINE): the mean spectrum of the projections, zero in the middle
    settings: dict[str, Any] = field(default_factory=dict)


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    second: str | None = None,
    top: int = 16,
    bands: tuple[float, float] = (1 / 8, 1 / 4),
) -> Filters:
    """Measure a net's first-layer filters, and the projections of the `top` strongest units of its second layer.

    Without pictures, twelve bundled drawings. `second` names the second layer; by default what the second convolution's
    rectifier returns. `bands`, in cycles per pixel: low frequencies end at the first, high ones begin at the second.
    """
    if not 0 < bands[0] < bands[1] < 0.5:
        raise OptionError(f"bands cannot be {bands}: two rising numbers of cycles per pixel, above 0 and below 0.5.")
    pictures = [draw(seed=seed) for seed in range(DRAWINGS)] if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    first = first_convolution(recording.tape)
    weight = first.kept.weight.detach().float().cpu().numpy()
    second, maps = net_maps(recording, second or second_layer(recording))
    units = strongest_units(maps, second, top)
    projected = net.project(recording, second, units=units)
    crops = np.stack([crop.float().numpy() for crop in projected.crops()])
    seen = [np.moveaxis(net.loaded.denormalise(image, net.preprocess), -1, 0) for image in recording.images]
    patches = [cut_window(seen[unit.image], window, 127) for unit, window in zip(units, projected.windows, strict=True)]
    inside = [window.clip(*recording.images.shape[2:]) for window in projected.windows]
    rms = np.sqrt(np.square(weight).mean((1, 2, 3)))
    return Filters(
        layer=first.layer,
        second=second,
        stride=first.kept.stride,
        rms=rms,
        dominance=float(rms.max() / np.median(rms)),
        over_cap=np.flatnonzero(rms > CAP),
        faint=np.flatnonzero(rms < FAINT * np.median(rms)),
        silent=silent_channels(recording),
        shares=np.stack([band_shares(one, bands) for one in weight]),
        bands=bands,
        units=tuple(str(unit) for unit in units),
        windows=np.array([window.to_list() for window in projected.windows]),
        grid=np.array([measure_grid(crop, first.kept.stride) for crop in crops]),
        patch_grid=np.array(
            [_grid_of_patch(seen[unit.image], part, first.kept.stride) for unit, part in zip(units, inside, strict=True)]
        ),
        flat_grid=flat_grid(first.kept.stride),
        filters=weight,
        projections=crops,
        patches=np.stack(patches).transpose(0, 2, 3, 1),
        spectrum=np.fft.fftshift(np.mean([spectrum(crop) / (spectrum(crop).sum() or 1) for crop in crops], axis=0)),
        settings=settings_of(
            net,
            "filters",
            pictures=source_names(pictures),
            layer=first.layer,
            second=second,
            top=top,
            bands=list(bands),
        ),
    )


def plot(result: Filters, *, tone: Tone = "symmetric") -> Figure:
    """Draw the filters as the paper's Figure 6 does, with what is measured of them beside."""
    from .filters_figure import draw_filters

    return draw_filters(result, tone)


def first_convolution(tape: Tape) -> Call:
    """Return the first convolution that a picture meets, of two axes and not by groups."""
    return _convolutions(tape)[0]


def second_layer(recording: Recording) -> str:
    """Return the first rectified layer that stands on a second convolution."""
    tape = recording.tape
    calls = _convolutions(tape)
    if len(calls) < 2:
        raise OptionError(f"{recording.name} has one convolution only. Name a second layer: see deconvnet layers.")
    above = [number for number in sorted(rectified_values(tape)) if number >= calls[1].outputs[0]]
    places = [place for place in recording.places().values() if above and place.value == above[0]]
    if not places:
        raise OptionError(f"{recording.name} rectifies nothing above {calls[1].layer!r}. Name a second layer.")
    return min(places, key=lambda place: len(place.name)).name


def strongest_units(maps: Tensor, layer: str, top: int) -> list[Unit]:
    """Return the strongest unit over all images in each of the `top` strongest channels; maps: (N, C', H', W')."""
    if top < 1:
        raise OptionError(f"top cannot be {top}: it is the number of second-layer units to project, 1 or more.")
    height, width = maps.shape[2:]
    values, places = maps.transpose(0, 1).flatten(1).max(1)
    chosen = torch.argsort(values, descending=True, stable=True)[:top].tolist()
    found = []
    for channel in (channel for channel in chosen if values[channel] > 0):
        image, place = divmod(int(places[channel]), height * width)
        found.append(Unit(layer, channel, *divmod(place, width), activation=float(values[channel]), image=image))
    if not found:
        raise OptionError(f"no channel of {layer!r} fires on these pictures. Give others.")
    return found


def silent_channels(recording: Recording) -> Values:
    """Return the numbers of the first rectified layer's channels that are nowhere positive."""
    _, maps = net_maps(recording, first_layer(recording))
    return np.flatnonzero(~(maps > 0).any(dim=3).any(dim=2).any(dim=0).cpu().numpy())


def spectrum(values: Values) -> Values:
    """Return the energy (FINE, FINE) of (C, h, w) at each frequency, summed over channels; frequency zero stands first."""
    side = max(FINE, *values.shape[1:])
    energy: Values = np.square(np.abs(np.fft.fft2(values, s=(side, side)))).sum(0)
    if side == FINE:
        return energy
    rows = np.rint(np.fft.fftfreq(FINE) * side).astype(int)  # of larger windows, every so many samples
    return energy[np.ix_(rows, rows)]


def band_shares(weight: Values, bands: tuple[float, float]) -> Values:
    """Return the shares (3,) of a filter's energy at low, middle and high frequencies; (C, k, k), radius in cycles a pixel."""
    energy = spectrum(weight)
    rows, cols = np.meshgrid(*[np.fft.fftfreq(FINE)] * 2, indexing="ij")
    band = np.digitize(np.hypot(rows, cols), bands)
    return np.array([energy[band == number].sum() for number in range(3)]) / (energy.sum() or 1)


def measure_grid(values: Values, stride: tuple[int, int]) -> float:
    """Return the share of the energy of (C, h, w) that lies around 1/stride and its harmonics: what a grid looks like.

    A first layer of stride s paints its filters at every s-th pixel, which repeats the spectrum of what is painted around each
    multiple of 1/s cycles per pixel. Counted are squares of a quarter of 1/s a side around those points, zero itself left out;
    that is (s^2 - 1) / 16 / s^2 of all frequencies, and nothing where s is 1.
    """
    side = 4 * max(64, *values.shape[1:])
    energy = np.square(np.abs(np.fft.fft2(values, s=(side, side)))).sum(0)
    return float(energy[_near_grid(side, stride)].sum() / (energy.sum() or 1))


def flat_grid(stride: tuple[int, int], side: int = 1024) -> float:
    """Return what `measure_grid` gives for noise, which has the same energy at all frequencies."""
    return float(_near_grid(side, stride).mean())


def _near_grid(side: int, stride: tuple[int, int]) -> Values:
    axes = [np.fft.fftfreq(side) * step for step in stride]  # in units of 1/stride: the grid stands at whole numbers
    near = [(axis - np.rint(axis) >= -1 / 8) & (axis - np.rint(axis) < 1 / 8) for axis in axes]
    around_zero = [np.rint(axis) == 0 for axis in axes]
    both: Values = near[0][:, None] & near[1][None, :] & ~(around_zero[0][:, None] & around_zero[1][None, :])
    return both


def _grid_of_patch(seen: Values, part: Window, stride: tuple[int, int]) -> float:
    patch = seen[:, part.top : part.bottom, part.left : part.right].astype(float)
    return measure_grid(patch - patch.mean((1, 2), keepdims=True), stride)


def _convolutions(tape: Tape) -> list[Call]:
    found = [call for call in tape.calls if call.name == "conv2d" and call.inputs]
    if not found:
        raise OptionError("this net has no convolution over rows and columns: there are no filters to look at.")
    return found
