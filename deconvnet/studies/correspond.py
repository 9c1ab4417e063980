"""Correspondence (Zeiler & Fergus 2014, 4.3, Table 1): does the net relate the same part in different pictures?

The same part is masked in several pictures. In a layer, eps_i = x_i - x~_i is how masking it moved the features of picture i.
Where the net knows the part, it moves them alike: the signs of eps_i and eps_j then differ in fewer features than by chance.

Two things decide what such a number says. Features that a mask does not change have no sign. To count them, as a Hamming
distance of three signs does, measures how much a mask changes rather than how; so the **disagreement** is the share of
differing signs among the features that *both* masks changed: 0.5 is chance. (The distance of three signs is kept beside it.)
And a control must lie on the object, or it hits background that few features see; for each part, masks on the object are chosen
that change as many features as the part's own.

Rounding is no change: below `tolerance` times the largest feature of the picture, eps counts as 0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..inputs import PictureInputs, as_batch, as_list, source_names
from ..layers import find_layers, last_layer, top_layer
from ..net import DeconvNet
from ..progress import counted
from ..recording import Recording
from ..units import Window
from .arrays import Floats
from .boxes import OBJECT, Boxes, boxes_of, object_box, read_boxes, shown_box
from .correspond_result import ON_OBJECT, RANDOM, Correspondence, PartRow
from .fill import Fill, fill_colour
from .forward import iterate_features, shown_pixels
from .settings import study_settings
from .similarity import mean_known
from .statistics import Comparison, corrected, estimate_disagreement

__all__ = ["Correspondence", "PartRow", "boxes_of", "object_box", "read_boxes", "run"]


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
            (of a tensor: in the image's). All pictures must have the same parts. The box called "object" is not masked: masks
            of the control lie inside it; by default it is the box around all parts.
        layers: where features are measured; by default in the last rectified layer with maps and in the last one below the
            classifier (the paper's layers 5 and 7).
        fill: what fills the mask: "mean", "picture", "black", "white", or a colour, 0..1 for each channel.
        trials: random masks of each picture anywhere in it, and as many on the object. Each is as large as one of the parts in
            turn.
        seed: of the random masks.
        tolerance: the share of a picture's largest feature below which a change counts as none.

    Returns:
        The disagreement for each part and for the controls, with intervals over pictures.

    Raises:
        PictureError: a picture cannot be opened, or what the net does to it is not known.
        UnknownLayerError: the net has no such layer.
        OptionError: another option's value is not possible.

        >>> boxes = [{"nose": [90, 80, 30, 40]}, {"nose": [85, 99, 28, 36]}]
        >>> result = correspond.run(net, ["a.jpg", "b.jpg"], boxes, layers=["features.13"])
        >>> [row.name for row in result.rows]
        ['nose', 'random', 'on the object']
    """
    inputs = as_list(pictures)
    sources = source_names(inputs)
    names = _part_names(parts, sources)
    if trials < 1:
        raise OptionError(f"trials cannot be {trials}: it is the number of random masks of each picture, 1 or more.")
    images = as_batch(net, inputs)
    recording = net.record(images[:1], stop=False)
    layers = find_layers(recording, layers or (last_layer(recording), top_layer(recording)))
    boxes = [
        {name: shown_box(net, picture, box, images.shape[2:], f"{name!r} in {source}") for name, box in part_boxes.items()}
        for picture, source, part_boxes in zip(inputs, sources, parts, strict=True)
    ]
    rng = np.random.default_rng(seed)
    masks = [_masks(rng, windows, names, trials, images.shape[2:]) for windows in boxes]
    signs = [
        _change_signs(net, recording, image, windows, layers, fill_colour(net, image, fill), tolerance)
        for image, windows in counted(zip(images, masks, strict=True), len(images), "masking", "picture")
    ]
    measured = {
        layer: _Measured.of(torch.stack([picture_signs[layer] for picture_signs in signs], 1), len(names), trials)
        for layer in layers
    }
    return Correspondence(
        rows=_rows(measured, names),
        layers=tuple(layers),
        comparisons=_compare_with_control(measured, names),
        sources=tuple(sources),
        boxes={name: np.array([windows[name].to_list() for windows in boxes]) for name in boxes[0]},
        pictures=np.stack([shown_pixels(net, image) for image in images]),
        settings=study_settings(
            net,
            "correspond",
            inputs=inputs,
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
    names = [name for name in parts[0] if name != OBJECT]
    if not names or {RANDOM, ON_OBJECT}.intersection(names):
        controls = f"none may be {RANDOM!r} or {ON_OBJECT!r}: these are the controls"
        raise OptionError(f"parts must have names, one or more besides {OBJECT!r}, and {controls}.")
    return names


def _masks(
    rng: np.random.Generator, boxes: Mapping[str, Window], names: Sequence[str], trials: int, size: Sequence[int]
) -> list[Window]:
    """Return the masks of a picture of `size`: its parts, then random ones anywhere, then random ones on the object."""
    parts = [boxes[name] for name in names]
    around = boxes.get(OBJECT) or functools.reduce(Window.union, parts)
    frame = Window(0, 0, size[0], size[1])
    return [
        *parts,
        *(_moved_box(rng, parts[trial % len(parts)], place) for place in (frame, around) for trial in range(trials)),
    ]


def _moved_box(rng: np.random.Generator, box: Window, place: Window) -> Window:
    """Move a box to a random position in a place; where it is larger, only its middle lies there, as far as that goes."""
    spare = max(place.height - box.height, 0), max(place.width - box.width, 0)
    return Window(
        place.top + int(rng.integers(spare[0] + 1)), place.left + int(rng.integers(spare[1] + 1)), box.height, box.width
    )


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


@dataclass(frozen=True, eq=False)
class _Measured:
    """What masks did to the features of P pictures in one layer.

    The M masks are those of the parts, then `trials` random ones anywhere, then as many on the object.
    """

    disagreement: Floats  # (M, P, P): of the signs of features that both masks changed; NaN where there is none
    distance: Floats  # (M, P, P): of three signs, over all features
    changed: Floats  # (M, P): the share of the features that a mask changes
    matched: Floats  # (parts, P, P): the disagreement of masks on the object that change as many features as the part's own
    trials: int

    @classmethod
    def of(cls, signs: Tensor, parts: int, trials: int) -> _Measured:
        """Compare the pictures of each pair; signs: (M, P, F), -1, 0 or 1."""
        pairs = [_compare_signs(values) for values in signs]
        changed = (signs != 0).float().mean(2)
        on_object = slice(parts + trials, None)
        matched = []
        for part in range(parts):  # for each picture, the mask on the object whose effect is as large as the part's
            nearest = (changed[on_object] - changed[part]).abs().argmin(0)
            chosen = torch.stack([signs[on_object][mask, picture] for picture, mask in enumerate(nearest.tolist())])
            matched.append(_compare_signs(chosen)[0])
        disagreement, distance = (np.stack(values) for values in zip(*pairs, strict=True))
        return cls(disagreement, distance, changed.numpy(), np.stack(matched), trials)


def _compare_signs(signs: Tensor) -> tuple[Floats, Floats]:
    """Return the disagreement of pictures' signs (P, F) where both have one, and the distance of three signs: (P, P) each."""
    values = signs.float()
    has_sign = (values != 0).float()
    both, same_less_other = (has_sign @ has_sign.T).double(), (values @ values.T).double()
    neither = ((1 - has_sign) @ (1 - has_sign).T).double()
    differ = (both - same_less_other) / 2
    disagreement = torch.where(both > 0, differ / both.clamp(min=1), torch.nan)
    distance = 1 - (both - differ + neither) / signs.shape[1]
    return disagreement.numpy(), distance.numpy()


def _rows(measured: Mapping[str, _Measured], names: Sequence[str]) -> tuple[PartRow, ...]:
    """Return a row for each part, and one for each control: random masks anywhere, and on the object."""
    parts, trials = len(names), next(iter(measured.values())).trials
    slices = {name: slice(index, index + 1) for index, name in enumerate(names)}
    slices |= {RANDOM: slice(parts, parts + trials), ON_OBJECT: slice(parts + trials, None)}
    return tuple(_row(name, measured, masks) for name, masks in slices.items())


def _row(name: str, measured: Mapping[str, _Measured], masks: slice) -> PartRow:
    disagreements = {layer: mean_known(values.disagreement[masks], 0) for layer, values in measured.items()}
    return PartRow(
        name=name,
        means={layer: estimate_disagreement(values)[0] for layer, values in disagreements.items()},
        distance={layer: _pair_mean(values.distance[masks].mean(0)) for layer, values in measured.items()},
        changed={layer: float(values.changed[masks].mean()) for layer, values in measured.items()},
        disagreements=disagreements,
    )


def _pair_mean(values: Floats) -> float:
    return float(values[np.triu_indices(len(values), 1)].mean())


def _compare_with_control(measured: Mapping[str, _Measured], names: Sequence[str]) -> tuple[Comparison, ...]:
    """Compare each part with masks on the object that change as many features; the first part in the last layer decides."""
    estimates = {
        f"{name}, {layer}": estimate_disagreement(values.disagreement[part], values.matched[part])
        for layer, values in measured.items()
        for part, name in enumerate(names)
    }
    return corrected(estimates, primary=f"{names[0]}, {list(measured)[-1]}")
