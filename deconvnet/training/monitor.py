"""Chosen channels, drawn every so many steps of a training (Zeiler & Fergus 2014, 4, Fig. 4).

A training must not notice that it is watched: the model comes back as it was after each drawing, with its modes, buffers and
gradients, and so do torch's generators of random numbers. The same script gives the same weights with and without a monitor.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..choices import TONES, Tone
from ..errors import DeconvnetWarning, OptionError, UnitError, check_option
from ..inputs import PictureInputs, as_batch, picture_digests
from ..layers import find_layers, spread_layers
from ..models import LoadedModel, Preprocessing
from ..net import DeconvNet
from ..studies.evolve_result import Evolution
from ..studies.settings import Digests, study_settings
from ..studies.strongest import ShownUnit, choose_channels, layer_evolution, strongest_units
from .outputs import Output, open_output
from .rows import Rows

if TYPE_CHECKING:
    from .outputs import ImageWriter


@dataclass(frozen=True, eq=False)
class _Drawing:
    """What one drawing found."""

    step: int
    weights: str  # "tensors-sha256:..."
    units: dict[str, list[ShownUnit]]  # of each layer


class FeatureMonitor:
    """Draws channels of a net while it trains: each by its strongest unit over some pictures, projected.

    Count the steps of the training; every so many of them is drawn. The net may be in any mode and on any device.

        >>> monitor = FeatureMonitor(load_model("tiny", weights=None), ["cat.jpg", "dog.jpg"], every=2)
        >>> for _ in range(4):  # your loop: forward, backward, optimiser.step(), and then
        ...     _ = monitor.step()
        >>> monitor.evolution.names
        ('2', '4')

    Args:
        model: the net that is trained: any module, or what `load_model` returned. Of one inside DataParallel,
            DistributedDataParallel or torch.compile, the module in it; sharded weights (FSDP) cannot be followed.
        pictures: what its channels are shown: paths, PIL pictures, drawings, or images (N, C, H, W) as the model expects them.
            The same at each drawing; 30 to 200 of the validation set are enough to see features change.
        out: where drawings go: a folder, which gets step-000500.png for each of them and features.png, the rows so far; or
            a writer of TensorBoard's images (torch.utils.tensorboard.SummaryWriter), which gets an image for each layer. None:
            nowhere; `evolution` has them.
        every: how many steps lie between two drawings.
        preprocess: turns a picture into (C, H, W); needed for pictures, not tensors, with a bare module.
        layers: names, in order; None: up to five rectified ones, from the first to the last with maps.
        channels: the channels of each layer; None: `count` random ones that the pictures excite at the beginning.
        count: random channels per layer.
        seed: of the random channels.
        rows: how many drawings `evolution` holds, and features.png shows. When there are more, every other one leaves it.
        tone: how signed values become pixels.

    Raises:
        OptionError: a number is out of its range, or `out` is neither a folder nor a writer.
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: a layer has no such channel.
        NoRuleError: the way down from a layer meets a call that cannot be mirrored.
    """

    def __init__(
        self,
        model: nn.Module | LoadedModel,
        pictures: PictureInputs,
        *,
        out: str | os.PathLike[str] | ImageWriter | None = None,
        every: int = 500,
        preprocess: Preprocessing | None = None,
        layers: Sequence[str] | None = None,
        channels: Sequence[int] | None = None,
        count: int = 4,
        seed: int = 0,
        rows: int = 8,
        tone: Tone = "soft",
    ) -> None:
        if every < 1:
            raise OptionError(f"every cannot be {every}: it is the number of steps between two drawings, 1 or more.")
        if rows < 2:
            raise OptionError(f"rows cannot be {rows}: the first drawing and the last are always shown. Give 2 or more.")
        check_option("tone", tone, TONES)
        loaded = model if isinstance(model, LoadedModel) else LoadedModel.from_module(model, preprocess)
        self.net = DeconvNet(dataclasses.replace(loaded, weights=""), preprocess)  # those of a file are left behind
        self.every, self.seed, self.rows, self.tone = every, seed, rows, tone
        self.steps = 0  # so far
        self._images, self._digests = as_batch(self.net, pictures), Digests(picture_digests(pictures))
        self._output: Output = open_output(out)
        self._drawings: Rows[_Drawing] = Rows(rows)
        with _unnoticed(self.net.device):
            recording = self.net.record(self._images[:1])
            self.layers = find_layers(recording, layers) if layers else spread_layers(recording)
            self.channels = choose_channels(self.net, self._images, recording, self.layers, channels, count, seed)
            self._rules = {layer: self.net.choose_rule(recording, layer).rule for layer in self.layers}

    def __repr__(self) -> str:
        return f"FeatureMonitor({self.net.name!r}, {self.channels}, every {self.every} steps, now {self.steps})"

    def step(self, number: int | None = None) -> list[Path]:
        """Count a step of the training, and draw if `every` steps have been made.

        Args:
            number: how many steps have been made, where something else counts them. None: one more than before.

        Returns:
            The files written; an empty list where nothing was drawn.
        """
        before, self.steps = self.steps, self.steps + 1 if number is None else number
        return self.draw() if self.steps // self.every > before // self.every else []

    def draw(self) -> list[Path]:
        """Draw the channels as they are now, whatever the step: before the first one, or after each epoch.

        Where activations are NaN or infinite, nothing is drawn, and a `DeconvnetWarning` says so: the training goes on.

        Returns:
            The files written.
        """
        with _unnoticed(self.net.device):
            try:
                recording = self.net.record(self._images[:1])
                units = strongest_units(self.net, self._images, recording, self.channels)
            except UnitError as error:  # an activation that is NaN: no reason to end somebody's training
                warnings.warn(f"step {self.steps} is not drawn: {error}", DeconvnetWarning, stacklevel=2)
                return []
            drawing = _Drawing(self.steps, self.net.loaded.weights_hash(), units)
            self._drawings.add(self.steps, drawing)
            return self._output.write(self._evolution([drawing]), self.evolution, self.tone)

    @property
    def evolution(self) -> Evolution:
        """The drawings so far, `rows` of them at most, as `deconvnet.studies.evolve` has them: `plot()`, `save()`, `to_json()`.

        Raises:
            OptionError: nothing has been drawn yet.
        """
        if not self._drawings.items:
            raise OptionError(
                f"nothing has been drawn yet: {self.steps} of the first {self.every} steps are made. Call draw()."
            )
        return self._evolution(self._drawings.items)

    def _evolution(self, drawings: Sequence[_Drawing]) -> Evolution:
        settings = study_settings(
            self.net,
            "training",
            inputs=self._digests,
            layers=self.layers,
            rules=self._rules,
            pictures=len(self._images),
            seed=self.seed,
            every=self.every,
            counted_in="step",
        )
        frame = self._images.shape[2:]
        return Evolution(
            names=tuple(str(drawing.step) for drawing in drawings),
            weights=tuple(drawing.weights for drawing in drawings),
            layers=tuple(
                layer_evolution(layer, channels, [drawing.units[layer] for drawing in drawings], frame)
                for layer, channels in self.channels.items()
            ),
            settings=settings | {"weights": drawings[-1].weights},
        )


@contextmanager
def _unnoticed(device: torch.device) -> Iterator[None]:
    """Let the block compute without autocast, and leave torch's generators of random numbers as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.autocast(device.type, enabled=False):
        yield
