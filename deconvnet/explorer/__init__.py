"""The explorer: choose a layer, click a map or a unit, and see its projection, its patch and its numbers at once.

    >>> explorer = deconvnet.explore(deconvnet.load_model("tiny"), "face.png")

`state.py` knows what is chosen, `pictures.py` draws it, `widgets.py` and `style.py` show it, `serve.py` brings it to a browser
without a notebook.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch import nn

from ..choices import RuleChoice, Tone
from ..errors import MissingPackageError
from ..inputs import PictureInput, default_picture
from ..models import LoadedModel
from ..net import DeconvNet
from ..optional import require
from ..projection import Projection

if TYPE_CHECKING:
    from .widgets import ExplorerWidget

__all__ = ["explore"]

OLDEST_WIDGETS = 8  # the first number of ipywidgets' version


def explore(
    model: LoadedModel | nn.Module | DeconvNet,
    picture: PictureInput | None = None,
    *,
    layer: str | None = None,
    rule: RuleChoice = "auto",
    tone: Tone = "soft",
) -> ExplorerWidget | Projection:
    """Explore a model on a picture, in Jupyter: make it the last line of a cell.

    Args:
        model: what `load_model` returned, a module, or a `DeconvNet` with its own options.
        picture: a path, a PIL picture, a drawing, or an image (1, C, H, W) as the model expects it. None: a drawing of a face.
        layer: the first layer; None: that of `project`.
        rule: the first rule: how ReLUs and max pools are reversed.
        tone: the first tone: how signed values become pixels.

    Returns:
        The explorer. If ipywidgets is missing, or older than 8, the projections of the nine strongest channels; a line on
        stderr then says how to install it.

    Raises:
        NoRuleError: the model has no layer from which the rules lead to the pixels.
        OptionError: the rule or the tone is unknown, or there is more than one picture.

        >>> explore(load_model("tiny"), "face.png").projection.layer
        'features.9'
    """
    net = model if isinstance(model, DeconvNet) else DeconvNet(model)
    picture = default_picture() if picture is None else picture
    try:
        _check_version(require("ipywidgets", needed_by="the explorer", extra="notebook").__version__)
    except MissingPackageError as error:
        print(f"{error} Until then, the nine strongest channels:", file=sys.stderr)
        return net.project(net.record(picture), layer, rule=rule)
    from .state import Explorer
    from .widgets import ExplorerWidget

    return ExplorerWidget(Explorer(net, picture, layer=layer, rule=rule, tone=tone))


def _check_version(version: str) -> None:
    """Refuse the widgets before 8, which Colab brings: they are displayed, and hand over files, in another way."""
    if int(version.partition(".")[0]) < OLDEST_WIDGETS:
        raise MissingPackageError(
            f"the explorer needs ipywidgets {OLDEST_WIDGETS} or newer, found {version}. Install one and restart the kernel:"
            f' pip install "ipywidgets>={OLDEST_WIDGETS}"'
        )
