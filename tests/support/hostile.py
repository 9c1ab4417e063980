"""Scans that somebody has edited or that are damaged, and what a command does with one: seeded, the same each time.

`tests/test_scan_hostile.py` tries a share of them, `benchmarks/hostile_scans.py` all.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deconvnet.cli import main
from deconvnet.scanning.digests import Digests
from deconvnet.scanning.table import ScanTable

SECONDS = 20  # a command that takes longer hangs

#: What a column is set to: other types, other ranges, other places, formulas, escapes, much of it.
VALUES: tuple[Any, ...] = (
    None, -1, 0, 1, 7, 10_000_000, 2**31, 2**62, -(2**63), 1.5, 9e999, -9e999, "", "x", "1", b"\x00\xff", "a\0b",
    "../../keep/evil", "../private/secret.png", "/etc/passwd", "=cmd|' /C calc'!A0", "\x1b]0;owned\x07\r", "\u202egnp.exe",
    "$\\frac$", "<script>alert(1)</script>", "x" * 100_000,
)  # fmt: skip

#: What a setting is set to: text that is to be JSON.
SETTINGS: tuple[Any, ...] = (
    "null", "true", "-1", "0", "1", "2", "10000000", "1e999", "NaN", "9" * 5000, '""', '"x"', '"file:evil.py:make"',
    '"s3://bucket/photos?endpoint_override=127.0.0.1:9&scheme=http"', '"file:///"', '"/"', '"../private"', '"\\u0000"', '"x\\u001b[2J"',
    "[]", "{}", "[3, 100000, 100000]", "[3, 96, 96]", "[1]", '["features.1"]', "[" * 100_000, "{", "", b"\xff\xfe",
    '{"resize": 1000000, "crop": 96, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bilinear"}',
    '{"resize": 96, "crop": [96, "a"], "mean": ["a"], "std": [0], "interpolation": "bilinear"}',
    '{"resize": 96, "crop": 96, "mean": [1e999, 0, 0], "std": [1, 1, 1], "interpolation": "none", "more": 1}',
)  # fmt: skip

COLUMNS = {
    "settings": "name json_text",
    "layers": "layer_number layer channels height width",
    "pictures": "picture path bytes sha256 problem",
    "shards": "shard first_picture picture_count done",
    "hits": "layer channel hit_rank picture activation map_row map_col window_top window_left window_height window_width",
    "channels": "layer channel pictures fired total",
    "digests": "part sha256",
}

NAMES = (
    "model", "weights", "preprocess", "weights_from", "size", "layers", "top", "shard", "root", "version", "format",
    "model_sha256",
)  # fmt: skip

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select"

#: What is done to the schema.
STATEMENTS = (
    *(f"drop table {table}" for table in COLUMNS),
    *(f"delete from {table}" for table in COLUMNS),
    *(f"alter table {table} rename to other_{table}" for table in COLUMNS),
    *(f"alter table {table} add column more text" for table in COLUMNS),
    *(f"create view more_{table} as select * from {table}" for table in COLUMNS),
    f"drop table settings; create view settings as {ENDLESS} 'format' as name, i as json_text from n",
    f"drop table hits; create view hits as {ENDLESS} 'features.1' as layer, 0 as channel, i as hit_rank, 0 as picture, 1.0 as activation,"
    " 0 as map_row, 0 as map_col, 0 as window_top, 0 as window_left, 7 as window_height, 7 as window_width from n",
    f"drop table pictures; create view pictures as {ENDLESS} i as picture, 'p' || i as path, 1 as bytes, null as sha256, null as problem from n",
    f"drop table channels; create view channels as {ENDLESS} 'features.1' as layer, i as channel, 1 as pictures, 1 as fired, 1 as total from n",
    f"drop table layers; create view layers as {ENDLESS} i as layer_number, 'l' || i as layer, 1 as channels, 1 as height, 1 as width from n",
    f"drop table shards; create view shards as {ENDLESS} i as shard, i as first_picture, 1 as picture_count, 1 as done from n",
    "create trigger more after update on pictures begin delete from hits; end",
    "create trigger more after insert on hits begin update settings set json_text = '\"file:evil.py:make\"' where name = 'model'; end",
    "create index more on hits (activation)",
    "create index more on pictures (abs(bytes))",
    "create table more (a text)",
    "create virtual table more using fts5 (a)",
    "drop table pictures; create virtual table pictures using fts5 (picture, path, bytes, sha256, problem)",
    "create table more (a integer, b integer generated always as (a + 1))",
    "drop table digests; create table digests (part text primary key, sha256 text)",
    "insert into shards (first_picture, picture_count) values (12, 10000000)",
    "insert into layers values (2, 'more', 10000000, 1, 1)",
    "update layers set channels = 10000000 where layer_number = 0",
    "insert into hits select layer, channel, hit_rank + 9, picture, activation, map_row, map_col, 0, 0, 1, 1 from hits",
    "update hits set map_row = 45, map_col = 45",
    "pragma journal_mode = wal",
    "pragma user_version = 7",
    "pragma application_id = 7",
    "vacuum",
    "analyze",
)  # fmt: skip

#: How an edited file is finished: as it is; with digests that fit, as a forger writes them; as a former format that has none.
FINISHES = ("as it is", "new digests", "format 2")


@dataclass(frozen=True)
class Edit:
    """A scan that somebody has edited: statements with their values, and how the file is finished."""

    name: str
    statements: tuple[tuple[str, tuple[Any, ...]], ...]
    finish: str

    def write(self, original: Path, path: Path) -> Path:
        """Write the edited copy of a scan."""
        path.write_bytes(original.read_bytes())
        with closing(sqlite3.connect(path, isolation_level=None)) as base:
            base.set_progress_handler(lambda: 1, 5_000_000)  # what is endless ends here
            for statement, values in self.statements:
                with contextlib.suppress(sqlite3.Error):  # what SQLite refuses nobody can send
                    for part in statement.split(";") if not values and "trigger" not in statement else [statement]:
                        base.execute(part, values)
            with contextlib.suppress(Exception):
                FINISH[self.finish](base)
        return path


def _former(base: sqlite3.Connection) -> None:
    base.execute("drop table digests")
    base.execute("update settings set json_text = '2' where name = 'format'")


FINISH: dict[str, Callable[[sqlite3.Connection], object]] = {
    "as it is": lambda base: None,
    "new digests": lambda base: Digests(base).renew_all(),
    "format 2": _former,
}


def edits(count: int | None = None, seed: int = 0) -> list[Edit]:
    """Return edits, each with one of the finishes: all of them, or a share."""
    chance = random.Random(seed)
    changes: list[tuple[str, tuple[tuple[str, tuple[Any, ...]], ...]]] = []
    for table, columns in COLUMNS.items():
        for column, value in itertools.product(columns.split(), VALUES):
            row = chance.choice(
                ["", f" where rowid = {chance.randint(1, 4)}"]
                if table in ("settings", "layers", "pictures", "shards")
                else [""]
            )
            if table in ("hits", "channels") and chance.random() < 0.7:
                row = " where channel = 0 and layer = 'features.1'"
            changes.append(
                (f"{table}.{column} = {str(value)[:30]!r}", ((f"update or replace {table} set {column} = ?{row}", (value,)),))
            )
    for name, value in itertools.product(NAMES, SETTINGS):
        changes.append((f"{name} = {str(value)[:40]}", (("insert or replace into settings values (?, ?)", (name, value)),)))
    changes += [(statement[:60], ((statement, ()),)) for statement in STATEMENTS]
    chance.shuffle(changes)
    chosen = changes if count is None else changes[:count]
    return [Edit(name, statements, FINISHES[number % len(FINISHES)]) for number, (name, statements) in enumerate(chosen)]


def damages(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield damaged copies of a file: one to three flipped bits, and in a third of them the end cut off."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 3 == 2:
            end = chance.randrange(len(data))
            yield f"cut at {end}", data[:end]
            continue
        copy, bits = bytearray(data), [chance.randrange(8 * len(data)) for _ in range(chance.randint(1, 3))]
        for bit in bits:
            copy[bit // 8] ^= 1 << bit % 8
        yield f"bits {bits}", bytes(copy)


@dataclass
class Seen:
    """What a process did, as Python's audit events tell it.

    Attributes:
        sent: addresses that were connected to or looked up.
        ran: commands that were started.
        opened: files that were opened, below one of the folders that are watched.
    """

    watched: tuple[str, ...] = ()
    sent: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            self.sent.append(f"{event} {arguments[1:]}")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            self.ran.append(f"{event} {arguments[0]}")
        elif event in ("open", "os.remove", "os.rename", "os.mkdir", "os.truncate"):
            paths = [str(argument) for argument in arguments[:2] if isinstance(argument, (str, bytes, Path))]
            self.opened += [path for path in paths if any(folder in path for folder in self.watched)]


_watching: list[Seen] = []
_is_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    for seen in _watching:
        seen.note(event, arguments)


@contextlib.contextmanager
def watch(*folders: Path) -> Iterator[Seen]:
    """Note what this process does: what it sends and starts, and what it opens below some folders."""
    if not _is_hooked:
        sys.addaudithook(_hook)  # for the rest of the process: there is no way back
        _is_hooked.append(True)
    seen = Seen(tuple(map(str, folders)))
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


@dataclass
class Outcome:
    """What a command did.

    Attributes:
        code: its exit code; None where it raised.
        out: stdout.
        err: stderr.
        trace: the traceback of what it raised.
        seconds: how long it took.
    """

    code: int | None
    out: str
    err: str
    trace: str = ""
    seconds: float = 0.0

    @property
    def fault(self) -> str:
        """What is wrong with it: a traceback, a hang, more or less than a line of error; empty where nothing is."""
        if "Hang" in self.trace:
            return "hangs"
        if self.trace:
            return self.trace
        lines = [line for line in self.err.splitlines() if "Error: " in line]
        if self.code == 1 and len(lines) != 1:
            return f"exit 1 with {len(lines)} lines of error: {self.err[-300:]!r}"
        return "" if self.code in (0, 1) else f"exit {self.code}: {self.err[-300:]!r}"


class Hang(Exception):
    """A command took too long."""


def run(words: Sequence[str], seconds: int = SECONDS) -> Outcome:
    """Run the command in this process, as people type it."""
    out, err, begun = io.StringIO(), io.StringIO(), time.perf_counter()
    code, trace = 0, ""

    def stop(number: int, frame: object) -> None:
        raise Hang

    before, arguments = signal.signal(signal.SIGALRM, stop), sys.argv
    signal.alarm(seconds)
    try:
        sys.argv = ["deconvnet", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # of any kind: it is what is looked for
        code, trace = None, traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        sys.argv = arguments
    return Outcome(code, out.getvalue(), err.getvalue(), trace, time.perf_counter() - begun)


def tell(path: Path) -> dict[str, Any]:
    """Return all that a scan's file says, through the package."""
    with ScanTable(path) as table:
        layers = {
            name: {
                "size": size,
                "top": [[hit.to_json() for hit in table.top(name, channel)] for channel in range(size[0])],
                "numbers": table.top_numbers(name),
                "counts": {key: values.tolist() for key, values in table.statistics(name).items()},
            }
            for name, size in table.sizes.items()
        }
        rest = [table.settings, table.paths(), table.digests(), table.skipped(), table.copies(), table.progress()]
        return json.loads(json.dumps([layers, rest]))


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
