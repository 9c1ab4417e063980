"""`scan`: a pass over many pictures that finds, for every channel of the layers asked for, those that excite it most."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal

import numpy as np
import torch

from ..choices import ENGINES, READERS, EngineName, Precision, ReaderKind
from ..errors import OptionError, PictureError, StoreError, check_option
from ..images import Preprocess
from ..layers import choose_layers
from ..net import DeconvNet
from ..progress import counting
from ..provenance import output_settings
from .best import BestEntries, Committing
from .decode_difference import measure_difference
from .device_jpegs import check_decode, wants_device
from .engine import Engine, Job, Shard
from .engine_local import LocalEngine
from .form import MOST_TOP
from .maxima import MaximaReducer, ScannedLayer, find_windows, scanned_layers
from .pictures import Pictures, Size, size_of
from .places import folders_of, is_remembered, list_file, remember
from .precision import check_precision
from .remote import RemoteFiles
from .result import Scan
from .source import DatasetItems, LocalFiles, PictureSource, first_pictures, open_source
from .store import Store

SHARD = 512  # pictures per transaction: at most these are lost when a scan is killed

SHOWN_NOTES = 5  # of pictures of which only a part was taken; a folder of animations has one for each


def scan(
    net: DeconvNet,
    pictures: PictureSource,
    path: str | os.PathLike[str],
    *,
    layers: Sequence[str] | None = None,
    top: int = 9,
    limit: int | None = None,
    inside: bool = False,
    precision: Precision = "fp32",
    batch: int | None = None,
    shard: int = SHARD,
    workers: int | None = None,
    readers: ReaderKind | None = None,
    gpus: int | Literal["all"] | None = None,
    engine: EngineName | Engine = "local",
    address: str | None = None,
    gpus_per_worker: float | None = None,
    cpus_per_worker: float | None = None,
    progress: bool = False,
) -> Scan:
    """Find the pictures that excite every channel most, and the unit at which each is strongest there.

    Each picture counts once per channel, by the maximum of its map (Zeiler & Fergus 2014, 4.1: "top 9 activations"; the paper
    does not say whether a picture may come twice). Given the same file again, the scan continues where it was stopped, and
    pictures that are new are added.

        >>> scan = deconvnet.scan(net, "photos/", "net.scan", layers=["features.10"])
        >>> scan.top("features.10", 51)[0].path
        'dogs/17.jpg'

    Args:
        net: the net; it stays as it is.
        pictures: a folder (with all folders below it), a glob, a list file, paths, or a torch Dataset of PIL pictures or of
            images (C, H, W) as the model expects them.
        path: the file that keeps the scan.
        layers: names, or patterns such as "features.*"; None: every rectified layer with maps that is not inside another one.
        top: how many pictures to keep for each channel.
        limit: take only so many of the pictures, the first ones; None: all. A later scan without it adds the others.
        inside: count units only whose window lies inside the picture; layers without any are left out.
        precision: "fp32"; "tf32", on NVIDIA's GPUs: factors of products have ten bits; "bf16": torch's autocast to bfloat16. A
            scan goes on with the one that it began with. Plates always compute in float32.
        batch: pictures per forward pass; None: 4, on a GPU 64. A CPU runs up to eight batches side by side, one per core.
        shard: pictures per transaction: at most these are lost when the scan is killed.
        workers: pictures that are read at once, None: one per core, but 2 to 32; on Ray processes that hold the net, None: one
            per GPU, or one per core.
        readers: what reads them, "threads" of this process or "processes"; None: processes from five workers on. The pixels are
            the same. Processes need no `if __name__ == "__main__"`, and no shared memory.
        gpus: how many of this machine's GPUs, or "all": from two on, each has a process of its own that holds the net, started
            by Ray; None: the device that the net is on.
        engine: "local": this process. "ray": workers on the machines of a Ray cluster. Or an object with the methods of
            `Engine`.
        address: "auto" or "HOST:PORT" of a running Ray; None: $RAY_ADDRESS, or a Ray that is started here.
        gpus_per_worker: on Ray; None: 1 if it has any, else 0.
        cpus_per_worker: on Ray; None: 1, or beside GPUs a fair share.
        progress: whether to show a bar, on a terminal or in Jupyter.

    Returns:
        The scan, open.

    Raises:
        PictureError: there are no pictures, or the net has no preprocessing for them.
        UnknownLayerError: no layer has that name, or matches that pattern.
        NoRuleError: a layer's windows are not known.
        OptionError: a count is below 1, there is no such engine, no unit whose window lies inside the picture, or the
            preprocessing has a GPU decode JPEGs and the net is on none.
        MissingPackageError: nothing that is installed decodes JPEGs on the GPU.
        StoreError: the file cannot be written, or holds a scan with other settings; the message shows the difference.
        EngineError: Ray is missing or does not answer, or its workers cannot run the scan.
    """
    _check_counts(top=top, shard=shard, batch=batch, workers=workers, limit=limit)
    if top > MOST_TOP:
        raise OptionError(f"top cannot be {top}: it is at most {MOST_TOP:,} pictures per channel.")
    source = first_pictures(open_source(pictures), limit)
    if net.preprocess is None and not isinstance(source, DatasetItems):
        raise PictureError(f"{net.name} has no preprocessing for pictures. Pass preprocess=, or a Dataset of tensors.")
    size = _image_size(net, source)
    recording = net.record_zeros(size)
    chosen = scanned_layers(recording, choose_layers(recording, layers), inside=inside)
    reducer = MaximaReducer(net, chosen, size, recording.written, precision, draws=recording.draws)
    check_precision(precision, reducer.device if engine == "local" else torch.device("cuda"))
    check_decode(net.picture_reader, reducer.device)
    with (
        _make_engine(engine, workers, readers, gpus, address, gpus_per_worker, cpus_per_worker) as runner,
        Store(path, create=True) as store,
    ):
        settings = scan_settings(net, chosen, source, size=size, top=top, shard=shard, inside=inside, precision=precision)
        together = batch or runner.batch_size(reducer)
        if store.is_new and isinstance(net.preprocess, Preprocess) and wants_device(net.preprocess):
            settings["decode_difference"] = measure_difference(reducer, source, net.preprocess, together)
        store.begin(settings, [(layer.name, layer.channels, layer.height, layer.width) for layer in chosen])
        source = _name_as_before(store, source)
        unlisted = _remember(source, settings["weights_from"])
        numbers = store.extend(source.names, shard)
        notes, left_out = [*_gone_or_changed(store, source), *unlisted], list[str]()
        best = BestEntries(store, recording, chosen, top)
        shards = list(_waiting_shards(store, source, numbers))
        for layer in chosen if shards else ():
            find_windows(recording, layer, np.zeros(1, np.int64))  # raises now, before the work, where windows are not known
        done = len(source.names) - sum(len(item.names) for item in shards)
        kept: dict[str, Any] = {"delay": 0, "leave": True}  # what a scan shows from its first picture on
        job = Job(reducer, source, net.picture_reader, together, top)
        with (
            counting(len(source.names), "scanning", "picture", wanted=progress, initial=done, **kept) as counter,
            closing(runner.run(job, shards, floor=lambda: best.floor, on_progress=counter.update)) as results,
            Committing(best.commit) as commit,
        ):
            for result in results:
                commit(result)
                left_out += result.notes
    return Scan.open(path, net=net, pictures=source, notes=notes + _first_of(left_out))


def _make_engine(
    engine: EngineName | Engine,
    workers: int | None,
    readers: ReaderKind | None,
    gpus: int | Literal["all"] | None,
    address: str | None,
    gpus_per_worker: float | None,
    cpus_per_worker: float | None,
) -> Engine:
    """Return what runs the scan; Ray is imported only if it is asked for."""
    if not isinstance(engine, str):
        return engine
    check_option("engine", engine, ENGINES)
    if readers is not None:
        check_option("readers", readers, READERS)
    if gpus is not None and engine != "local":
        raise OptionError("gpus is for scans on this machine, this one is on Ray. Leave it out, or take the engine 'local'.")
    if engine == "local":
        options = {"address": address, "gpus_per_worker": gpus_per_worker, "cpus_per_worker": cpus_per_worker}
        for name in (name for name, value in options.items() if value is not None):
            raise OptionError(f"{name} is for scans on Ray, this one is local. Leave it out, or take the engine 'ray'.")
        count = 1 if gpus is None else _count_gpus(gpus)
        if count == 1:
            return LocalEngine(workers, readers)
        engine, address, workers, gpus_per_worker = "ray", "local", count, 1
    if readers is not None:
        raise OptionError("readers is for scans by this process, this one is on Ray. Leave it out, or take the engine 'local'.")
    from .ray_engine import RayEngine

    return RayEngine(address, workers, gpus_per_worker, cpus_per_worker)


def _count_gpus(gpus: int | Literal["all"]) -> int:
    """Return how many GPUs are asked for; each needs a process."""
    found = torch.cuda.device_count()
    wanted = found if gpus == "all" else gpus
    if not found or not 1 <= wanted <= found:
        raise OptionError(f"gpus cannot be {gpus}: torch sees {found} on this machine. Ask for as many, or leave it out.")
    return wanted


def _image_size(net: DeconvNet, pictures: Pictures) -> Size:
    """Return (C, H, W) of the images: by the preprocessing, or else of the first that can be read."""
    if not isinstance(pictures, DatasetItems) and isinstance(net.preprocess, Preprocess):
        return (net.preprocess.channels, *net.preprocess.crop_size)
    loaded = (pictures.load(index, name, net.picture_reader) for index, name in enumerate(pictures.names))
    return next((size_of(picture.pixels) for picture in loaded if picture.pixels is not None), net.loaded.input_size)


def _name_as_before(store: Store, pictures: Pictures) -> Pictures:
    """Name files from the folder that the scan's files are named from; if that is gone, they were moved to this one."""
    root = store.settings()["root"]
    if root == pictures.root or isinstance(pictures, DatasetItems):
        return pictures
    if not isinstance(pictures, LocalFiles):
        raise StoreError(f"{store.path!r} has pictures from {root!r}, not from {pictures.root!r}. Choose another name.")
    if root and is_remembered(root) and os.path.isdir(root):
        return pictures.named_from(root)
    if root and not is_remembered(root) and _is_here(root):
        raise StoreError(
            f"{store.path!r} has its pictures at {root!r}, which was not scanned from this account."
            " If it is yours, scan that folder again first, or else choose another name."
        )
    store.set_root(pictures.root)
    return pictures


def _is_here(root: str) -> bool:
    """Say whether there is such a folder; an address of another machine is not looked up."""
    return "://" not in root and not root.startswith(("//", "\\\\")) and os.path.isdir(root)


def _remember(pictures: Pictures, weights_from: str) -> list[str]:
    """Note what was scanned, so that the scan's file may lead there; return a line if it cannot be noted."""
    places = {weights_from} - {"", "DEFAULT", "none"}
    if pictures.root:
        places.add(pictures.root)
    if pictures.root is not None and not isinstance(pictures, RemoteFiles):
        places |= folders_of(pictures.root, pictures.names)
    if remember(places):
        return []
    return [
        f"{str(list_file())!r} cannot be written, so later commands have to be told where pictures and weights are: --root."
    ]


def scan_settings(
    net: DeconvNet,
    layers: Sequence[ScannedLayer],
    pictures: Pictures,
    *,
    size: Size,
    top: int,
    shard: int,
    inside: bool = False,
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Return what is scanned, and how, as a scan's file keeps it."""
    preprocess, weights_from = net.preprocess, net.loaded.weights_from
    optional = {
        "model_sha256": net.loaded.code_sha256,
        "inside": inside or None,
        "inputs": net.loaded.input_hashes(),
        "precision": precision if precision != "fp32" else None,
    }
    return output_settings(
        model=net.name,
        weights=net.loaded.weights_hash(),
        preprocess=preprocess.settings() if isinstance(preprocess, Preprocess) else None,
        weights_from=os.path.abspath(weights_from) if os.path.isfile(weights_from) else weights_from,
        size=list(size),
        layers=[layer.name for layer in layers],
        top=top,
        shard=shard,
        root=pictures.root,
        **{name: value for name, value in optional.items() if value},
    )


def _waiting_shards(store: Store, pictures: Pictures, numbers: dict[str, int]) -> Iterator[Shard]:
    """Yield the shards that are not done. A picture that the source no longer has is read again, to say why it cannot be."""
    names = {number: name for name, number in numbers.items()}
    indices = {name: index for index, name in enumerate(pictures.names)}
    for number, first, count in store.waiting():
        shard = [names[picture] for picture in range(first, first + count)]
        yield Shard(number, first, shard, [indices.get(name, -1) for name in shard])


def _gone_or_changed(store: Store, pictures: Pictures) -> list[str]:
    """Return a line for each picture that was done before and is now gone, not asked for, or of another size."""
    listed, notes = set(pictures.names), []
    for name, size in store.rows("select path, bytes from pictures where problem is null and sha256 is not null"):
        now = pictures.size(name)
        if now is None:
            notes.append(f"{name} is gone; its entries are kept.")
        elif name not in listed:
            notes.append(f"{name} is no longer asked for; its entries are kept.")
        elif now != size:
            notes.append(f"{name} has changed; the entries of the old picture are kept. To scan the new one, use a new file.")
    for name, size in store.rows("select path, bytes from pictures where problem is not null"):
        now = pictures.size(name)
        if now and now != size:
            notes.append(f"{name} was skipped and has changed. To scan it, use a new file.")
    return notes


def _first_of(notes: list[str]) -> list[str]:
    """Return the first notes on what was left out of pictures, and how many more there are."""
    more = len(notes) - SHOWN_NOTES
    return [*notes[:SHOWN_NOTES], f"... and {more:,} more pictures of which only a part was taken."] if more > 0 else notes


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise OptionError(f"{name} cannot be {count}: it is a number, 1 or more.")
