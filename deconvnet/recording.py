"""A recording: the tape and the activations of one batch of images, made by one pass of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .axes import Axes, as_maps, image_axes, map_size
from .errors import StaleRecordingError, UnknownLayerError, UnstableModelError, did_you_mean
from .fingerprint import Fingerprint, Marks, Samples, fingerprint
from .forward import HELD_BYTES, STORED_BYTES, ActivationStore, ForwardPass, LayerRecord, ModelInputs, trace
from .graphs import WayGraphs, graphs_are_possible
from .images import ShownImage
from .paper_names import paper_layers
from .render.html import images_html
from .rules import Table
from .rules.base import AnyRule
from .tape import Tape

#: A notebook shows this many of a recording's images.
MAX_IMAGES_SHOWN = 12

#: Relative: activations of two passes that differ by more are not of the same pass.
PASS_TOLERANCE = 1e-3


class Recording:
    """One batch of images seen by one model: its tape and activations. Made by `DeconvNet.record`.

    The first pass holds on to the activations that it makes, up to `HELD_BYTES`, or to those of the layers asked for. What is
    asked for later and was let go comes from one further pass, which stores all other layers as well, up to `STORED_BYTES`.

        >>> recording = net.record(["cat.jpg"], layers=["features.4"])
        >>> recording.activations("features.4").shape
        torch.Size([1, 64, 23, 23])

    Args:
        model: any module.
        inputs: the images (N, C, H, W), and what the model's forward takes besides.
        table: the rules by which calls are made.
        layers: whose activations are stored; None: all, as far as they fit.
        stop: end the pass after the deepest of `layers`.
        name: the model's name, for messages.
        sources: the path of each image, where it has one.
        digests: what identifies each picture, where images were made of pictures: see `deconvnet.inputs.picture_digests`.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: ModelInputs,
        table: Table,
        layers: Sequence[str] | None = None,
        *,
        stop: bool = True,
        name: str = "this model",
        sources: Sequence[str] = (),
        digests: Sequence[str] = (),
    ) -> None:
        self.model, self.inputs, self.name, self.sources, self.digests = model, inputs, name, tuple(sources), tuple(digests)
        self._table = table
        self._weights: Fingerprint | None = None
        self._samples: dict[Marks, Samples] = {}
        store = None if layers else partial(ActivationStore, HELD_BYTES, copies=False)
        self._pass = self._run(table, layers or (), stop=stop, store=store)
        self._with_values: dict[tuple[AnyRule, ...], ForwardPass] = {}
        self.memo: dict[Any, Any] = {}  # what a net worked out of this recording once, and may ask again
        self.show: Callable[[Recording, int], ShownImage] | None = None  # set by the net that made it
        self.graphs = False  # likewise: whether ways down are kept as CUDA graphs
        for layer in layers or ():
            self._check_layer(layer)
        self._random = self._random_layers(layers or (), stop=stop) if self._pass.draws else frozenset[str]()

    @property
    def images(self) -> Tensor:
        """The images (N, C, H, W), as the model expects them."""
        return self.inputs.images

    @property
    def frame(self) -> tuple[int, int]:
        """Rows and columns of an image; a signal has one row, and the slices of a volume are stacked."""
        return map_size(self.images.shape, image_axes(self.images.shape))

    @property
    def output(self) -> Any:
        """What the model returned; None where the pass was stopped at the deepest layer."""
        return self._pass.output

    @property
    def weights(self) -> Fingerprint | None:
        """The fingerprint of the weights that this recording was made with."""
        return self._weights

    @property
    def tape(self) -> Tape:
        """The calls of the first pass, as far as it went."""
        return self._pass.tape

    @property
    def written(self) -> list[Tensor]:
        """The parameters that the model's own forward writes to; they are put back after each pass."""
        return self._pass.written

    @property
    def draws(self) -> bool:
        """Whether the model's forward draws random numbers."""
        return self._pass.draws

    def records(self) -> dict[str, LayerRecord]:
        """Return the layers of the whole net by name, in the order in which they finished."""
        if self._pass.output is None:
            self._complete()
        return self._pass.records

    def record(self, layer: str) -> LayerRecord:
        """Return a layer by name, looking beyond where the pass stopped if need be.

        Raises:
            UnknownLayerError: the net has no such layer, or it does not depend on the image.
        """
        if layer not in self._pass.records and self._pass.output is None:
            self._complete()
        self._check_layer(layer)
        record = self._pass.records[layer]
        if record.value is None:
            raise UnknownLayerError(f"layer {layer!r} of {self.name} does not depend on the image: nothing can be projected.")
        return record

    def value(self, layer: str) -> int:
        """Return the number of a layer's value on the tape."""
        return self.record(layer).number

    def axes(self, layer: str) -> Axes:
        """Return which axes of a layer are channels, rows and columns; no channels where it has no maps."""
        return self._pass.tape.map_axes(self.value(layer))

    def source(self, image: int) -> str:
        """Return the path that an image came from, or "image 0"."""
        return self.sources[image] if image < len(self.sources) else f"image {image}"

    def activations(self, layer: str) -> Tensor:
        """Return a copy of a layer's activations, (N, C', H', W') or (N, F), as they left that layer.

        Raises:
            UnknownLayerError: the net has no such layer, or it does not depend on the image.
            UnstableModelError: a further pass was needed, and gave other activations.
        """
        return self.stored_activations(layer).clone()

    def maps(self, layer: str) -> Tensor:
        """Return a copy of a layer's activations as maps (N, C', H', W'), whichever its axes are; (N, F) as F maps of 1x1.

        Raises:
            UnknownLayerError: the net has no such layer, or it does not depend on the image.
            UnitError: the layer has no maps.
            UnstableModelError: a further pass was needed, and gave other activations.
        """
        return self.stored_maps(layer).clone()

    def stored_activations(self, layer: str) -> Tensor:
        """Return a layer's activations themselves: only to be read."""
        if layer not in self._pass.activations:
            self.record(layer)
            self._store_further(layer)
        return self._pass.activations[layer]

    def stored_maps(self, layer: str) -> Tensor:
        """Return a layer's activations themselves as maps (N, C', H', W'): only to be read."""
        return as_maps(self.stored_activations(layer), self.axes(layer), layer)

    def tape_for(self, layer: str, table: Table) -> Tape:
        """Return a tape up to `layer` on which everything is saved that the rules of `table` need.

        Raises:
            StaleRecordingError: the weights changed after the recording.
            UnknownLayerError: the net has no such layer, or it does not depend on the image.
            UnstableModelError: two passes differ, by state or by random numbers.
        """
        self.check_weights()
        self.record(layer)
        if layer in self._random:
            raise UnstableModelError(
                f"layer {layer!r} of {self.name} changes each time it runs: forward draws random numbers."
                " Turn that off for eval mode, or seed it in forward: torch.manual_seed(0)."
            )
        needs = tuple(rule for rule in table.rules() if rule.needs_values)
        if not needs:
            return self._with_graphs(self._pass.tape)
        with_values = self._with_values.get(needs)
        if with_values is None or layer not in with_values.records:
            with_values = self._run(table, [layer])
            self._check_same(with_values, [layer])
            self._with_values = {needs: with_values}  # one at a time: activations are large
        return self._with_graphs(with_values.tape)

    def _with_graphs(self, tape: Tape) -> Tape:
        """Let a tape keep its ways down as graphs, where the net wants that and the device can do it."""
        if self.graphs and tape.cache.graphs is None and graphs_are_possible(tape.device):
            tape.cache.graphs = WayGraphs()
        return tape

    def check_weights(self) -> None:
        """Raise `StaleRecordingError` where the weights changed after the recording was made."""
        if self._weights is None:
            return
        now = fingerprint(self.model, self._samples)
        if now != self._weights and self._without_own_writes(now) != self._without_own_writes(self._weights):
            raise StaleRecordingError(f"the weights of {self.name} changed after this recording was made. Record again.")

    def _without_own_writes(self, weights: Fingerprint) -> Fingerprint:
        """Leave out the versions of weights that the model's own forward writes to: each pass counts them up."""
        addresses = {parameter.data_ptr() for parameter in self._pass.written}
        marks, values = weights
        return tuple((address, 0 if address in addresses else version) for address, version in marks), values

    def _run(self, table: Table, layers: Sequence[str] = (), **options: Any) -> ForwardPass:
        """Run the model over the images, with the weights of the recording."""
        self.check_weights()
        result = trace(self.model, self.inputs, table, layers, **options)
        self._weights = fingerprint(self.model, self._samples)
        return result

    def _complete(self) -> None:
        """Run the whole net where the first pass was stopped early."""
        stored = self._pass.activations
        complete = self._run(self._table, store=partial(ActivationStore, HELD_BYTES, copies=False))
        self._check_same(complete, list(stored))
        complete.activations.update(stored)
        self._pass = complete

    def _store_further(self, layer: str) -> None:
        """Store a layer's activations, and those of all others as far as they fit, by one further pass."""
        again = self._run(self._table, [layer], stop=False, store=partial(ActivationStore, STORED_BYTES, copies=True))
        self._check_same(again, list(self._pass.activations))
        self._pass.activations = {**again.activations, **self._pass.activations}

    def _check_same(self, further: ForwardPass, layers: Sequence[str]) -> None:
        """Refuse a further pass that differs from the first: units would be of one pass, and switches of another."""
        first = self._pass
        for name in layers:
            records = [each.records[name].value for each in (first, further) if name in each.records]
            if len(set(records)) > 1:
                raise UnstableModelError(
                    f"layer {name!r} of {self.name} is made by other calls each time it runs: the net, or a hook on it, gives"
                    " tensors of an earlier pass. Remove that, and record again."
                )
        shared = [name for name in layers if name in first.activations and name in further.activations]
        pairs = [(first.activations[name], further.activations[name]) for name in shared[-1:]]
        pairs = pairs or [(first.output, further.output)] if isinstance(further.output, Tensor) else pairs
        for before, now in pairs:
            if isinstance(before, Tensor) and not _is_close(before, now):
                raise UnstableModelError(
                    f"{self.name} gives other activations each time it runs: it keeps state, or adds noise."
                    " Record with layers=[...], so that all comes from one pass."
                )

    def _random_layers(self, layers: Sequence[str], *, stop: bool) -> frozenset[str]:
        """Return the layers whose activations hang on random numbers that the forward draws, by one further pass."""
        again = self._run(self._table, layers, stop=stop, store=partial(ActivationStore, STORED_BYTES, copies=True))
        random, is_random = set(), False
        for name in self._pass.records:  # one that was not stored counts as the one before it
            before, now = self._pass.activations.get(name), again.activations.get(name)
            if before is not None and now is not None:
                is_random = not _is_close(before, now)
            if is_random:
                random.add(name)
        return frozenset(random)

    def _check_layer(self, layer: str) -> None:
        if layer not in self._pass.records:
            hint = did_you_mean(layer, [*self._pass.records, *paper_layers(self.name)])
            raise UnknownLayerError(f"{layer!r} is not a layer of {self.name}.{hint} See: deconvnet layers {self.name}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "x".join(map(str, self.images.shape[1:]))
        return f"Recording({len(self)} images of {size}, {len(self._pass.tape.calls)} calls)"

    def _repr_html_(self) -> str:
        images = [self.show(self, number) for number in range(min(len(self), MAX_IMAGES_SHOWN))] if self.show else []
        more = len(self) - len(images) if images else 0
        return images_html(images, f"{self!r}; {more} more images" if more else repr(self))


def _is_close(before: Tensor, now: Tensor) -> bool:
    if before.shape != now.shape:
        return False
    limit = PASS_TOLERANCE * float(before.abs().max()) if before.numel() else 0.0
    return bool(torch.allclose(before, now, rtol=0, atol=limit, equal_nan=True))
