"""What the end of a scan, a report and a channel's pictures take, where the scan has 3,000,000 pictures.

    python benchmarks/large_scan.py

The file is made up: so many pictures in shards of 512, one in a thousand a copy of another, and a layer of 64 channels.
Measured are seconds, on the clock and of the processor, and the peak of memory at the end.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import deconvnet
from deconvnet.scanning.maxima import scanned_layers
from deconvnet.scanning.run import scan_settings
from deconvnet.scanning.source import open_source
from deconvnet.scanning.store import FIXED_POINT, Store
from deconvnet.scanning.table import ScanTable

SHARD, TOP, LAYER = 512, 9, "features.5"


def seconds(what: str, call: Callable[[], object]) -> None:
    """Time a call, and print it with what it returns if that is a number."""
    begun, used = time.perf_counter(), time.process_time()
    value = call()
    note = f" ({value:,})" if isinstance(value, int) else ""
    print(f"| {what}{note} | {time.perf_counter() - begun:.1f} | {time.process_time() - used:.1f} |", flush=True)


def rows(pictures: int) -> Iterator[tuple[int, str, int]]:
    """Yield bytes, SHA-256 and number of each picture; of a thousand, the last is a copy of the first."""
    for number in range(pictures):
        kind = number - 999 if number % 1000 == 999 else number
        yield 110_000, f"{kind * 0x9E3779B97F4A7C15 % 2**256:064x}", number


def make(path: Path, pictures: int) -> None:
    """Write the scan."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    chosen = scanned_layers(net.record_zeros((3, 96, 96)), [LAYER])
    settings = scan_settings(net, chosen, open_source([__file__]), size=(3, 96, 96), top=TOP, shard=SHARD)
    names = [f"n{number // 1300:08d}/n{number // 1300:08d}_{number}.JPEG" for number in range(pictures)]
    with Store(path, create=True) as store:
        store.begin(settings, [(layer.name, layer.channels, layer.height, layer.width) for layer in chosen])
        seconds("to add the names", lambda: len(store.extend(names, SHARD)))
        hits = [
            (LAYER, channel, rank, (channel * 997 + rank) % pictures, 10.0 - rank, 1, 1, 0, 0, 27, 27)
            for channel in range(64)
            for rank in range(1, TOP + 1)
        ]
        with store.transaction():
            base = store.connection
            base.executemany("update pictures set bytes = ?, sha256 = ? where picture = ?", rows(pictures))
            base.execute("update shards set done = 1")
            base.executemany(f"insert into hits values ({', '.join('?' * 11)})", hits)
            base.execute("update channels set pictures = ?1, fired = ?1, total = ?1 * ?2", (pictures, FIXED_POINT))
            seconds("to write all digests", store.digests.renew_all)


def main() -> None:
    """Make the file, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=3_000_000, help="how many (default 3,000,000)")
    pictures = parser.parse_args().pictures
    print(f"| {pictures:,} pictures | seconds | of the processor |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "large.scan")
        make(path, pictures)
        print(f"| size, MB | {path.stat().st_size / 1e6:.0f} | |")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds("to open it: its form, and the digests of what every reader needs", lambda: ScanTable(path).close())
        with ScanTable(path) as table:
            seconds("a channel's pictures", lambda: len(table.top(LAYER, 3)))
            seconds("copies, with the digests of all pictures", lambda: len(table.copies()))
            seconds("copies again", lambda: len(table.copies()))
            seconds("statistics of a layer", lambda: len(table.statistics(LAYER)["fired"]))
        with ScanTable(path) as table:
            seconds("the summary that ends a scan, or begins a report", lambda: len(table.summary()))
        with Store(path, create=True) as store:
            seconds("to compare every digest, as before a scan is continued", store.check_all)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"| peak of memory, MB: to make it, and in all | {before / 1000:.0f}, {peak / 1000:.0f} | |")


if __name__ == "__main__":
    main()
