"""Scans that somebody has edited, and damaged ones: what do five commands do with them?

    python benchmarks/hostile_scans.py

719 edited scans (hostile values in every column and every setting; views, triggers, virtual tables; with digests that fit, with
others, and in the former format), each opened by `top`, `report`, `plate`, `atlas` and `scan`, and 300 with flipped bits or a
missing end, each read whole. Counted are tracebacks, hangs, files outside of what was asked for, connections, and damaged files
that show another table. The tests try a share.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import deconvnet
from deconvnet.errors import StoreError
from support.hostile import damages, edits, run, tell, tree, watch
from support.scans import drawing, drawings

LAYERS = ("features.1", "features.5")


def commands(photos: Path) -> dict[str, list[str]]:
    """Return the commands, which open a.scan in the working folder."""
    layers = [word for layer in LAYERS for word in ("--layer", layer)]
    return {
        "top": ["top", "a.scan", "-l", LAYERS[0], "-c", "0-3", "--csv"],
        "report": ["report", "a.scan", "--json", "--out", "report.png"],
        "plate": ["plate", "a.scan", "-l", LAYERS[0], "-c", "0", "--out", "plate.png"],
        "atlas": ["atlas", "a.scan", "--out", "site", "--layer", LAYERS[0], "--tile", "16"],
        "scan": ["scan", str(photos), *layers, "--shard", "4", "--out", "a.scan"],
    }


def try_edited(original: Path, here: Path, count: int) -> None:
    """Open each edited scan by each command; print each fault, and the counts."""
    counts, begun = Counter[str](), time.perf_counter()
    before = tree(here)
    for number, change in enumerate(edits(count)):
        for name, words in commands(original.parent / "photos").items():
            change.write(original, here / "a.scan")
            with watch(here / "private", here / "evil.py", here / "keep") as seen:
                outcome = run(words)
            counts[f"{name}: exit {outcome.code}"] += 1
            counts["slowest, s"] = max(counts["slowest, s"], round(outcome.seconds))
            for kind, found in (("sent", seen.sent), ("ran", seen.ran), ("private file opened", seen.opened)):
                counts[f"FAULT: {kind}"] += bool(found)
                if found:
                    print(f"{kind}: {name}: {change.name} ({change.finish}): {found}", flush=True)
            if outcome.fault:
                kind = "hang" if outcome.fault == "hangs" else "traceback" if outcome.trace else "other"
                counts[f"FAULT: {kind}"] += 1
                print(f"{kind}: {name}: {change.name} ({change.finish}): {outcome.fault[-600:]}", flush=True)
        for made in ("a.scan", "report.png", "plate.png"):
            (here / made).unlink(missing_ok=True)
        shutil.rmtree(here / "site", ignore_errors=True)
        if tree(here) != before:
            counts["FAULT: files outside"] += 1
            print(f"files: {change.name} ({change.finish}): {set(tree(here)) ^ set(before)}", flush=True)
            before = tree(here)
        if (number + 1) % 50 == 0:
            print(f"{number + 1} of {count}, {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    report(f"{count} edited scans, {len(commands(here))} commands each, {time.perf_counter() - begun:.0f} s", counts)


def try_damaged(original: Path, here: Path, count: int) -> None:
    """Read each damaged scan whole, and by a command; print the counts."""
    known, counts, begun = tell(original), Counter[str](), time.perf_counter()
    for name, data in damages(original.read_bytes(), count):
        (here / "a.scan").write_bytes(data)
        try:
            outcome = "the same table" if tell(here / "a.scan") == known else "FAULT: another table"
        except StoreError:
            outcome = "refused in one line"
        except Exception as error:
            outcome = f"FAULT: {type(error).__name__}"
        counts[outcome] += 1
        if outcome.startswith("FAULT"):
            print(f"{outcome}: {name}", flush=True)
        fault = run(["report", "a.scan"]).fault
        counts[f"FAULT: {fault}"] += bool(fault)
    (here / "a.scan").unlink()
    report(f"{count} damaged scans, {time.perf_counter() - begun:.0f} s", counts)


def report(title: str, counts: Counter[str]) -> None:
    """Print counts."""
    print(f"\n{title}")
    for name, number in sorted(counts.items()):
        if number or not name.startswith("FAULT"):
            print(f"  {name}: {number}")
    if not any(number for name, number in counts.items() if name.startswith("FAULT")):
        print("  no fault")


def main() -> None:
    """Try all, or as many as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edited", type=int, default=719, help="how many edited scans (default 719)")
    parser.add_argument("--damaged", type=int, default=300, help="how many damaged ones (default 300)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        original, here = Path(folder, "original", "a.scan"), Path(folder, "here")
        drawings(original.parent / "photos", 12)
        net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
        deconvnet.scan(net, original.parent / "photos", original, layers=LAYERS, shard=4).close()
        for name in ("private", "keep"):
            (here / name).mkdir(parents=True)
        drawing(50).save(here / "private" / "secret.png")
        (here / "keep" / "evil.webp").write_bytes(b"mine")
        (here / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
        os.chdir(here)
        try_damaged(original, here, options.damaged)
        try_edited(original, here, options.edited)
        os.chdir(folder)


if __name__ == "__main__":
    main()
