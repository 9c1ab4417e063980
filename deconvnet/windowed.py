"""The same projection, computed only inside the units' windows: exactly what the full way down gives there.

A unit depends on its receptive field alone, and each call on the way down needs only the matching small rectangle. So a
batch of units goes down as patches of one size, each at its own place. The form that keeps this simple and fast:

- a patch always lies inside its value's frame: near a border it is moved in, its content with it, so that sizes stay equal
  and no masks are needed;
- a patch that has grown to the frame is the frame, and goes on with `Rule.mirror` as it stands;
- a call reuses its rule's `mirror` on the patch, with what it kept cut to the patch and the padding left to `clamp_to_frame`;
- where branches meet, patches grow to hold both.

A rule that none of this fits goes on in the full frame. Nothing here is approximate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .axes import MAPS, map_size
from .fuse import FusedStep, steps_down
from .mirror import deterministic, preferred_format
from .rules import Table
from .rules.arithmetic import Cat, Pairwise
from .rules.base import AnyRule, Placewise, SlidingSaved
from .rules.call import Saved, select_images
from .rules.conv import Conv
from .rules.linear import Linear
from .rules.pool import AvgPool2d, MaxPool2d
from .tape import Tape
from .units import Window

#: Windows that are linear in the position, or the whole of a value.
LINEAR_WINDOWS = {Conv.window, MaxPool2d.window, AvgPool2d.window, Placewise.window, Pairwise.window, Cat.window, Linear.window}


@dataclass
class Patch:
    """Signals (K, C, h, w), each at its own place, in values of height x width; a patch of that size is the frame."""

    signal: Tensor
    tops: Tensor  # (K,) int64
    lefts: Tensor
    height: int
    width: int
    owned: bool = False  # True where nobody else holds the signal: it may be changed in place

    @property
    def is_frame(self) -> bool:
        """True where the patch covers the whole value."""
        return self.signal.shape[2:] == (self.height, self.width)

    def frame(self) -> Tensor:
        """Return the signal in the whole frame, (K, C, H, W)."""
        if self.is_frame:
            return self.signal
        return self.moved(torch.zeros_like(self.tops), torch.zeros_like(self.lefts), self.height, self.width).signal

    def moved(self, tops: Tensor, lefts: Tensor, height: int, width: int) -> Patch:
        """Return a patch of another size at other places, zero where this one did not reach."""
        below = _placed(self.signal, self.tops - tops, self.lefts - lefts, height, width)
        return Patch(below, tops, lefts, self.height, self.width, owned=True)

    def plus(self, other: Patch) -> Patch:
        """Return the sum, in a patch that holds both."""
        tops, height = _union(self.tops, self.signal.shape[2], other.tops, other.signal.shape[2], self.height)
        lefts, width = _union(self.lefts, self.signal.shape[3], other.lefts, other.signal.shape[3], self.width)
        large, small = (self, other) if self.owned else (other, self)
        if not large.lies_at(tops, lefts, height, width):
            large, small = small, large
        if not large.lies_at(tops, lefts, height, width):
            large = large.moved(tops, lefts, height, width)
        total = large.signal if large.owned else large.signal.clone()
        if on_gpu(total):
            total += _placed(small.signal, small.tops - tops, small.lefts - lefts, height, width)
        else:
            for target, source in _overlaps(total, small.signal, small.tops - tops, small.lefts - lefts):
                target += source
        return replace(large, signal=total, owned=True)

    def lies_at(self, tops: Tensor, lefts: Tensor, height: int, width: int) -> bool:
        """Say whether this patch has that place and size already."""
        return self.signal.shape[2:] == (height, width) and torch.equal(self.tops, tops) and torch.equal(self.lefts, lefts)


def can_start(tape: Tape, value: int) -> bool:
    """Say whether units of this value can go down as patches: it has maps in torch's own order."""
    return len(tape.shapes[value]) == 4 and tape.axes[value] == MAPS and tape.batches[value].is_first


@torch.no_grad()
@deterministic
def project_patches(
    tape: Tape, value: int, positions: Sequence[tuple[int, int, int]], starts: Tensor, table: Table, rows: int | Tensor
) -> Patch:
    """Carry units down to the pixels.

    Args:
        tape: of the recording.
        value: the number of the value that the units are of; `can_start` says whether it can be.
        positions: (channel, row, col) of each of the K units.
        starts: the signal that each begins with, (K,).
        table: the rules to mirror by.
        rows: which image of the recording each belongs to: one for all, or one each.

    Raises:
        NoRuleError: the way down meets a call that cannot be mirrored.
    """
    shape, dtype, device = tape.shapes[value], starts.dtype, tape.device
    channels, tops, lefts = torch.tensor(positions).unbind(1)
    signal = starts.new_zeros((len(positions), shape[1]))
    signal.scatter_(1, to_async(channels, device)[:, None], starts[:, None])
    signal = preferred_format(signal[:, :, None, None])
    arrived = _Arrived({value: Patch(signal, tops, lefts, shape[2], shape[3], owned=True)})
    images = torch.full((len(positions),), rows) if isinstance(rows, int) else rows
    rows = images if tape.moves_batch else rows
    for step in steps_down(tape, value, table, len(positions)):
        if any(number in arrived.patches or number in arrived.frames for number in step.outputs):
            _take(tape, step, tape.rule(step.call, table), rows, images, arrived)
    if 0 in arrived.patches:
        return arrived.patches[0]
    pixels, _ = arrived.frame(0)
    if pixels is None:
        pixels = torch.zeros((len(positions), *tape.shapes[0][1:]), dtype=dtype, device=device)
    return Patch(pixels, torch.zeros_like(tops), torch.zeros_like(lefts), *tape.shapes[0][2:])


@dataclass
class _Arrived:
    """What has arrived at each value so far: as a patch, or in the full frame."""

    patches: dict[int, Patch]
    frames: dict[int, Tensor] = field(default_factory=dict)
    owned: set[int] = field(default_factory=set)  # frames that nobody else holds

    def frame(self, number: int) -> tuple[Tensor | None, bool]:
        """Take what arrived at a value, in the full frame, and say whether it may be changed in place."""
        if number in self.patches:
            patch = self.patches.pop(number)
            return patch.frame(), patch.owned or not patch.is_frame
        owned = number in self.owned
        self.owned.discard(number)
        return self.frames.pop(number, None), owned

    def add_patch(self, number: int, part: Patch) -> None:
        """Add a patch to what is there."""
        if number in self.frames:
            self.add_frame(number, part.frame(), owned=False)
        else:
            self.patches[number] = self.patches[number].plus(part) if number in self.patches else part

    def add_frame(self, number: int, full: Tensor, owned: bool) -> None:
        """Add a signal in the full frame to what is there."""
        before, mine = self.frame(number)
        if before is not None:
            full = before.add_(full) if mine else before + full
        self.frames[number] = full
        if owned or before is not None:
            self.owned.add(number)


def _take(tape: Tape, step: FusedStep, rule: AnyRule, rows: int | Tensor, images: Tensor, arrived: _Arrived) -> None:
    """Take one step: as a patch where its rule allows, else in the full frame."""
    single = len(step.outputs) == 1 and step.outputs[0] in arrived.patches
    patch = arrived.patches[step.outputs[0]] if single else None
    below = _patch_below(tape, step, rule, patch, images) if patch is not None and not patch.is_frame else None
    if below is not None:
        arrived.patches.pop(step.outputs[0])
        for number, part in zip(step.inputs, below, strict=True):
            if part is not None:
                arrived.add_patch(number, part)
        return
    above = [arrived.frame(number) for number in step.outputs]
    saved = step.saved.for_images(rows)
    signal, owned = above[0]
    if len(above) == 1 and signal is not None:
        parts = step.mirror(saved, signal, owned=owned)
    else:
        parts = rule.mirror(saved, tuple(signal for signal, _ in above))
    is_new = step.rectify or rule.returns_new()
    for number, full in zip(step.inputs, parts if isinstance(parts, tuple) else (parts,), strict=True):
        if full is not None:
            arrived.add_frame(number, full, is_new)


def _patch_below(tape: Tape, step: FusedStep, rule: AnyRule, patch: Patch, images: Tensor) -> Sequence[Patch | None] | None:
    """Return the patch that a step hands to each of its inputs; None where its rule needs the full frame."""
    if not all(can_start(tape, number) for number in (*step.inputs, *step.outputs)):
        return None
    saved, frame = step.saved, tape.shapes[step.inputs[0]]
    if isinstance(saved, SlidingSaved) and rule.slides(saved):
        return [_mirror_position(step, rule, saved, patch, frame) or _slide(step, saved, patch, images, frame)]
    shift = rule.shift(saved)
    if shift is not None:
        down, right = shift
        return [clamp_to_frame(patch.signal, patch.tops - down, patch.lefts - right, frame)]
    here = Window(0, 0, *patch.signal.shape[2:])
    local = _cut_all(saved, images, patch) if rule.keeps_positions(saved, here) and _has_one_frame(tape, step) else None
    if local is None:
        return None
    parts = step.mirror(local, patch.signal, owned=patch.owned)
    parts = parts if isinstance(parts, tuple) else (parts,)
    owned = step.rectify or rule.returns_new()
    return [None if part is None else replace(patch, signal=part, owned=owned) for part in parts]


def _has_one_frame(tape: Tape, step: FusedStep) -> bool:
    """Say whether all that a step reads and makes has the same rows and columns: nothing was broadcast along them.

    What is held may have any: no signal goes there.
    """
    held = step.saved.held or (False,) * len(step.inputs)
    reads = [number for number, hold in zip(step.inputs, held, strict=True) if not hold]
    return len({tape.shapes[number][2:] for number in (*reads, *step.outputs)}) == 1


def _mirror_position(step: FusedStep, rule: AnyRule, saved: SlidingSaved, patch: Patch, frame: torch.Size) -> Patch | None:
    """Mirror patches of a single position each; None where there are more, or the rule has no short way for it."""
    if patch.signal.shape[2:] != (1, 1):
        return None
    result = rule.mirror_position(saved, patch.signal[:, :, 0, 0])
    if result is None:
        return None
    result = result.clamp_(min=0) if step.rectify else result
    return clamp_to_frame(preferred_format(result), *_origins(saved, patch), frame, owned=True)


def _slide(step: FusedStep, saved: SlidingSaved, patch: Patch, images: Tensor, frame: torch.Size) -> Patch:
    """Mirror a sliding window on the patch as if it were a small frame without padding; then see what lies inside the frame."""
    height, width = (
        (count - 1) * stride + dilation * (kernel - 1) + 1
        for count, stride, dilation, kernel in zip(
            patch.signal.shape[2:], saved.stride, saved.dilation, saved.kernel, strict=True
        )
    )
    local = saved.on_frame(torch.Size((1, frame[1], height, width)), lambda tensor: _cut(tensor, images, patch))
    below = step.mirror(local, patch.signal, owned=False)
    assert isinstance(below, Tensor)  # a sliding window has one input
    return clamp_to_frame(below, *_origins(saved, patch), frame, owned=True)


def _origins(saved: SlidingSaved, patch: Patch) -> tuple[Tensor, Tensor]:
    """Return the rows and columns where the input's patches begin, before they are moved into the frame."""
    return patch.tops * saved.stride[0] - saved.padding[0], patch.lefts * saved.stride[1] - saved.padding[1]


def clamp_to_frame(signal: Tensor, tops: Tensor, lefts: Tensor, frame: torch.Size, owned: bool = False) -> Patch:
    """Move patches that reach beyond the frame inside it, (N, C, H, W); what lay outside is the padding's, and goes."""
    height, width = min(signal.shape[2], frame[2]), min(signal.shape[3], frame[3])
    inner_tops, inner_lefts = tops.clamp(0, frame[2] - height), lefts.clamp(0, frame[3] - width)
    patch = Patch(signal, tops, lefts, frame[2], frame[3], owned)
    if signal.shape[2:] != (height, width):
        return patch.moved(inner_tops, inner_lefts, height, width)
    strays = ((tops != inner_tops) | (lefts != inner_lefts)).nonzero()[:, 0]
    if len(strays) and (not owned or on_gpu(signal)):
        return patch.moved(inner_tops, inner_lefts, height, width)
    for unit in strays.tolist():  # only those near a border
        row = slice(unit, unit + 1)
        content = signal[row].clone()
        signal[row].zero_()
        for target, source in _overlaps(signal[row], content, tops[row] - inner_tops[row], lefts[row] - inner_lefts[row]):
            target.copy_(source)
    return replace(patch, tops=inner_tops, lefts=inner_lefts)


def _cut(tensor: Tensor, images: Tensor, patch: Patch) -> Tensor:
    """Cut each unit's patch out of what was kept of its image: (N, C, H, W) -> (K, C, h, w)."""
    height, width = patch.signal.shape[2:]
    windows = tensor.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, H - h + 1, W - w + 1, h, w)
    rows = images if tensor.shape[0] > 1 else torch.zeros_like(images)
    rows, tops, lefts = to_async(torch.stack((rows, patch.tops, patch.lefts)), tensor.device)
    return windows[rows, :, tops, lefts]


def _cut_all(saved: Saved, images: Tensor, patch: Patch) -> Saved | None:
    """Cut all that was saved of the images; None where something has rows and columns of its own."""

    def cut(tensor: Tensor, is_per_image: bool) -> Tensor | None:
        if tensor.dim() < 3 or tensor.shape[-2:] == (1, 1):
            return select_images(tensor, images) if is_per_image else tensor
        if is_per_image and tensor.dim() == 4 and tensor.shape[2:] == (patch.height, patch.width):
            return _cut(tensor, images, patch)
        return None

    return saved.with_tensors(cut)


def on_gpu(signal: Tensor) -> bool:
    """Say whether a signal lives where one large call is better than a small one for each unit."""
    return signal.device.type != "cpu"


def _placed(source: Tensor, downs: Tensor, rights: Tensor, height: int, width: int) -> Tensor:
    """Return patches of height x width that hold the source, each moved down and right by its own; zero elsewhere."""
    if on_gpu(source):
        return _gathered(_gathered(source, downs, height, 2), rights, width, 3)
    shape = (*source.shape[:2], height, width)
    target = torch.empty(shape, dtype=source.dtype, memory_format=torch.channels_last).zero_()
    for part, moved in _overlaps(target, source, downs, rights):
        part.copy_(moved)
    return target


def _gathered(source: Tensor, moves: Tensor, length: int, axis: int) -> Tensor:
    """Move each patch (K, C, h, w) along one axis, to a new length, in one call for all; itself where nothing changes."""
    if source.shape[axis] == length and not moves.any():
        return source
    wanted = torch.arange(length) - moves[:, None]  # (K, length): the place in the source that each place comes from
    there = (wanted >= 0) & (wanted < source.shape[axis])
    size, shape = [len(moves), 1, 1, 1], list(source.shape)
    size[axis] = shape[axis] = length
    places = to_async(wanted.clamp(0, source.shape[axis] - 1).view(size), source.device)
    moved = source.gather(axis, places.expand(shape))
    return moved if there.all() else moved.mul_(to_async(there.view(size), source.device))


def to_async(small: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor on another device, without waiting for what that has to do."""
    return small.to(device, non_blocking=True)


def _overlaps(target: Tensor, source: Tensor, downs: Tensor, rights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each unit or for all that move alike, where in the target the moved source lies, and that part of it."""
    moves = list(zip(downs.tolist(), rights.tolist(), strict=True))
    units: list[Any] = list(range(len(moves))) if len(set(moves)) > 1 else [slice(None)]
    for unit, (down, right) in zip(units, moves, strict=False):
        top, left = max(down, 0), max(right, 0)
        bottom, end = min(down + source.shape[2], target.shape[2]), min(right + source.shape[3], target.shape[3])
        if bottom > top and end > left:
            inner = source[unit, ..., top - down : bottom - down, left - right : end - right]
            yield target[unit, ..., top:bottom, left:end], inner


def _union(first: Tensor, length: int, second: Tensor, other_length: int, size: int) -> tuple[Tensor, int]:
    """Return where patches begin that hold both, and their common length."""
    begin, end = torch.minimum(first, second), torch.maximum(first + length, second + other_length)
    longest = int((end - begin).max())
    return begin.clamp(max=size - longest), longest


def unit_windows(tape: Tape, value: int, positions: Sequence[tuple[int, int]]) -> list[Window]:
    """Return the pixels, unclipped, that the units at (row, col) of a value can reach."""
    evenly = evenly_placed(tape, value) if len(set(positions)) > 3 else None
    if evenly is not None:
        first, down, right = evenly
        return [_shifted(first, down * row, right * col) for row, col in positions]
    known = {position: tape.pixel_window(value, Window(*position, 1, 1)) for position in dict.fromkeys(positions)}
    return [known[position] for position in positions]


def evenly_placed(tape: Tape, value: int) -> tuple[Window, int, int] | None:
    """Return the first unit's window and how far each row moves it down and each column right; None where that differs."""
    rules = (tape.table.rule_for(call.func, call.layer) for call in tape.down_from(value))
    if not all(getattr(type(rule), "window", None) in LINEAR_WINDOWS for rule in rules):
        return None
    # each edge is a minimum or maximum of what is linear in row or column: where three positions, the first and the last
    # among them, lie on one line, so do all between
    last = max(*map_size(tape.shapes[value], tape.axes[value]), 2) - 1
    first, *others = (tape.pixel_window(value, Window(at, at, 1, 1)) for at in (0, 1, last))
    down, right = others[0].top - first.top, others[0].left - first.left
    return (first, down, right) if others == [_shifted(first, down * at, right * at) for at in (1, last)] else None


def _shifted(window: Window, down: int, right: int) -> Window:
    return Window(window.top + down, window.left + right, window.height, window.width)


#: How many numbers of signals a GPU must be spared before patches pay for the calls that they need besides.
MIN_SAVED_VALUES = 10**8


def is_worthwhile(tape: Tape, value: int, count: int) -> bool:
    """Say whether patches of so many units are worth their trouble: on a CPU always, on a GPU where they leave out much.

    There the calls are what takes time, and a patch needs more of them than a frame, most where branches meet
    (docs/speed-gpu.md).
    """
    if tape.device.type == "cpu":
        return True
    sizes = _patch_sizes(tape, value)
    patches, frames = sum(sizes.values()), sum(tape.shapes[number][1:].numel() for number in sizes)
    return 2 * patches < frames and count * (frames - patches) > MIN_SAVED_VALUES


def batch_size(tape: Tape, value: int, most: int) -> int:
    """Return how many units' patches make a batch whose largest takes at most so many bytes."""
    return max(1, most // (4 * max(_patch_sizes(tape, value).values())))


def _patch_sizes(tape: Tape, value: int) -> dict[int, int]:
    """Return how many numbers a middle unit's patch has in each value on the way down; worked out once for a tape."""
    known = tape.cache.patch_sizes
    if value not in known:
        height, width = tape.shapes[value][2:]
        sizes = known[value] = {}
        for number, window in tape.windows_below(value, Window(height // 2, width // 2, 1, 1)).items():
            shape = tape.shapes[number]
            inside = min(window.height, shape[2]) * min(window.width, shape[3]) * shape[1] if len(shape) == 4 else 0
            sizes[number] = max(1, inside or shape[1:].numel())
    return known[value]
