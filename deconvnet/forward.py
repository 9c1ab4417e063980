"""The one forward engine: hooks, layers' names, stopping, what is kept of the layers.

A layer's name follows torchvision's contract: a module's path, or the module's path and the function's name (`layer3.1.add`);
the second call of the same name gets `_1`. Containers are layers too: `layer3` is what the block returns. Whatever a model
returns in a tuple, list or dict is indexed: `stage2[1]`. Behind each name stands a `LayerKey` - which module, which of its
calls - which is what passes look layers up by; a name is never read back from text.
"""

from __future__ import annotations

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from .detection import batched_transforms
from .model_state import eval_pass, is_torch_module, random_state, run_uncompiled
from .rules import Table
from .rules.call import Call, named_tensors
from .tape import Tape, Tracer, UnrecordedOps, untraced
from .user_code import failing_in_a_line

#: Is handed each layer's name and activations where they are made: a later call in place may write over them.
OnLayer: TypeAlias = Callable[[str, Tensor], None]

#: Bytes of activations that a first pass holds on to for what may be asked later. Holding on to more makes it slower, since
#: each map then is new memory: 15 % at eight pictures of ResNet50. The largest maps are let go first, those of low layers.
HELD_BYTES = 32 * 2**20

#: Bytes of activations that a further pass copies, once something was asked for that was let go.
STORED_BYTES = 256 * 2**20

#: Without rules, a pass is only run and its layers named.
NO_RULES = Table({})


@dataclass(frozen=True)
class LayerKey:
    """Where a layer's value comes from."""

    path: str  # of a module; of a functional call, of the module that makes it
    function: str = ""  # a functional call's plain name; "" for a module
    number: int = 0  # which call of that module, or of that function in it: 0 is the first
    part: tuple[Any, ...] = ()  # the keys to it in what the call returns


@dataclass
class LayerRecord:
    """A named layer of one pass: which value it is, and the calls that were made inside it."""

    name: str
    kind: str  # the module's class, or the function's name
    value: int | None  # None where it does not descend from the image
    first: int  # the calls made inside it are calls[first:last]
    last: int
    key: LayerKey

    @property
    def is_call(self) -> bool:
        """True for a functional call, False for a module."""
        return bool(self.key.function)

    @property
    def number(self) -> int:
        """Its value, -1 where it does not descend from the image."""
        return -1 if self.value is None else self.value


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """What a model is called with: images (N, C, H, W), and what its forward takes besides."""

    images: Tensor
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class ForwardPass:
    """What one pass left: its tape, its layers by name, and what was stored of them."""

    tape: Tape
    records: dict[str, LayerRecord] = field(default_factory=dict)
    activations: dict[str, Tensor] = field(default_factory=dict)
    output: Any = None  # what the model returned; None where the pass was stopped early
    written: list[Tensor] = field(default_factory=list)  # the parameters that the model's forward writes to
    draws: bool = False  # whether the model's forward drew random numbers


class _Stop(BaseException):
    """Ends a forward pass after the deepest layer asked for; no model's `except Exception` catches it."""


class ActivationStore:
    """Activations of many layers, within a number of bytes: where they are more, the largest go.

    Without `copies` the tensors themselves are held, which costs nothing; one that a later call in place writes over is lost.
    """

    def __init__(self, limit: int, *, copies: bool) -> None:
        self.limit, self.copies = limit, copies
        self._tensors: dict[str, tuple[Tensor, int]] = {}  # and its version
        self._names: dict[int, list[str]] = defaultdict(list)  # by storage
        self._sizes: dict[int, int] = {}
        self._total = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Hold a layer's activations, or a copy of them."""
        if self.copies:
            with untraced():
                tensor = tensor.detach().clone()
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        self._tensors[name] = tensor, tensor._version
        self._names[address].append(name)
        if address not in self._sizes:
            self._sizes[address] = storage.nbytes()
            self._total += self._sizes[address]
        while self._total > self.limit:
            largest = max(self._sizes, key=self._sizes.__getitem__)
            self._total -= self._sizes.pop(largest)
            for lost in self._names.pop(largest):
                self._tensors.pop(lost, None)

    def intact(self) -> dict[str, Tensor]:
        """Return what was not written over."""
        return {name: tensor.detach() for name, (tensor, version) in self._tensors.items() if tensor._version == version}


class _LayerNamer:
    """Names the values that a model makes while it runs, and stores those asked for."""

    def __init__(
        self,
        paths: Sequence[str],
        tracer: Tracer,
        layers: Sequence[str],
        *,
        stop: bool,
        on_layer: OnLayer | None,
        store: ActivationStore | None,
    ) -> None:
        self.tracer, self.result = tracer, ForwardPass(tracer.tape)
        self.paths = set(paths)
        self.inside: list[tuple[str, int, bool]] = []  # the modules being run: path, calls made before it, is one of torch's
        self.leaves = 0  # how many of them are torch's
        self.used: Counter[str] = Counter()  # how often a name was used
        self.calls: Counter[tuple[str, str]] = Counter()  # of a module, or of a function in it
        self.wanted, self.stop = set(layers), stop and bool(layers)
        self.on_layer, self.store = on_layer, store

    def enter(self, path: str, module: nn.Module) -> None:
        if self.tracer.is_active:
            leaf = bool(path) and is_leaf(module)
            self.leaves += leaf
            self.inside.append((path, len(self.result.tape.calls), leaf))

    def leave(self, path: str, module: nn.Module, output: Any) -> None:
        if not self.tracer.is_active:
            return
        path, first, leaf = self.inside.pop()
        self.leaves -= leaf
        if not path:  # the model itself has no name
            return
        name, number = self.unique(path), self.count(path, "")
        with torch._C.DisableTorchFunction():  # a hook stands outside the calls: what it asks of tensors would be recorded
            for part, tensor in named_tensors(output):
                self.note(name, type(module).__name__, tensor, first, LayerKey(path, "", number, part))

    def on_call(self, call: Call, outputs: list[Tensor]) -> None:
        call.layer = self.layer_of(call.name)
        if self.leaves:
            return  # the inside of a torch layer is that layer
        path = self.inside[-1][0] if self.inside else ""
        name, number = self.unique(_joined(path, call.name)), self.count(path, call.name)
        first = len(self.result.tape.calls) - 1
        for part, tensor in named_tensors(outputs[0] if len(outputs) == 1 else outputs):
            self.note(name, call.name, tensor, first, LayerKey(path, call.name, number, part))

    def layer_of(self, function: str) -> str:
        """Return the layer that the next call of a function belongs to."""
        path = self.inside[-1][0] if self.inside else ""
        return self.next_name(path) if self.leaves else self.next_unique(_joined(path, function))[0]

    def count(self, path: str, function: str) -> int:
        self.calls[path, function] += 1
        return self.calls[path, function] - 1

    def note(self, name: str, kind: str, tensor: Tensor, first: int, key: LayerKey) -> None:
        """Write down a layer's value, store it if it was asked for, and stop when nothing more is."""
        name += "".join(f"[{item}]" for item in key.part)
        self.result.records[name] = LayerRecord(name, kind, self.tracer.value(tensor), first, len(self.result.tape.calls), key)
        if name in self.wanted:
            with untraced():
                if self.on_layer:
                    self.on_layer(name, tensor)
                else:
                    self.result.activations[name] = tensor.detach().clone()
            self.wanted.discard(name)
            if self.stop and not self.wanted:
                raise _Stop
        elif self.store:
            self.store.add(name, tensor)

    def next_name(self, path: str) -> str:
        return f"{path}_{self.used[path]}" if self.used[path] else path

    def next_unique(self, name: str) -> tuple[str, int]:
        """Return the name, or with the next free number behind it if it was used before, and that number."""
        candidate, number = self.next_name(name), self.used[name]
        while candidate in self.result.records or (candidate != name and candidate in self.paths):
            number += 1
            candidate = f"{name}_{number}"
        return candidate, number

    def unique(self, name: str) -> str:
        candidate, number = self.next_unique(name)
        self.used[name] = number + 1
        return candidate


def trace(
    model: nn.Module,
    inputs: ModelInputs,
    table: Table,
    layers: Sequence[str] = (),
    *,
    stop: bool = True,
    on_layer: OnLayer | None = None,
    store: Callable[[], ActivationStore] | None = None,
) -> ForwardPass:
    """Run a model in eval mode over images, writing its calls down.

    The model comes back as it was, also when its forward raises half-way. Its input is a copy: it may write to it.

    Args:
        model: any module.
        inputs: what it is called with.
        table: the rules by which calls are made.
        layers: whose activations are copied, or handed to `on_layer`.
        stop: end the pass after the deepest of them.
        on_layer: takes the activations of `layers`.
        store: makes what holds the activations of all other layers.
    """
    result, met_unknown = _trace_once(model, inputs, table, layers, stop, on_layer, store, None)
    if on_layer is not None or not met_unknown:
        return result  # what was asked for was handed over, whatever the calls are
    # once more, with a mode that sees what compiled code makes: is it that, or a constant that the model found elsewhere?
    return _trace_once(model, inputs, table, layers, stop, None, store, UnrecordedOps())[0]


def _trace_once(
    model: nn.Module,
    inputs: ModelInputs,
    table: Table,
    layers: Sequence[str],
    stop: bool,
    on_layer: OnLayer | None,
    make_store: Callable[[], ActivationStore] | None,
    unrecorded: UnrecordedOps | None,
) -> tuple[ForwardPass, bool]:
    named = list(model.named_modules())
    modules = [module for _, module in named]
    store = make_store() if make_store else None
    with ExitStack() as stack:
        stack.enter_context(_without_collection())
        stack.enter_context(untraced())  # a recording inside another one's forward pass
        # Tensors made in inference mode keep no version counter, and cannot go through autograd later
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        stack.enter_context(run_uncompiled())
        state = stack.enter_context(eval_pass(modules))
        stack.enter_context(batched_transforms(modules))
        images = inputs.images.detach().clone()
        tracer = Tracer(modules, table, unrecorded, state.before_write)
        namer = _LayerNamer([path for path, _ in named], tracer, layers, stop=stop, on_layer=on_layer, store=store)
        tracer.on_call, tracer.layer_of = namer.on_call, namer.layer_of
        # or the two would hold each other, with all that was stored, until Python looks for cycles
        stack.callback(_part, tracer)
        stack.enter_context(_hooked(named, namer))
        before = random_state(images.device)
        with tracer.tracing(images), suppress(_Stop):
            namer.result.output = _called(model, images, *inputs.args, **inputs.kwargs)
        if store:
            namer.result.activations.update(store.intact())
        namer.result.written, namer.result.draws = state.written, random_state(images.device) != before
    return namer.result, tracer.met_unknown


@contextmanager
def _without_collection() -> Iterator[None]:
    """Keep Python from looking for cycles during a pass.

    A pass makes thousands of small objects that all live on, so it would look often and in vain: a third of the time of a
    recording of DenseNet121.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _called(model: nn.Module, images: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Call a model; what it raises is said in a line that names the user's file."""
    hint = "It was called with a batch of images; a net that takes another input needs a module that wraps it and takes images."
    with failing_in_a_line(f"the forward pass of {type(model).__name__}", hint):
        return model(images, *args, **kwargs)


def _part(tracer: Tracer) -> None:
    del tracer.on_call, tracer.layer_of


@contextmanager
def _hooked(modules: Sequence[tuple[str, nn.Module]], namer: _LayerNamer) -> Iterator[None]:
    """Tell the namer of every module that is entered and left; all hooks go again, whatever happens."""
    with _removing() as handles:
        for path, module in modules:
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks; what it makes is met as unrecorded
                continue
            handles.append(module.register_forward_pre_hook(partial(_enter, namer, path)))
            handles.append(module.register_forward_hook(partial(_leave, namer, path), always_call=True))
        yield


@contextmanager
def _removing() -> Iterator[list[Any]]:
    """Give a list for handles of hooks; those in it are removed at the end."""
    handles: list[Any] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def _enter(namer: _LayerNamer, path: str, module: nn.Module, inputs: Any) -> None:
    namer.enter(path, module)


def _leave(namer: _LayerNamer, path: str, module: nn.Module, inputs: Any, output: Any) -> None:
    namer.leave(path, module, output)


def is_leaf(module: nn.Module) -> bool:
    """Say whether a module is one of torch's own layers, which are not looked into."""
    return is_torch_module(module) and not isinstance(module, nn.Sequential)


def _joined(path: str, function: str) -> str:
    return f"{path}.{function}" if path else function


class ForwardEngine:
    """Runs batches of images through a model, and hands over the activations of some layers where they are made.

    Nothing of the way down is saved, so this is faster than a recording, and its memory is that of a plain forward pass. Where
    all layers are modules, only those are hooked.

    Args:
        model: any module.
        records: the layers, from a pass over images of the same size.
        stop: end a pass after the deepest of them.
        written: the parameters that the model's forward writes to: `ForwardPass.written`.
    """

    def __init__(self, model: nn.Module, records: Sequence[LayerRecord], *, stop: bool, written: Sequence[Tensor] = ()) -> None:
        self.model, self.stop, self.written = model, stop, tuple(written)
        self.layers = [record.name for record in records]
        self._names = {record.key: record.name for record in records}
        self._has_functional = any(record.is_call for record in records)
        parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(1))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.memory_format = torch.channels_last

    def __call__(self, images: Tensor, on_layer: OnLayer) -> Any:
        """Run one batch (B, C, H, W); return what the model returned, None where the pass was stopped.

        `on_layer` may be told of a layer twice, where a model needs its images in another memory format: the last time counts.
        """
        batch = images.to(self.device, self.dtype).contiguous(memory_format=self.memory_format)
        batch = batch.clone() if batch.data_ptr() == images.data_ptr() else batch  # a model may write to its input
        try:
            return self._run(batch, on_layer)
        except RuntimeError as error:
            if "view" not in str(error) or self.memory_format is torch.contiguous_format:
                raise
            self.memory_format = torch.contiguous_format  # a model that views its maps as rows needs them in that order
            return self(images, on_layer)

    def _run(self, images: Tensor, on_layer: OnLayer) -> Any:
        if self._has_functional:
            return trace(self.model, ModelInputs(images), NO_RULES, self.layers, stop=self.stop, on_layer=on_layer).output
        state = eval_pass(list(self.model.modules()), self.written)
        with torch.inference_mode(), run_uncompiled(), state, self._hooked(on_layer), suppress(_Stop):
            return _called(self.model, images)
        return None

    @contextmanager
    def _hooked(self, on_layer: OnLayer) -> Iterator[None]:
        waiting = set(self.layers)
        calls: Counter[str] = Counter()

        def hook(path: str, module: nn.Module, inputs: Any, output: Any) -> None:
            number = calls[path]
            calls[path] += 1
            for part, tensor in named_tensors(output):
                name = self._names.get(LayerKey(path, "", number, part))
                if name is not None:
                    on_layer(name, tensor)
                    waiting.discard(name)
            if self.stop and not waiting:
                raise _Stop

        modules = dict(self.model.named_modules())
        with _removing() as handles:
            for path in dict.fromkeys(key.path for key in self._names):
                handles.append(modules[path].register_forward_hook(partial(hook, path)))
            yield


def largest_map(tape: Tape) -> int:
    """Return how many numbers the largest value of an image has, on a tape."""
    return max(shape[1:].numel() for shape in tape.shapes)


def records_of(records: Mapping[str, LayerRecord], layers: Sequence[str]) -> list[LayerRecord]:
    """Return the records of some layers, each once."""
    return [records[name] for name in dict.fromkeys(layers)]
