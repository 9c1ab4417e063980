"""Feature invariance (Zeiler & Fergus 2014, 4.1, Fig. 5): translate, scale and rotate pictures; how far do features move?

For each picture the Euclidean distance between the features of the picture and of its transform is measured, in a low and a
high layer, and the probability of its class. The paper's ranges: -60 to 60 pixels of 224, scale 1 to 1.8, rotation 0 to 350
degrees. It gives neither the steps, nor the fill of the border, nor the interpolation, nor how distances were normalised: all
are options here. What is transformed is the picture that the net sees, after cropping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..choices import DISTANCES, GRID_INTERPOLATIONS, TRANSLATION_AXES, BorderName, Distance, GridInterpolation, TranslationAxis
from ..errors import OptionError, check_option
from ..inputs import PictureInputs, as_batch, source_names
from ..layers import find_layers, first_layer, top_layer
from ..net import DeconvNet
from ..progress import Counter, counting
from ..recording import Recording
from .arrays import Floats
from .classes import class_number, class_probabilities
from .forward import iterate_features, shown_pixels
from .invariance_result import KINDS, Invariance, Sweep
from .settings import study_settings
from .transform import Transform

__all__ = ["Invariance", "Sweep", "run", "swept_values"]

#: The paper's largest translation, in pixels of a picture whose short side is `SHORT_SIDE` pixels.
LARGEST_TRANSLATION, SHORT_SIDE = 60, 224
#: The share of each kind's values at which examples are drawn: far enough for the transformation to be seen.
EXAMPLE_AT = {"translation": 0.25, "scale": 0.75, "rotation": 0.1}


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    *,
    layers: Sequence[str] | None = None,
    labels: Sequence[int | str] | None = None,
    axis: TranslationAxis = "vertical",
    values: Mapping[str, Sequence[float]] | None = None,
    distance: Distance = "relative",
    fill: BorderName | Sequence[float] = "mean",
    interpolation: GridInterpolation = "bilinear",
) -> Invariance:
    """Transform pictures step by step, and measure how their features and the class's probability change.

    Args:
        net: the net to study.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them.
        layers: where features are measured; by default in the first rectified layer and in the last one below the classifier
            (the paper's layers 1 and 7).
        labels: each picture's class, by number or name; by default the one that is the most probable to the net.
        axis: the direction of the translation.
        values: the values of "translation" (pixels), "scale" (ratios) or "rotation" (degrees), where others than the paper's
            ranges are wanted.
        distance: "relative" to the length of the untransformed features, "rms" (root mean square over features), or "plain".
        fill: what comes in at the border: "mean", "picture", "black", "white", "edge" (the border continues), or a colour,
            0..1 for each channel.
        interpolation: how pixels are taken from between pixels.

    Returns:
        Distances and probabilities for each picture and value.

    Raises:
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        OptionError: another option's value is not possible.

        >>> invariance.run(net, ["dog.jpg"]).rotation.values[:3]
        array([ 0., 10., 20.])
    """
    check_option("axis", axis, TRANSLATION_AXES)
    check_option("distance", distance, DISTANCES)
    check_option("interpolation", interpolation, GRID_INTERPOLATIONS)
    images, sources = as_batch(net, pictures), source_names(pictures)
    recording = net.record(images[:1], stop=False)
    layers = find_layers(recording, layers or [first_layer(recording), top_layer(recording)])
    kinds = swept_values(images.shape[2:], values)
    numbers = _label_numbers(net, recording, images, labels)
    transform = Transform(axis, interpolation, fill)
    total = len(images) * sum(map(len, kinds.values()))
    with counting(total, "transforming", "picture") as counter:
        sweeps = {
            kind: _sweep(net, recording, images, layers, numbers, kind, kinds[kind], transform, distance, counter)
            for kind in KINDS
        }
    return Invariance(
        **sweeps,
        sources=tuple(sources),
        labels=tuple(numbers),
        classes=tuple(net.loaded.class_name(number) for number in numbers),
        settings=study_settings(
            net,
            "invariance",
            inputs=pictures,
            pictures=sources,
            layers=layers,
            axis=axis,
            distance=distance,
            fill=fill,
            interpolation=interpolation,
        ),
    )


def swept_values(size: Sequence[int], values: Mapping[str, Sequence[float]] | None = None) -> dict[str, Floats]:
    """Return the values of each kind of transformation.

    Args:
        size: (H, W) of the images.
        values: those of some kinds; the others get the paper's ranges, translations in proportion to the short side and in
            whole pixels.

    Raises:
        OptionError: a kind is unknown, or its values are no numbers, or no ratios above 0.
    """
    largest = round(LARGEST_TRANSLATION * min(size) / SHORT_SIDE)
    kinds: dict[str, Floats] = {
        "translation": np.unique(np.linspace(-largest, largest, 25).round()),
        "scale": np.linspace(1, 1.8, 17),
        "rotation": np.arange(0.0, 360.0, 10.0),
    }
    for kind, numbers in (values or {}).items():
        check_option("values", kind, KINDS)
        kinds[kind] = np.asarray(numbers, dtype=np.float64)
        if kinds[kind].ndim != 1 or not len(kinds[kind]) or not np.isfinite(kinds[kind]).all():
            raise OptionError(f"the values of {kind} must be a list of numbers, one or more, found {numbers!r}.")
    if (kinds["scale"] <= 0).any():
        raise OptionError(f"scale cannot be {kinds['scale'].min():g}: it is a ratio above 0; 1 leaves the picture as it is.")
    return kinds


def _label_numbers(net: DeconvNet, recording: Recording, images: Tensor, labels: Sequence[int | str] | None) -> list[int]:
    """Return the number of each picture's class, or nothing where the net is no classifier."""
    outputs = [next(iterate_features(net, recording, image[None], [])).output for image in images]
    probabilities = [known for output in outputs if (known := class_probabilities(output)) is not None]
    if len(probabilities) < len(images):
        return []
    if labels is None:
        return [int(row[0].argmax()) for row in probabilities]
    if len(labels) != len(images):
        raise OptionError(f"labels must be one for each of the {len(images)} pictures, found {len(labels)}.")
    return [class_number(net, label, row.shape[1]) for label, row in zip(labels, probabilities, strict=True)]


def _sweep(
    net: DeconvNet,
    recording: Recording,
    images: Tensor,
    layers: Sequence[str],
    labels: Sequence[int],
    kind: str,
    values: Floats,
    transform: Transform,
    distance: Distance,
    counter: Counter,
) -> Sweep:
    """Measure all pictures at all values of one kind of transformation."""
    example = float(values[round(EXAMPLE_AT[kind] * (len(values) - 1))])
    distances: dict[str, list[float]] = {layer: [] for layer in layers}
    shares: list[float] = []
    shown = []
    for number, image in enumerate(images):  # features are let go at once: those of all pictures may fill the memory
        still = next(iterate_features(net, recording, image[None], layers)).layers
        for batch in iterate_features(net, recording, transform(net, image, kind, values.tolist()), layers):
            for layer in layers:
                distances[layer] += _distances(batch.layers[layer], still[layer], distance)
            probabilities = class_probabilities(batch.output) if labels else None
            if probabilities is not None:
                shares += probabilities[:, labels[number]].tolist()
        shown.append(shown_pixels(net, transform(net, image, kind, [example])[0]))
        counter.update(len(values))
    shape = len(images), len(values)
    return Sweep(
        values=values,
        distances={layer: np.array(numbers).reshape(shape) for layer, numbers in distances.items()},
        probabilities=np.array(shares).reshape(shape) if shares else None,
        shown=np.stack(shown),
        shown_at=example,
    )


def _distances(moved: Tensor, still: Tensor, distance: Distance) -> list[float]:
    """Return the Euclidean distances of features (S, ...) to those of one picture (1, ...)."""
    still = still.cpu().double().flatten(1)
    plain = (moved.cpu().double().flatten(1) - still).norm(dim=1)
    if distance == "relative":
        plain = plain / still.norm().clamp(min=1e-12)
    elif distance == "rms":
        plain = plain / still.shape[1] ** 0.5
    return plain.tolist()
