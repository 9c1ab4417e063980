"""Mutated files of strangers, by the thousand: is each opened, or refused in a line?

    python benchmarks/hostile_files.py
    python benchmarks/hostile_files.py --pictures 800 --weights 200 --safetensors 50 --seed 7

Pictures of every format that is read, `torch.save` files and safetensors are made, and then damaged: bits flipped, bytes
overwritten, pieces cut out, doubled, moved between files, and numbers in the format's own fields set to extremes. A file may be
opened or refused by an error of this package; anything else is a traceback. Each batch runs in a process that is watched: a
file that it does not finish in `SECONDS` is a hang. All is seeded. `tests/test_hostile_files.py` runs a small share.
"""

from __future__ import annotations

import argparse
import io
import json
import queue
import random
import subprocess
import sys
import tempfile
import threading
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

from deconvnet.errors import DeconvnetError
from deconvnet.images import Preprocess, open_picture
from deconvnet.models.weights import load_checked, read_state

SECONDS = 60  # that a file may take, before it is a hang, also where the machine is busy
START_SECONDS = 300  # that a process may take until its first file
BATCH = 200  # files that a process tries
KINDS = ("pictures", "weights", "safetensors")
COUNTS = {"pictures": 8_000, "weights": 1_200, "safetensors": 300}
FIELDS = 0.4  # of the mutations: those that set fields, the others move bytes about


def pictures() -> dict[str, bytes]:
    """Return small pictures of every format that is read, by name."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    grey = Image.fromarray(rng.integers(0, 256, (30, 40), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(0, 4096, (30, 40), dtype=np.uint16))
    floats = Image.fromarray(rng.random((30, 40), dtype=np.float32))
    clear = Image.fromarray(rng.integers(0, 256, (30, 40, 4), dtype=np.uint8))
    frames = {"save_all": True, "append_images": [grey, grey]}
    made = {
        "baseline.jpg": (colours, "JPEG", {}),
        "progressive.jpg": (colours, "JPEG", {"progressive": True}),
        "cmyk.jpg": (colours.convert("CMYK"), "JPEG", {}),
        "colours.png": (colours, "PNG", {}),
        "palette.png": (colours.quantize(16), "PNG", {"transparency": 0}),
        "deep.png": (deep, "PNG", {}),
        "clear.png": (clear, "PNG", {}),
        "frames.gif": (colours.quantize(16), "GIF", frames),
        "lossy.webp": (colours, "WEBP", {}),
        "lossless.webp": (clear, "WEBP", {"lossless": True}),
        "raw.tif": (colours, "TIFF", {}),
        "lzw.tif": (colours, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": (colours, "TIFF", {"compression": "jpeg"}),
        "deflate.tif": (deep, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "floats.tif": (floats, "TIFF", {}),
        "pages.tif": (grey, "TIFF", frames),
        "colours.bmp": (colours, "BMP", {}),
        "palette.bmp": (colours.quantize(16), "BMP", {}),
        "colours.ppm": (colours, "PPM", {}),
        "deep.pgm": (deep, "PPM", {}),
        "colours.avif": (colours, "AVIF", {}),
        "colours.jp2": (colours, "JPEG2000", {}),
        "deep.jp2": (deep, "JPEG2000", {}),
    }
    return {name: _saved(picture, form, **options) for name, (picture, form, options) in made.items()}


def _saved(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def net() -> nn.Module:
    """Return the net that weights are loaded into."""
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))


def weights() -> dict[str, bytes]:
    """Return what training scripts save, in the present format of torch and in the one before."""
    state = net().state_dict()
    namespace = argparse.Namespace(lr=0.1, folder=Path("runs"))
    contents: dict[str, object] = {
        "plain": state,
        "wrapped": {"state_dict": {f"model.{name}": value for name, value in state.items()}, "epoch": 3},
        "beside": {"model": state, "args": namespace, "optimizer": {"state": {0: {"step": torch.zeros(1)}}}},
        "half": {name: value.half() if value.is_floating_point() else value for name, value in state.items()},
    }
    files = {f"{name}.pth": _torch_saved(content) for name, content in contents.items()}
    files["old.pth"] = _torch_saved(state, _use_new_zipfile_serialization=False)
    files["old-beside.pth"] = _torch_saved(contents["beside"], _use_new_zipfile_serialization=False)
    return files


def _torch_saved(content: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def safetensors() -> dict[str, bytes]:
    """Return a safetensors file."""
    return {"plain.safetensors": save(net().state_dict(), {"format": "pt"})}


def mutated(kind: str, number: int, seed: int) -> tuple[str, bytes]:
    """Return the name and the bytes of a damaged file."""
    originals = ORIGINALS[kind]
    rng = random.Random(f"{seed} {kind} {number}")
    name = sorted(originals)[number % len(originals)]
    data = originals[name]
    for _ in range(rng.choice((1, 1, 2, 4))):
        other = originals[rng.choice(sorted(originals))]
        data = _set_field(rng, data) if rng.random() < FIELDS else _move_bytes(rng, data, other)
    if name.endswith(".pth") and rng.random() < 0.5:  # its archive is whole, what is in it is not
        data = _with_damaged_pickle(rng, originals[name])
    return name, data


def _move_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    start = rng.randrange(len(data) or 1)
    stop = min(len(data), start + rng.choice((1, 2, 8, 64, 512)))
    way = rng.randrange(7)
    if way == 0:
        return data[:start]
    if way == 1:
        return data[:start] + data[stop:]
    if way == 2:
        return data[:stop] + data[start:]
    if way == 3:
        return data[:start] + rng.randbytes(stop - start) + data[stop:]
    if way == 4:
        return data[:start] + other[rng.randrange(len(other)) :]
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        if flipped:
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _set_field(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a number, mostly of the header, with one that is at the end of a range."""
    width = rng.choice((1, 2, 4, 8))
    ends = (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1, 65_536 % 2 ** (8 * width))
    value = rng.choice(ends).to_bytes(width, rng.choice(("big", "little")))
    place = rng.randrange(min(len(data), rng.choice((64, 256, len(data)))) or 1)
    return data[:place] + value + data[place + width :]


def _with_damaged_pickle(rng: random.Random, data: bytes) -> bytes:
    """Return a torch file whose checksums are right, and whose pickle is damaged."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return _move_bytes(rng, data, data)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(target, "w") as changed:
        for entry in archive.infolist():
            content = archive.read(entry)
            changed.writestr(
                entry.filename, _move_bytes(rng, content, content) if entry.filename.endswith("data.pkl") else content
            )
    return target.getvalue()


def try_picture(path: Path) -> None:
    """Open a picture as every command does."""
    opened = open_picture(path)
    assert opened.mode == "RGB"
    assert opened.width * opened.height == len(opened.tobytes()) // 3
    Preprocess(24, 16, (0.5,) * 3, (0.5,) * 3).crop_picture(path)


def try_weights(path: Path) -> None:
    """Load weights as every command does."""
    model = net()
    load_checked(model, read_state(path, like=model), path, "the net")
    assert all(isinstance(value, torch.Tensor) for value in model.state_dict().values())


def attempt(function: Callable[[Path], None], path: Path) -> str:
    """Return "opened", "refused", or the error that is a traceback."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(path)
    except DeconvnetError as error:
        return "refused" if "\n" not in str(error) else f"an error of several lines: {error}"
    except (Exception, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


ORIGINALS = {"pictures": pictures(), "weights": weights(), "safetensors": safetensors()}
ATTEMPTS = {"pictures": try_picture, "weights": try_weights, "safetensors": try_weights}


def outcomes(kind: str, numbers: range, seed: int) -> Iterator[tuple[int, str, str]]:
    """Try damaged files; yield the number of each, its name, and what became of it."""
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            name, data = mutated(kind, number, seed)
            path = Path(folder, name)
            path.write_bytes(data)
            yield number, name, attempt(ATTEMPTS[kind], path)


def _pump(pipe: Iterable[str], lines: queue.Queue[str]) -> None:
    """Hand on the lines of a pipe, and an empty one at its end."""
    for line in pipe:
        lines.put(line)
    lines.put("")


def watched(kind: str, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Try damaged files in processes that are stopped, and gone on behind, where one file takes too long."""
    start = 0
    while start < count:
        stop = min(count, start + BATCH)
        command = [sys.executable, __file__, "--worker", kind, str(start), str(stop), "--seed", str(seed)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines: queue.Queue[str] = queue.Queue()
        assert child.stdout is not None
        threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
        patience = START_SECONDS
        while start < stop:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                line = ""
            if not line:  # it hangs, or it died
                child.kill()
                code = child.wait()
                yield start, mutated(kind, start, seed)[0], "hang" if code == -9 else f"died: {code}"
                start += 1
                break
            number, name, outcome = json.loads(line)
            yield number, name, outcome
            start, patience = number + 1, SECONDS
        child.kill()
        child.wait()


def main() -> None:
    """Try all files, and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=COUNTS[kind], metavar="N", help=f"[default: {COUNTS[kind]}]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, start, stop = options.worker
        for outcome in outcomes(kind, range(int(start), int(stop)), options.seed):
            print(json.dumps(outcome), flush=True)
        return
    faults = 0
    for kind in KINDS:
        counts: Counter[str] = Counter()
        for number, name, outcome in watched(kind, getattr(options, kind), options.seed):
            known = outcome if outcome in ("opened", "refused", "hang") else "traceback"
            counts[known] += 1
            if known in ("hang", "traceback"):
                print(f"{kind} {number} ({name}): {outcome}")
        faults += counts["hang"] + counts["traceback"]
        told = ", ".join(f"{counts[what]} {what}" for what in ("opened", "refused", "traceback", "hang"))
        print(f"{kind}: {counts.total()} files, {told}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
