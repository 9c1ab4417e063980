"""Correspondence (Zeiler & Fergus 2014, 4.3, Table 1): does the net relate the same part in different pictures?

The same part is masked in several pictures. In a layer, eps_i = x_i - x~_i is how masking it moved the features of picture i.
Where the net knows the part, it moves them alike: the Hamming distance of sign(eps_i) and sign(eps_j), over all pairs, is then
lower than for masks at random positions. The paper's printed numbers (0.07) can only be means over features and pairs, so that
is what is measured here. A sign is one of three: features that do not change have none. Rounding is no change: below
`tolerance` times the largest feature of the picture, eps counts as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, as_list, source_names
from ..layers import check_layers, last_layer, top_layer
from ..net import DeconvNet
from ..recording import Recording
from ..units import Window
from .boxes import Boxes, boxes_of, read_boxes, shown_box
from .correspond_result import RANDOM, Correspondence, PartRow
from .fill import Fill, fill_colour
from .forward import iterate_features, shown_pixels
from .settings import study_settings

__all__ = ["Correspondence", "PartRow", "boxes_of", "read_boxes", "run"]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    parts: Sequence[Boxes],
    *,
    layers: Sequence[str] | None = None,
    fill: Fill = "mean",
    trials: int = 12,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> Correspondence:
    """Mask the same part in all pictures, part by part, and compare how the features move.

    Args:
        net: the net to study.
        pictures: two or more: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them.
        parts: for each picture the boxes of its parts by name, a box being [top, left, height, width] in the picture's pixels
            (of a tensor: in the image's). All pictures must have the same parts.
        layers: where features are measured; by default in the last rectified layer with maps and in the last one below the
            classifier (the paper's layers 5 and 7).
        fill: what fills the mask: "mean", "picture", "black", "white", or a colour, 0..1 for each channel.
        trials: random masks of each picture. Each is as large as one of the parts in turn, and lies anywhere inside the
            picture.
        seed: of the random masks.
        tolerance: the share of a picture's largest feature below which a change counts as none.

    Returns:
        The distances for each part and for random masks.

    Raises:
        PictureError: a picture cannot be opened, or what the net does to it is not known.
        UnknownLayerError: the net has no such layer.
        OptionError: another option's value is not possible.

        >>> result = correspond.run(net, ["a.jpg", "b.jpg"], [{"nose": [90, 80, 30, 40]}, {"nose": [85, 99, 28, 36]}])
        >>> print(result.table())
        mean feature sign change  features.13    classifier.3
        nose                      0.237 ± 0.000  0.703 ± 0.000
        random                    0.340 ± 0.041  0.757 ± 0.055
    """
    inputs = as_list(pictures)
    sources = source_names(inputs)
    names = _part_names(parts, sources)
    if trials < 1:
        raise OptionError(f"trials cannot be {trials}: it is the number of random masks of each picture, 1 or more.")
    images = as_batch(net, inputs)
    recording = net.record(images[:1], stop=False)
    layers = list(dict.fromkeys(layers or (last_layer(recording), top_layer(recording))))
    check_layers(recording, layers)
    boxes = [
        {name: shown_box(net, picture, part_boxes[name], images.shape[2:], f"{name!r} in {source}") for name in names}
        for picture, source, part_boxes in zip(inputs, sources, parts, strict=True)
    ]
    rng = np.random.default_rng(seed)
    masks = [[*windows.values(), *_random_masks(rng, list(windows.values()), trials, images.shape[2:])] for windows in boxes]
    signs = [
        _change_signs(net, recording, image, windows, layers, fill_colour(net, image, fill), tolerance)
        for image, windows in zip(images, masks, strict=True)
    ]
    pairs = list(combinations(range(len(images)), 2))
    return Correspondence(
        rows=_rows(
            {layer: torch.stack([picture_signs[layer] for picture_signs in signs], 1) for layer in layers}, names, pairs
        ),
        layers=tuple(layers),
        pairs=np.array(pairs),
        sources=tuple(sources),
        boxes={name: np.array([windows[name].to_list() for windows in boxes]) for name in names},
        pictures=np.stack([shown_pixels(net, image) for image in images]),
        settings=study_settings(
            net,
            "correspond",
            pictures=sources,
            layers=layers,
            parts=names,
            fill=fill,
            trials=trials,
            seed=seed,
            tolerance=tolerance,
        ),
    )


def _part_names(parts: Sequence[Boxes], sources: Sequence[str]) -> list[str]:
    """Return the names of the parts, which must be those of every picture."""
    if len(parts) != len(sources):
        raise OptionError(f"parts must be one for each of the {len(sources)} pictures, found {len(parts)}.")
    if len(parts) < 2:
        raise OptionError(f"pictures are compared in pairs, found {len(parts)}. Give two or more.")
    for source, boxes in zip(sources, parts, strict=True):
        different = sorted(set(boxes) ^ set(parts[0]))
        if different:
            raise OptionError(f"all pictures must have the same parts: {different[0]!r} is not in all of them ({source}).")
    if not parts[0] or RANDOM in parts[0]:
        raise OptionError(f"parts must have names, one or more, and none may be {RANDOM!r}: that is the control.")
    return list(parts[0])


def _random_masks(rng: np.random.Generator, boxes: Sequence[Window], trials: int, size: Sequence[int]) -> list[Window]:
    """Return masks that lie anywhere inside a picture of `size`, each as large as one of the boxes in turn."""
    return [_moved_box(rng, boxes[trial % len(boxes)], size) for trial in range(trials)]


def _moved_box(rng: np.random.Generator, box: Window, size: Sequence[int]) -> Window:
    top, left = rng.integers(size[0] - box.height + 1), rng.integers(size[1] - box.width + 1)
    return Window(int(top), int(left), box.height, box.width)


def _change_signs(
    net: DeconvNet,
    recording: Recording,
    image: Tensor,
    masks: Sequence[Window],
    layers: Sequence[str],
    colour: Tensor,
    tolerance: float,
) -> dict[str, Tensor]:
    """Return sign(x - x~) for each mask, (masks, F) int8, in each layer."""
    images = image.repeat(len(masks) + 1, 1, 1, 1)  # the first stays whole
    for masked, box in zip(images[1:], masks, strict=True):
        masked[:, box.top : box.bottom, box.left : box.right] = colour
    batches = list(iterate_features(net, recording, images, layers))
    signs = {}
    for layer in layers:
        values = torch.cat([batch.layers[layer].flatten(1).float().cpu() for batch in batches])
        change = values[:1] - values[1:]
        change[change.abs() <= tolerance * values[0].abs().max()] = 0
        signs[layer] = change.sign().to(torch.int8)
    return signs


def _rows(signs: Mapping[str, Tensor], names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[PartRow, ...]:
    """Return a row for each part and one for the random masks, which are the last; signs: (masks, P, F) of each layer."""
    slices = {name: slice(index, index + 1) for index, name in enumerate(names)} | {RANDOM: slice(len(names), None)}
    return tuple(_row(name, {layer: values[masks] for layer, values in signs.items()}, pairs) for name, masks in slices.items())


def _row(name: str, signs: Mapping[str, Tensor], pairs: Sequence[tuple[int, int]]) -> PartRow:
    """Compare the pictures of each pair; signs: (masks, P, F) of each layer."""
    distances = {
        layer: torch.stack([(values[:, i] != values[:, j]).float().mean(1) for i, j in pairs], 1).numpy()
        for layer, values in signs.items()
    }
    return PartRow(
        name=name,
        mean={layer: float(values.mean()) for layer, values in distances.items()},
        spread={layer: float(values.std()) for layer, values in distances.items()},
        changed={layer: float((values != 0).float().mean()) for layer, values in signs.items()},
        distances=distances,
    )
