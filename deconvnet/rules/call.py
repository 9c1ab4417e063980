"""One call of a forward pass: how a rule sees it while it is made, and what is written down for the way down."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..axes import Axes
from ..batch_axis import FIRST, BatchAxis

#: A function of torch, as a model calls it.
Function = Callable[..., Any]

S = TypeVar("S", bound="Saved")


class UnsupportedCall(Exception):
    """Raised by a rule's `run` where it cannot mirror these arguments; the text says why.

    Best raised before the call is made; after it, `call.output` is taken as what the call returned.
    """


def per_image(default: Any = None) -> Any:
    """Declare a field of a `Saved` whose tensor has the recording's batch axis first."""
    return field(default=default, metadata={"per_image": True})


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved:
    """What one call leaves for the way down: a frozen dataclass for each kind of rule.

    Fields declared by `per_image()` have the recording's batch axis first; everything else serves all images alike.
    """

    size: torch.Size = field(default_factory=torch.Size)  # of the call's first input that descends from the image
    batch: BatchAxis = FIRST  # where the images are in what is saved of them
    held: tuple[bool, ...] = ()  # for each input: it takes no signal, since it is taken as a constant; () where none is
    status: str | None = None  # where it differs from its rule's

    has_images: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared = [value for value in vars(cls).values() if getattr(value, "metadata", {}).get("per_image")]
        cls.has_images = cls.has_images or bool(declared)

    def for_images(self: S, rows: int | Tensor | None) -> S:
        """Return what is saved for these images: one that all signals share (int), one for each signal, or all (None)."""
        if rows is None or not self.has_images:
            return self
        batch = self.batch
        changed = self.with_tensors(lambda tensor, is_per_image: select_images(tensor, rows, batch) if is_per_image else tensor)
        return self if changed is None else changed

    def image_tensors(self) -> list[Tensor]:
        """Return the tensors that have a row for each image."""
        tensors: list[Tensor] = []

        def collect(tensor: Tensor, is_per_image: bool) -> Tensor:
            if is_per_image:
                tensors.append(tensor)
            return tensor

        self.with_tensors(collect)
        return tensors

    def with_tensors(self: S, change: Callable[[Tensor, bool], Tensor | None]) -> S | None:
        """Return a copy with each tensor changed by `change(tensor, is_per_image)`; None where that returns None."""
        changes: dict[str, Tensor] = {}
        for name, is_per_image in _tensor_fields(cast(Any, type(self))):
            value = getattr(self, name)
            if isinstance(value, Tensor):
                changed = change(value, is_per_image)
                if changed is None:
                    return None
                if changed is not value:
                    changes[name] = changed
        return replace(self, **cast("dict[str, Any]", changes)) if changes else self


@functools.cache
def _tensor_fields(kind: Any) -> tuple[tuple[str, bool], ...]:
    return tuple((item.name, bool(item.metadata.get("per_image"))) for item in fields(kind))


def select_images(tensor: Tensor, rows: int | Tensor, batch: BatchAxis = FIRST) -> Tensor:
    """Return the rows of some images; a tensor of one row serves all."""
    if not batch.is_first:
        return batch.select(tensor, torch.tensor([rows]) if isinstance(rows, int) else rows)
    if tensor.shape[0] == 1:
        return tensor
    if isinstance(rows, int):
        return tensor[rows : rows + 1]
    return tensor.index_select(0, rows.to(tensor.device, non_blocking=True))


@dataclass
class Call:
    """One call of the forward pass: which values it read and made, and what its rule saved."""

    func: Function
    name: str  # the function's plain name: "conv2d", "add"
    layer: str  # the layer it belongs to: "features.0", "layer3.1.add"
    inputs: tuple[int, ...]  # the values that descend from the image, in the order of the arguments
    outputs: tuple[int, ...]
    saved: Saved = field(default_factory=Saved)
    problem: str | None = None  # why it cannot be mirrored


class ValueLookup(Protocol):
    """What a recording in progress knows of tensors; the methods of `CallContext` say it to rules."""

    @property
    def batch(self) -> int:
        """How many images there are."""

    def value(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor on the tape."""

    def batch_axis(self, tensor: Tensor) -> BatchAxis:
        """Return where the images are in a tensor."""

    def maker(self, tensor: Tensor) -> Call | None:
        """Return the call that made a tensor."""

    def origin(self, tensor: Tensor) -> Call | None:
        """Return the call that computed a tensor."""

    def is_pattern(self, tensor: Tensor) -> bool:
        """Say whether a tensor is a pattern of attention, perhaps mixed among heads."""

    def axes(self, tensor: Tensor) -> Axes:
        """Return which axes of a tensor are channels, rows and columns."""

    def as_used(self, tensor: Tensor) -> Tensor:
        """Return a constant as it is in this pass."""

    def is_rectified(self, tensor: Tensor) -> bool:
        """Say whether a rectifier set a tensor's values to zero wherever nothing fired, and left none below."""

    def call_cache(self) -> dict[Any, Any]:
        """Return the cache of the call that is being made."""


class CallContext:
    """The call as a rule sees it in `run`: `call()` makes it, `call.descends(x)` says whether x comes from the image."""

    def __init__(self, func: Function, args: Any, kwargs: Any, lookup: ValueLookup, input_count: int) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.input_count = input_count  # how many tensors among its arguments descend from the image
        self.is_made, self.output = False, None
        self._lookup = lookup

    def __call__(self, func: Function | None = None, **changes: Any) -> Any:
        """Make the call as the model asked for it, or by another function or with other keywords that do the same."""
        self.output = (func or self.func)(*self.args, **{**self.kwargs, **changes})
        self.is_made = True
        return self.output

    @property
    def batch(self) -> int:
        """How many images there are."""
        return self._lookup.batch

    @property
    def cache(self) -> dict[Any, Any]:
        """Where the call's rule may keep what it works out on the way down; it lives as long as the recording."""
        return self._lookup.call_cache()

    def descends(self, value: Any) -> bool:
        """Say whether something is a tensor that descends from the image."""
        return isinstance(value, Tensor) and self._lookup.value(value) is not None

    def read(self, parameters: Sequence[str]) -> list[str]:
        """Return which of a function's `parameters` were given a tensor from the image, in the order of the call's inputs."""
        given = {**dict(zip(parameters, self.args, strict=False)), **self.kwargs}
        return [name for name, argument in given.items() if self.descends(argument)]

    def value(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor on the tape; two tensors with one number are the same value."""
        return self._lookup.value(tensor)

    def axes(self, tensor: Tensor) -> Axes:
        """Return which axes of a tensor are channels, rows and columns."""
        return self._lookup.axes(tensor)

    def batch_axis(self, tensor: Tensor) -> BatchAxis:
        """Return where the images are in a tensor."""
        return self._lookup.batch_axis(tensor)

    def maker(self, tensor: Tensor) -> Call | None:
        """Return the call that made a tensor; None for the image."""
        return self._lookup.maker(tensor)

    def origin(self, tensor: Tensor) -> Call | None:
        """Return the call that computed a tensor, looking through calls that only move values about."""
        return self._lookup.origin(tensor)

    def is_pattern(self, tensor: Tensor) -> bool:
        """Say whether a tensor is a pattern of attention: what a softmax made, perhaps scaled, masked or mixed among heads."""
        return self._lookup.is_pattern(tensor)

    def is_rectified(self, tensor: Tensor) -> bool:
        """Say whether a rectifier set a tensor's values to zero wherever nothing fired, and left none below."""
        return self._lookup.is_rectified(tensor)

    def as_used(self, tensor: Tensor) -> Tensor:
        """Return a weight as it is in this pass: it stays so when the model's own is restored or written to."""
        return self._lookup.as_used(tensor)


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    tensors: list[Tensor] = []
    if isinstance(tree, (tuple, list)):
        for item in tree:
            if isinstance(item, Tensor):  # the usual case, without a call
                tensors.append(item)
            elif not isinstance(item, (int, float, str, type(None))):
                tensors += tensors_in(item)
    elif isinstance(tree, dict):
        tensors = tensors_in(list(tree.values()))
    return tensors


def named_tensors(tree: Any) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """Yield ((), x) for a tensor; ((0,), a), ((1,), b) for a tuple or list; (("out",), x) for a dict."""
    if isinstance(tree, Tensor):
        yield (), tree
        return
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, (tuple, list)) else ()
    for key, item in items:
        for keys, tensor in named_tensors(item):
            yield (key, *keys), tensor


@functools.cache
def plain_name(func: Function) -> str:
    """Return the name people know a torch function by: `Tensor.add_`, `+=` and `torch.add` are all "add"."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "fn":  # F.max_pool2d and its kin are closures of one dispatcher
        name = next(known for known, value in vars(F).items() if value is func)
    if name in ("__get__", "__set__"):  # x.mT, x.data = y
        name = getattr(getattr(func, "__self__", None), "__name__", name)
    bare = name.strip("_")
    in_place_or_reflected = name.startswith("__") and bare[:1] in "ir" and hasattr(torch.Tensor, f"__{bare[1:]}__")
    return bare[1:] if in_place_or_reflected else bare
