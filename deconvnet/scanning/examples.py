"""The examples of a plate: a channel's top pictures, recorded again, each unit projected by itself, cut to one size.

Channels share pictures, so a block of channels goes picture by picture: each is recorded once, and all its units are projected
together, in their windows.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..choices import Crop, RuleName
from ..crops import cut_window, energy_boxes, recut
from ..errors import StoreError
from ..images import to_rgb
from ..memory import batch_bytes, free_bytes
from ..net import DeconvNet
from ..own import Projected, measure_own
from ..projection import fetch, project_units
from ..render.example import Example
from ..units import Unit, Window
from .origin import Origin
from .pictures import LoadedPicture, Pixels, collate
from .precision import computing, tolerance
from .reading import default_workers, prefetch
from .table import Hit, ScanTable

#: Pictures that are recorded at once: a GPU fills up only with the units of many, but they have to fit.
RECORD_BATCH = {"cpu": 8, "cuda": 64}
OWN_GROUP = 8  # pictures of which each is compared with the next, on any device
BLOCK_BATCHES = 32  # the projections of a block of channels may take as many bytes as this many batches
OWN_EXAMPLES = 2  # of each channel, the strongest, tell how much of its projections is of their own pictures
GREY = 128  # of a patch, beyond the picture


@dataclass(frozen=True, eq=False)
class PlateExample:
    """One of a channel's top pictures, with what a plate shows of it.

    Attributes:
        hit: the picture and the unit.
        own: how much of the projection is of this picture, 0..1, measured for the strongest few: see `deconvnet.own`.
        box: the part of the picture that is shown.
        example: projection and patch of that part.
    """

    hit: Hit
    box: Window
    example: Example
    own: float | None = None


@dataclass(frozen=True, eq=False)
class ProjectedHit:
    """The projection of a hit's unit.

    Attributes:
        hit: the picture and the unit.
        window: what the unit can reach.
        projection: (C, h, w), of the part of the window inside the frame.
        pixels: (H, W, 3), the whole picture as the net saw it.
        own: how much of the projection is of this picture, where that was measured.
    """

    hit: Hit
    window: Window
    projection: npt.NDArray[np.float32]
    pixels: npt.NDArray[np.uint8]
    own: float | None = None

    @property
    def frame(self) -> tuple[int, int]:
        """The height and width of the picture."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def inside(self) -> Window:
        """The part of the window inside the frame."""
        return self.window.clip(*self.frame)


#: Is called with a picture's path, what is wrong with it, and whether it is gone.
OnChange = Callable[[str, str, bool], object]


@dataclass(frozen=True)
class ExampleMaker:
    """Makes the examples of a layer's channels.

    Args:
        table: the scan's tables.
        origin: its net and pictures.
        layer: a scanned layer.
        rule: how units are projected.
        memory: bytes that a batch may take; None: a quarter of what is free.
        on_change: is called for each picture that is gone, has changed, or no longer gives the activation that was recorded.
        crop: which part of pixel space is shown.
        inside: whether units are left out whose window leaves the picture.
        own: measure how much of the strongest projections is of their own pictures.
    """

    table: ScanTable
    origin: Origin
    layer: str
    rule: RuleName
    memory: int | None
    on_change: OnChange
    crop: Crop = "energy"
    inside: bool = False
    own: bool = True

    def make(self, channels: Sequence[int], on_progress: Callable[[float], object]) -> dict[int, list[PlateExample]]:
        """Return the examples of each channel, strongest first; `on_progress` is called with channels' worth of work."""
        work, channels = len(channels), list(dict.fromkeys(channels))
        wanted: dict[int, list[tuple[int, Hit]]] = defaultdict(list)
        for channel in channels:
            for hit in self._hits(channel):
                wanted[hit.picture].append((channel, hit))
        projected: dict[int, list[tuple[int, ProjectedHit]]] = defaultdict(list)
        batch = record_batch(self.origin.net, self.memory)
        for numbers, images in read_pictures(self.table, self.origin, sorted(wanted), self.on_change, batch):
            units = [(index, channel, hit) for index, number in enumerate(numbers) for channel, hit in wanted[number]]
            for channel, unit in self._project(images, units):
                projected[channel].append((unit.hit.rank, unit))
            on_progress(work * len(numbers) / max(len(wanted), 1))
        ranked = {channel: sorted(projected.pop(channel, []), key=itemgetter(0)) for channel in channels}
        return {  # `pop` frees whole windows
            channel: cut_examples([unit for _, unit in ranked.pop(channel)], self.crop) for channel in channels
        }

    def _hits(self, channel: int) -> list[Hit]:
        hits = self.table.top(self.layer, channel)
        return [hit for hit in hits if not self.inside or hit.window.clip(*self.table.frame) == hit.window]

    def _project(self, images: Tensor, wanted: Sequence[tuple[int, int, Hit]]) -> Iterator[tuple[int, ProjectedHit]]:
        """Project units of a batch of pictures, (index in the batch, channel, hit) each; yield (channel, projection)."""
        net = self.origin.net
        with torch.no_grad(), computing("fp32", net.device):
            recording = net.record(images, layers=[self.layer])
            maps = recording.stored_maps(self.layer)
            self._check_size(tuple(maps.shape[1:]))
            units = [
                Unit(self.layer, channel, hit.row, hit.col, float(maps[index, channel, hit.row, hit.col]), index)
                for index, channel, hit in wanted
            ]
            table = net.table(self.rule)
            windows, projections = project_units(recording, self.layer, units, table, memory=self.memory)
            owns = self._measure_own(Projected(recording, self.layer, units, projections, table), [hit for *_, hit in wanted])
        projections = fetch(projections)
        pixels = [to_rgb(net.loaded.denormalise(image, net.preprocess)) for image in images]
        allowed = tolerance(self.table.settings)
        for unit, window, projection, own, (index, channel, hit) in zip(units, windows, projections, owns, wanted, strict=True):
            if not math.isclose(unit.activation or 0, hit.activation, rel_tol=allowed, abs_tol=1e-5):
                what = f"gives {unit.activation:.4g} where {hit.activation:.4g} was recorded: it has changed."
                self.on_change(hit.path, what, False)
            yield channel, ProjectedHit(hit, window, projection.float().numpy(), pixels[index], own)

    def _measure_own(self, projected: Projected, hits: Sequence[Hit]) -> list[float | None]:
        """Compare the strongest hits' projections with those by the switches and masks of the next picture of their group."""
        owns: list[float | None] = [None] * len(hits)
        following = [_next_in_group(unit.image, len(projected.recording)) for unit in projected.units]
        strongest = [
            number
            for number, (hit, unit) in enumerate(zip(hits, projected.units, strict=True))
            if hit.rank <= OWN_EXAMPLES and following[number] != unit.image
        ]
        if not self.own or not strongest:
            return owns
        units = [projected.units[number] for number in strongest]
        compared = replace(projected, units=units, parts=[projected.parts[number] for number in strongest])
        nexts = [[following[number]] for number in strongest]
        for number, own in zip(strongest, measure_own(compared, projected.recording, nexts, memory=self.memory), strict=True):
            owns[number] = own
        return owns

    def _check_size(self, found: tuple[int, ...]) -> None:
        """Refuse a net whose maps have not the units that the scan names."""
        scanned = self.table.size(self.layer)
        if found != scanned:
            sizes = " and ".join("x".join(map(str, size)) for size in (scanned, found))
            raise StoreError(
                f"{self.table.path!r} has layer {self.layer!r} of another size than the net: {sizes}. Give the net of the scan."
            )


def _next_in_group(image: int, count: int) -> int:
    """Return the picture after one of a batch of `count`, within its group: behind the last comes the first."""
    first = image - image % OWN_GROUP
    return first + (image - first + 1) % min(OWN_GROUP, count - first)


def record_batch(net: DeconvNet, memory: int | None) -> int:
    """Return how many pictures are recorded at once; on a GPU as many as fit into a quarter of what is free."""
    most = RECORD_BATCH.get(net.device.type, RECORD_BATCH["cpu"])
    if net.device.type != "cuda":
        return most
    values = sum(shape[1:].numel() for shape in net.record_zeros().tape.shapes)
    fair = free_bytes(net.device) // 4 if memory is None else memory
    return max(RECORD_BATCH["cpu"], min(most, fair // (4 * values)))


def read_pictures(
    table: ScanTable, origin: Origin, numbers: Sequence[int], on_change: OnChange, count: int = RECORD_BATCH["cpu"]
) -> Iterator[tuple[list[int], Tensor]]:
    """Read pictures again, by their numbers in the scan, `count` at a time.

    Yields:
        The numbers of a few pictures, and the batch (N, C, H, W) of them as the net expects it. A picture that cannot be read,
        or is not the file that was scanned, is left out; `on_change` is called with its path and the reason.

    Raises:
        StoreError: the user has to say where the pictures are, or which net was scanned.
    """
    origin.check_net()
    source, files = origin.pictures, table.files(numbers)  # before the net, which may have to be fetched
    net = origin.net
    wanted = {path for path, _ in files.values()}
    indices = {name: index for index, name in enumerate(source.names) if name in wanted}

    def load(number: int) -> tuple[int, LoadedPicture]:
        path, sha256 = files[number]
        return number, check_same(source.load(indices.get(path, number), path, net.picture_reader), sha256)

    batch: list[int] = []
    pixels: list[Pixels] = []
    with ThreadPoolExecutor(default_workers()) as pool:
        for number, picture in prefetch(pool, load, numbers, 2 * count):
            if picture.pixels is None:
                on_change(files[number][0], picture.problem or "", picture.sha256 is None)
                continue
            batch.append(number)
            pixels.append(picture.pixels)
            if len(batch) == count:
                yield batch, collate(pixels, net.preprocess)
                batch, pixels = [], []
    if batch:
        yield batch, collate(pixels, net.preprocess)


def check_same(picture: LoadedPicture, sha256: str | None) -> LoadedPicture:
    """Return a picture as it is, or as a problem if it was read from another file than the scanned one.

    Args:
        picture: as it was read now.
        sha256: of the file that was scanned; None where the scan has none.
    """
    if picture.pixels is None:
        return LoadedPicture(None, problem=f"is gone or cannot be read: {picture.problem}")
    if picture.sha256 is None or picture.sha256 == sha256:  # the item of a dataset has no file
        return picture
    known = "has changed since the scan: its SHA-256 is another" if sha256 else "has no SHA-256 in the scan to compare it with"
    return replace(picture, pixels=None, problem=f"{known}. It is not shown.")


def plate_blocks(table: ScanTable, layer: str, channels: Sequence[int], memory: int | None = None) -> Iterator[list[int]]:
    """Yield blocks of channels that are projected together, or one channel that takes more memory than a block may.

    The same picture projected in another block may differ in the last digit.
    """
    most = BLOCK_BATCHES * batch_bytes(torch.device("cpu"), memory)
    depth = table.settings["size"][0]
    block: list[int] = []
    used = 0
    for channel in channels:
        inside = [hit.window.clip(*table.frame) for hit in table.top(layer, channel)]
        needed = 4 * depth * sum(window.height * window.width for window in inside)
        if block and used + needed > most:
            yield block
            block, used = [], 0
        block.append(channel)
        used += needed
    if block:
        yield block


def cut_examples(units: Sequence[ProjectedHit], crop: Crop = "energy") -> list[PlateExample]:
    """Cut a channel's projections and patches, all to one size: to where the energy is, to the windows, or not at all."""
    if not units:
        return []
    frame = units[0].frame
    boxes = [Window(0, 0, *frame)] * len(units) if crop == "whole" else [unit.window for unit in units]
    if crop == "energy":
        boxes = energy_boxes([unit.projection for unit in units], boxes, frame)
    return [_cut_example(unit, box) for unit, box in zip(units, boxes, strict=True)]


def _cut_example(unit: ProjectedHit, box: Window) -> PlateExample:
    projection = recut(unit.projection, unit.inside, box)
    patch = cut_window(unit.pixels.transpose(2, 0, 1), box, GREY).transpose(1, 2, 0)
    inside = box.clip(*unit.frame).within(box)
    name = os.path.basename(unit.hit.path)
    example = Example(projection, np.ascontiguousarray(patch), inside, unit.hit.activation, name)
    return PlateExample(unit.hit, box, example, unit.own)
