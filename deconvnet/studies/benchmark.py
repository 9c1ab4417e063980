"""What does each choice do that the paper leaves open? The same units for every rule and option, by every measure at once.

The contenders (`contenders.py`) are the deconvnet as the net has it, each open choice of the paper made otherwise, and all
settings of the three bits, guided backpropagation and the gradient among them; beside them two nulls (`nulls.py`), and on
request other tools (`peers.py`). Each is measured by

- *occlusion*: the rank correlation of its energy and what a square takes from the unit (`perturb.py`): Fig. 7, c against b;
- *insertion* and *deletion* of the unit's activation (`perturb.py`);
- *on the part*: on drawings, the share of its energy on the part that excites the unit (`ground_truth.py`);
- *own*: how much of it is of this picture, and not the same by the switches of others (`own.py`);
- *selectivity*: 1 - the correlation of |x| with the strongest other channel's projection at the same position;
- *learned*: 1 - the correlation of |x| with the projection through random filters by the same switches;
- *planted*: started at the score of the class, the share of its energy on the one part that decides the class, in a net trained
  here for this (`planted.py`).

The comparison that decides was fixed beforehand: by *occlusion*, whether edges without a net do as well as the deconvnet. All
others are corrected by Holm together (`statistics.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..crops import cut_window
from ..drawings import Drawing, draw
from ..inputs import PictureInputs, as_batch, as_list, source_names
from ..net import DeconvNet
from ..optional import require
from ..progress import counted
from ..recording import Recording
from ..select import choose_units
from ..units import Unit, Window
from .arrays import Floats, Pixels
from .benchmark_means import MEASURES, PRIMARY, Values, compare_contenders, mean_table, merge
from .benchmark_result import HEADINGS, Benchmark, Planted
from .contenders import (
    DEFAULT,
    Projections,
    measure_learned_share,
    measure_own_share,
    measure_selective_share,
    project_contenders,
)
from .firing import firing_units
from .forward import choose_channels, shown_pixels
from .ground_truth import measure_truth
from .nulls import null_energies
from .peers import peer_energies
from .perturb import cover_squares, measure_occlusion, measure_perturbation
from .planted import LAYER, train_planted
from .settings import study_settings

__all__ = ["PRIMARY", "Benchmark", "Planted", "merge", "run"]

DRAWINGS = 50  # where no picture is given, and with a planted cause


def run(
    net: DeconvNet,
    pictures: PictureInputs | None = None,
    *,
    layer: str | None = None,
    channels: Sequence[int | str] | None = None,
    top: int = 1,
    planted: bool = True,
    peers: bool = False,
    seed: int = 0,
) -> Benchmark:
    """Measure every rule and every option on the same units; needs the extra `studies`.

    Args:
        net: the net to study.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them; by
            default fifty bundled drawings. Where all are drawings, their parts serve as ground truth.
        layer: the units' layer; by default the last rectified one with maps.
        channels: the units' channels, of the class scores also names of classes; by default the strongest ones of each
            picture.
        top: how many of the strongest.
        planted: train a small net on drawings with a planted cause, too, and measure what finds it.
        peers: measure other tools, too, as they are called there: those of Captum, Zennit and CRP that are installed.
        seed: of random filters, and of the small net's training.

    Returns:
        Each contender's measures of each unit, their means, and what differs from the deconvnet.

    Raises:
        MissingPackageError: SciPy is not installed, or with `peers` none of the other tools.
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: none of the channels fires, or with `peers` the layer is no module, which is all that they know.

        >>> benchmark.run(net, "cat.jpg", planted=False).means["occlusion"]["guided"].mean > 0
        True
    """
    require("scipy.stats", needed_by="benchmark", extra="studies")
    inputs = as_list([draw(seed=number) for number in range(DRAWINGS)] if pictures is None else pictures)
    recording = net.record(as_batch(net, inputs))
    layer, maps, numbers = choose_channels(net, recording, layer, channels)
    units = firing_units(maps, layer, numbers, top)
    images, sources = np.array([unit.image for unit in units]), source_names(inputs)
    kept, same = project_contenders(net, recording, units)
    windows = kept[DEFAULT].windows
    energies: dict[str, Sequence[Floats]] = {name: projections.energies() for name, projections in kept.items()}
    energies |= null_energies(net, recording, layer, units, windows, seed=seed)
    energies |= peer_energies(net, recording.images, units) if peers else {}
    values = {name: dict.fromkeys(MEASURES, np.full(len(units), np.nan)) for name in (*energies, "window")}
    _add(values, _measure_energies(net, recording, units, windows, energies))
    _add(values, _measure_truth(net, inputs, recording, units, windows, energies))
    _add(values, _measure_shares(kept, _next_channels(maps, units), seed))
    cause = _measure_planted(net, seed) if planted else None
    return Benchmark(
        units=tuple(map(str, units)),
        pictures=tuple(sources[image] for image in images),
        images=images,
        activations=np.array([unit.activation for unit in units]),
        contenders=tuple(values),
        measures=MEASURES,
        values=np.stack([np.stack([row[name] for name in MEASURES], axis=1) for row in values.values()], axis=1),
        same=same,
        planted=cause,
        means=mean_table(values, images, cause),
        comparisons=compare_contenders(values, images, cause),
        patch=_patch(net, recording, units[0], windows[0]),
        crops=_crops(kept, energies, windows[0], recording.frame),
        settings=study_settings(
            net, "benchmark", inputs=inputs, pictures=sources, layer=layer, top=top, planted=planted, peers=peers, seed=seed
        ),
    )


def _add(values: Values, more: Mapping[str, Mapping[str, Floats]]) -> None:
    """Write measures into the values that are known so far."""
    for name, row in more.items():
        values[name] |= row


def _measure_energies(
    net: DeconvNet,
    recording: Recording,
    units: Sequence[Unit],
    windows: Sequence[Window],
    energies: Mapping[str, Sequence[Floats]],
) -> Values:
    """Measure what covering pixels does: occlusion, insertion and deletion."""
    measured: Values = {name: {measure: np.full(len(units), np.nan) for measure in HEADINGS[:3]} for name in energies}
    for number, (unit, window) in enumerate(counted(zip(units, windows, strict=True), len(units), "covering", "unit")):
        image = recording.images[unit.image]
        covered = cover_squares(net, image, unit, window)
        for name, maps in energies.items():
            occlusion = measure_occlusion(maps[number], covered)
            row = occlusion, *measure_perturbation(net, image, unit, window, maps[number])
            for measure, value in zip(measured[name], row, strict=True):
                measured[name][measure][number] = value
    return measured


def _measure_truth(
    net: DeconvNet,
    inputs: Sequence[object],
    recording: Recording,
    units: Sequence[Unit],
    windows: Sequence[Window],
    energies: Mapping[str, Sequence[Floats]],
) -> Values:
    """Measure the share of the energy on the part that excites each unit; nothing where a picture is no drawing."""
    drawings = [picture for picture in inputs if isinstance(picture, Drawing)]
    if len(drawings) < len(inputs):
        return {}
    truth = measure_truth(net, drawings, recording.images, units, windows, energies)
    return {name: {"on the part": truth.shares[:, number]} for number, name in enumerate(truth.methods)}


def _next_channels(maps: Tensor, units: Sequence[Unit]) -> list[Unit]:
    """Return for each unit that of the strongest other channel at its position; itself where there is one channel only."""
    ranked = [
        choose_units(maps[unit.image], unit.layer, top=2, at=(unit.row or 0, unit.col or 0), image=unit.image) for unit in units
    ]
    return [
        next((other for other in pair if other.channel != unit.channel), unit) for unit, pair in zip(units, ranked, strict=True)
    ]


def _measure_shares(kept: Mapping[str, Projections], others: Sequence[Unit], seed: int) -> Values:
    """Measure what of each contender's projections is the picture's, the unit's, and learned."""
    shares = {}
    for name, projections in counted(kept.items(), len(kept), "comparing", "contender"):
        beside = Projections.of(projections.recording, projections.layer, others, projections.table)
        shares[name] = {
            "own": measure_own_share(projections),
            "selectivity": measure_selective_share(projections, beside),
            "learned": measure_learned_share(projections, seed=seed),
        }
    return shares


def _measure_planted(net: DeconvNet, seed: int) -> Planted:
    """Measure the share of the energy on the cause, by the net's options and the score of each fresh drawing's class."""
    trained = train_planted(seed=seed, count=DRAWINGS)
    small = DeconvNet(trained.net.loaded, **net.options)
    recording = small.record(as_batch(small, trained.drawings))
    maps = recording.stored_maps(LAYER)
    units = [
        unit
        for image, drawing in enumerate(trained.drawings)
        for unit in choose_units(maps[image], LAYER, channels=[drawing.label], image=image)
    ]
    kept, same = project_contenders(small, recording, units)
    windows = kept[DEFAULT].windows
    energies: dict[str, Sequence[Floats]] = {name: projections.energies() for name, projections in kept.items()}
    energies |= null_energies(small, recording, LAYER, units, windows, seed=seed)
    truth = measure_truth(small, trained.drawings, recording.images, units, windows, energies)
    return Planted(
        units=tuple(map(str, units)), accuracy=trained.accuracy, methods=truth.methods, shares=truth.shares, same=same
    )


def _patch(net: DeconvNet, recording: Recording, unit: Unit, window: Window) -> Pixels:
    """Return what the net saw in a unit's window, (h, w, 3), 0..255."""
    pixels = np.moveaxis(shown_pixels(net, recording.images[unit.image]), 2, 0)
    return np.moveaxis(cut_window(pixels, window.clip(*recording.frame)), 0, 2)


def _crops(
    kept: Mapping[str, Projections], energies: Mapping[str, Sequence[Floats]], window: Window, frame: Sequence[int]
) -> dict[str, Floats]:
    """Return the first unit's projections, (C, h, w) within its window; of nulls and peers the root of their energy."""
    inside = window.clip(*frame)
    return {
        name: kept[name].parts[0].float().numpy() if name in kept else np.sqrt(cut_window(maps[0], inside))[None]
        for name, maps in energies.items()
    }
