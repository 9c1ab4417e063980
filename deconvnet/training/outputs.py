"""Where the drawings of a training go: a folder, TensorBoard, or nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..choices import Tone
from ..errors import OptionError
from ..render.page import paint, text_line, vstack, with_margin
from ..render.palette import FAINT
from ..render.save import save_picture
from ..render.sheet import MARGIN
from ..render.text import SMALL, TITLE, wrap
from ..render.tone import tone_text
from ..results import save_figure
from ..studies.evolve_result import Evolution
from .strips import layer_strip

NEWEST = "features.png"  # the rows so far


@runtime_checkable
class ImageWriter(Protocol):
    """What takes the images: torch.utils.tensorboard.SummaryWriter, or anything with this method."""

    def add_image(self, tag: str, img_tensor: npt.NDArray[np.uint8], global_step: int, *, dataformats: str) -> Any:
        """Take an image (H, W, C), 0..255, of a step."""


class Output(Protocol):
    """Where drawings go."""

    def write(self, drawing: Evolution, so_far: Evolution, tone: Tone) -> list[Path]:
        """Write one drawing, and those so far; return the files written."""


def open_output(out: str | os.PathLike[str] | ImageWriter | None) -> Output:
    """Return the output that `FeatureMonitor` was given as `out`.

    Raises:
        OptionError: it is neither a folder nor a writer.
    """
    if out is None:
        return _Nowhere()
    if isinstance(out, ImageWriter):
        return _Board(out)
    if not isinstance(out, (str, os.PathLike)):
        raise OptionError(
            f"out must be a folder or a writer with add_image(), found {type(out).__name__}."
            " Give a path, or a torch.utils.tensorboard.SummaryWriter."
        )
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"out must be a folder, and {str(folder)!r} is a file. Give another path.")
    return _Folder(folder)


class _Nowhere:
    def write(self, drawing: Evolution, so_far: Evolution, tone: Tone) -> list[Path]:
        """Write nothing."""
        return []


class _Folder:
    """A picture for each drawing, and one of the rows so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, drawing: Evolution, so_far: Evolution, tone: Tone) -> list[Path]:
        """Write step-000500.png and features.png."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (step,) = drawing.names
        strips = [layer_strip(layer, tone) for layer in drawing.layers]
        width = max(strip.width for strip in strips)
        title = text_line(f"step {int(step):,}", TITLE, width)
        settings = drawing.settings
        footer = f"strongest of {settings['pictures']} pictures · {settings['model']} · {tone_text(tone)}"
        notes = vstack([text_line(text, SMALL, width, ink=FAINT) for text in wrap(footer, SMALL, width)])
        page = with_margin(vstack([title, *strips, notes], gap=14), MARGIN)
        path = self.folder / f"step-{int(step):06}.png"
        save_picture(page, path, settings={**settings, "step": int(step), "tone": tone})
        save_figure(so_far.plot(tone=tone), self.folder / NEWEST, settings=so_far.settings)
        return [path, self.folder / NEWEST]


class _Board:
    """An image for each layer, with the step that TensorBoard's slider chooses."""

    def __init__(self, writer: ImageWriter) -> None:
        self.writer = writer

    def write(self, drawing: Evolution, so_far: Evolution, tone: Tone) -> list[Path]:
        """Hand the images over; the writer decides when they are written."""
        (step,) = drawing.names
        for layer in drawing.layers:
            pixels = np.asarray(paint(with_margin(layer_strip(layer, tone), 8)))
            self.writer.add_image(f"features/{layer.layer}", pixels, int(step), dataformats="HWC")
        return []
