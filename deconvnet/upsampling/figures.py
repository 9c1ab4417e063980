"""Figures of sparse codes and of an adaptive deconvolutional network's layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from .adaptive import InferredLayer
from .dictionary import Dictionary
from .panels import TITLE_POINTS, draw_atoms, psnr_text, show_pixels, to_ink, to_pixels, to_signed_pixels
from .sparse import Codes


def plot_codes(picture: Tensor, smooth: Tensor, dictionary: Dictionary, codes: Codes) -> Figure:
    """Plot a picture's atoms, where they are used, and the picture that they and the smooth part add up to.

    Atoms are sorted by how much they are used. Of the codes, the figure shows the sum of |x| over all atoms and the maps of the
    first three.

    Args:
        picture: (C, H, W) in 0..1.
        smooth: its smooth part, (C, H, W).
        dictionary: that of the codes.
        codes: of picture - smooth; those of the first image are shown.

    Returns:
        The figure.
    """
    first = codes.codes[0]
    order = codes.codes.abs().sum((0, 2, 3)).argsort(descending=True)
    restored = smooth + codes.reconstruction[0]
    panels = [
        ("picture", to_pixels(picture)),
        ("its smooth part", to_pixels(smooth)),
        (f"made of atoms\n{int((first != 0).sum()):,} codes of {first.numel():,}", to_signed_pixels(codes.reconstruction[0])),
        (f"both together\n{psnr_text(picture, restored)}", to_pixels(restored)),
        ("all |codes|", to_ink(first.abs().sum(0).numpy())),
        *((f"codes of atom {rank}", to_ink(first[index].abs().numpy())) for rank, index in enumerate(order[:3], 1)),
    ]
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[4, 7.5])
    left, right = halves
    show_pixels(left.subplots(), draw_atoms(dictionary.atoms[order]))
    left.suptitle(f"{len(order)} atoms, the most used first", fontsize=TITLE_POINTS + 1)
    for axes, (title, pixels) in zip(right.subplots(2, 4).flatten(), panels, strict=True):
        show_pixels(axes, pixels, title)
    return figure


def plot_layers(
    picture: Tensor,
    smooth: Tensor,
    layers: Sequence[InferredLayer],
    filters: Tensor,
    other_switches: Sequence[tuple[str, Tensor]],
) -> Figure:
    """Plot a picture, what each layer makes of it, and what other switches would make of the same maps.

    Args:
        picture: (C, H, W) in 0..1.
        smooth: its smooth part, (C, H, W).
        layers: what each layer found in picture - smooth; the first image is shown.
        filters: those of the first layer, (K, C, kh, kw).
        other_switches: captions and reconstructions (C, H, W), without the smooth part.

    Returns:
        The figure.
    """
    reconstructions = [(f"layer {number}", layer.reconstruction[0]) for number, layer in enumerate(layers, 1)]
    estimates = [("its smooth part", smooth)]
    estimates += [(caption, smooth + edges) for caption, edges in (*reconstructions, *other_switches)]
    figure = Figure(figsize=(1.45 * (len(estimates) + 2), 1.8), layout="constrained")
    grid = figure.subplots(1, len(estimates) + 2)
    show_pixels(grid[0], draw_atoms(filters), "filters of layer 1")
    show_pixels(grid[1], to_pixels(picture), "picture")
    for axes, (caption, estimate) in zip(grid[2:], estimates, strict=True):
        show_pixels(axes, to_pixels(estimate), f"{caption}\n{psnr_text(picture, estimate)}")
    return figure
