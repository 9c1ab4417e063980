"""The explorer: choose a layer, click a map or a unit, and see its projection, its patch and its numbers at once.

    >>> board = deconvnet.explore(deconvnet.load_model("tiny"), "face.png")

`state.py` knows what is looked at, `pictures.py` draws it, `board.py` and `style.py` are its widgets.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..choices import Tone
from ..errors import MissingPackageError
from ..images import Picture
from ..inputs import default_picture
from ..models import LoadedModel
from ..net import DeconvNet
from ..optional import require
from ..projection import Projection

if TYPE_CHECKING:
    from .widgets import Board

__all__ = ["explore"]


def explore(
    model: LoadedModel | nn.Module | DeconvNet,
    picture: Picture | Tensor | None = None,
    *,
    layer: str | None = None,
    rule: str = "deconvnet",
    tone: Tone = "symmetric",
) -> Board | Projection:
    """Explore a model on a picture, in Jupyter: put it last in a cell.

    `model`: what `load_model` returns, a module, or a `DeconvNet` with options of its own. `picture`: a path, a PIL picture,
    or an image (1, C, H, W) as the model expects it; None: a drawing of a face. Without `layer`, the last rectified one.
    Without ipywidgets, the projection of the nine strongest channels is returned, and how to install them is said.

        >>> explore(load_model("tiny"), "face.png").projection.layer
        'features.13'
    """
    net = model if isinstance(model, DeconvNet) else DeconvNet(model)
    shown = default_picture() if picture is None else picture
    try:
        require("ipywidgets", needed_by="the explorer", extra="notebook")
    except MissingPackageError as error:
        print(f"{error} Until then, the nine strongest channels:", file=sys.stderr)
        return net.project(net.record(shown), layer, rule=rule)
    from .state import Explorer
    from .widgets import Board

    return Board(Explorer(net, shown, layer=layer, rule=rule, tone=tone))
