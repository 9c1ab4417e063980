"""A scan on disk: one SQLite file that anyone can read, with SQL, pandas, or DB Browser.

| table | a row for each | columns |
|---|---|---|
| settings | setting | name, json_text: model, weights, preprocess, size, layers, top, shard, and what the scan ran with |
| layers | scanned layer | layer_number, layer, channels, height, width (of its maps) |
| pictures | picture | picture (its number), path (from `root`), bytes, sha256, problem (why it was skipped, or null) |
| shards | shard | shard, first_picture, picture_count, done (0 or 1) |
| hits | top picture of a channel | layer, channel, hit_rank (1: strongest), picture, activation, map_row, map_col, \
window_top, window_left, window_height, window_width (of the unit's window) |
| channels | channel | layer, channel, pictures (read), fired (on how many it was above 0), total (of the maxima, in 2^-24) |
| digests | part of the file | part, sha256 (of its rows: see `digests.py`) |

A shard is one transaction: after a kill the file holds what had been committed. Totals are integers, since sums of floats would
depend on the order of the shards. Nothing depends on the time or the machine's name.

    sqlite3 net.scan "select path, activation, map_row, map_col from hits join pictures using (picture)
                      where layer = 'features.10' and channel = 151 order by hit_rank"
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from ..errors import StoreError
from .checked_file import CheckedFile
from .digests import HIT_COLUMNS
from .form import settings_fault
from .formats import FORMAT, TABLES, migrate

FIXED_POINT = 2**24  # of which totals are multiples
MOST_FIXED = 2**62  # that an activation counts for in them, so that it is an integer of 64 bits

#: Settings that must agree before a scan is continued.
MUST_AGREE = ("model", "weights", "preprocess", "size", "layers", "top", "shard", "inside", "inputs", "precision")

#: What those are that a file keeps only where they are something else.
UNLESS_KEPT = {"inside": False, "precision": "fp32", "decode": "exact"}

#: Rows of the tables: pictures without their path, hits, and what is added to channels.
PictureRow: TypeAlias = tuple[int, "int | None", "str | None", "str | None"]  # number, bytes, sha256, problem
HitRow: TypeAlias = tuple[str, int, int, int, float, int, int, int, int, int, int]
CountRow: TypeAlias = tuple[str, int, int, int, int]  # layer, channel, pictures, fired, total


class Statistics(TypedDict):
    """What is known of each of C channels: arrays (C,)."""

    pictures: npt.NDArray[np.int64]
    fired: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]


class Store(CheckedFile):
    """A scan's file, read and written. A context manager, which closes it; every method is one transaction."""

    def begin(self, settings: Mapping[str, Any], layers: Sequence[tuple[str, int, int, int]]) -> None:
        """Write down what is scanned and how; if the file holds a scan already, check that it is the same one.

        A file of a former format is brought up to date.

        Args:
            settings: of the scan.
            layers: name, channels, height and width of each.

        Raises:
            StoreError: the file's scan has other settings, or no scan can have these.
        """
        fault = settings_fault(json.loads(json.dumps(settings)))
        if fault:
            raise StoreError(f"a scan cannot keep {fault} {_short(settings.get(fault))}. Give another one.")
        if not self.is_new:
            check_same(self.path, self.settings(), settings)
            self._check_layers(layers)
            self.check_all()
            self._migrate()
            return
        with self.transaction():
            for statement in TABLES.values():
                self.connection.execute(statement)
            rows = [(name, json.dumps(value)) for name, value in {"format": FORMAT, **settings}.items()]
            self.connection.executemany("insert into settings values (?, ?)", rows)
            numbered = [(number, *layer) for number, layer in enumerate(layers)]
            self.connection.executemany("insert into layers values (?, ?, ?, ?, ?)", numbered)
            self.connection.executemany(
                "insert into channels select layer, ?2, 0, 0, 0 from layers where layer = ?1",
                [(name, channel) for name, count, _, _ in layers for channel in range(count)],
            )
            self.digests.renew_all()
        self.is_new = False

    def _check_layers(self, layers: Sequence[tuple[str, int, int, int]]) -> None:
        """Refuse to continue the scan of a net whose layers have other sizes."""
        rows = self.rows("select layer, channels, height, width from layers order by layer_number")
        for (name, *size), scanned in zip(layers, rows, strict=True):
            if (name, *size) != scanned:
                sizes = " and ".join("x".join(map(str, numbers)) for numbers in (scanned[1:], size))
                raise StoreError(
                    f"{self.path!r} has layer {scanned[0]!r} of another size than the net: {sizes}. Choose another name."
                )

    def _migrate(self) -> None:
        """Bring a file of a former format up to date."""
        if self.format < FORMAT:
            with self.transaction():
                migrate(self.connection, self.format)
                self.digests.renew_all()
            self.format = FORMAT

    def extend(self, names: Sequence[str], shard: int) -> dict[str, int]:
        """Add the pictures that are new, in shards of their own; return the numbers of all pictures by path."""
        known: dict[str, int] = dict(self.rows("select path, picture from pictures not indexed"))
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            first, end = len(known), len(known) + len(new)
            numbered = dict(zip(new, range(first, end), strict=True))
            shards = [(start, min(shard, end - start)) for start in range(first, end, shard)]
            with self.transaction():
                self.connection.executemany("insert into pictures (path, picture) values (?, ?)", numbered.items())
                self.connection.executemany("insert into shards (first_picture, picture_count) values (?, ?)", shards)
                added = self.rows("select shard from shards where first_picture >= ? order by shard", (first,))
                self.digests.renew(*(f"{kind} {number}" for (number,) in added for kind in ("shard", "pictures")))
            known.update(numbered)
        return known

    def set_root(self, root: str) -> None:
        """Write down where the pictures are now."""
        with self.transaction():
            self.connection.execute("update settings set json_text = ? where name = 'root'", (json.dumps(root),))
            self.digests.renew("settings")

    def waiting(self) -> list[tuple[int, int, int]]:
        """Return the shards that are not done: number, first picture, number of pictures."""
        return self.rows("select shard, first_picture, picture_count from shards where not done order by shard")

    def hits(self) -> list[HitRow]:
        """Return all entries."""
        return self.rows(f"select layer, {HIT_COLUMNS} from hits")

    def counts(self, layer: str) -> list[tuple[int, int, int]]:
        """Return pictures, fired and total of each of a layer's channels."""
        return self.rows("select pictures, fired, total from channels where layer = ? order by channel", (layer,))

    def commit(
        self,
        shard: int,
        pictures: Iterable[PictureRow],
        hits: Iterable[HitRow],
        statistics: Iterable[CountRow],
        layer_digests: Mapping[str, str],
    ) -> bool:
        """Write one shard in one transaction.

        Args:
            shard: its number.
            pictures: number, bytes, sha256 and problem of each.
            hits: whole rows, which replace those of their ranks.
            statistics: layer, channel, pictures, fired and total, to be added.
            layer_digests: of all layers, as they are after this.

        Returns:
            False if the shard was done before; then nothing is written.
        """
        with self.transaction():
            if not self.connection.execute("update shards set done = 1 where shard = ? and not done", (shard,)).rowcount:
                return False
            self.connection.executemany(
                "update pictures set bytes = ?2, sha256 = ?3, problem = ?4 where picture = ?1", pictures
            )
            self.connection.executemany("insert or replace into hits values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", hits)
            self.connection.executemany(
                "update channels set pictures = pictures + ?3, fired = fired + ?4, total = total + ?5"
                " where layer = ?1 and channel = ?2",
                statistics,
            )
            self.digests.renew(f"shard {shard}", f"pictures {shard}")
            self.digests.write((f"layer {name}", digest) for name, digest in layer_digests.items())
        return True

    def statistics(self, layer: str) -> Statistics:
        """Return what was counted for each of a layer's channels; the maximum is -inf where there is none.

        Raises:
            StoreError: the file is damaged there.
        """
        query = (
            "select pictures, fired, total, activation from channels left join"
            " (select layer, channel, activation from hits where hit_rank = 1) using (layer, channel)"
            " where layer = ? order by channel"
        )
        with self.snapshot():
            self.check(f"layer {layer}")
            rows = self.rows(query, (layer,))
        pictures, fired, total, maximum = zip(*rows, strict=True) if rows else ((), (), (), ())
        return {
            "pictures": np.array(pictures, np.int64),
            "fired": np.array(fired, np.int64),
            "mean": np.array(total, np.float64) / FIXED_POINT / np.maximum(np.array(pictures, np.int64), 1),
            "maximum": np.array([-np.inf if value is None else value for value in maximum]),
        }


def check_same(path: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to continue a scan with other settings.

    Raises:
        StoreError: which shows the difference.
    """
    asked = json.loads(json.dumps(asked))
    differing = [name for name in MUST_AGREE if found.get(name) != asked.get(name)]
    if "model" in differing:  # the others follow from it
        differing = ["model"]
    if differing:
        difference = "; ".join(_difference(name, found.get(name), asked.get(name)) for name in differing)
        raise StoreError(f"{path!r} was scanned with other settings: {difference}. Give the same ones, or choose another name.")


def _difference(name: str, found: Any, asked: Any) -> str:
    if name == "preprocess" and found and asked:  # of many entries only those that differ
        differing = [key for key in {**found, **asked} if found.get(key) != asked.get(key)]
        return "; ".join(_difference(key, found.get(key), asked.get(key)) for key in differing)
    usual = UNLESS_KEPT.get(name)
    return f"{name} {_short(usual if found is None else found)}, not {_short(usual if asked is None else asked)}"


def _short(value: Any) -> str:
    text = re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1...", json.dumps(value))
    return text if len(text) <= 90 else f"{text[:60]}...{text[-25:]}"
