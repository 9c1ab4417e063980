"""Runs a model once over a batch and keeps what the way down needs. The one place where hooks live.

Forward hooks tell which module each call belongs to, and keep the activations of the layers asked for. Names follow
torchvision's contract: a module's path, or the module's path and the function's name (`layer3.1.add`); the second call
of the same name gets `_1`. Containers are layers too: `layer3` is what the block returns. Whatever a model returns in a
tuple, list or dict is indexed: `stage2[1]`.

The model comes back as it was - hooks, training flags, buffers - also when its forward raises half-way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .errors import PictureError, StaleRecordingError, UnknownLayerError, did_you_mean
from .images import ShownImage
from .receptive_field import Layout
from .render.html import images_html
from .tape import Call, Tape, Tracer, UnrecordedOps, unwatched

#: A notebook shows this many of a recording's images.
MAX_IMAGES_SHOWN = 12

Fingerprint = tuple[tuple[tuple[int, int], ...], tuple[bytes, ...]]
Samples = list[list[Tensor]]  # views of some values of all weights, by type and device


@dataclass
class LayerRecord:
    """A named layer of one run: which value it is, and the calls that were made inside it."""

    name: str
    kind: str  # the module's class, or the function's name
    value: int | None  # None where it does not descend from the image
    first: int  # the calls made inside it are calls[first:last]
    last: int
    is_call: bool = False  # a functional call, not a module


class _Stop(BaseException):
    """Ends a forward pass after the deepest layer asked for; no model's `except Exception` catches it."""


@dataclass
class ForwardPass:
    """What one forward pass left: its tape, its layers by name, and what was kept of them."""

    tape: Tape
    places: dict[str, LayerRecord] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)
    output: Any = None  # what the model returned; None where the pass was stopped early


class _Recorder:
    """Names values while a model runs."""

    def __init__(self, paths: Sequence[str], writer: Tracer, layers: Sequence[str], stop: bool, keep: Any = None) -> None:
        self.writer, self.run = writer, ForwardPass(writer.tape)
        self.paths = set(paths)
        self.inside: list[tuple[str, int, bool]] = []  # (path, calls made before it, is a torch layer): the modules being run
        self.counts: Counter[str] = Counter()
        self.wanted, self.stop, self.keep = set(layers), stop and bool(layers), keep

    def enter(self, path: str, module: nn.Module) -> None:
        if self.writer.awake:
            self.inside.append((path, len(self.run.tape.calls), bool(path) and is_torch_layer(module)))

    def leave(self, path: str, module: nn.Module, output: Any) -> None:
        if not self.writer.awake:
            return
        path, first, _ = self.inside.pop()
        if not path:  # the model itself has no name
            return
        name = self.unique(path)
        with torch._C.DisableTorchFunction():  # a hook stands outside the calls: its own questions would be seen
            for suffix, tensor in named_tensors(output):
                self.place(name + suffix, type(module).__name__, tensor, first)

    def called(self, call: Call, outputs: list[Tensor]) -> None:
        path = self.inside[-1][0] if self.inside else ""
        if any(torch_layer for _, _, torch_layer in self.inside):
            call.layer = self.current(path)  # the inside of a torch layer is that layer
            return
        call.layer = self.unique(f"{path}.{call.name}" if path else call.name)
        for suffix, tensor in named_tensors(outputs[0] if len(outputs) == 1 else outputs):
            self.place(call.layer + suffix, call.name, tensor, len(self.run.tape.calls) - 1, is_call=True)

    def place(self, name: str, kind: str, tensor: Tensor, first: int, is_call: bool = False) -> None:
        """Write down a layer's value, keep it if it was asked for, and stop when nothing more is."""
        self.run.places[name] = LayerRecord(name, kind, self.writer.value(tensor), first, len(self.run.tape.calls), is_call)
        if name in self.wanted:
            with unwatched():
                if self.keep:
                    self.keep(name, tensor)
                else:
                    self.run.activations[name] = tensor.detach().clone()
            self.wanted.discard(name)
            if self.stop and not self.wanted:
                raise _Stop

    def current(self, path: str) -> str:
        return f"{path}_{self.counts[path]}" if self.counts[path] else path

    def unique(self, name: str) -> str:
        """Return the name, or with the next free number behind it if it was used before."""
        candidate = self.current(name)
        while candidate in self.run.places or (candidate != name and candidate in self.paths):
            self.counts[name] += 1
            candidate = self.current(name)
        self.counts[name] += 1
        return candidate


def run_model(
    model: nn.Module,
    images: Tensor,
    table: Mapping[Callable[..., Any], Any],
    layers: Sequence[str] = (),
    stop: bool = True,
    keep: Callable[[str, Tensor], None] | None = None,
) -> ForwardPass:
    """Run `model` over images (N, C, H, W) in eval mode, writing its calls down.

    The activations of `layers` are kept, or handed to `keep`; with `stop`, the pass ends after the deepest of them.
    """
    run, met_unknown = _run_once(model, images, table, layers, stop, None, keep)
    if keep is not None:
        return run  # what was asked for was handed over, whatever the calls are
    # once more, with a mode that sees what compiled code makes: is it that, or a constant that the model found elsewhere?
    return _run_once(model, images, table, layers, stop, UnrecordedOps())[0] if met_unknown else run


def _run_once(
    model: nn.Module,
    images: Tensor,
    table: Mapping[Callable[..., Any], Any],
    layers: Sequence[str],
    stop: bool,
    watch: Any,
    keep: Any = None,
) -> tuple[ForwardPass, bool]:
    modules = list(model.named_modules())
    with ExitStack() as stack:
        stack.enter_context(unwatched())  # a recording inside another one's forward pass
        # Tensors made in inference mode keep no version counter, and cannot go through autograd later
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(eval_mode(model))
        stack.enter_context(same_buffers(model))
        images = images.clone() if images.is_inference() else images.detach()
        writer = Tracer(model, table, watch)
        recorder = _Recorder([path for path, _ in modules], writer, layers, stop, keep)
        writer.called = recorder.called
        # or the two would hold each other, with all that was kept, until Python looks for cycles
        stack.callback(delattr, writer, "called")
        stack.enter_context(_hooks(modules, recorder))
        with writer.writing(images), suppress(_Stop):
            recorder.run.output = model(images)
    return recorder.run, writer.met_unknown


@contextmanager
def _hooks(modules: Sequence[tuple[str, nn.Module]], recorder: _Recorder) -> Iterator[None]:
    """Tell the recorder of every module that is entered and left; all hooks go again, whatever happens."""
    handles: list[Any] = []
    try:
        for path, module in modules:
            handles.append(module.register_forward_pre_hook(partial(_enter, recorder, path)))
            handles.append(module.register_forward_hook(partial(_leave, recorder, path), always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(recorder: _Recorder, path: str, module: nn.Module, inputs: Any) -> None:
    recorder.enter(path, module)


def _leave(recorder: _Recorder, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
    recorder.leave(path, module, output)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every submodule in eval mode, and each one's own flag back afterwards."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False  # not .eval(): models override train() with side effects
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def same_buffers(model: nn.Module) -> Iterator[None]:
    """Restore buffers that a forward pass wrote to, such as a counter."""
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in model.buffers() if not buffer.is_inference()]
    try:
        yield
    finally:
        for buffer, version, value in buffers:
            if buffer._version != version:
                buffer.copy_(value)


def is_torch_layer(module: nn.Module) -> bool:
    """Say whether a module is one of torch's own layers, which are not looked into."""
    return type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)


def named_tensors(tree: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield ("", x) for a tensor; ("[0]", a), ("[1]", b) for a tuple or list; ("[out]", x) for a dict."""
    if isinstance(tree, Tensor):
        yield "", tree
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, (tuple, list)) else ()
    for key, item in items:
        for suffix, tensor in named_tensors(item):
            yield f"[{key}]{suffix}", tensor


@torch.no_grad()
def fingerprint(model: nn.Module, known: dict[Any, Samples] | None = None) -> Fingerprint:
    """Return what changes when a parameter or buffer is written to or replaced.

    Its place and version tell of most changes; a write through `.data` leaves both, so eight values of each tensor are looked
    at too. One single value changed through `.data` can escape. `known`: where the values lie, from the last time.
    """
    tensors = [
        tensor
        for module in model.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None and tensor.layout == torch.strided
    ]
    marks = tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)
    known = {} if known is None else known
    if marks not in known:
        known.clear()
        known[marks] = _samples(tensors)
    values = tuple(torch.cat(some).view(torch.uint8).cpu().numpy().tobytes() for some in known[marks])
    return marks, values


def _samples(tensors: Sequence[Tensor]) -> Samples:
    """Return views of eight values of each tensor, those of one type and device together."""
    samples: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        count = tensor.numel() if tensor.is_contiguous() else min(tensor.numel(), tensor.untyped_storage().nbytes() // 8)
        if count:
            some = tensor.as_strided((min(8, count),), (max(1, count // 8),))  # in memory's order: no copy
            samples.setdefault((tensor.dtype, tensor.device), []).append(some)
    return list(samples.values())


class Recording:
    """One batch of images seen by one model: its tape and activations. Made by `DeconvNet.record`.

    `images` (N, C, H, W) are kept; whatever is asked for later comes from one more forward pass over them, cached.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        table: Mapping[Callable[..., Any], Any],
        layers: Sequence[str] | None = None,
        *,
        stop: bool = True,
        name: str = "this model",
        sources: Sequence[str] = (),
    ) -> None:
        self.model, self.images, self.name, self.sources = model, images, name, tuple(sources)
        self._table = table
        self._weights: Fingerprint | None = None
        self._samples: dict[Any, Samples] = {}
        self._run = self._pass(table, layers or (), stop)
        self._with_values: dict[tuple[Any, ...], ForwardPass] = {}
        self.memo: dict[Any, Any] = {}  # what a net worked out of this recording once, and may ask again
        self.show: Callable[[Recording, int], ShownImage] | None = None  # set by the net that made it
        for layer in layers or ():
            self._check_layer(layer, self._run)

    @property
    def output(self) -> Any:
        """What the model returned; None where the pass was stopped at the deepest layer."""
        return self._run.output

    @property
    def weights(self) -> Fingerprint | None:
        """The fingerprint of the weights that this recording was made with."""
        return self._weights

    @property
    def tape(self) -> Tape:
        """The calls of the first pass, as far as it went."""
        return self._run.tape

    def places(self) -> dict[str, LayerRecord]:
        """Return the layers of the whole net by name, in the order in which they finished."""
        if self._run.output is None:
            self._again()
        return self._run.places

    def place(self, layer: str) -> LayerRecord:
        """Return a layer by name, looking beyond where the pass stopped if need be."""
        if layer not in self._run.places and self._run.output is None:
            self._again()
        self._check_layer(layer, self._run)
        place = self._run.places[layer]
        if place.value is None:
            raise UnknownLayerError(f"layer {layer!r} of {self.name} does not depend on the image: nothing can be projected.")
        return place

    def value(self, layer: str) -> int:
        """Return the number of a layer's value on the tape."""
        value = self.place(layer).value
        assert value is not None  # place() refuses those
        return value

    def layout(self, layer: str) -> Layout:
        """Return which axes of a layer are channels, rows and columns."""
        return self._run.tape.layouts[self.value(layer)]

    def source(self, image: int) -> str:
        """Return the path that an image came from, or "image 0"."""
        return self.sources[image] if image < len(self.sources) else f"image {image}"

    def activations(self, layer: str) -> Tensor:
        """Return a copy of a layer's activations, (N, C', H', W') or (N, F), as they left that layer."""
        return self.kept_activations(layer).clone()

    def kept_activations(self, layer: str) -> Tensor:
        """Return a layer's activations themselves: to be read only."""
        if layer not in self._run.activations:
            self.place(layer)
            self._run.activations.update(self._pass(self._table, [layer]).activations)
        return self._run.activations[layer]

    def tape_for(self, layer: str, table: Mapping[Callable[..., Any], Any]) -> Tape:
        """Return a tape up to `layer` on which everything is kept that the rules of `table` need."""
        self._check_weights()
        self.place(layer)
        needs = tuple(rule for rule in table.values() if getattr(rule, "needs_values", False))
        if not needs:
            return self._run.tape
        run = self._with_values.get(needs)
        if run is None or layer not in run.places:
            run = self._pass(table, [layer])
            self._with_values = {needs: run}  # one at a time: activations are large
        return run.tape

    def _pass(self, table: Mapping[Callable[..., Any], Any], layers: Sequence[str] = (), stop: bool = True) -> ForwardPass:
        """Run the model over the images, with the weights of the recording."""
        self._check_weights()
        run = run_model(self.model, self.images, table, layers, stop)
        self._weights = fingerprint(self.model, self._samples)  # after the pass: a model may write to its own buffers
        return run

    def _check_weights(self) -> None:
        if self._weights is not None and fingerprint(self.model, self._samples) != self._weights:
            raise StaleRecordingError(f"the weights of {self.name} changed after this recording was made. Record again.")

    def _again(self) -> None:
        kept = self._run.activations
        self._run = self._pass(self._table)
        self._run.activations.update(kept)

    def _check_layer(self, layer: str, run: ForwardPass) -> None:
        if layer not in run.places:
            hint = did_you_mean(layer, run.places)
            raise UnknownLayerError(f"{layer!r} is not a layer of {self.name}.{hint} See: deconvnet layers {self.name}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return (
            f"Recording({len(self)} images of {'x'.join(map(str, self.images.shape[1:]))}, {len(self._run.tape.calls)} calls)"
        )

    def _repr_html_(self) -> str:
        images = [self.show(self, number) for number in range(min(len(self), MAX_IMAGES_SHOWN))] if self.show else []
        more = len(self) - len(images) if images else 0
        return images_html(images, f"{self!r}; {more} more images" if more else repr(self))


def check_images(images: Tensor) -> Tensor:
    """Refuse what is not a batch of images (N, C, H, W) of numbers."""
    if images.dim() != 4 or not images.is_floating_point() or 0 in images.shape:
        found = f"{tuple(images.shape)} of {str(images.dtype).removeprefix('torch.')}"
        raise PictureError(f"images must be a float tensor (N, C, H, W), found {found}. One picture: image.unsqueeze(0).")
    return images
