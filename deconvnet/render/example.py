"""A channel's examples: what excites it, drawn at its size on the page.

A layer has hundreds of channels and a page shows a few, so examples are drawn as soon as they are known, and the floats are
let go: nine examples of 224 x 224 pixels take 7 MB, drawn for a page of twelve channels 0.4 MB.
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


@dataclass(frozen=True)
class Example:
    """One picture that excites a channel.

    `projection` is signed, (C, h, w), with three channels shown as colour and any other count as grey; `patch` is what the net
    saw there, (h, w, 3), 0..255; `inside` is the part of them, in their own rows and columns, that lies in the picture's frame:
    the rest is padding. `source` is the picture's file name.
    """

    projection: npt.NDArray[np.floating]
    patch: Pixels
    inside: Window
    activation: float
    source: str = ""


@dataclass(frozen=True)
class Drawn:
    """An example at its size on the page: two tiles of one size, (h', w', 3), 0..255."""

    projection: Pixels
    patch: Pixels
    activation: float
    source: str = ""
    padded: bool = False  # part of the tiles is hatched

    @property
    def side(self) -> int:
        """The longer side of its tiles in pixels."""
        return max(self.patch.shape[:2])


@dataclass(frozen=True)
class Panel:
    """One channel: its examples, strongest first, drawn or not; `note` says more about it: "fires on 3 % of the pictures"."""

    layer: str
    channel: int
    examples: Sequence[Example | Drawn] = ()
    note: str = ""


def draw_examples(examples: Sequence[Example], side: int, *, tone: Tone = "symmetric", percentile: float = 99.5) -> list[Drawn]:
    """Tone the examples of one channel and draw them with their longer side `side` pixels, of `plate_shape`.

    `tone` and `percentile` are those of `apply_tone`; a tone that shares its scale shares it among the examples given.

        >>> one = Example(np.ones((3, 7, 7)), np.zeros((7, 7, 3), np.uint8), Window(0, 0, 7, 7), 21.4)
        >>> draw_examples([one], 90)[0].projection.shape
        (90, 90, 3)
    """
    for example in examples:
        if example.projection.ndim != 3 or example.patch.shape != (*example.projection.shape[1:], 3):
            found = f"a projection of shape {example.projection.shape} and a patch of shape {example.patch.shape}"
            raise OptionError(f"{found} do not fit each other. Give (C, h, w) and (h, w, 3).")
    windows = [example.inside for example in examples]
    toned = apply_tone([example.projection for example in examples], tone, percentile=percentile, inside=windows)
    return [
        Drawn(
            _tile(shown, example.inside, side),
            _tile(example.patch, example.inside, side),
            example.activation,
            example.source,
            padded=not example.inside.covers(*example.patch.shape[:2]),
        )
        for example, shown in zip(examples, toned, strict=True)
    ]


def draw_panel(panel: Panel, side: int, *, tone: Tone = "symmetric", percentile: float = 99.5) -> Panel:
    """Return the panel with its examples drawn, their longer side `side` pixels; those already drawn stay as they are."""
    waiting = iter(
        draw_examples([one for one in panel.examples if isinstance(one, Example)], side, tone=tone, percentile=percentile)
    )
    return replace(panel, examples=[next(waiting) if isinstance(one, Example) else one for one in panel.examples])


def _tile(shown: Pixels, inside: Window, side: int) -> Pixels:
    """Draw pixels (h, w, 3) as sheets do, without a frame: tiles stand close here, as in the paper."""
    image = draw_tile(_extended(shown, inside), inside, side, None)
    return np.asarray(image.crop((FRAME, FRAME, image.width - FRAME, image.height - FRAME)))


def _extended(shown: Pixels, inside: Window) -> Pixels:
    """Repeat the frame's edge over the padding, which would else be smoothed into the signal before it is hatched."""
    height, width = shown.shape[:2]
    inside = inside.clip(height, width)
    core = shown[inside.top : inside.bottom, inside.left : inside.right]
    margins = ((inside.top, height - inside.bottom), (inside.left, width - inside.right), (0, 0))
    return np.pad(core, margins, mode="edge") if core.size else shown
