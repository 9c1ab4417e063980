"""What is wrong with a first layer? Figure 6 of Zeiler & Fergus 2014 (4.1), in numbers.

The paper looks at first-layer filters for four things, each of which is measured here:

- one filter that dominates: its RMS over the median one. They cap each filter's RMS at 0.1, in the net's own units, where
  their pixels are 0..255 less the mean; a net with other pixels has other units, so the ratio is what compares;
- dead filters: `faint`, with an RMS below a tenth of the median, and `silent`, which fire nowhere on the pictures;
- "little coverage of the mid frequencies": how each filter's energy is shared among low, middle and high frequencies, beside
  the shares of white noise: most frequencies are high, so a share by itself says little;
- aliasing from a large stride, which second-layer projections show as a grid (`spectrum.measure_grid`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..crops import cut_window
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, source_names
from ..layers import convolutions, first_layer, second_layer
from ..net import DeconvNet
from ..recording import Recording
from ..rules.conv import SavedConv
from ..units import Unit, Window
from .arrays import Floats, Integers, Pixels
from .filters_result import CAP, Filters
from .forward import choose_layer
from .settings import study_settings
from .spectrum import band_shares, flat_grid, measure_grid, noise_shares, spectrum
from .statistics import estimate_mean

__all__ = ["Filters", "run"]

FAINT = 0.1  # of the median RMS
DRAWINGS = 12  # where no picture is given
MID_GREY = 127  # what stands beyond the picture's edge in a patch


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    second: str | None = None,
    top: int = 16,
    bands: tuple[float, float] = (1 / 8, 1 / 4),
) -> Filters:
    """Measure a net's first-layer filters, and the projections of second-layer units (Zeiler & Fergus 2014, 4.1, Fig. 6).

    Args:
        net: the net to study.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default twelve bundled drawings.
        second: the second layer; by default what the second convolution's rectifier returns.
        top: how many of its channels, the strongest over all pictures, are projected from their strongest units.
        bands: where low frequencies end and where high ones begin, in cycles per pixel.

    Returns:
        The filters, their measures, and the projections.

    Raises:
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        OptionError: `top` or `bands` are not possible, the net has no filters over rows and columns, or no unit fires.

        >>> filters.run(net, "dog.jpg").rms.shape
        (32,)
    """
    if not 0 < bands[0] < bands[1] < 0.5:
        raise OptionError(f"bands cannot be {bands}: they are two rising numbers of cycles per pixel, above 0 and below 0.5.")
    pictures = [draw(seed=seed) for seed in range(DRAWINGS)] if pictures is None else pictures
    recording = net.record(as_batch(net, pictures), stop=False)
    first = convolutions(recording.tape)[0]
    geometry = first.saved
    assert isinstance(geometry, SavedConv)  # `convolutions` returns no others
    weight = geometry.weight.detach().float().cpu().numpy()
    stride = (geometry.stride[0], geometry.stride[1])
    second, maps = choose_layer(recording, second or second_layer(recording))
    units = _strongest_units(maps, second, top)
    projection = net.project(recording, second, units=units, rule="deconvnet", progress=True)
    crops = np.stack([crop.float().numpy() for crop in projection.crops()])
    shown = [np.moveaxis(net.loaded.denormalise(image, net.preprocess), -1, 0) for image in recording.images]
    patches = [cut_window(shown[unit.image], window, MID_GREY) for unit, window in zip(units, projection.windows, strict=True)]
    grid = np.array([measure_grid(crop, stride) for crop in crops])
    patch_grid = _patch_grids([shown[unit.image] for unit in units], projection.windows, stride)
    images = [unit.image for unit in units]
    rms = np.sqrt(np.square(weight).mean((1, 2, 3)))
    return Filters(
        layer=first.layer,
        second=second,
        stride=stride,
        rms=rms,
        dominance=float(rms.max() / np.median(rms)),
        over_cap=np.flatnonzero(rms > CAP),
        faint=np.flatnonzero(rms < FAINT * np.median(rms)),
        silent=_silent_channels(recording),
        shares=np.stack([band_shares(filter_, bands) for filter_ in weight]),
        bands=bands,
        noise_shares=noise_shares(bands),
        units=tuple(str(unit) for unit in units),
        windows=np.array([window.to_list() for window in projection.windows]),
        grid=grid,
        patch_grid=patch_grid,
        grid_mean=estimate_mean(grid, images),
        patch_grid_mean=estimate_mean(patch_grid, images),
        flat_grid=flat_grid(stride),
        filters=weight,
        projections=crops,
        patches=np.stack(patches).transpose(0, 2, 3, 1),
        spectrum=_mean_spectrum(crops),
        settings=study_settings(
            net,
            "filters",
            inputs=pictures,
            pictures=source_names(pictures),
            layer=first.layer,
            second=second,
            top=top,
            bands=list(bands),
        ),
    )


def _strongest_units(maps: Tensor, layer: str, top: int) -> list[Unit]:
    """Return the strongest unit over all images in each of the `top` strongest channels; maps: (N, C', H', W')."""
    if top < 1:
        raise OptionError(f"top cannot be {top}: it is the number of second-layer units to project, 1 or more.")
    height, width = maps.shape[2:]
    values, positions = maps.transpose(0, 1).flatten(1).max(1)
    units = []
    for channel in torch.argsort(values, descending=True, stable=True)[:top].tolist():
        if values[channel] > 0:
            image, position = divmod(int(positions[channel]), height * width)
            row, col = divmod(position, width)
            units.append(Unit(layer, channel, row, col, activation=float(values[channel]), image=image))
    if not units:
        raise OptionError(f"no channel of {layer!r} fires on these pictures. Give others.")
    return units


def _silent_channels(recording: Recording) -> Integers:
    """Return the numbers of the first rectified layer's channels that are nowhere positive."""
    _, maps = choose_layer(recording, first_layer(recording))
    return np.flatnonzero(~(maps > 0).any(dim=3).any(dim=2).any(dim=0).cpu().numpy())


def _patch_grids(pictures: Sequence[Pixels], windows: Sequence[Window], stride: tuple[int, int]) -> Floats:
    """Measure the grid in the part of each picture (C, H, W) that lies in its window, its mean taken off."""
    grids = []
    for picture, window in zip(pictures, windows, strict=True):
        patch = cut_window(picture, window.clip(*picture.shape[1:])).astype(float)
        grids.append(measure_grid(patch - patch.mean((1, 2), keepdims=True), stride))
    return np.array(grids)


def _mean_spectrum(crops: Floats) -> Floats:
    """Return the mean over crops (M, C, h, w) of their spectra, each with a sum of 1, frequency zero in the middle."""
    spectra = [spectrum(crop) for crop in crops]
    mean: Floats = np.fft.fftshift(np.mean([values / (values.sum() or 1) for values in spectra], axis=0))
    return mean
