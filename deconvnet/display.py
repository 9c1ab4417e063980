"""One call from a picture to its projections, seen at once: in a notebook's output, or in the system's picture viewer."""

from __future__ import annotations

import sys
from typing import Any

from PIL import Image, ImageShow
from torch import nn

from .choices import RuleChoice, Tone
from .errors import OptionError
from .inputs import PictureInputs, default_picture
from .models import LoadedModel, load_model
from .net import DeconvNet


def show(
    pictures: PictureInputs | None = None,
    model: str | LoadedModel | nn.Module | DeconvNet = "tiny",
    layer: str | None = None,
    *,
    channels: list[int] | None = None,
    top: int = 9,
    rule: RuleChoice = "auto",
    tone: Tone = "soft",
) -> None:
    """Project the strongest channels of pictures and show a sheet for each, in Jupyter, VS Code, Colab, or a viewer's window.

    To keep what was computed, use `DeconvNet.project`, whose result shows itself as a cell's last line.

    Args:
        pictures: one or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the model expects them; None: a
            drawing.
        model: its name, as `load_model` takes it, with its own weights; what `load_model` returned; a module; a `DeconvNet`.
        layer: its name; None: the last rectified one whose units see less than two fifths of the picture.
        channels: their numbers; None: the `top` strongest of each picture.
        top: how many channels.
        rule: how ReLUs and max pools are reversed, as for `DeconvNet.project`.
        tone: how signed values become pixels.

    Raises:
        PictureError: a picture cannot be read.
        UnknownModelError: there is no such model.
        UnknownLayerError: the net has no such layer.
        OptionError: an option is none of its values, or there is neither a notebook nor a viewer.
    """
    net = model if isinstance(model, DeconvNet) else DeconvNet(load_model(model) if isinstance(model, str) else model)
    recording = net.record(default_picture() if pictures is None else pictures)
    projection = net.project(recording, layer, channels=channels, top=top, rule=rule)
    for image in range(len(recording)):
        _show_picture(projection.of_image(image).figure(tone=tone))


def _show_picture(picture: Image.Image) -> None:
    """Show a picture in the output of the notebook's cell that is running, or in a window."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython and ipython.get_ipython()
    if hasattr(shell, "kernel"):  # a terminal's IPython has none, and would print the picture's address
        ipython.display.display(picture)
    elif not ImageShow.show(picture, title="deconvnet"):
        raise OptionError(
            "there is neither a notebook nor a picture viewer to show it."
            " Save it: DeconvNet(...).project(...).save('sheet.png')."
        )
