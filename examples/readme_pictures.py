"""Draw the pictures of the README: tiny on drawings that it was not trained on.

python examples/readme_pictures.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import deconvnet
from deconvnet.drawings import draw
from deconvnet.inputs import named_picture

LAYERS = {"face": [None], "bicycle": ["features.4", "features.8", "features.12"]}  # None: the layer taken by default
SEEDS = {"face": 7, "bicycle": 5}


def main(folder: str = "docs/pictures") -> None:
    """Draw a sheet for each scene: the nine strongest channels of each layer."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    for name, layers in LAYERS.items():
        picture = named_picture(draw(name, seed=SEEDS[name]).picture, f"a drawing of a {name}")
        recording = net.record(picture)
        deconvnet.save_sheet([net.project(recording, layer) for layer in layers], Path(folder, f"{name}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
