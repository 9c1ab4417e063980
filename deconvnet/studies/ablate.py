"""Which of the three bits makes the picture? Mahendran & Vedaldi, "Salient deconvolutional networks", ECCV 2016.

Ways down differ in three bits: the forward mask of each ReLU, the switches of each max pool, the rectification of what travels
down. All eight settings are drawn for one unit, and for a random positive signal at its position: |x| of normal numbers in
every channel. Where both pictures are alike, the picture says more about the switches and masks than about the unit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..axes import from_maps
from ..choices import RuleName
from ..crops import cut_window, shown_window
from ..drawings import draw
from ..errors import OptionError
from ..inputs import PictureInput, as_batch, only_picture, source_names
from ..mirror import project_value
from ..net import DeconvNet
from ..progress import counted
from ..projection import signal_dtype, unit_window
from ..recording import Recording
from ..select import choose_units
from ..units import Unit, Window
from .ablate_result import Ablation
from .arrays import Floats, Pixels
from .forward import choose_channels
from .settings import study_settings
from .similarity import compare_pairs, correlation, cosine, magnitude, pair_mean

__all__ = ["Ablation", "run"]

#: The options of a net that the paper leaves open and that change a picture, with their two values.
CHOICES: dict[str, tuple[str, str]] = {
    "silent": ("drop", "first"),
    "overlap": ("sum", "last"),
    "lrn": ("identity", "derivative"),
}
RULES: tuple[RuleName, ...] = ("FTT", "TTT", "TTF", "FTF", "FFT", "TFT", "TFF", "FFF")
MID_GREY = 127  # what stands beyond the picture's edge


def run(
    net: DeconvNet,
    picture: PictureInput | None = None,
    *,
    layer: str | None = None,
    channel: int | str | None = None,
    signals: int = 4,
    seed: int = 0,
) -> Ablation:
    """Project a unit, and random signals at its position, by all eight settings of mask, switches and rectification.

    And by the deconvnet rule with each other choice that the paper leaves open: silent windows, overlapping pools, response
    norms.

    Args:
        net: the net to study.
        picture: a path, a PIL picture, a drawing, or an image (1, C, H, W) as the net expects it; by default a
            drawing of a cat.
        layer: the unit's layer; by default the last rectified one with maps.
        channel: the unit's channel, of which it is the strongest unit, of the class scores also the name of a class; by default
            the strongest channel.
        signals: the number of random signals, 2 or more.
        seed: of the random signals.

    Returns:
        The projections, and how alike they are.

    Raises:
        PictureError: there is not exactly one picture, or it cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: the layer has no such channel.
        OptionError: `signals` is not possible.

        >>> ablate.run(net, "cat.jpg").random_correlation.shape
        (8, 4)
    """
    if signals < 2:
        raise OptionError(f"signals cannot be {signals}: it is the number of random signals, which are compared, 2 or more.")
    picture = draw("cat", seed=5) if picture is None else only_picture(picture)
    recording = net.record(as_batch(net, picture).repeat(1 + signals, 1, 1, 1))
    layer, maps, numbers = choose_channels(net, recording, layer, None if channel is None else [channel])
    [unit] = choose_units(maps[0], layer, channels=numbers, top=1)
    tape, value = recording.tape, recording.value(layer)
    window = shown_window(unit_window(tape, value, unit), recording.frame)
    signal = from_maps(_start_signals(maps, unit, signals, seed), tape.axes[value])
    projections = _project_signals(net, recording, layer, signal, window)
    magnitudes = magnitude(projections)
    choices = {name: value for name, values in CHOICES.items() for value in values if value != getattr(net, name)}
    by_choice = _project_choices(net, recording, layer, signal[:2], window, choices)
    paper = projections[RULES.index("FTT"), 0]
    return Ablation(
        rules=RULES,
        unit=str(unit),
        activation=float(unit.activation or 0),
        window=np.array(window.to_list()),
        cosine=compare_pairs(list(projections[:, 0]), cosine),
        correlation=compare_pairs(list(magnitudes[:, 0]), correlation),
        random_cosine=np.array([[cosine(first, other) for other in others] for first, *others in projections]),
        random_correlation=np.array([[correlation(first, other) for other in others] for first, *others in magnitudes]),
        pair_correlation=np.array([pair_mean(compare_pairs(others, correlation)) for _, *others in magnitudes]),
        choices=tuple(f"{name}={other}" for name, other in choices.items()),
        choice_cosine=np.array([cosine(paper, projection) for projection in by_choice[:, 0]]),
        choice_correlation=np.array([correlation(magnitude(paper), magnitude(projection)) for projection in by_choice[:, 0]]),
        picture=_patch(net, recording, window),
        pixels=projections[:, :2],
        choice_pixels=by_choice,
        settings=study_settings(
            net,
            "ablate",
            inputs=picture,
            picture=source_names(picture)[0],
            layer=layer,
            unit=str(unit),
            signals=signals,
            seed=seed,
        ),
    )


def _start_signals(maps: Tensor, unit: Unit, signals: int, seed: int) -> Tensor:
    """Return (1 + S, C', H', W'): the unit's activation alone, then |normal numbers| in all channels at its position."""
    start = torch.zeros((1 + signals, *maps.shape[1:]), dtype=signal_dtype(maps), device=maps.device)
    row, col = unit.row or 0, unit.col or 0
    start[0, unit.channel, row, col] = float(unit.activation or 0)
    numbers = np.abs(np.random.default_rng(seed).standard_normal((signals, maps.shape[1])))
    start[1:, :, row, col] = torch.from_numpy(numbers).to(start)
    return start


def _project_signals(net: DeconvNet, recording: Recording, layer: str, signal: Tensor, window: Window) -> Floats:
    """Return what each rule makes of the signals, within the window: (R, 1 + S, C, h, w)."""
    projections = [
        net.project_signal(recording, layer, signal, rule=rule).cpu().numpy()
        for rule in counted(RULES, len(RULES), "projecting", "rule")
    ]
    return np.stack([cut_window(pixels, window) for pixels in projections])


def _project_choices(
    net: DeconvNet, recording: Recording, layer: str, signal: Tensor, window: Window, choices: dict[str, str]
) -> Floats:
    """Return what the deconvnet rule makes of the signals (2, ...) with each choice changed: (C, 2, C, h, w)."""
    tables = [net.table("deconvnet").with_options(**{name: other}) for name, other in choices.items()]
    value, rows = recording.value(layer), torch.arange(len(signal))
    projections = [project_value(recording.tape_for(layer, table), value, signal, table, rows) for table in tables]
    return np.stack([cut_window(pixels.cpu().numpy(), window) for pixels in projections])


def _patch(net: DeconvNet, recording: Recording, window: Window) -> Pixels:
    """Return what the net saw in the window, (h, w, C), 0..255."""
    pixels = np.moveaxis(net.loaded.denormalise(recording.images[0], net.preprocess), -1, 0)
    return np.moveaxis(cut_window(pixels, window, MID_GREY), 0, -1)
