"""`DeconvNet`: a model and its mirror. Record pictures once, project many times."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor, nn

from . import rules as rules_
from .errors import NoRuleError, OptionError, PictureError, check_option
from .images import Picture, Preprocess, ShownImage, open_picture
from .memory import check_memory
from .mirror import (
    Mirror,
    Step,
    calls_below,
    describe,
    project_value,
    status,
    step_of,
    walk_down,
)
from .models import LoadedModel, Preprocessing
from .projection import (
    Projection,
    UnitLike,
    as_maps,
    choose_units,
    default_layer,
    from_maps,
    named_units,
    project_units,
    start_signal,
)
from .receptive_field import map_size, pixel_window
from .recording import LayerRecord, Recording, check_images
from .render.table import table_html, table_text
from .render.text import size_text
from .tape import Tape
from .units import Unit, Window
from .version import __version__


@dataclass(frozen=True)
class Layer:
    """A named layer of a net, as `DeconvNet.layers` lists it. Sizes are in units, fields and strides in pixels."""

    name: str
    kind: str  # the module's class, or the function's name
    channels: int
    height: int
    width: int
    receptive_field: tuple[int, int]  # height, width of a unit's window, in the middle of the map
    stride: tuple[int, int]  # how far the windows of neighbours are apart
    status: str  # of its rule; of a container, the loosest of the rules inside


class Layers(tuple[Layer, ...]):
    """The layers of a net, in the order in which they finish. Prints as a table."""

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows, the heading first."""
        rows: list[tuple[str, ...]] = [("layer", "kind", "output", "field", "stride", "status")]
        for layer in self:
            output = size_text((layer.channels, layer.height, layer.width))
            rows.append(
                (layer.name, layer.kind, output, size_text(layer.receptive_field), size_text(layer.stride), layer.status)
            )
        return rows

    def __str__(self) -> str:
        return table_text(self.rows())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table_html(self.rows())


class DeconvNet:
    """A model and the deconvnet that mirrors it.

        >>> net = DeconvNet(load_model("tiny"))
        >>> recording = net.record(["cat.jpg"])
        >>> net.project(recording, "features.10").save("grid.png")

    `model` is what `load_model` returns, or any `nn.Module`; `preprocess` then turns a picture into (C, H, W), and is
    needed only for recording pictures instead of tensors. `overlap`: what becomes of maxima that share a pixel, "sum" or
    "last". `lrn`: "identity" (the paper's way) or "derivative". `rules`: the table of mirror rules.
    """

    def __init__(
        self,
        model: LoadedModel | nn.Module,
        preprocess: Preprocessing | None = None,
        *,
        rules: rules_.Table = rules_.DEFAULT,
        overlap: str = "sum",
        lrn: str = "identity",
    ) -> None:
        check_option("overlap", overlap, ("sum", "last"))
        check_option("lrn", lrn, ("identity", "derivative"))
        self.loaded = model if isinstance(model, LoadedModel) else LoadedModel.from_module(model, preprocess)
        self.model, self.name = self.loaded.model, self.loaded.name
        self.preprocess = preprocess or self.loaded.preprocess
        self.rules = rules.with_options(overlap=overlap, lrn=lrn)
        self.overlap, self.lrn = overlap, lrn
        self._tables: dict[str, rules_.Table] = {}

    def record(
        self, images: Tensor | Picture | Sequence[Picture], *, layers: Sequence[str] | None = None, stop: bool = True
    ) -> Recording:
        """Run images through the model once and keep what the way down needs.

        `images`: (N, C, H, W) as the model expects it, or pictures: paths or PIL images. The activations of `layers` are
        kept and the pass ends after the deepest of them, unless `stop` is False. Runs in eval mode; the model comes back
        as it was.
        """
        sources: list[str] = []
        if not isinstance(images, Tensor):
            pictures = [images] if isinstance(images, (str, os.PathLike)) or not isinstance(images, Sequence) else list(images)
            images = self._tensor(pictures)
            sources = [_source(picture) for picture in pictures]
        check_images(images)
        like = next((p for p in self.model.parameters() if p.is_floating_point()), images)
        images = images.to(device=like.device, dtype=like.dtype)
        if isinstance(layers, str):
            raise OptionError(f"layers must be a list of names, found the single name {layers!r}. Write layers=[{layers!r}].")
        return self._recording(images, layers, stop=stop, sources=sources)

    def record_zeros(self, input_size: tuple[int, int, int] | None = None) -> Recording:
        """Record one image of zeros, (C, H, W), by default of the size that the model was made for: sizes need no picture."""
        return self.record(torch.zeros((1, *(input_size or self.loaded.input_size))))

    def _recording(self, images: Tensor, layers: Sequence[str] | None = None, **options: Any) -> Recording:
        try:
            recording = Recording(self.model, images, self.rules, layers, name=self.name, **options)
            recording.show = self._seen
            return recording
        except RuntimeError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            if not re.search("size|shape|channels", reason):  # the model's own trouble
                raise
            found, made_for = size_text(tuple(images.shape[1:])), size_text(self.loaded.input_size)
            raise PictureError(f"{self.name} cannot take images of {found} ({reason}). Its own size is {made_for}.") from error

    def _tensor(self, pictures: Sequence[Picture]) -> Tensor:
        if self.preprocess is None:
            raise PictureError(f"{self.name} has no preprocessing for pictures. Pass preprocess=, or a tensor (N, C, H, W).")
        if not pictures:
            raise PictureError("no picture to record: the list is empty.")
        return torch.stack([self.preprocess(open_picture(picture)) for picture in pictures])

    def project_signal(self, recording: Recording, layer: str, signal: Tensor, *, rule: str = "deconvnet") -> Tensor:
        """Carry a signal of a layer's shape, (N, C', H', W'), down to the pixels, (N, C, H, W): bare linear algebra.

        Signal k goes down by the switches of image k. `rule` is "deconvnet", "guided", "gradient", or three bits: mask,
        switches, rectify. Half-precision signals go down in float32.
        """
        table = self._table(rule)
        with torch.inference_mode(False), torch.no_grad():
            tape, value = recording.tape_for(layer, table), recording.value(layer)
            if signal.shape != tape.shapes[value]:
                expected, found = size_text(tuple(tape.shapes[value])), size_text(tuple(signal.shape))
                raise OptionError(f"a signal for layer {layer!r} must have its shape, {expected}; found {found}.")
            signal = signal.clone() if signal.is_inference() else signal.detach()
            half = signal.dtype in (torch.float16, torch.bfloat16)
            return project_value(
                tape, value, signal.to(recording.images.device, torch.float32 if half else signal.dtype), table
            )

    def project(
        self,
        recording: Recording,
        layer: str | None = None,
        *,
        channels: Sequence[int] | None = None,
        top: int = 9,
        unit: str | tuple[int, int] = "max",
        units: Sequence[UnitLike] | None = None,
        rule: str = "deconvnet",
        image: int = 0,
        start: str = "activation",
        memory: int | None = None,
        progress: bool = False,
    ) -> Projection:
        """Project units of a layer to pixel space, each by itself.

        Without `channels` the `top` strongest are taken; `unit` is "max", "map" or (row, col); `units` names them all:
        Unit or (channel, row, col). Without a layer, the last rectified one with maps. `start`: the signal begins as the
        unit's "activation", or as "one". `memory`: about how many bytes of it a batch may take, by default a quarter of
        what is free; `progress`: show a bar where it takes over two seconds.
        """
        check_memory(memory)
        check_option("start", start, ("activation", "one"))
        if not 0 <= image < len(recording):
            raise OptionError(f"image cannot be {image}: the recording has {len(recording)}, numbered from 0.")
        table = self._table(rule)
        with torch.inference_mode(False), torch.no_grad():
            layer = layer or default_layer(recording)
            maps = as_maps(recording.kept_activations(layer), recording.layout(layer), layer)
            if units is None:
                chosen = choose_units(maps[image], layer, channels=channels, top=top, unit=unit, image=image)
            else:
                chosen = named_units(maps, layer, units, image)
            windows, parts = project_units(recording, layer, chosen, table, start, memory=memory, progress=progress)
            seen = {number: self._seen(recording, number) for number in {image, *(unit.image for unit in chosen)}}
            return Projection(
                layer=layer,
                units=chosen,
                windows=windows,
                frame=_three(recording.images.shape[1:]),
                settings=self._settings(recording, layer, chosen, unit, rule, start),
                seen=seen,
                note=self._note(recording, layer, maps),
                _parts=parts,
            )

    def mirror(self, recording: Recording, layer: str | None = None) -> Mirror:
        """Return the mirrored deconvnet from the pixels to a layer; prints as a table of calls, sizes, rules, statuses."""
        layer = layer or default_layer(recording)
        return describe(recording.tape, layer, recording.value(layer), self.rules)

    def steps(self, recording: Recording, unit: Unit, *, rule: str = "deconvnet") -> list[tuple[Step, Tensor]]:
        """Return a unit's way down, a call at a time: each call and the signal (C', H', W') that it hands to its input.

        `unit` as `project` names it; without row and col, its whole map. Where calls meet, a signal is the sum so far; the
        last one is the projection in the whole frame.

            >>> [(step.call, tuple(signal.shape)) for step, signal in net.steps(recording, Unit("features.1", 3, 6, 7))]
            [('relu', (32, 46, 46)), ('conv2d', (3, 96, 96))]
        """
        table = self._table(rule)
        with torch.inference_mode(False), torch.no_grad():
            maps = as_maps(recording.kept_activations(unit.layer), recording.layout(unit.layer), unit.layer)
            (chosen,) = named_units(maps, unit.layer, [unit], unit.image)
            tape, value = recording.tape_for(unit.layer, table), recording.value(unit.layer)
            signal = from_maps(start_signal(maps, [chosen], "activation"), tape.layouts[value])
            walked = walk_down(tape, value, signal, table, chosen.image)
            return [(step_of(tape, call, table), below[0].clone()) for call, _, below in walked]

    def layers(self, input_size: tuple[int, int, int] | None = None) -> Layers:
        """List the layers that the model has for images of (C, H, W); by default those it was made for."""
        recording = self.record_zeros(input_size)
        places = [place for place in recording.places().values() if place.value is not None]
        return Layers(self._layer(recording.tape, place) for place in places if _has_maps(recording.tape, place))

    def _table(self, rule: str) -> rules_.Table:
        """Return the rules with the three bits of `rule`, made once."""
        if rule not in self._tables:
            self._tables[rule] = self.rules.with_options(**rules_.parse_rule(rule))
        return self._tables[rule]

    def _layer(self, tape: Tape, place: LayerRecord) -> Layer:
        shape, layout = tape.shapes[place.value or 0], tape.layouts[place.value or 0]
        height, width = map_size(shape, layout)
        calls = {id(call) for call in tape.calls[place.first : place.last]}  # a layer's own, and of those what a signal meets
        inside = {status(call, self.rules.get(call.func)) for call in calls_below(tape, place.value or 0) if id(call) in calls}
        loosest = max(inside, key=[*rules_.STATUSES, "no rule"].index, default="exact")
        field, stride = self._field(tape, place.value or 0, height, width)
        return Layer(place.name, place.kind, shape[layout[0] or 0], height, width, field, stride, loosest)

    def _field(self, tape: Tape, value: int, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return a middle unit's window size and its distance to the neighbour's; (0, 0) where no rule leads down."""
        try:
            row, col = height // 2, width // 2
            window = pixel_window(tape, value, Window(row, col, 1, 1))
            above = pixel_window(tape, value, Window(row - 1, col - 1, 1, 1)) if height > 1 and width > 1 else window
        except NoRuleError:
            return (0, 0), (0, 0)
        return (window.height, window.width), (window.top - above.top, window.left - above.left)

    def _note(self, recording: Recording, layer: str, maps: Tensor) -> str:
        count, height, width = maps.shape[1:]
        field, _ = self._field(recording.tape, recording.value(layer), height, width)
        return f"{count} channels of {height}x{width}, field {size_text(field)} px"

    def _seen(self, recording: Recording, number: int) -> ShownImage:
        if (self, number) not in recording.memo:
            pixels = self.loaded.denormalise(recording.images[number], self.preprocess)
            recording.memo[self, number] = ShownImage(
                recording.source(number), pixels, self.loaded.top_classes(recording.output, number)
            )
        seen: ShownImage = recording.memo[self, number]
        return seen

    def _settings(
        self, recording: Recording, layer: str, units: Sequence[Any], unit: str | tuple[int, int], rule: str, start: str
    ) -> dict[str, Any]:
        if (self, layer) not in recording.memo:
            recording.memo[self, layer] = self.mirror(recording, layer).statuses()
        return {
            "model": self.name,
            "weights": self.loaded.weights_hash(recording.weights),
            "preprocess": dataclasses.asdict(self.preprocess) if isinstance(self.preprocess, Preprocess) else None,
            "layer": layer,
            "channels": [chosen.channel for chosen in units],
            "units": [str(chosen) for chosen in units],
            "unit": unit if isinstance(unit, str) else list(unit),
            "rule": next((name for name, bits in rules_.BITS.items() if rule in (name, bits)), rule),
            "bits": rules_.BITS.get(rule, rule),
            "overlap": self.overlap,
            "lrn": self.lrn,
            "start": start,
            "statuses": recording.memo[self, layer],
            "version": __version__,
        }


def _source(picture: Picture) -> str:
    """Return a picture's path; of a PIL picture, that of the file it was opened from, if any."""
    return str(getattr(picture, "filename", "") or "picture") if isinstance(picture, Image) else str(picture)


def _three(size: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = size
    return channels, height, width


def _has_maps(tape: Tape, place: LayerRecord) -> bool:
    return tape.layouts[place.value or 0][0] is not None
