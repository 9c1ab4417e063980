"""Draw the pictures of the README: tiny, on drawings that it has not seen.

python examples/readme_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import deconvnet
from deconvnet.drawings import draw

LAYERS = {"face": [None], "bicycle": ["features.4", "features.8", "features.12"]}  # None: the layer taken by default
SEEDS = {"face": 7, "bicycle": 5}


def main(folder: str = "docs/pictures") -> None:
    """Draw the nine strongest channels of each layer, a sheet for each scene."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    for name, layers in LAYERS.items():
        picture: Any = draw(name, seed=SEEDS[name]).picture
        picture.filename = f"a drawing of a {name}"
        recording = net.record([picture])
        deconvnet.save_sheet([net.project(recording, layer) for layer in layers], Path(folder, f"{name}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
