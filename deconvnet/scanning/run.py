"""`scan`: a pass over many pictures that finds, for every channel of every layer asked for, those that excite it most."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Container, Iterator, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ..errors import OptionError, PictureError, StoreError, UnknownLayerError, check_option, did_you_mean
from ..images import Preprocess
from ..net import DeconvNet
from ..progress import is_hidden
from ..projection import rectified_values
from ..recording import Recording
from ..version import __version__
from .engine import Engine, Job, LocalEngine
from .engine_local import Shard, ShardResult
from .maxima import MaximaReducer, ScannedLayer, scanned_layers, windows_of
from .source import DatasetItems, LocalFiles, Pictures, Size, open_source, size_of
from .store import Store
from .table import Scan
from .topk import EMPTY, TopK, merge

ENGINES = ("local", "ray")
SHARD = 512  # pictures that are lost at most when a scan is killed


def scan(
    net: DeconvNet,
    pictures: Any,
    path: str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    top: int = 9,
    batch: int | None = None,
    shard: int = SHARD,
    workers: int | None = None,
    engine: str | Engine = "local",
    address: str | None = None,
    gpus_per_worker: float | None = None,
    cpus_per_worker: float | None = None,
    progress: bool = False,
) -> Scan:
    """Find the `top` pictures of every channel of `layers`, and where in each the channel is strongest.

    `pictures`: a folder (with all below it), a glob, a list file, a list of paths, or a torch Dataset of pictures or of
    tensors (C, H, W) as the model expects them. `layers`: names, or patterns such as "features.*"; by default every
    rectified layer with maps. `path`: the file that the scan is kept in; where it has a part of this scan already, that
    part is not done again, and pictures that are new are added. `shard`: pictures a transaction. `workers`: threads that
    read pictures. `engine`: "local", or "ray", with `workers` processes on the machines of the Ray at `address` ("auto",
    "HOST:PORT"; None starts one here), each with `gpus_per_worker` and `cpus_per_worker`. `progress`: a bar, on a terminal
    or in Jupyter. Each picture counts once a channel, by the maximum of its map (Zeiler & Fergus 2014, 4.1: "top 9
    activations"); the paper does not say if a picture may come twice.

        >>> deconvnet.scan(net, "photos/", "net.scan", layers=["features.10"]).top("features.10", 51)[0].path
        'dogs/17.jpg'

    Raises `StoreError` where the file belongs to a scan with other settings, naming the difference, and `EngineError` where
    Ray is missing, does not answer, or its workers cannot do it.
    """
    _check_counts(top=top, shard=shard, batch=batch, workers=workers)
    found = open_source(pictures)
    if net.preprocess is None and not isinstance(found, DatasetItems):
        raise PictureError(f"{net.name} has no preprocessing for pictures. Pass preprocess=, or a Dataset of tensors.")
    size = _size(net, found)
    recording = net.record_zeros(size)
    chosen = scanned_layers(recording, choose_layers(recording, layers))
    watch = MaximaReducer(net, chosen, size)
    with _engine(engine, workers, address, gpus_per_worker, cpus_per_worker) as runner, Store(path, create=True) as store:
        settings = _settings(net, chosen, found, size=size, top=top, shard=shard)
        store.begin(settings, [(layer.name, layer.channels, layer.height, layer.width) for layer in chosen])
        found = _named_as_before(store, found)
        numbers = store.extend(found.names, shard)
        notes = _gone_or_changed(store, found)
        table = _Table(store, recording, chosen, top)
        shards = list(_shards(store, found, numbers))
        for layer in chosen if shards else ():
            windows_of(recording, layer, np.zeros(1, np.int64))  # one whose windows cannot be known is refused before the work
        done = len(found.names) - sum(len(one.names) for one in shards)
        job = Job(watch, found, net.preprocess, batch or runner.batch(watch), top)
        with (
            tqdm(total=len(found.names), initial=done, unit="picture", disable=is_hidden(progress)) as bar,
            closing(runner.run(job, shards, floor=lambda: table.best.floor, tell=bar.update)) as parts,
        ):
            for part in parts:
                table.commit(part)
    return Scan.open(path, net=net, pictures=found, notes=notes)


def _engine(engine: str | Engine, workers: int | None, address: str | None, gpus: float | None, cpus: float | None) -> Engine:
    """Return what runs the scan; Ray is imported where it is asked for, and nowhere else."""
    if not isinstance(engine, str):
        return engine
    check_option("engine", engine, ENGINES)
    if engine == "local":
        given = {"address": address, "gpus_per_worker": gpus, "cpus_per_worker": cpus}
        for name in (name for name, value in given.items() if value is not None):
            raise OptionError(f"{name} is for scans on Ray, this one is local. Leave it out, or ask for the engine ray.")
        return LocalEngine(workers)
    from .ray_engine import RayEngine

    return RayEngine(address, workers, gpus, cpus)


def choose_layers(recording: Recording, layers: Sequence[str] | None) -> list[str]:
    """Return the layers that names and patterns stand for, in the order in which they finish.

    A value that has several names is taken once by a pattern, by its shortest name. Without `layers`: every rectified
    layer with maps that is not inside another one (a block stands for what is in it).
    """
    places = {name: place for name, place in recording.places().items() if place.value is not None}
    if isinstance(layers, str):
        raise OptionError(f"layers must be a list of names, found the single name {layers!r}. Write layers=[{layers!r}].")
    short: dict[int | None, str] = {}
    for name, place in places.items():
        has_maps = recording.tape.layouts[place.value or 0][1] is not None
        is_trunk = place.first == 0 and place.last > 1 and not place.is_call  # all from the image on: it has a better name
        if has_maps and not is_trunk:
            short[place.value] = min(short.get(place.value, name), name, key=len)
    if layers is None:
        rectified = rectified_values(recording.tape)
        chosen = _outermost([name for value, name in short.items() if value in rectified])
    else:
        chosen = [name for pattern in layers for name in _matching(pattern, places, list(short.values()), recording.name)]
    order = list(places)
    return sorted(dict.fromkeys(chosen), key=order.index)


def _outermost(names: Sequence[str]) -> list[str]:
    known = set(names)
    outer = {name: [name[:at] for at, letter in enumerate(name) if letter == "."] for name in names}
    return [name for name in names if not known.intersection(outer[name])]


def _matching(pattern: str, places: Container[str], with_maps: Sequence[str], model: str) -> list[str]:
    if pattern in places:
        return [pattern]
    found = [name for name in with_maps if fnmatchcase(name, pattern)]
    if not found:
        hint = did_you_mean(pattern, with_maps)
        raise UnknownLayerError(f"{pattern!r} is not a layer of {model}.{hint} See: deconvnet layers {model}")
    return found


class _Table:
    """The best entries so far, in memory as they stand in the store."""

    def __init__(self, store: Store, recording: Recording, layers: Sequence[ScannedLayer], top: int) -> None:
        self.store, self.recording, self.layers = store, recording, layers
        self.names = [(layer, channel) for layer in layers for channel in range(layer.channels)]
        self.best = TopK.empty(len(self.names), top)
        by_name = {layer.name: layer for layer in layers}
        for name, channel, rank, picture, activation, row, col in store.rows(
            "select layer, channel, rank, picture, activation, row, col from top"
        ):
            layer = by_name[name]
            at = layer.first + channel, rank - 1
            self.best.scores[at], self.best.pictures[at], self.best.places[at] = activation, picture, row * layer.width + col

    def commit(self, found: ShardResult) -> None:
        """Merge one shard and write what changed, in one transaction."""
        after = merge(self.best, found.top)
        changed = (after.pictures != self.best.pictures) & (after.pictures != EMPTY)
        counts = zip(self.names, found.fired.tolist(), found.total.tolist(), strict=True)
        statistics = [(layer.name, channel, found.seen, fired, total) for (layer, channel), fired, total in counts]
        if self.store.commit(found.shard, found.files, self._rows(after, changed), statistics):
            self.best = after

    def _rows(self, top: TopK, changed: npt.NDArray[np.bool_]) -> Iterator[tuple[Any, ...]]:
        for layer in self.layers:
            at = np.nonzero(changed[layer.own])  # channels and ranks, (E,) each
            scores, pictures, places = (part[layer.own][at] for part in (top.scores, top.pictures, top.places))
            windows = windows_of(self.recording, layer, places)
            columns = (at[0], at[1] + 1, pictures, scores.astype(np.float64), *np.divmod(places, layer.width), *windows.T)
            yield from zip(repeat(layer.name), *(column.tolist() for column in columns), strict=False)


def _size(net: DeconvNet, pictures: Pictures) -> Size:
    """Return (C, H, W) of the images: what the preprocessing says, or else that of the first that can be read."""
    if not isinstance(pictures, DatasetItems) and isinstance(net.preprocess, Preprocess):
        return (net.preprocess.channels, *net.preprocess.crop_size)
    seen = (pictures.load(number, name, net.preprocess) for number, name in enumerate(pictures.names))
    return next((size_of(one.pixels) for one in seen if one.pixels is not None), net.loaded.input_size)


def _named_as_before(store: Store, pictures: Pictures) -> Pictures:
    """Name files from the folder that the scan's files are named from; where that is gone, they were moved to this one."""
    root = store.settings()["root"]
    if root == pictures.root or isinstance(pictures, DatasetItems):
        return pictures
    if not isinstance(pictures, LocalFiles):
        raise StoreError(f"{store.path!r} has pictures from {root!r}, not from {pictures.root!r}. Choose another name.")
    if root and os.path.isdir(root):
        return pictures.named_from(root)
    store.set_root(pictures.root)
    return pictures


def _settings(
    net: DeconvNet, layers: Sequence[ScannedLayer], pictures: Pictures, *, size: Size, top: int, shard: int
) -> dict[str, Any]:
    preprocess, weights = net.preprocess, net.loaded.weights_from
    return {
        "model": net.name,
        "weights": net.loaded.weights_hash(),
        "weights_from": os.path.abspath(weights) if os.path.isfile(weights) else weights,
        "preprocess": dataclasses.asdict(preprocess) if isinstance(preprocess, Preprocess) else None,
        "size": list(size),
        "layers": [layer.name for layer in layers],
        "top": top,
        "shard": shard,
        "root": pictures.root,
        "version": __version__,
    }


def _shards(store: Store, pictures: Pictures, numbers: dict[str, int]) -> Iterator[Shard]:
    """Yield the shards that are not done. A picture that is no longer there is read again, and says so itself."""
    names = {number: name for name, number in numbers.items()}
    places = {name: place for place, name in enumerate(pictures.names)}
    for number, first, count in store.waiting():
        own = [names[picture] for picture in range(first, first + count)]
        yield Shard(number, first, own, [places.get(name, -1) for name in own])


def _gone_or_changed(store: Store, pictures: Pictures) -> list[str]:
    """Name the pictures that were done before and are now gone, or have another size."""
    listed, notes = set(pictures.names), []
    for name, size in store.rows("select path, bytes from pictures where problem is null and sha256 is not null"):
        now = pictures.size(name)
        if now is None:
            notes.append(f"{name} is gone; what it gave is kept.")
        elif name not in listed:
            notes.append(f"{name} is no longer asked for; what it gave is kept.")
        elif now != size:
            notes.append(f"{name} has changed; what the old one gave is kept. To take the new one, scan into a new file.")
    for name, size in store.rows("select path, bytes from pictures where problem is not null"):
        now = pictures.size(name)
        if now and now != size:
            notes.append(f"{name} was skipped and has changed. To take the new one, scan into a new file.")
    return notes


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise OptionError(f"{name} cannot be {count}: it is a number, 1 or more.")
