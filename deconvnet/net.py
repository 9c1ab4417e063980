"""`DeconvNet`: a model and its mirror. Record pictures once, project many times."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import rules as rules_
from .axes import as_maps, from_maps, image_axes
from .choices import ATTENDINGS, LRN, LRNS, OVERLAPS, SILENTS, STARTS, Attending, Overlap, RuleChoice, Silent, Start
from .drawings import draw
from .errors import OptionError, PictureError, UnknownLayerError, check_option
from .forward import ModelInputs
from .images import OwnPreprocess, Preprocess, ShownImage
from .inputs import ONE_PICTURE, PictureInputs, as_batch, picture_digests, source_names
from .layer_table import Layers, list_layers
from .layers import default_layer, output_layer
from .memory import check_memory
from .mirror import Mirror, Step, describe, project_value, step_of, walk_down
from .models import LoadedModel, Preprocessing
from .named_channels import channel_numbers
from .own import OTHERS, Projected, measure_own
from .paper_names import full_name
from .projection import Projection, inside_part, project_units, start_signal
from .provenance import output_settings
from .reach import ChosenRule, check_rule, choose_rule, field_and_stride
from .recording import Recording
from .render.text import size_text
from .rules.conv import UNBATCHED
from .select import Position, UnitLike, choose_units, complete_units
from .units import Unit, has_names

#: What a model says of an input that it cannot take.
_SIZE_WORDS = re.compile("size|shape|channels")


class DeconvNet:
    """A model and the deconvnet that mirrors it.

        >>> net = DeconvNet(load_model("tiny"))
        >>> recording = net.record(["cat.jpg"])
        >>> paths = net.project(recording, "features.10").save("grid.png")

    Args:
        model: what `load_model` returns, or any `nn.Module`.
        preprocess: turns a picture into (C, H, W); needed only for recording pictures, not tensors, with a bare module.
        rules: the table of mirror rules.
        overlap: what becomes of maxima that share a pixel: "sum", or "last".
        lrn: how local response normalisation is mirrored: "identity" (the paper's way), or "derivative".
        silent: what becomes of the signal of a pooling window in which nothing fired, and which so has no maximum: "drop", or
            "first" sends it to the first of the tied places, as autograd does.
        attention: "held" takes this picture's patterns of attention as they are, as switches are taken, and sends the signal
            through the values alone; "product" sends it to queries and keys, too.
        graphs: on NVIDIA's GPUs, whether ways down that are gone again and again in one recording are kept as CUDA graphs: the
            same bytes by fewer calls, for the memory of their signals. See `deconvnet.graphs`.

    Raises:
        OptionError: an option is none of its values.
    """

    def __init__(
        self,
        model: LoadedModel | nn.Module,
        preprocess: Preprocessing | None = None,
        *,
        rules: rules_.Table = rules_.DEFAULT,
        overlap: Overlap = "sum",
        lrn: LRN = "identity",
        silent: Silent = "drop",
        attention: Attending = "held",
        graphs: bool = False,
    ) -> None:
        check_option("overlap", overlap, OVERLAPS)
        check_option("lrn", lrn, LRNS)
        check_option("silent", silent, SILENTS)
        check_option("attention", attention, ATTENDINGS)
        self.loaded = model if isinstance(model, LoadedModel) else LoadedModel.from_module(model, preprocess)
        self.model, self.name = self.loaded.model, self.loaded.name
        self.preprocess = preprocess or self.loaded.preprocess
        self.rules = rules.with_options(overlap=overlap, lrn=lrn, silent=silent, attention=attention)
        self.overlap, self.lrn, self.silent, self.attention, self.graphs = overlap, lrn, silent, attention, graphs
        self._tables: dict[tuple[str, Silent], rules_.Table] = {}

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return next((parameter.device for parameter in self.model.parameters()), torch.device("cpu"))

    @property
    def picture_reader(self) -> Preprocess | OwnPreprocess | None:
        """What opens a picture and makes an image of it: the preprocessing, or what calls a function of the user's own."""
        if self.preprocess is None or isinstance(self.preprocess, Preprocess):
            return self.preprocess
        return OwnPreprocess(self.preprocess, self.loaded.input_size[0])

    def to(self, device: str | torch.device) -> DeconvNet:
        """Move the model to a device: "cpu", "cuda", "cuda:1", "mps", or the best there is ("auto"); return the net itself."""
        self.loaded.to(str(device))
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The choices that the net was made with, as its own arguments."""
        names = ("overlap", "lrn", "silent", "attention", "graphs")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        count = sum(1 for module in self.model.modules() if not list(module.children()))
        return f"DeconvNet({self.name!r}, {self.device}, {size_text(self.loaded.input_size)}, {count} layers without children)"

    def record(
        self,
        images: PictureInputs,
        *args: Any,
        layers: Sequence[str | nn.Module] | None = None,
        stop: bool = True,
        **kwargs: Any,
    ) -> Recording:
        """Run images through the model once and keep what the way down needs.

        Runs in eval mode; the model comes back as it was.

        Args:
            images: (N, C, H, W) as the model expects it, or one or several pictures: paths, PIL images, drawings.
            args: what the model's forward takes besides the images.
            layers: whose activations are stored; the pass ends after the deepest of them. None: the whole net is run, and all
                activations are stored, as far as they fit (`forward.HELD_BYTES`).
            stop: False runs the whole net although `layers` are named.
            kwargs: what the model's forward takes besides, by name.

        Raises:
            PictureError: a picture cannot be read, or does not fit the net.
            UnknownLayerError: the net has no such layer.
            OptionError: `layers` is a single name, or the model's forward takes other arguments.
        """
        sources, given = ([], ()) if isinstance(images, Tensor) else (source_names(images), images)
        images = as_batch(self, images, others=True)
        digests = picture_digests(given) if sources else []  # after the pictures were opened, with all their checks
        if isinstance(layers, str):
            raise OptionError(f"layers must be a list of names, found the single name {layers!r}. Write layers=[{layers!r}].")
        names = None if layers is None else [self.layer_name(layer) for layer in layers]
        inputs = ModelInputs(self._placed(images), args, kwargs)
        self._check_arguments(inputs)
        return self._recording(inputs, names, stop=stop, sources=sources, digests=digests)

    def _placed(self, images: Tensor) -> Tensor:
        """Return images where the weights are, and in their type; as they are for a model without weights."""
        like = next((parameter for parameter in self.model.parameters() if parameter.is_floating_point()), images)
        return images.to(device=like.device, dtype=like.dtype)

    def record_zeros(self, input_size: tuple[int, ...] | None = None) -> Recording:
        """Record one image of zeros, (C, H, W), by default of the size that the model was made for: sizes need no picture."""
        return self.record(torch.zeros((1, *(input_size or self.loaded.ask_size()))))

    def layer_name(self, layer: str | nn.Module) -> str:
        """Return a layer's name, given that, the paper's name (see `deconvnet.paper_names`), or the module itself.

        Raises:
            UnknownLayerError: the module is not one of the model's.
        """
        if isinstance(layer, str):
            return full_name(self.name, layer)
        for name, module in self.model.named_modules():
            if module is layer and name:
                return name
        raise UnknownLayerError(f"this {type(layer).__name__} is not a module inside {self.name}. Give one of net.model's own.")

    def _check_arguments(self, inputs: ModelInputs) -> None:
        """Refuse arguments that the model's forward does not take, in a line that says what it takes."""
        try:
            signature = inspect.signature(self.model.forward)
        except (TypeError, ValueError):  # not every callable tells
            return
        try:
            signature.bind(inputs.images, *inputs.args, **inputs.kwargs)
        except TypeError as error:
            raise OptionError(
                f"forward of {self.name} takes {signature}: {error}. Pass what it takes besides the images to"
                " record(images, ...), or wrap the net in a module that takes images alone."
            ) from error

    def _recording(self, inputs: ModelInputs, layers: Sequence[str] | None, **options: Any) -> Recording:
        try:
            recording = Recording(self.model, inputs, self.rules, layers, name=self.name, **options)
            recording.show, recording.graphs = self._shown, self.graphs
            if any(call.problem == UNBATCHED for call in recording.tape.calls):
                form = f"{tuple(inputs.images.shape)} of {str(inputs.images.dtype).removeprefix('torch.')}"
                raise PictureError(f"images must be a float tensor (N, C, H, W), found {form}.{ONE_PICTURE}")
            return recording
        except RuntimeError as error:
            reason = (str(error.__cause__ or error).splitlines() or [""])[0].rstrip(".")
            if not _SIZE_WORDS.search(reason):  # the model's own trouble
                raise
            found = size_text(tuple(inputs.images.shape[1:]))
            made_for = size_text(self.loaded.own_size or self.loaded.input_size)
            size = "Give the size that it was made for." if self.loaded.size_is_guess else f"Its own size is {made_for}."
            advice = ONE_PICTURE if inputs.images.dim() == 3 and not options.get("sources") else ""
            raise PictureError(f"{self.name} cannot take images of {found} ({reason}). {size}{advice}") from error

    def project_signal(
        self,
        recording: Recording,
        layer: str | nn.Module,
        signal: Tensor,
        *,
        rule: str = "deconvnet",
        silent: Silent | None = None,
    ) -> Tensor:
        """Carry a signal of a layer's shape down to the pixels: bare linear algebra, nothing chosen for you.

        Args:
            recording: whose switches and masks are used.
            layer: a name, or the module itself.
            signal: (N, C', H', W') or the layer's own shape; signal k goes down by the switches of image k. Half precision goes
                down in float32.
            rule: "deconvnet", "guided", "gradient", or three bits: mask, switches, rectify.
            silent: what becomes of the signal of pooling windows in which nothing fired: "drop", "first"; None: as the net has
                it, which is "drop" unless it was made otherwise. By "first" the result is autograd's with a rectified backward.

        Returns:
            (N, C, H, W), signed.

        Raises:
            OptionError: the signal has another shape, the layer is a single number, or there is no such rule.
            UnknownLayerError: the net has no such layer.
            NoRuleError: the way down meets a call that cannot be mirrored.
            StaleRecordingError: the weights changed after the recording.
        """
        table, layer = self.table(rule, silent), self.layer_name(layer)
        with torch.inference_mode(False), torch.no_grad():
            tape, value = recording.tape_for(layer, table), recording.value(layer)
            if signal.shape != tape.shapes[value]:
                expected, found = size_text(tuple(tape.shapes[value])), size_text(tuple(signal.shape))
                raise OptionError(f"a signal for layer {layer!r} must have its shape, {expected}; found {found}.")
            if not signal.dim():
                raise OptionError(f"layer {layer!r} is one number for all images, and sends no signal. Take a layer before it.")
            signal = signal.clone() if signal.is_inference() else signal.detach()
            is_half = signal.dtype in (torch.float16, torch.bfloat16)
            signal = signal.to(recording.images.device, torch.float32 if is_half else signal.dtype)
            return project_value(tape, value, signal, table)

    def project(
        self,
        recording: Recording,
        layer: str | nn.Module | None = None,
        *,
        channels: Sequence[int | str] | None = None,
        top: int = 9,
        at: Position = "max",
        units: Sequence[UnitLike] | None = None,
        rule: RuleChoice = "auto",
        image: int | None = None,
        start: Start = "activation",
        silent: Silent | None = None,
        inside: bool = False,
        own: bool = False,
        others: PictureInputs | None = None,
        memory: int | None = None,
        progress: bool = False,
    ) -> Projection:
        """Project units of a layer to pixel space, each by itself.

            >>> net.project(recording, "features.10", channels=[3, 5]).pixels.shape
            torch.Size([2, 3, 96, 96])

        Args:
            recording: of the images.
            layer: a name, or the module itself; None: the last rectified one whose units see less than two fifths of the
                frame.
            channels: their numbers; names of classes, too, in the layer of their scores, which is then the default layer.
                None: the `top` strongest of each image.
            top: how many channels.
            at: where in each map: "max", its strongest position; "map", the whole map; or (row, col).
            units: names all units instead: `Unit`, or (channel, row, col).
            rule: "auto" takes the deconvnet where a max pool lies between the layer and the pixels, and guided where none does,
                and says so in the result's `rule_reason`; or "deconvnet", "guided", "gradient", or three bits: mask, switches,
                rectify.
            image: the number of one image; None: all.
            start: what a signal begins as: the unit's "activation", or "one".
            silent: what becomes of the signal of pooling windows in which nothing fired: "drop", "first"; None: as the net has
                it, which is "drop" unless it was made otherwise.
            inside: take units only whose window lies inside the picture.
            own: measure how much of each projection is of this picture, by projecting each unit by the switches and masks of
                other pictures, too: see `Projection.own`.
            others: these other pictures, images of the same size or what becomes such; they ask for `own`. None: up to eight
                others of the recording, or eight bundled drawings where it has none.
            memory: about how many bytes a batch may take; None: a quarter of what is free.
            progress: show a bar where it takes over two seconds.

        Raises:
            OptionError: an option is none of its values, or the other pictures have another size.
            PictureError: one of the other pictures cannot be read.
            UnitError: the layer has no maps, or not this channel, position or image.
            UnknownLayerError: the net has no such layer.
            NoRuleError: the way down meets a call that cannot be mirrored.
            StaleRecordingError: the weights changed after the recording.
        """
        check_memory(memory)
        check_option("start", start, STARTS)
        if image is not None and not 0 <= image < len(recording):
            raise OptionError(f"image cannot be {image}: the recording has {len(recording)}, numbered from 0.")
        check_rule(rule)
        if inside and units is not None:
            raise OptionError("inside chooses units, and units names them. Leave one of them out.")
        images = range(len(recording)) if image is None else [image]
        with torch.inference_mode(False), torch.no_grad():
            if layer is None:
                layer = output_layer(recording) if has_names(channels) else default_layer(recording)
            layer = self.layer_name(layer)
            chosen_rule = self.choose_rule(recording, layer, rule)
            table = self.table(chosen_rule.rule, silent)
            maps = recording.stored_maps(layer)
            numbers = None if channels is None else channel_numbers(self.loaded, recording, layer, channels)
            part = inside_part(recording.tape, recording.value(layer), (maps.shape[2], maps.shape[3])) if inside else None
            chosen: list[Unit] = []
            for number in images if units is None else ():
                chosen += choose_units(maps[number], layer, channels=numbers, top=top, at=at, image=number, inside=part)
            if units is not None:
                chosen = complete_units(maps, layer, units, images[0])
            windows, parts = project_units(recording, layer, chosen, table, start, memory=memory, progress=progress)
            projected = Projected(recording, layer, chosen, parts, table, start)
            return Projection(
                layer=layer,
                units=chosen,
                windows=windows,
                frame=(recording.images.shape[1], *recording.frame),
                image_shape=tuple(recording.images.shape[1:]),
                settings=self._settings(
                    recording, layer, chosen, at=at, rule=chosen_rule, asked=rule, start=start, silent=silent
                ),
                shown={
                    number: self._shown(recording, number) for number in sorted({unit.image for unit in chosen} or {*images})
                },
                note=_note(recording, layer),
                own=self._own(projected, others, memory) if own or others is not None else None,
                _parts=parts,
            )

    def _own(self, projected: Projected, others: PictureInputs | None, memory: int | None) -> list[float | None]:
        """Measure how much of projections is of their own pictures: see `project`."""
        recording, count = projected.recording, len(projected.recording)
        if others is None and count > 1:
            near = [[(unit.image + step) % count for step in range(1, min(count, OTHERS + 1))] for unit in projected.units]
            return measure_own(projected, recording, near, memory=memory)
        compared = self._record_others(recording, projected.layer, others)
        return measure_own(projected, compared, [range(len(compared))] * len(projected.units), memory=memory)

    def _record_others(self, recording: Recording, layer: str, others: PictureInputs | None) -> Recording:
        """Record the pictures that a picture's projections are compared with: those given, or bundled drawings."""
        key = (self, layer, "others")
        if others is None and key in recording.memo:
            known: Recording = recording.memo[key]
            return known
        pictures = [draw(seed=seed) for seed in range(OTHERS)] if others is None else others
        images = self._placed(as_batch(self, pictures, others=True))
        compared = self._recording(ModelInputs(images, recording.inputs.args, recording.inputs.kwargs), [layer])
        if others is None:
            recording.memo[key] = compared
        return compared

    def mirror(self, recording: Recording, layer: str | nn.Module | None = None) -> Mirror:
        """Return the mirrored deconvnet from the pixels to a layer; prints as a table of calls, sizes, rules, statuses."""
        layer = default_layer(recording) if layer is None else self.layer_name(layer)
        return describe(recording.tape, layer, recording.value(layer), self.rules)

    def choose_rule(self, recording: Recording, layer: str, rule: RuleChoice = "auto") -> ChosenRule:
        """Return the rule that "auto" stands for in a layer, or the one that was asked for, with what there is to say of it.

        >>> net.choose_rule(recording, "features.13").rule
        'deconvnet'
        """
        key = (self, layer, rule, "rule")
        if key not in recording.memo:
            recording.memo[key] = choose_rule(recording.tape, layer, recording.value(layer), check_rule(rule))
        chosen: ChosenRule = recording.memo[key]
        return chosen

    def steps(self, recording: Recording, unit: Unit, *, rule: RuleChoice = "auto") -> list[tuple[Step, Tensor]]:
        """Return a unit's way down, a call at a time: each call and the signal (C', H', W') that it hands to its input.

        `unit` and `rule` as `project` names them; without row and col, its whole map. Where calls meet, a signal is the sum so
        far; the last one is the projection in the whole frame.

            >>> [(step.call, tuple(signal.shape)) for step, signal in net.steps(recording, Unit("features.1", 3, 6, 7))]
            [('relu', (32, 46, 46)), ('conv2d', (3, 96, 96))]
        """
        check_rule(rule)
        with torch.inference_mode(False), torch.no_grad():
            maps = recording.stored_maps(unit.layer)
            table = self.table(self.choose_rule(recording, unit.layer, rule).rule)
            (chosen,) = complete_units(maps, unit.layer, [unit], unit.image)
            tape, value = recording.tape_for(unit.layer, table), recording.value(unit.layer)
            signal = from_maps(start_signal(maps, [chosen], "activation"), tape.axes[value])
            walked = walk_down(tape, value, signal, table, chosen.image)
            return [(step_of(tape, call, table), below[0].clone()) for call, _, below in walked]

    def layers(self, input_size: tuple[int, ...] | None = None) -> Layers:
        """List the layers that the model has for images of (C, H, W); by default those it was made for.

        >>> net.layers()["features.4"].receptive_field
        (27, 27)
        """
        return list_layers(self.record_zeros(input_size), self.rules)

    def table(self, rule: str, silent: Silent | None = None) -> rules_.Table:
        """Return the rules with the three bits of `rule`, and for silent windows this choice; None: the net's own."""
        silent = self.silent if silent is None else silent
        if (rule, silent) not in self._tables:
            check_option("silent", silent, SILENTS)
            self._tables[rule, silent] = self.rules.with_options(**rules_.parse_rule(rule), silent=silent)
        return self._tables[rule, silent]

    def _shown(self, recording: Recording, number: int) -> ShownImage:
        if (self, number) not in recording.memo:
            image = recording.images[number : number + 1]
            pixels = self.loaded.denormalise(as_maps(image, image_axes(image.shape), "")[0], self.preprocess)
            values = image[0].float().cpu().numpy() if image.dim() == 3 else None
            answer = self.loaded.answer(recording.output, number, pixels.shape[:2])
            recording.memo[self, number] = ShownImage(recording.source(number), pixels, values=values, **answer)
        shown: ShownImage = recording.memo[self, number]
        return shown

    def provenance(self, recording: Recording | None = None, **details: Any) -> dict[str, Any]:
        """Return the settings of an output of this net: model, weights, preprocessing, `details`, version."""
        return output_settings(
            model=self.name,
            weights=self.loaded.weights_hash(None if recording is None else recording.weights),
            preprocess=self.preprocess.settings() if isinstance(self.preprocess, Preprocess) else None,
            **({"inputs": hashes} if (hashes := self.loaded.input_hashes()) else {}),
            **details,
        )

    def _settings(
        self,
        recording: Recording,
        layer: str,
        units: Sequence[Unit],
        *,
        at: Position,
        rule: ChosenRule,
        asked: RuleChoice,
        start: Start,
        silent: Silent | None,
    ) -> dict[str, Any]:
        if (self, layer) not in recording.memo:
            recording.memo[self, layer] = self.mirror(recording, layer).statuses()
        images = sorted({unit.image for unit in units})
        return self.provenance(
            recording,
            layer=layer,
            channels=[unit.channel for unit in units],
            units=[str(unit) for unit in units],
            at=at if isinstance(at, str) else list(at),
            rule=next((name for name, bits in rules_.BITS.items() if rule.rule in (name, bits)), rule.rule),
            bits=rules_.BITS.get(rule.rule, rule.rule),
            rule_asked=asked,
            rule_reason=rule.reason,
            overlap=self.overlap,
            lrn=self.lrn,
            silent=silent or self.silent,
            attention=self.attention,
            start=start,
            statuses=recording.memo[self, layer],
            **({"picture_digests": [recording.digests[image] for image in images]} if recording.digests else {}),
            torch=torch.__version__,
            device=self.device.type,
        )


def _note(recording: Recording, layer: str) -> str:
    count, height, width = recording.stored_maps(layer).shape[1:]
    lengths = recording.tape.shapes[recording.value(layer)][2:]
    field, _ = field_and_stride(recording.tape, recording.value(layer))
    if recording.images.dim() == 3 and height == 1:
        return f"{count} channels of {width} positions, field {field[1]} samples"
    if recording.images.dim() == 5:
        return f"{count} channels of {size_text(lengths) or '1x1'}"
    return f"{count} channels of {height}x{width}, field {size_text(field)} px"
