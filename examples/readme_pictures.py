"""Draw the pictures of the README: tiny, on drawings that it has not seen."""

from __future__ import annotations

import sys
from pathlib import Path

import deconvnet
from deconvnet.drawings import draw
from deconvnet.render import save_picture

DRAWINGS = {"face": 7, "bicycle": 5}  # scene -> seed


def main(folder: str = "docs/pictures") -> None:
    """Project the nine strongest channels of conv5, and of three layers, for each drawing."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    for name, seed in DRAWINGS.items():
        recording = net.record([draw(name, seed=seed).picture])
        projection = net.project(recording)
        save_picture(projection.figure(), Path(folder, f"{name}.png"), settings=projection.settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
