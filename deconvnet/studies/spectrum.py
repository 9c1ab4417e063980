"""Energy at spatial frequencies: how a filter's is shared among bands, and how much of a picture's lies on a grid."""

from __future__ import annotations

import numpy as np

from .arrays import Floats, Mask

SAMPLES = 64  # of a spectrum, each way: smaller windows are padded with zeros to that


def spectrum(values: Floats) -> Floats:
    """Return the energy (64, 64) of (C, h, w) at each frequency, summed over channels; frequency zero stands first."""
    side = max(SAMPLES, *values.shape[1:])
    energy = _energy(values, side)
    if side == SAMPLES:
        return energy
    samples = np.rint(np.fft.fftfreq(SAMPLES) * side).astype(int)  # of a larger spectrum, the nearest samples
    return energy[np.ix_(samples, samples)]


def band_shares(weight: Floats, bands: tuple[float, float]) -> Floats:
    """Return how a filter's energy is shared among low, middle and high frequencies.

    Args:
        weight: (C, k, k).
        bands: where low frequencies end and where high ones begin, in cycles per pixel, in any direction.

    Returns:
        (3,): shares, 0..1.
    """
    energy = spectrum(weight)
    rows, cols = np.meshgrid(*[np.fft.fftfreq(SAMPLES)] * 2, indexing="ij")
    band = np.digitize(np.hypot(rows, cols), bands)
    return np.array([energy[band == number].sum() for number in range(3)]) / (energy.sum() or 1)


def noise_shares(bands: tuple[float, float]) -> Floats:
    """Return what `band_shares` gives for white noise, which has the same energy at all frequencies: (3,), shares, 0..1."""
    point = np.zeros((1, SAMPLES, SAMPLES))
    point[0, 0, 0] = 1.0  # whose spectrum is flat
    return band_shares(point, bands)


def measure_grid(values: Floats, stride: tuple[int, int]) -> float:
    """Return how much of the energy lies around 1/stride and its harmonics: what a grid looks like.

    A first layer of stride s paints its filters at every s-th pixel, which repeats the spectrum of what is painted around each
    multiple of 1/s cycles per pixel. The energy is counted in squares with sides of a quarter of 1/s around those points,
    except around zero; these squares hold (s^2 - 1) / 16 / s^2 of all frequencies, and none where s is 1.

    Args:
        values: (C, h, w).
        stride: in rows and columns of pixels.

    Returns:
        The share of the energy, 0..1.
    """
    side = 4 * max(SAMPLES, *values.shape[1:])
    energy = _energy(values, side)
    return float(energy[_near_grid(side, stride)].sum() / (energy.sum() or 1))


def flat_grid(stride: tuple[int, int], side: int = 1024) -> float:
    """Return what `measure_grid` gives for noise, which has the same energy at all frequencies."""
    return float(_near_grid(side, stride).mean())


def _energy(values: Floats, side: int) -> Floats:
    """Return the energy (side, side) of (C, h, w), padded with zeros, summed over channels."""
    energy: Floats = np.square(np.abs(np.fft.fft2(values, s=(side, side)))).sum(0)
    return energy


def _near_grid(side: int, stride: tuple[int, int]) -> Mask:
    """Mark the frequencies (side, side) near a multiple of 1/stride other than zero."""
    rows, cols = (np.fft.fftfreq(side) * step for step in stride)  # in units of 1/stride: the grid stands at whole numbers
    near = [(axis - np.rint(axis) >= -1 / 8) & (axis - np.rint(axis) < 1 / 8) for axis in (rows, cols)]
    around_zero = [np.rint(axis) == 0 for axis in (rows, cols)]
    mask: Mask = near[0][:, None] & near[1][None, :] & ~(around_zero[0][:, None] & around_zero[1][None, :])
    return mask
