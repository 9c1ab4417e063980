"""Draw the pictures of docs/upsampling-learned.md, all but the segmenting nets'; about three minutes on two cores.

python examples/upsampling_pictures.py [FOLDER]
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import deconvnet
from deconvnet.results import save_figure
from deconvnet.upsampling import adaptive, adaptive_learning, deconvolve, dictionary, figures, sparse
from deconvnet.upsampling import deblur as restore
from deconvnet.upsampling import part_labels as parts


def blurred(folder: Path) -> None:
    result = restore.run(parts.draw_labelled([65], 108)[0], deconvolve.motion_blur(7, 30.0), balance=0.1)  # a bicycle
    save_figure(figures.plot_restorations(result), folder / "deconvolution.png", settings=result.settings)


def coded(folder: Path, learned_from: torch.Tensor, rounds: int) -> None:
    learned = dictionary.learn(learned_from, atoms=36, side=9, penalty=0.05, rounds=rounds).dictionary
    first = dictionary.from_layer(deconvnet.load_model("tiny").model.features[0])
    [fresh] = parts.draw_labelled([100], 3 * learned_from.shape[2] // 2)[:1]  # a bird that it has not seen
    smooth = deconvolve.smooth(fresh)
    for name, given in (("sparse-codes", learned), ("sparse-codes-tiny", first)):
        codes = sparse.encode(fresh - smooth, given, penalty=0.05)
        save_figure(figures.plot_codes(fresh[0], smooth[0], given, codes), folder / f"{name}.png", settings={"penalty": 0.05})


def layered(folder: Path, learned_from: torch.Tensor, rounds: int) -> None:
    filters = adaptive_learning.learn(learned_from, penalty=0.03, rounds=rounds).filters
    size = (learned_from.shape[2], learned_from.shape[3])
    fresh, _ = parts.draw_labelled([100, 107], size[0])
    smooth = deconvolve.smooth(fresh)
    layers = adaptive.infer(fresh - smooth, filters, penalty=0.03, iterations=60)
    own = [layer.switches for layer in layers]
    fixed = [replace(one, places=torch.zeros_like(one.places)) for one in own]
    others = [replace(one, places=one.places.roll(1, 0)) for one in own]
    top, swapped = layers[-1].pooled, []
    for caption, switches in (("with fixed switches", fixed), ("with another's", others)):
        swapped.append((caption, adaptive.reconstruct(top, size, filters=filters, switches=switches)[0]))
    figure = figures.plot_layers(fresh[0], smooth[0], layers, filters[0], swapped)
    save_figure(figure, folder / "adaptive.png", settings={"penalty": 0.03, "rounds": rounds})


def main(folder: str = "docs/pictures", rounds: int = 30, drawings: int = 12, size: int = 64) -> None:
    pictures, _ = parts.draw_labelled(range(drawings), size)
    edges = pictures - deconvolve.smooth(pictures)
    blurred(Path(folder))
    coded(Path(folder), edges, rounds)
    layered(Path(folder), edges, rounds)


if __name__ == "__main__":
    main(*sys.argv[1:])
