"""Draw the pictures of docs/upsampling-learned.md, all but the segmentation nets'; about three minutes on two cores.

python examples/upsampling_pictures.py [FOLDER]
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import deconvnet
from deconvnet.results import save_figure
from deconvnet.upsampling import adaptive, adaptive_learning, blurs, deblur, dictionary, dictionary_learning, figures, sparse
from deconvnet.upsampling.part_labels import draw_labelled


def draw_restorations(folder: Path) -> None:
    bicycle = draw_labelled([65], 108)[0]
    deblur.run(bicycle, blurs.motion_blur(7, 30.0), balance=0.1).save(folder / "deconvolution.png")


def draw_codes(folder: Path, edges: torch.Tensor, rounds: int) -> None:
    learned = dictionary_learning.learn(edges, atoms=36, side=9, penalty=0.05, rounds=rounds).dictionary
    first_layer = dictionary.from_layer(deconvnet.load_model("tiny").model.features[0])
    bird = draw_labelled([100], 3 * edges.shape[2] // 2)[0]  # which the dictionary has not seen
    smooth = blurs.smooth_part(bird)
    for name, atoms in (("sparse-codes", learned), ("sparse-codes-tiny", first_layer)):
        codes = sparse.encode(bird - smooth, atoms, penalty=0.05)
        save_figure(figures.plot_codes(bird[0], smooth[0], atoms, codes), folder / f"{name}.png", settings={"penalty": 0.05})


def draw_layers(folder: Path, edges: torch.Tensor, rounds: int) -> None:
    filters = adaptive_learning.learn(edges, penalty=0.03, rounds=rounds).filters
    size = (edges.shape[2], edges.shape[3])
    pictures, _ = draw_labelled([100, 107], size[0])
    smooth = blurs.smooth_part(pictures)
    layers = adaptive.infer(pictures - smooth, filters, penalty=0.03, iterations=60)
    switches = [layer.switches for layer in layers]
    changed = {
        "with fixed switches": [replace(layer, offsets=torch.zeros_like(layer.offsets)) for layer in switches],
        "with another's": [replace(layer, offsets=layer.offsets.roll(1, 0)) for layer in switches],
    }
    top = layers[-1].pooled
    swapped = [(name, adaptive.reconstruct(top, size, filters=filters, switches=s)[0]) for name, s in changed.items()]
    figure = figures.plot_layers(pictures[0], smooth[0], layers, filters[0], swapped)
    save_figure(figure, folder / "adaptive.png", settings={"penalty": 0.03, "rounds": rounds})


def main(folder: str = "docs/pictures", rounds: int = 30, drawings: int = 12, size: int = 64) -> None:
    pictures, _ = draw_labelled(range(drawings), size)
    edges = pictures - blurs.smooth_part(pictures)
    draw_restorations(Path(folder))
    draw_codes(Path(folder), edges, rounds)
    draw_layers(Path(folder), edges, rounds)


if __name__ == "__main__":
    main(*sys.argv[1:])
