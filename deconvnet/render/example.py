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
from .tone import Pixels, apply_tone


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
    """

    projection: Pixels
    patch: Pixels
    activation: float
    source: str = ""
    padded: bool = False

    @property
    def side(self) -> int:
        """The longer side of its tiles, in pixels."""
        return max(self.patch.shape[:2])


@dataclass(frozen=True, eq=False)
class Panel:
    """One channel on a plate.

    Attributes:
        layer, channel: which channel it is.
        examples: what excites it, the strongest first.
        note: what else is known of it: "fires on 3 % of the pictures".
    """

    layer: str
    channel: int
    examples: Sequence[Example | DrawnExample] = ()
    note: str = ""


def draw_examples(
    examples: Sequence[Example], side: int, *, tone: Tone = "soft", percentile: float | None = None
) -> list[DrawnExample]:
    """Tone the examples of one channel and draw them at their size on the page.

    Args:
        examples: the examples; a tone that shares its scale shares it among them.
        side: the longer side of a tile, in pixels: see `plate_shape`.
        tone, percentile: see `apply_tone`.

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
            _draw(pixels, example.inside, side),
            _draw(example.patch, example.inside, side),
            example.activation,
            example.source,
            padded=not example.inside.covers(*example.patch.shape[:2]),
        )
        for example, pixels in zip(examples, toned, strict=True)
    ]


def draw_panel(panel: Panel, side: int, *, tone: Tone = "soft", percentile: float | None = None) -> Panel:
    """Return the panel with its examples drawn, as `draw_examples` does; those already drawn stay as they are."""
    undrawn = [example for example in panel.examples if isinstance(example, Example)]
    drawn = iter(draw_examples(undrawn, side, tone=tone, percentile=percentile))
    return replace(panel, examples=[next(drawn) if isinstance(example, Example) else example for example in panel.examples])


def _draw(pixels: Pixels, inside: Window, side: int) -> Pixels:
    """Draw pixels (h, w, 3) as sheets do, but without a frame: the tiles of a plate stand close, as in the paper."""
    image = draw_tile(_extend_edges(pixels, inside), inside, side, None)
    return np.asarray(image.crop((FRAME, FRAME, image.width - FRAME, image.height - FRAME)))


def _extend_edges(pixels: Pixels, inside: Window) -> Pixels:
    """Repeat the pixels at the frame's edge over the padding; enlarging would otherwise blend the padding into them."""
    height, width = pixels.shape[:2]
    inside = inside.clip(height, width)
    core = pixels[inside.top : inside.bottom, inside.left : inside.right]
    margins = ((inside.top, height - inside.bottom), (inside.left, width - inside.right), (0, 0))
    return np.pad(core, margins, mode="edge") if core.size else pixels
