"""What excites a channel, drawn at its size on the page.

A layer has hundreds of channels and a page shows a few, so examples are drawn as soon as they are known, and the floats are
released: nine examples of 224 x 224 pixels take 7 MB, drawn for a page of twelve channels 0.4 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..choices import Tone
from ..errors import OptionError
from ..units import Window
from .tile import FRAME, draw_tile
from .tone import LARGEST_FILTER, Pixels, apply_tone

NO_EXAMPLE = "no picture excites this channel"


@dataclass(frozen=True, eq=False)
class Example:
    """One picture that excites a channel.

    Attributes:
        projection: (C, h, w), signed. Three channels are shown as colours, any other number as the grey of their mean.
        patch: (h, w, 3), 0..255: what the net saw in the same window.
        inside: the part of both, in their rows and columns, that lies in the picture's frame: the rest is padding.
        activation: the unit's activation.
        source: the picture's path; empty where it is not named.
    """

    projection: npt.NDArray[np.floating]
    patch: Pixels
    inside: Window
    activation: float
    source: str = ""


@dataclass(frozen=True, eq=False)
class DrawnExample:
    """An example at its size on the page.

    Attributes:
        projection, patch: two tiles of one size, (h', w', 3), 0..255.
        activation, source: those of the `Example`.
        padded: whether a part of the tiles is hatched.
        scale: how many times larger they are drawn than they are on the page.
    """

    projection: Pixels
    patch: Pixels
    activation: float
    source: str = ""
    padded: bool = False
    scale: float = 1

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of its tiles on the page, in pixels."""
        height, width = self.patch.shape[:2]
        return round(height / self.scale), round(width / self.scale)

    @property
    def side(self) -> int:
        """The longer side of its tiles on the page, in pixels."""
        return max(self.size)


@dataclass(frozen=True, eq=False)
class Panel:
    """One channel on a plate.

    Attributes:
        layer, channel: which channel it is.
        examples: what excites it, the strongest first.
        note: what else is known of it: "fires on 3 % of the pictures".
        empty: what is said of a channel without examples.
        filter: (h, w, 3), 0..255: what all its projections show, if it is a filter of the first layer and they differ in
            nothing else than their strength.
    """

    layer: str
    channel: int
    examples: Sequence[Example | DrawnExample] = ()
    note: str = ""
    empty: str = NO_EXAMPLE
    filter: Pixels | None = None


def draw_examples(
    examples: Sequence[Example],
    side: int,
    *,
    tone: Tone = "soft",
    percentile: float | None = None,
    scale: float = 1,
) -> list[DrawnExample]:
    """Tone the examples of one channel and draw them at their size on the page.

    Args:
        examples: the examples; a tone that shares its scale shares it among them.
        side: the longer side of a tile, in pixels: see `plate_shape`.
        tone, percentile: see `apply_tone`.
        scale: how many times larger they are drawn, for a page that is painted at that scale.

    Raises:
        OptionError: a projection and its patch differ in size, or a tone's option is out of its range.

        >>> example = Example(np.ones((3, 7, 7)), np.zeros((7, 7, 3), np.uint8), Window(0, 0, 7, 7), 21.4)
        >>> draw_examples([example], 90)[0].projection.shape
        (90, 90, 3)
    """
    for example in examples:
        if example.projection.ndim != 3 or example.patch.shape != (*example.projection.shape[1:], 3):
            shapes = f"a projection of shape {example.projection.shape} and a patch of shape {example.patch.shape}"
            raise OptionError(f"{shapes} do not fit each other. Give (C, h, w) and (h, w, 3).")
    windows = [example.inside for example in examples]
    toned = apply_tone([example.projection for example in examples], tone, percentile=percentile, inside=windows)
    return [
        DrawnExample(
            _draw(pixels, example.inside, side, scale),
            _draw(example.patch, example.inside, side, scale),
            example.activation,
            example.source,
            padded=not example.inside.covers(*example.patch.shape[:2]),
            scale=scale,
        )
        for example, pixels in zip(examples, toned, strict=True)
    ]


def draw_panel(panel: Panel, side: int, *, tone: Tone = "soft", percentile: float | None = None, scale: float = 1) -> Panel:
    """Return the panel with its examples drawn, as `draw_examples` does; those already drawn stay as they are."""
    undrawn = [example for example in panel.examples if isinstance(example, Example)]
    common = common_filter(undrawn) if tone != "shared" else None  # there strengths are compared
    drawn = iter(draw_examples(undrawn, side, tone=tone, percentile=percentile, scale=scale))
    examples = [next(drawn) if isinstance(example, Example) else example for example in panel.examples]
    pixels = panel.filter if common is None else apply_tone([common], tone, percentile=percentile)[0]
    return replace(panel, examples=examples, filter=pixels)


def common_filter(examples: Sequence[Example]) -> npt.NDArray[np.floating] | None:
    """Return the projection that all examples show, (C, h, w), if it is a filter; None if they differ, or there is one only.

    A unit of the first layer always projects to its own filter (Zeiler & Fergus 2014, Fig. 2: layer 1 shows filters). Where
    its window leaves the picture, a part of the filter is missing: such examples are not asked.
    """
    whole = [example.projection for example in examples if np.abs(example.projection).max(initial=0) > 0]
    if len(examples) < 2 or not whole or max(whole[0].shape[1:]) > LARGEST_FILTER:
        return None
    first = max(whole, key=lambda projection: np.count_nonzero(projection))
    same = [projection for projection in whole if np.count_nonzero(projection) == np.count_nonzero(first)]
    shapes = [projection / np.abs(projection).max() for projection in same]
    return first if len(same) > 1 and all(np.allclose(shape, shapes[0], atol=1e-3) for shape in shapes) else None


def _draw(pixels: Pixels, inside: Window, side: int, scale: float) -> Pixels:
    """Draw pixels (h, w, 3) as sheets do, but without a frame: the tiles of a plate stand close, as in the paper."""
    image, frame = draw_tile(_extend_edges(pixels, inside), inside, side, None, scale), round(FRAME * scale)
    return np.asarray(image.crop((frame, frame, image.width - frame, image.height - frame)))


def _extend_edges(pixels: Pixels, inside: Window) -> Pixels:
    """Repeat the pixels at the frame's edge over the padding; enlarging would otherwise blend the padding into them."""
    height, width = pixels.shape[:2]
    inside = inside.clip(height, width)
    core = pixels[inside.top : inside.bottom, inside.left : inside.right]
    margins = ((inside.top, height - inside.bottom), (inside.left, width - inside.right), (0, 0))
    return np.pad(core, margins, mode="edge") if core.size else pixels
