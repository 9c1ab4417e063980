"""What a scan found: the top pictures of each channel, what is counted of them, and their plates."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..choices import Tone
from ..errors import StoreError, UnitError, UnknownLayerError, did_you_mean
from ..images import Preprocess
from ..models import load_model
from ..net import DeconvNet
from ..units import Window
from .source import Pictures, open_source, source_at
from .store import Store

if TYPE_CHECKING:
    from ..atlas import AtlasSummary
    from .plates import Plate


@dataclass(frozen=True)
class Hit:
    """One of a channel's top pictures, and the unit that the channel is strongest at there."""

    rank: int  # 1 is the strongest
    path: str  # from the scan's root, as it stands in the store
    activation: float
    row: int
    col: int
    window: Window  # of pixels that the unit can reach
    picture: int  # its number in the store

    def to_json(self) -> dict[str, Any]:
        """Return what `deconvnet top --json` prints of it."""
        shown = {"rank": self.rank, "path": self.path, "activation": self.activation, "row": self.row, "col": self.col}
        return {**shown, "window": self.window.to_list()}


class Scan:
    """A finished or unfinished scan. Open it with `Scan.open`.

        >>> scan = Scan.open("net.scan")
        >>> scan.top("features.10", 51)[0].path
        'dogs/17.jpg'
        >>> scan.plate("features.10", [51]).save("plate.png")

    `settings` says what was scanned with what; `notes` what was noticed: pictures that are gone or have changed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        net: DeconvNet | None = None,
        pictures: Pictures | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.store = Store(path)
        self.path, self.notes = self.store.path, list(notes)
        self.settings = self.store.settings()
        rows = self.store.rows("select layer, channels, height, width from layers order by position")
        self.sizes: dict[str, tuple[int, int, int]] = {name: (channels, *size) for name, channels, *size in rows}
        self._pictures = pictures
        self._net = None if net is None else self._same(net)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        net: DeconvNet | None = None,
        root: str | os.PathLike[str] | None = None,
        pictures: Any = None,
        notes: Sequence[str] = (),
    ) -> Scan:
        """Open a scan's file. `net`: the net that was scanned, loaded again by its name where it is not given.

        `root`: where the pictures lie now, if they were moved. `pictures`: the Dataset, if one was scanned.
        """
        source = source_at(os.fspath(root)) if root is not None else None if pictures is None else open_source(pictures)
        return cls(path, net=net, pictures=source, notes=notes)

    @property
    def layers(self) -> list[str]:
        """The scanned layers' names, in the order in which they finish."""
        return list(self.sizes)

    @property
    def pictures(self) -> Pictures:
        """Where the pictures are read again."""
        if self._pictures is None:
            if self.settings["root"] is None:
                raise StoreError(f"{self.path!r} was made from a data set. Give it: Scan.open(path, pictures=dataset).")
            self._pictures = source_at(self.settings["root"])
        return self._pictures

    @property
    def net(self) -> DeconvNet:
        """The net that was scanned; loaded when first asked for, and refused if its weights are others."""
        if self._net is None:
            name, weights = self.settings["model"], self.settings["weights_from"]
            if not weights:
                raise StoreError(f"{self.path!r} was scanned with your own net, {name}. Give it: Scan.open(path, net=net).")
            self._net = self._same(DeconvNet(load_model(name, weights=weights, device="auto")))
        return self._net

    @net.setter
    def net(self, net: DeconvNet) -> None:
        self._net = self._same(net)

    def _same(self, net: DeconvNet) -> DeconvNet:
        """Give the net the scan's preprocessing; refuse other weights."""
        found, scanned = net.loaded.weights_hash(), self.settings["weights"]
        if found != scanned:
            raise StoreError(
                f"{self.path!r} was scanned with weights {scanned}, found {found} for {net.name}. Give the weights of the scan."
            )
        kept = self.settings["preprocess"]
        if kept is not None:
            crop = kept["crop"] if isinstance(kept["crop"], int) else tuple(kept["crop"])
            net.preprocess = Preprocess(**{**kept, "crop": crop, "mean": tuple(kept["mean"]), "std": tuple(kept["std"])})
        return net

    def size(self, layer: str) -> tuple[int, int, int]:
        """Return a layer's channels, height and width."""
        if layer not in self.sizes:
            hint = did_you_mean(layer, self.sizes)
            raise UnknownLayerError(f"{self.path!r} has no layer {layer!r}.{hint} Scanned: {', '.join(self.sizes)}.")
        return self.sizes[layer]

    def top(self, layer: str, channel: int) -> list[Hit]:
        """Return a channel's top pictures, strongest first."""
        self._check(layer, channel)
        rows = self.store.rows(
            "select rank, path, activation, row, col, top, left, height, width, picture from top join pictures using (picture)"
            " where layer = ? and channel = ? order by rank",
            (layer, channel),
        )
        return [
            Hit(rank, path, activation, row, col, Window(*window), picture)
            for rank, path, activation, row, col, *window, picture in rows
        ]

    def _check(self, layer: str, channel: int) -> None:
        count = self.size(layer)[0]
        if not 0 <= channel < count:
            raise UnitError(f"layer {layer!r} has no channel {channel}: it has {count}, numbered from 0.")

    def statistics(self, layer: str) -> dict[str, npt.NDArray[Any]]:
        """Return arrays (C,): pictures seen, `fired` (on how many the maximum was above 0), mean and maximum of the maxima."""
        self.size(layer)
        return self.store.arrays(layer)

    def dead(self, layer: str) -> list[int]:
        """Return the channels that fired on no picture."""
        return np.flatnonzero(self.statistics(layer)["fired"] == 0).tolist()

    def skipped(self) -> list[tuple[str, str]]:
        """Return the pictures that could not be read, with the reason."""
        return self.store.rows("select path, problem from pictures where problem is not null order by picture")

    def copies(self) -> list[tuple[str, str]]:
        """Return the pictures whose file equals an earlier one, with that one."""
        return self.store.rows(
            "select one.path, first.path from pictures one join (select sha256, min(picture) as picture from pictures"
            " where sha256 is not null and problem is null group by sha256) known using (sha256)"
            " join pictures first on first.picture = known.picture where one.picture > known.picture and one.problem is null"
            " order by one.picture"
        )

    def progress(self) -> tuple[int, int]:
        """Return how many pictures are done, and how many there are."""
        done, total = self.store.rows("select coalesce(sum(done * count), 0), coalesce(sum(count), 0) from shards")[0]
        return int(done), int(total)

    def plate(
        self,
        layer: str,
        channels: Sequence[int] | None = None,
        *,
        rule: str = "deconvnet",
        tone: Tone = "symmetric",
        memory: int | None = None,
        progress: bool = False,
    ) -> Plate:
        """Project the top pictures of channels and lay them beside their patches, as in the paper's Fig. 2.

        `channels`: by default all of the layer, on pages. The nine of a channel are projected separately.
        """
        from .plates import Plate

        chosen = list(range(self.size(layer)[0])) if channels is None else list(channels)
        for channel in chosen:
            self._check(layer, channel)
        return Plate(self, layer, tuple(chosen), rule, tone, memory, progress)

    def atlas(
        self,
        out: str | os.PathLike[str],
        *,
        layers: Sequence[str] | None = None,
        rule: str = "deconvnet",
        tone: Tone = "symmetric",
        tile: int = 96,
        memory: int | None = None,
        progress: bool = False,
    ) -> AtlasSummary:
        """Write the scan as pages that open from disk, to the folder `out`; again, only what has changed is drawn.

        `layers`: by default all that were scanned. `tile`: the side of a tile, in pixels. Needs the extra `atlas`.
        """
        from ..atlas import write_atlas

        return write_atlas(self, out, layers=layers, rule=rule, tone=tone, tile=tile, memory=memory, progress=progress)

    def sample(self, layer: str, count: int, seed: int = 0) -> list[int]:
        """Return `count` random channels of a layer, those that never fired left out, in order of number."""
        alive = np.flatnonzero(self.statistics(layer)["fired"] > 0)
        return sorted(np.random.default_rng(seed).permutation(alive)[:count].tolist())

    def paths(self) -> Iterator[tuple[int, str]]:
        """Yield each picture's number and path."""
        yield from self.store.rows("select picture, path from pictures order by picture")

    def summary(self) -> str:
        """Return in a line or a few what was scanned and what was noticed."""
        done, total = self.progress()
        skipped, copies = self.skipped(), self.copies()
        channels = sum(size[0] for size in self.sizes.values())
        lines = [f"{done - len(skipped):,} of {total:,} pictures, {len(self.sizes)} layers, {channels:,} channels: {self.path}"]
        lines += [f"skipped: {problem}" if path in problem else f"skipped: {path}: {problem}" for path, problem in skipped]
        lines += [f"a copy: {path} equals {first}" for path, first in copies]
        return "\n".join([*lines, *self.notes])

    def close(self) -> None:
        """Close the file."""
        self.store.__exit__()

    def __repr__(self) -> str:
        done, total = self.progress()
        return f"Scan({self.path!r}, {done} of {total} pictures, {len(self.sizes)} layers)"

    def _repr_html_(self) -> str:
        from ..render.html import scan_html

        return scan_html(self)
