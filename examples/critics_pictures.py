"""Draw the pictures of docs/cannot-show.md and of the critics' studies in docs/studies.md: tiny on drawings, no download.

python examples/critics_pictures.py [FOLDER]

`filters` is also drawn of AlexNet and ZFNet with random weights: what their strides do, whatever they learn. It takes half a
minute on one core and needs the extra `studies`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import ablate, faithful, filters, sanity


def main(folder: str = "docs/pictures") -> None:
    """Draw each study of tiny, and the filters of two nets with random weights, whose grids are printed."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    for name, study in (("ablate", ablate), ("filters", filters), ("sanity", sanity), ("faithful", faithful)):
        study.run(net).save(Path(folder, f"{name}.{'jpg' if study is sanity else 'png'}"))
    drawings = [draw(seed=seed, size=256) for seed in range(12)]
    for model in ("torchvision:alexnet", "zfnet"):
        structure = filters.run(deconvnet.DeconvNet(deconvnet.load_model(model, weights="none")), drawings)
        grid, flat = structure.grid.mean(), structure.flat_grid
        print(f"{model}, random weights, stride {structure.stride[0]}: grid {grid:.1%} of the energy, {flat:.1%} in noise")
        if model != "zfnet":
            structure.save(Path(folder, "filters-alexnet.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
