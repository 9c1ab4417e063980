"""Draws the pictures of the documentation that show scans of drawings: Figure 2 of `tiny`.

python examples/site_pictures.py docs/pictures
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import deconvnet
from deconvnet.drawings import draw

DRAWINGS = 600
LAYERS = ("features.9", "features.13")


def main(folder: str) -> None:
    """Scan drawings with `tiny`, and draw the six most selective channels of each layer."""
    with tempfile.TemporaryDirectory() as work:
        for seed in range(DRAWINGS):
            draw(seed=900_000 + seed).picture.save(Path(work) / f"{seed:03}.png")
        net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
        with deconvnet.scan(net, work, Path(work) / "tiny.scan", layers=LAYERS) as scan:
            channels = {layer: scan.best(layer, 6) for layer in LAYERS}
            scan.plate(channels, layout="paper").save(Path(folder) / "figure-2.jpg", tile=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
