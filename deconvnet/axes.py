"""Which axes of a value are channels, rows and columns, and maps with their axes in torch's order.

Most values are (N, C, H, W), but some nets compute with channels last, and a classifier's are (N, F). A rule says what its call
does to the axes; whoever shows maps reads them here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor

from .errors import UnitError
from .units import Window

#: The axes of channels, rows and columns; None where there is no such axis, which then counts as one.
Axes: TypeAlias = "tuple[int | None, int | None, int | None]"


class TokenAxes(tuple[int | None, int | None, int | None]):
    """The axes (channels, tokens, tokens) of (N, L, C) or (L, N, C): rows and columns share one, as a transformer has them.

    Attributes:
        prefix: how many tokens stand before the grid - class and register tokens - and so have no row and column.
        height: rows of the grid.
        width: columns of the grid.
    """

    prefix: int
    height: int
    width: int

    def __new__(cls, channels: int | None, tokens: int, prefix: int, height: int, width: int) -> TokenAxes:
        """Make the triple; the rest is beside it."""
        axes = super().__new__(cls, (channels, tokens, tokens))
        axes.prefix, axes.height, axes.width = prefix, height, width
        return axes

    def __getnewargs__(self) -> tuple[int | None, int, int, int, int]:
        return self[0], self.tokens, self.prefix, self.height, self.width

    @property
    def tokens(self) -> int:
        """The axis of the tokens."""
        axis = self[1]
        assert axis is not None
        return axis

    @property
    def images(self) -> int | None:
        """The axis that is left, of three; None where it is not known which are the channels."""
        return None if self[0] is None else 3 - self[0] - self.tokens

    def fits(self, shape: Sequence[int]) -> bool:
        """Say whether a value of `shape` has as many tokens."""
        return self.tokens < len(shape) and shape[self.tokens] == self.prefix + self.height * self.width

    def at(self, channels: int | None, tokens: int, *, prefix: int | None = None) -> TokenAxes:
        """Return the same grid on other axes."""
        return TokenAxes(channels, tokens, self.prefix if prefix is None else prefix, self.height, self.width)


class FoldedTokens(tuple[int | None, int | None, int | None]):
    """The axes of (N * L, C): tokens folded into the images, as a batch norm wants them; they may be unfolded again.

    Attributes:
        unfolded: the axes of (N, L, C).
    """

    unfolded: TokenAxes

    def __new__(cls, unfolded: TokenAxes) -> FoldedTokens:
        """Make the triple; the rest is beside it."""
        axes = super().__new__(cls, (1, None, None))
        axes.unfolded = unfolded
        return axes

    def __getnewargs__(self) -> tuple[TokenAxes]:
        return (self.unfolded,)


class FoldedMaps(tuple[int | None, int | None, int | None]):
    """The axes of (N * H, W, C): rows or columns of maps folded into the images; they may be unfolded again.

    Attributes:
        unfolded: the axes of (N, H, W, C).
        sides: H and W.
    """

    unfolded: Axes
    sides: tuple[int, int]

    def __new__(cls, unfolded: Axes, sides: tuple[int, int]) -> FoldedMaps:
        """Make the triple, which has no places; the rest is beside it."""
        axes = super().__new__(cls, (None, None, None))
        axes.unfolded, axes.sides = unfolded, sides
        return axes

    def __getnewargs__(self) -> tuple[Axes, tuple[int, int]]:
        return self.unfolded, self.sides


class VolumeAxes(tuple[int | None, int | None, int | None]):
    """The axes (1, 3, 4) of a volume or a video, (N, C, D, H, W): its slices or frames count as stacked, one below the other.

    So row `r` of a map is row `r % height` of slice `r // height`, and there are `depth * height` rows.

    Attributes:
        depth: how many slices.
        height: rows of a slice.
    """

    depth: int
    height: int

    def __new__(cls, depth: int, height: int) -> VolumeAxes:
        """Make the triple; the rest is beside it."""
        axes = super().__new__(cls, (1, 3, 4))
        axes.depth, axes.height = depth, height
        return axes

    def __getnewargs__(self) -> tuple[int, int]:
        return self.depth, self.height


class SplitAxes(tuple[int | None, int | None, int | None]):
    """The axes of maps whose rows, columns or channels were split over more than four axes: they may be put together again.

    Attributes:
        labels: of each axis what it is made of, as letters of "NCHW"; "?" where that is not known.
    """

    labels: tuple[str, ...]

    def __new__(cls, axes: Axes, labels: tuple[str, ...]) -> SplitAxes:
        """Make the triple; the rest is beside it."""
        split = super().__new__(cls, axes)
        split.labels = labels
        return split

    def __getnewargs__(self) -> tuple[Axes, tuple[str, ...]]:
        return tuple(self), self.labels  # type: ignore[return-value]

    def permuted(self, axes: Axes, order: Sequence[int]) -> SplitAxes:
        """Return them in another order, in which the triple is `axes`."""
        return SplitAxes(axes, tuple(self.labels[axis] for axis in order))


#: The axes of (N, C, H, W).
MAPS: Axes = (1, 2, 3)

#: The axes of a signal, (N, C, L): its maps have one row.
SIGNAL: Axes = (1, None, 2)


def image_axes(shape: Sequence[int]) -> Axes:
    """Return the axes of a net's input: of pictures (N, C, H, W), signals (N, C, L), or volumes (N, C, D, H, W)."""
    if len(shape) == 3:
        return SIGNAL
    return VolumeAxes(shape[2], shape[3]) if len(shape) == 5 else default_axes(shape)


def following_axes(axes: Axes, shape: Sequence[int]) -> Axes:
    """Return the axes of an output of `shape` by torch's convention, of a call whose input has `axes`.

    What is made of a signal or a volume is one too, if it has as many axes.
    """
    if isinstance(axes, VolumeAxes) and len(shape) == 5:
        return VolumeAxes(shape[2], shape[3])
    return SIGNAL if axes == SIGNAL and len(shape) == 3 else default_axes(shape)


def default_axes(shape: Sequence[int]) -> Axes:
    """Return torch's convention: (N, C, H, W), (N, F), and with more axes rows and columns last."""
    if len(shape) >= 4:
        return 1 if len(shape) == 4 else None, len(shape) - 2, len(shape) - 1
    return (1 if len(shape) == 2 else None), None, None


def has_positions(axes: Axes) -> bool:
    """Say whether a value has rows or columns: units have a place in it."""
    return axes[1] is not None or axes[2] is not None


def map_size(shape: Sequence[int], axes: Axes) -> tuple[int, int]:
    """Return the rows and columns of a value of `shape`."""
    if isinstance(axes, TokenAxes):
        return axes.height, axes.width
    if isinstance(axes, VolumeAxes):
        return axes.depth * axes.height, shape[4]
    _, rows, cols = axes
    return (1 if rows is None else shape[rows]), (1 if cols is None else shape[cols])


def whole_frame(shape: Sequence[int], axes: Axes) -> Window:
    """Return the window that holds the whole of a value of `shape`."""
    return Window(0, 0, *map_size(shape, axes))


def relabel(window: Window, shape: Sequence[int], given: Axes, wanted: Axes) -> Window:
    """Return a window of a value of `shape`, whose rows and columns are the axes `given`, by the axes `wanted`.

    An axis that the window says nothing of is taken whole. What is empty stays empty.
    """
    if not window.height or (given == wanted and not isinstance(wanted, VolumeAxes)):
        return window
    if isinstance(wanted, (TokenAxes, VolumeAxes)):
        return whole_frame(shape, wanted)
    extents = {given[1]: (window.top, window.height), given[2]: (window.left, window.width)}
    whole = whole_frame(shape, wanted)
    top, height = extents.get(wanted[1], (0, whole.height))
    left, width = extents.get(wanted[2], (0, whole.width))
    return Window(top, left, height, width)


def reshaped_axes(axes: Axes, size: Sequence[int], output: Sequence[int]) -> Axes:
    """Return the axes of what a reshape makes of a value: maps become tokens, and tokens maps."""
    if isinstance(axes, FoldedTokens):
        return axes.unfolded if len(output) == 3 and axes.unfolded.fits(output) else default_axes(output)
    if isinstance(axes, FoldedMaps):
        return axes.unfolded if len(output) == 4 and tuple(output[1:3]) == axes.sides else default_axes(output)
    if axes[0] == 3 and len(size) == 4 and tuple(output) == (size[0] * size[1], *size[2:]):
        return FoldedMaps(axes, (size[1], size[2]))
    if isinstance(axes, TokenAxes):
        return _reshaped_tokens(axes, size, output)
    if axes == SIGNAL:
        return _reshaped_signal(size, output)
    split = _reshaped_split(axes, size, output)
    if split is not None:
        return split
    channels, rows, cols = axes
    if axes == MAPS and len(size) == 4 and size[2] == 1 and tuple(output) == (*size[:2], size[3]):
        return SIGNAL
    is_grid = len(size) == 4 and len(output) == 3 and rows is not None and cols == rows + 1
    # one axis, where rows were
    if is_grid and rows is not None and cols is not None and output[rows] == size[rows] * size[cols]:
        return TokenAxes(1 if channels == 1 else 2, rows, 0, size[rows], size[cols])
    if len(size) > 5 and len(output) == 4 and output[1] != size[1] and output[-1] == size[-1]:
        return 3, 1, 2  # windows put together again, channels last
    return default_axes(output)


def _reshaped_split(axes: Axes, size: Sequence[int], output: Sequence[int]) -> Axes | None:
    """Return the axes of maps that a reshape splits, or puts together again; None where it does neither."""
    labels = axes.labels if isinstance(axes, SplitAxes) else _labels(axes, size)
    if labels is None or len(output) < 4 or (len(output) == 4 and len(size) == 4):
        return None
    result = _regrouped(labels, size, output)
    if len(output) > 4:
        return SplitAxes(default_axes(output), result)
    channels = next((place for place, label in enumerate(result) if "C" in label), 0)
    rest = [place for place in range(1, 4) if place != channels]
    if channels and result[0] == "N" and [set(result[place]) for place in rest] == [{"H"}, {"W"}]:
        return channels, rest[0], rest[1]
    return None


def _labels(axes: Axes, size: Sequence[int]) -> tuple[str, ...] | None:
    """Return what each axis of maps is; None where that is not known of all."""
    if len(size) != 4 or None in axes or isinstance(axes, (TokenAxes, VolumeAxes)):
        return None
    return tuple("CHW"[axes.index(axis)] if axis in axes else "N" for axis in range(4))


def _regrouped(labels: Sequence[str], size: Sequence[int], output: Sequence[int]) -> tuple[str, ...]:
    """Return what each axis of a reshape's output is made of: axes that are split, or put together, in their order."""
    result: list[str] = []
    first, axis = 0, 0
    while axis < len(output):
        start, last, length, wanted = axis, first + 1, math.prod(size[first : first + 1]), output[axis]
        axis += 1
        while length != wanted and last <= len(size) and axis <= len(output):
            if length < wanted:
                length, last = length * math.prod(size[last : last + 1]), last + 1
            elif axis < len(output):
                wanted, axis = wanted * output[axis], axis + 1
            else:
                break
        together = "".join(labels[first:last])
        is_clear = length == wanted and (last - first == 1 or axis - start == 1)
        result += [together if is_clear else "?"] * (axis - start)
        first = last
    return tuple(result)


def _reshaped_signal(size: Sequence[int], output: Sequence[int]) -> Axes:
    """Return the axes of a signal (N, C, L) as a picture of one row, else torch's convention."""
    return MAPS if tuple(output) == (*size[:2], 1, size[2]) else default_axes(output)


def _reshaped_tokens(axes: TokenAxes, size: Sequence[int], output: Sequence[int]) -> Axes:
    lead, length = math.prod(size[: axes.tokens]), size[axes.tokens]
    if tuple(axes) == (2, 1, 1) and tuple(output) == (size[0] * size[1], size[2]):
        return FoldedTokens(axes)
    for axis in range(1, len(output)):
        if math.prod(output[:axis]) != lead:
            continue
        if output[axis] == length:
            return axes.at(3 - axis if len(output) == 3 else None, axis)
        if not axes.prefix and len(output) == 4 and tuple(output[axis : axis + 2]) == (axes.height, axes.width):
            return 1 if axis == 2 else 3, axis, axis + 1
    return default_axes(output)


def as_maps(activations: Tensor, axes: Axes, layer: str) -> Tensor:
    """Return activations as maps (N, C', H', W'), whichever their axes are; an (N, F) layer counts as F channels of 1x1.

    Tokens before a grid are left out; a signal has one row, and the slices of a volume are stacked.

    Raises:
        UnitError: the layer has no maps, such as one of (N, T, F).
    """
    if isinstance(axes, TokenAxes) and activations.dim() == 3 and axes[0] is not None and axes.images is not None:
        grid = activations.narrow(axes.tokens, axes.prefix, axes.height * axes.width)
        maps: Tensor = grid.permute(axes.images, axes[0], axes.tokens).unflatten(2, (axes.height, axes.width))  # type: ignore[no-untyped-call]
        return maps
    if isinstance(axes, VolumeAxes):
        return activations.flatten(2, 3)
    if axes == SIGNAL and activations.dim() == 3:
        return activations[:, :, None]
    if axes[0] is None or activations.dim() not in (2, 4):
        size = "x".join(map(str, activations.shape[1:]))
        raise UnitError(f"layer {layer!r} has no maps: its output is {size}, not channels x rows x columns.")
    return activations[:, :, None, None] if activations.dim() == 2 else activations.permute(0, *axes)  # type: ignore[arg-type]


def from_maps(maps: Tensor, axes: Axes) -> Tensor:
    """Return maps (K, C', H', W') with the axes of their layer: the inverse of `as_maps`."""
    if isinstance(axes, TokenAxes):
        tokens = F.pad(maps.flatten(2), (axes.prefix, 0))  # tokens without a place take no signal
        return tokens.permute([(axes.images, axes[0], axes.tokens).index(axis) for axis in range(3)])
    if isinstance(axes, VolumeAxes):
        volumes: Tensor = maps.unflatten(2, (axes.depth, axes.height))  # type: ignore[no-untyped-call]
        return volumes
    if axes == SIGNAL:
        return maps[:, :, 0]
    if axes[1] is None:
        return maps.flatten(1)
    return maps.permute(0, *(1 + axes.index(axis) for axis in (1, 2, 3)))
