"""The tables of a scan's file, read without its net and without torch: the top pictures of each channel, and counts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from ..errors import UnitError, UnknownLayerError, did_you_mean
from ..paper_names import full_name
from ..units import LARGEST_SHARE_SEEN, Window
from .store import Statistics, Store

Table = TypeVar("Table", bound="ScanTable")

SHOWN_PICTURES = 20  # of those that were skipped, and of copies, in a summary


@dataclass(frozen=True)
class Hit:
    """One of a channel's top pictures, with the unit at which the channel is strongest there.

    Attributes:
        rank: 1 is the strongest.
        path: of the picture, from the scan's root.
        activation: of the unit.
        row: of the unit, in its map.
        col: of the unit, in its map.
        window: the pixels that the unit can reach.
        picture: its number in the scan.
    """

    rank: int
    path: str
    activation: float
    row: int
    col: int
    window: Window
    picture: int

    def to_json(self) -> dict[str, Any]:
        """Return rank, path, activation, row, col and window, as `deconvnet top --json` does behind layer and channel."""
        fields = {"rank": self.rank, "path": self.path, "activation": self.activation, "row": self.row, "col": self.col}
        return {**fields, "window": self.window.to_list()}


def channel_state(statistics: Statistics, channel: int) -> str:
    """Return "dead" for a channel that fired on no picture, "NaN" if it had no number on any, "" for all others."""
    if statistics["fired"][channel]:
        return ""
    return "NaN" if statistics["pictures"][channel] and np.isneginf(statistics["maximum"][channel]) else "dead"


def channels_in_state(statistics: Statistics, state: str) -> list[int]:
    """Return the channels of a layer that are in one of the states of `channel_state`."""
    return [channel for channel in range(len(statistics["fired"])) if channel_state(statistics, channel) == state]


class ScanTable:
    """What a scan's file holds. A context manager, which closes the file.

    Args:
        path: the file.
        notes: what was noticed about its pictures: those that are gone or have changed.

    Attributes:
        path: the file.
        settings: what was scanned, and how.
        sizes: (channels, height, width) of each layer's maps, in the order in which the layers finish.
        notes: as given.

    Raises:
        StoreError: there is no such file, or it is not a scan.
    """

    def __init__(self, path: str | os.PathLike[str], *, notes: Sequence[str] = ()) -> None:
        self.store = Store(path)
        self.path, self.notes = self.store.path, list(notes)
        self.settings = self.store.settings()
        rows = self.store.rows("select layer, channels, height, width from layers order by layer_number")
        self.sizes: dict[str, tuple[int, int, int]] = {name: (channels, *size) for name, channels, *size in rows}

    def __enter__(self: Table) -> Table:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.store.close()

    @property
    def layers(self) -> list[str]:
        """The names of the scanned layers, in the order in which they finish."""
        return list(self.sizes)

    @property
    def frame(self) -> tuple[int, int]:
        """The height and width of the pictures as the net sees them."""
        _, height, width = self.settings["size"]
        return height, width

    def layer_name(self, layer: str) -> str:
        """Return the name of a scanned layer, given that or the paper's: "conv5".

        Raises:
            UnknownLayerError: the layer was not scanned.
        """
        name = layer if layer in self.sizes else full_name(str(self.settings.get("model")), layer)
        if name not in self.sizes:
            hint = did_you_mean(layer, self.sizes)
            raise UnknownLayerError(f"{self.path!r} has no layer {layer!r}.{hint} Scanned: {', '.join(self.sizes)}.")
        return name

    def size(self, layer: str) -> tuple[int, int, int]:
        """Return a layer's channels, and the height and width of its maps.

        Raises:
            UnknownLayerError: the layer was not scanned.
        """
        return self.sizes[self.layer_name(layer)]

    def default_layer(self) -> str:
        """Return the scanned layer that is worth seeing first: the last one whose units see less than two fifths of the frame.

        It is that of `project`, as far as the scan has it; where all units see more, it is the one whose units see least.
        """
        windows = "select layer, max(window_height), max(window_width) from hits group by layer"
        height, width = self.frame
        fields = {layer: min(rows, height) * min(cols, width) for layer, rows, cols in self.store.rows(windows)}
        known = [layer for layer in self.layers if layer in fields] or self.layers
        least = min(fields.values(), default=0)
        small = [layer for layer in known if fields.get(layer, 0) < LARGEST_SHARE_SEEN * height * width]
        return (small or [layer for layer in known if fields[layer] == least])[-1]

    def check_channel(self, layer: str, channel: int) -> None:
        """Raise `UnitError` unless a layer has a channel of that number."""
        count = self.size(layer)[0]
        if not 0 <= channel < count:
            raise UnitError(f"layer {layer!r} has no channel {channel}: it has {count}, numbered from 0.")

    def top(self, layer: str, channel: int) -> list[Hit]:
        """Return a channel's top pictures, strongest first.

        Raises:
            UnknownLayerError: the layer was not scanned.
            UnitError: it has no such channel.
        """
        layer = self.layer_name(layer)
        self.check_channel(layer, channel)
        query = (
            "select hit_rank, path, activation, map_row, map_col, window_top, window_left, window_height, window_width, picture"
            " from hits join pictures using (picture) where layer = ? and channel = ? order by hit_rank"
        )
        with self.store.snapshot():
            self.store.check(f"layer {layer}")
            rows = self.store.rows(query, (layer, channel))
            self.store.check_pictures(row[-1] for row in rows)
        return [
            Hit(rank, path, activation, row, col, Window(*window), picture)
            for rank, path, activation, row, col, *window, picture in rows
        ]

    def top_numbers(self, layer: str) -> list[list[int]]:
        """Return for each channel of a layer the numbers of its top pictures, strongest first."""
        layer = self.layer_name(layer)
        numbers: list[list[int]] = [[] for _ in range(self.size(layer)[0])]
        query = "select channel, picture from hits where layer = ? order by channel, hit_rank"
        with self.store.snapshot():
            self.store.check(f"layer {layer}")
            rows = self.store.rows(query, (layer,))
        for channel, picture in rows:
            numbers[channel].append(picture)
        return numbers

    def statistics(self, layer: str) -> Statistics:
        """Return arrays (C,) by name.

        Returns:
            "pictures": how many could be read; "fired": on how many of them the channel's maximum was above 0; "mean" and
            "maximum" of the channel's maxima, -inf where there is none.

        Raises:
            UnknownLayerError: the layer was not scanned.
        """
        return self.store.statistics(self.layer_name(layer))

    def dead(self, layer: str) -> list[int]:
        """Return the channels that fired on no picture, without those of `not_a_number`."""
        return channels_in_state(self.statistics(layer), "dead")

    def not_a_number(self, layer: str) -> list[int]:
        """Return the channels whose maximum was NaN, or minus infinity, on every picture: they may be anything but dead."""
        return channels_in_state(self.statistics(layer), "NaN")

    def sample(self, layer: str, count: int, seed: int = 0) -> list[int]:
        """Return `count` random channels of a layer, in order of number; those that never fired are left out."""
        alive = np.flatnonzero(self.statistics(layer)["fired"] > 0)
        return sorted(np.random.default_rng(seed).permutation(alive)[:count].tolist())

    def paths(self) -> dict[int, str]:
        """Return the path of each picture, by its number."""
        return dict(self._all_pictures("select picture, path from pictures order by picture"))

    def files(self, numbers: Iterable[int]) -> dict[int, tuple[str, str | None]]:
        """Return for pictures, by their numbers, the path and the SHA-256 of the file; None where it had no file."""
        numbers = list(numbers)
        with self.store.snapshot():
            self.store.check_pictures(numbers)
            query = "select path, sha256 from pictures where picture = ?"
            return {number: self.store.rows(query, (number,))[0] for number in numbers}

    def digests(self) -> dict[int, str | None]:
        """Return the SHA-256 of each picture's file, by its number; None where it has no file or is not done."""
        return dict(self._all_pictures("select picture, sha256 from pictures"))

    def skipped(self) -> list[tuple[str, str]]:
        """Return the pictures that could not be read, each with the reason."""
        return self._all_pictures("select path, problem from pictures where problem is not null order by picture")

    def copies(self) -> list[tuple[str, str]]:
        """Return the pictures whose file equals an earlier one's, each with the earlier one.

        The time that this takes grows as the number of pictures, however many of them are copies.
        """
        known = "sha256 is not null and problem is null order by picture"
        with self.store.snapshot():
            self.store.check_pictures()
            # Most digests come once. To keep eight bytes of each, not all of them, is enough to find the others.
            marks = np.fromiter(
                (hash(sha256) for (sha256,) in self.store.each(f"select sha256 from pictures where {known}")), np.int64
            )
            values, counts = np.unique(marks, return_counts=True)
            repeated = np.isin(marks, values[counts > 1])
            first: dict[str, str] = {}
            copies = []
            rows = self.store.each(f"select path, sha256 from pictures where {known}")
            for path, sha256 in compress(rows, repeated):
                earlier = first.setdefault(sha256, path)
                if earlier != path:
                    copies.append((path, earlier))
        return copies

    def _all_pictures(self, query: str) -> list[tuple[Any, ...]]:
        with self.store.snapshot():
            self.store.check_pictures()
            return self.store.rows(query)

    def progress(self) -> tuple[int, int]:
        """Return how many pictures are done, and how many there are."""
        done, total = self.store.rows(
            "select coalesce(sum(done * picture_count), 0), coalesce(sum(picture_count), 0) from shards"
        )[0]
        return int(done), int(total)

    def summary(self) -> str:
        """Return what was scanned and noticed, in a few lines."""
        done, total = self.progress()
        skipped = self.skipped()
        channels = sum(size[0] for size in self.sizes.values())
        layers = _layers_text(len(self.sizes))
        lines = [f"{done - len(skipped):,} of {total:,} pictures, {layers}, {channels:,} channels: {self.path}"]
        problems = [problem if path in problem else f"{path}: {problem}" for path, problem in skipped]
        lines += _first_lines("skipped", problems, "select path, problem from pictures where problem is not null")
        copies = [f"{path} equals {earlier}" for path, earlier in self.copies()]
        lines += _first_lines("a copy", copies, "select path, sha256 from pictures order by sha256")
        return "\n".join([*lines, *self._decoding(), *self.notes, *self._age()])

    def _decoding(self) -> list[str]:
        """Return a line on how far what a GPU decoded is from the exact pixels."""
        measured = self.settings.get("decode_difference")
        return [_difference_text(measured)] if measured else []

    def _age(self) -> list[str]:
        """Return a line on what the file lacks because a former version wrote it."""
        if self.store.format >= 3:
            return []
        return ["This file has no digests, as a former version wrote it: damage might not be noticed. To add them, scan again."]

    def __repr__(self) -> str:
        done, total = self.progress()
        return f"{type(self).__name__}({self.path!r}, {done} of {total} pictures, {_layers_text(len(self.sizes))})"


def _difference_text(measured: Mapping[str, Any]) -> str:
    """Say what `decode_difference` measured; a part of it is missing where there was nothing to measure."""
    by = f"JPEGs were decoded on the GPU by {measured.get('decoder', 'an unknown decoder')}"
    pixels, maxima = measured.get("pixels"), measured.get("maxima")
    if not pixels:
        return f"{by}: none of the first pictures, so that it was not compared with the exact pixels."
    text = (
        f"{by}: {measured.get('pictures')} compared with the exact pixels differ by {pixels['mean']:g} of 255 levels"
        f" on average (99 % by at most {pixels['percentile_99']:g}, all by at most {pixels['maximum']:g})"
    )
    if maxima:
        text += (
            f", maxima by {_percent(maxima['median'])} in the median (99 % by at most {_percent(maxima['percentile_99'])});"
            f" {_percent(measured.get('other_best', 0))} of the channels have another strongest picture"
        )
    return f"{text}."


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _first_lines(what: str, texts: Sequence[str], query: str) -> list[str]:
    """Return a line for each of the first texts, and one that says what tells the others."""
    lines = [f"{what}: {text}" for text in texts[:SHOWN_PICTURES]]
    more = len(texts) - SHOWN_PICTURES
    return [*lines, f"{what}: {more:,} more. All of them, by sqlite3: {query}"] if more > 0 else lines


def _layers_text(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
