"""Make a fixed set of outputs with the code of a checkout and hash them: does a refactoring change anything that a user sees?

    python benchmarks/fixed_outputs.py CHECKOUT OUT_FOLDER
    python benchmarks/fixed_outputs.py --compare A/hashes.json B/hashes.json

The first runs the commands below, two at once, in OUT_FOLDER, which must be new, and writes OUT_FOLDER/hashes.json: about five
minutes on two cores. The second names every output that differs and fails if there are any. Real weights and photographs are
used if they are found near the checkout or at DECONVNET_SHARED.

A picture, a PDF or a study's JSON has two hashes: one of its content (pixels, pages, numbers), one of the settings inside it.
Before hashing, keys are sorted, the former key "unit" is renamed to "at", and absolute paths of the checkout and the output
folder are replaced. The columns of a scan's tables are compared by their order, not by their names. Everything else has to be
equal to the last bit.

Not covered, because they differ from run to run: milliseconds (the timings in the JSON and the printed table of `upsample`)
and stderr (progress and warnings), which is kept for reading. Not covered because it is a server: `explore`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PdfParser

PROCESSES = 2  # that run at once, each on one thread
LIMIT = 1800  # seconds for one command, on a machine that is busy with other things
PHOTOGRAPHS = 24

RENAMED_KEYS = {"unit": "at"}
UNSTABLE_KEYS = ("milliseconds",)

#: These commands bound their batches by the memory that happens to be free, and sums depend on a batch's size.
MEMORY = ("project", "plate", "atlas")
MEMORY_MIB = 512

#: Draws the pictures: most as they come, the last few grey, transparent, wide or large.
DRAW = """
from pathlib import Path
from deconvnet.drawings import draw
folder = Path("drawings")
folder.mkdir()
for seed in range(40):
    picture = draw(seed=seed, size=160 if seed >= 38 else 96).picture
    if seed == 35:
        picture = picture.convert("L")
    elif seed == 36:
        picture = picture.convert("RGBA")
        picture.putalpha(200)
    elif seed == 37:
        picture = picture.crop((0, 20, 96, 75))
    picture.save(folder / f"{seed:02d}.png")
"""

BOXES = {f"drawings/{number:02d}.png": {"left": [20, 10, 24, 30], "right": [30, 50, 24, 30]} for number in range(4)}

#: Name -> command. {name} stands for the name, {at} for the option that was called --unit, {weights} for the real weights.
SCANS = {
    "tiny": "scan drawings --workers 2 --out {name}.scan",
    "tiny-options": "scan drawings --layer 'features.*' --top 4 --batch 3 --shard 16 --workers 1 --mean 0.4,0.5,0.6"
    " --out {name}.scan",
    "resnet": "scan drawings --model torchvision:resnet18 --weights none --size 64 --top 3 --out {name}.scan",
}

PROJECT = {
    "project-bare": "project",
    "project-default": "project --out {name}.png --json {name}.json",
    "project-layers": "project drawings/03.png --layer features.1 --layer features.4 --layer features.8 --layer features.12"
    " --out {name}.png --out {name}.jpg --out {name}.pdf --out {name}.npz --json {name}.json",
    "project-classifier": "project drawings/04.png --layer classifier.3 --layer classifier.5 --top 4 --out {name}.png --json",
    "project-channels": "project drawings/05.png --layer features.5 --channel 3 --channel 10-12,40"
    " --out {name}.png --out {name}.npz --json {name}.json",
    "project-map": "project drawings/06.png --layer features.9 {at} map --top 4 --out {name}.png --out {name}.npz --json",
    "project-place": "project drawings/07.png --layer features.9 {at} 6,6 --out {name}.pdf --out {name}.npz --json",
    "project-crop": "project drawings/08.png --layer features.1 {at} 0,0 --crop --out {name}.png --out {name}.npz --json",
    "project-whole": "project drawings/08.png --layer features.1 {at} 45,45 --whole --out {name}.png --out {name}.npz --json",
    "project-guided": "project drawings/09.png --layer features.11 --rule guided --out {name}.png --out {name}.npz --json",
    "project-gradient": "project drawings/09.png --layer features.11 --rule gradient --lrn derivative"
    " --out {name}.png --out {name}.npz --json",
    "project-bits": "project drawings/09.png --layer features.11 --rule TFT --overlap last"
    " --out {name}.png --out {name}.npz --json",
    "project-mean": "project drawings/38.png --mean 0.4,0.5,0.6 --std 0.2,0.25,0.3 --layer features.8 --out {name}.png",
    "project-random": "project drawings/10.png --weights none --layer features.8 --out {name}.png --out {name}.npz --json",
    "project-folder": "project drawings --layer features.11 --top 3 --out sheets/ --json {name}.json",
    **{
        f"project-tone-{tone}": f"project drawings/11.png --layer features.8 --tone {tone} --out {{name}}.png"
        for tone in ("shared", "grey", "minmax", "positive", "magnitude", "sigmoid")
    },
}

NETS = {
    "alexnet": "project drawings/39.png --model torchvision:alexnet --weights none --size 96 --layer features.4"
    " --layer features.11 --layer classifier.5 --out {name}.png --out {name}.npz --json",
    "resnet18": "project drawings/39.png --model torchvision:resnet18 --weights none --size 64 --layer layer2 --layer layer4"
    " --out {name}.png --out {name}.npz --json",
    "resnet18-guided": "project drawings/39.png --model torchvision:resnet18 --weights none --size 64 --layer layer3.0.relu"
    " --rule guided {at} map --out {name}.png --out {name}.npz --json",
    "googlenet": "project drawings/39.png --model torchvision:googlenet --weights none --size 96 --layer inception3b"
    " --out {name}.png --out {name}.npz --json",
    "densenet121": "project drawings/39.png --model torchvision:densenet121 --weights none --size 64 --rule gradient"
    " --layer features.denseblock2 --out {name}.png --out {name}.npz --json",
    "squeezenet1_1": "project drawings/39.png --model torchvision:squeezenet1_1 --weights none --size 96"
    " --out {name}.png --out {name}.npz --json",
    "zfnet": "project drawings/39.png --model zfnet --weights none --layer features.8 --out {name}.png --out {name}.npz",
}
TIMM = {
    "timm-resnet": "project drawings/39.png --model timm:resnet10t --weights none --size 64 --out {name}.png --out {name}.npz",
    "timm-layers": "layers timm:mobilenetv3_small_050 --size 64",
}

LAYERS = {
    "layers-tiny": "layers",
    "layers-tiny-json": "layers tiny --json",
    "layers-alexnet": "layers torchvision:alexnet",
    "layers-resnet18": "layers torchvision:resnet18 --size 64 --json",
    "layers-googlenet": "layers torchvision:googlenet --size 96",
    "layers-densenet121": "layers torchvision:densenet121 --size 64",
    "layers-squeezenet": "layers torchvision:squeezenet1_0 --json",
    "mirror-tiny": "layers tiny --mirror features.11",
    "mirror-tiny-json": "layers tiny --mirror features.11 --json",
    "mirror-resnet18": "layers torchvision:resnet18 --size 64 --mirror layer3",
    "mirror-googlenet": "layers torchvision:googlenet --size 96 --mirror inception3b --json",
}

FROM_SCANS = {
    "top": "top tiny.scan --layer features.9 --channel 3,10-12 --json {name}.json",
    "top-text": "top tiny.scan --layer features.9 --channel 3,10-12",
    "top-csv": "top tiny-options.scan --layer features.5 --channel 0-63 --csv",
    "plate": "plate tiny.scan --layer features.11 --random 12 --out {name}.png",
    "plate-pages": "plate tiny.scan --layer features.9 --page 16 --out {name}.pdf",
    "plate-numbered": "plate tiny.scan --layer features.1 --channel 0-5 --page 2 --rule guided --tone minmax --out {name}.jpg",
    "plate-resnet": "plate resnet.scan --layer layer2 --channel 0-7 --rule gradient --out {name}.png",
    "report": "report tiny.scan --out {name}.png --json {name}.json",
    "report-text": "report tiny-options.scan --rare 0.2 --out {name}.pdf",
    "atlas": "atlas tiny.scan --out {name}",
    "atlas-options": "atlas tiny-options.scan --layer features.5 --rule guided --tone positive --tile 48 --out {name}",
}

RESULTS = "--out {name}.png --json {name}.json --npz {name}.npz"
STUDIES = {
    "occlude": f"occlude --square 16 --stride 8 {RESULTS}",
    "occlude-options": "occlude drawings/12.png --layer features.8 --strongest-by max --label face --fill black --square 24"
    f" --stride 12 --others drawings --tone grey {RESULTS}",
    "invariance": f"invariance {RESULTS}",
    "invariance-options": "invariance drawings/01.png drawings/02.png --axis horizontal --distance rms --fill edge"
    f" --interpolation bicubic --layer features.5 {RESULTS}",
    "correspond": f"correspond --count 8 --trials 4 {RESULTS}",
    "correspond-boxes": f"correspond boxes.json --layer features.8 --fill picture --seed 3 {RESULTS}",
    "evolve": f"evolve drawings --count 2 {RESULTS}",
    "evolve-options": "evolve drawings --layer features.9 --channel 3,10-12 --out {name}.pdf --json {name}.json",
    "filters": f"filters {RESULTS}",
    "filters-pictures": f"filters drawings/20.png drawings/21.png drawings/22.png --top 6 {RESULTS}",
    "ablate": f"ablate {RESULTS}",
    "ablate-options": f"ablate drawings/23.png --layer features.8 --channel 7 --signals 2 --seed 5 --tone shared {RESULTS}",
    "sanity": f"sanity drawings/24.png drawings/25.png --seeds 1 --top 3 {RESULTS}",
    "sanity-options": f"sanity drawings/24.png --layer features.11 --seeds 2 --top 2 {RESULTS}",
    "faithful": f"faithful --top 1 --seeds 2 {RESULTS}",
    "faithful-pictures": f"faithful drawings/25.png drawings/26.png --layer features.9 --area 0.2 --top 2 --seeds 3 {RESULTS}",
}

#: The JSON goes to stdout, since a table with milliseconds would be printed there otherwise.
UPSAMPLING = {
    "upsample": "upsample --out {name}.png --json",
    "upsample-options": "upsample drawings/39.png --factor 2 --down mean --kernel 3 --out {name}.pdf --json",
    "upsample-map": "upsample drawings/39.png --model tiny --layer features.5 --factor 2 --out {name}.png --json",
    "upsample-ways": "upsample --ways list",
    "segment": f"segment --steps 5 --drawings 16 --size 32 {RESULTS}",
}

REAL = "--model torchvision:squeezenet1_0 --weights {weights}"
REAL_SCANS = {"squeezenet": f"scan photographs {REAL} --workers 2 --out {{name}}.scan"}
REAL_NET = {
    "squeezenet-project": f"project photographs/00.jpg photographs/05.jpg {REAL} --layer features.3 --layer features.12"
    " --out squeezenet-sheets/ --json",
    "squeezenet-arrays": f"project photographs/01.jpg {REAL} --layer features.3.expand3x3 --layer features.9 --top 4"
    " --out {name}.png --out {name}.npz --json",
    "squeezenet-map": f"project photographs/02.jpg {REAL} --layer features.5 {{at}} map --top 3 --out {{name}}.npz --json",
    "squeezenet-guided": f"project photographs/03.jpg {REAL} --rule guided --out {{name}}.jpg --out {{name}}.npz --json",
    "squeezenet-top": "top squeezenet.scan --layer features.12 --channel 0-511 --json {name}.json",
    "squeezenet-plate": "plate squeezenet.scan --layer features.9 --random 6 --out {name}.png",
    "squeezenet-plate-pdf": "plate squeezenet.scan --layer features.12 --random 12 --seed 3 --page 6 --out {name}.pdf",
    "squeezenet-report": "report squeezenet.scan --out {name}.png --json {name}.json",
    "squeezenet-atlas": "atlas squeezenet.scan --layer features.3 --out {name}",
    "squeezenet-occlude": f"occlude photographs/04.jpg {REAL} --square 64 --stride 40 {RESULTS}",
    "squeezenet-ablate": f"ablate photographs/05.jpg {REAL} {RESULTS}",
    "squeezenet-filters": f"filters photographs/06.jpg photographs/07.jpg {REAL} --top 6 {RESULTS}",
    "squeezenet-faithful": f"faithful photographs/08.jpg {REAL} --top 2 --seeds 2 {RESULTS}",
    "squeezenet-upsample": f"upsample photographs/09.jpg {REAL} --layer features.3 --factor 2 --out {{name}}.png --json",
}


class Runner:
    """Runs the commands of one checkout in the output folder."""

    def __init__(self, checkout: Path, out: Path) -> None:
        self.checkout, self.out = checkout, out
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",  # the same everywhere: the CPU
        }
        self.failed: list[str] = []

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this interpreter with the checkout first on its path."""
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.out, env=self.environment, capture_output=True, text=True, timeout=LIMIT
        )

    def check_package(self) -> None:
        """Refuse to run if the package would not be imported from the checkout, such as from an installed copy."""
        imported = self.python("-c", "import deconvnet; print(deconvnet.__file__)")
        if not imported.stdout or not Path(imported.stdout.strip()).resolve().is_relative_to(self.checkout):
            sys.exit(f"deconvnet is imported from {imported.stdout.strip() or imported.stderr}, not from {self.checkout}")

    def has_option(self, command: str, option: str) -> bool:
        """Tell whether a command knows an option."""
        return re.search(rf"{option}\b", self.python("-m", "deconvnet", command, "--help").stdout) is not None

    def run(self, commands: Mapping[str, str]) -> None:
        """Run commands, several at once."""
        with ThreadPoolExecutor(PROCESSES) as pool:
            list(pool.map(self.run_one, commands, commands.values()))

    def run_one(self, name: str, command: str) -> None:
        """Run one command, and keep what it prints."""
        arguments = shlex.split(command)
        if arguments[0] in MEMORY:
            arguments[1:1] = ["--memory", str(MEMORY_MIB)]
        start = time.monotonic()
        done = self.python("-m", "deconvnet", *arguments)
        print(f"{time.monotonic() - start:5.1f} s  {name}", file=sys.stderr, flush=True)
        printed = self.out / "printed"
        (printed / f"{name}.txt").write_text(done.stdout)
        (printed / f"{name}.stderr").write_text(done.stderr)
        if done.returncode:
            self.failed.append(f"{name}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")


def shared_folder(checkout: Path) -> Path | None:
    """Find the folder with real weights and photographs."""
    named = os.environ.get("DECONVNET_SHARED")
    folders = [Path(named)] if named else [checkout.parent / "shared", checkout.parents[1] / "shared"]
    return next((folder for folder in folders if (folder / "weights" / "squeezenet1_0.safetensors").is_file()), None)


def write_inputs(runner: Runner, shared: Path | None) -> None:
    """Write what the commands read into the output folder, so that no output names a path outside it."""
    (runner.out / "printed").mkdir()
    (runner.out / "boxes.json").write_text(json.dumps(BOXES))
    runner.python("-c", DRAW).check_returncode()
    if shared:
        shutil.copy(shared / "weights" / "squeezenet1_0.safetensors", runner.out)
        (runner.out / "photographs").mkdir()
        photographs = sorted((shared / "images" / "imagenet-sample").glob("*.jpg"))
        for number, path in enumerate(photographs[:: len(photographs) // PHOTOGRAPHS][:PHOTOGRAPHS]):
            shutil.copy(path, runner.out / "photographs" / f"{number:02d}.jpg")


def filled(runner: Runner, commands: Mapping[str, str]) -> dict[str, str]:
    """Replace what stands in braces."""
    at = "--at" if runner.has_option("project", "--at") else "--unit"
    return {name: line.format(name=name, at=at, weights="squeezenet1_0.safetensors") for name, line in commands.items()}


def make_outputs(runner: Runner) -> None:
    """Run everything: the scans first, since other commands read them."""
    shared = shared_folder(runner.checkout)
    write_inputs(runner, shared)
    others = PROJECT | NETS | LAYERS | FROM_SCANS | STUDIES | UPSAMPLING
    if importlib.util.find_spec("timm"):
        others |= TIMM
    if runner.has_option("plate", "--json"):
        others["plate-json"] = f"{FROM_SCANS['plate']} --json {{name}}.json"
    runner.run(filled(runner, SCANS | (REAL_SCANS if shared else {})))
    runner.run(filled(runner, others | (REAL_NET if shared else {})))


# What is hashed of each kind of file. A reader yields (what it is, its bytes).

Places = Mapping[str, str]  # an absolute path -> the word that replaces it
Contents = Iterator[tuple[str, bytes]]


def neutral(text: str, places: Places) -> str:
    """Replace absolute paths, which differ between two runs."""
    for path, word in places.items():
        text = text.replace(path, word)
    return text


def renamed(key: str, among: Container[str]) -> str:
    """Return the new name of a key, unless another key has that name already."""
    new = RENAMED_KEYS.get(key, key)
    return key if new in among else new


def canonical(value: Any, places: Places) -> Any:
    """Rename keys, leave timings out, and replace paths, at any depth of a JSON value."""
    if isinstance(value, dict):
        return {renamed(key, value): canonical(item, places) for key, item in value.items() if key not in UNSTABLE_KEYS}
    if isinstance(value, list):
        return [canonical(item, places) for item in value]
    return neutral(value, places) if isinstance(value, str) else value


def canonical_json(value: Any, places: Places) -> bytes:
    """Write a JSON value in one way: sorted keys, floats to the last digit."""
    return json.dumps(canonical(value, places), sort_keys=True).encode()


def read_json(path: Path, places: Places) -> Contents:
    """Yield the values, and of a study's results the settings by themselves."""
    value = json.loads(path.read_text())
    if isinstance(value, dict) and "settings" in value:
        yield "settings", canonical_json(value.pop("settings"), places)
    yield "values", canonical_json(value, places)


def read_text(path: Path, places: Places) -> Contents:
    """Yield what a command printed, which may be JSON."""
    text = path.read_text()
    try:
        yield "JSON", canonical_json(json.loads(text), places)
    except json.JSONDecodeError:
        yield "text", neutral(text, places).encode()


def read_picture(path: Path, places: Places) -> Contents:
    """Yield the pixels of a PNG or JPEG, and the settings inside it."""
    with Image.open(path) as picture:
        yield "pixels", f"{picture.mode} {picture.size} ".encode() + picture.tobytes()
        settings = picture.info.get("deconvnet") or picture.info.get("comment")
    if settings:
        yield "settings", canonical_json(json.loads(settings), places)


def read_pdf(path: Path, places: Places) -> Contents:
    """Yield all objects of a PDF but its properties, and the settings, which are its subject."""
    with PdfParser.PdfParser(str(path)) as parser:
        properties, settings = parser.info_ref.object_id, parser.info.Subject
    objects = re.findall(rb"(\d+) 0 obj\b(.*?)\bendobj", path.read_bytes(), re.DOTALL)
    yield "pages", b"".join(number + content for number, content in objects if int(number) != properties)
    yield "settings", canonical_json(json.loads(settings), places)


def read_arrays(path: Path, places: Places) -> Contents:
    """Yield every array of a .npz file, with its type and shape."""
    with np.load(path) as arrays:
        for name in sorted(arrays.files):
            array = arrays[name]
            yield f"array {renamed(name, arrays)}", f"{array.dtype} {array.shape} ".encode() + array.tobytes()


def read_scan(path: Path, places: Places) -> Contents:
    """Yield every setting of a scan, and the rows of its other tables as sorted text."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        tables = [name for (name,) in base.execute("select name from sqlite_master where type = 'table' order by name")]
        for table in tables:
            rows = base.execute(f'select * from "{table}"')
            columns = [column for column, *_ in rows.description]
            if columns[0] == "name":  # the second column had another name in older scans
                yield from ((f"setting {name}", canonical_json(json.loads(value), places)) for name, value in rows)
            else:
                lines = sorted(neutral("\t".join(map(repr, row)), places) for row in rows)
                yield f"table {table_name(table, columns)} of {len(columns)} columns", "\n".join(lines).encode()


def table_name(table: str, columns: list[str]) -> str:
    """Return a table's name; the table of top pictures goes by its columns, since it had another name in older scans."""
    return "top pictures" if len(columns) == 11 and columns[:2] == ["layer", "channel"] else table


def read_bytes(path: Path, places: Places) -> Contents:
    """Yield a file as it is, such as a page of an atlas."""
    yield "bytes", path.read_bytes()


READERS: dict[str, Callable[[Path, Places], Contents]] = {
    ".json": read_json,
    ".txt": read_text,
    ".png": read_picture,
    ".jpg": read_picture,
    ".pdf": read_pdf,
    ".npz": read_arrays,
    ".scan": read_scan,
}
INPUTS = ("photographs", "boxes.json", "squeezenet1_0.safetensors")  # copied, not made


def hash_outputs(out: Path, places: Places) -> dict[str, str]:
    """Return the hash of everything in the output folder, by file and by what it is."""
    hashes = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.is_dir() or name.parts[0] in INPUTS or path.suffix == ".stderr":
            continue
        for what, content in READERS.get(path.suffix, read_bytes)(path, places):
            hashes[f"{name}: {what}"] = hashlib.sha256(content).hexdigest()
    return hashes


def libraries() -> dict[str, str]:
    """Return the versions that results may depend on."""
    names = ("torch", "torchvision", "numpy", "pillow", "matplotlib")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def make(checkout: Path, out: Path) -> None:
    """Make the outputs of a checkout and write their hashes."""
    if not (checkout / "deconvnet" / "__main__.py").is_file():
        sys.exit(f"{checkout} is not a checkout: it has no folder deconvnet.")
    if out.is_dir() and any(out.iterdir()):
        sys.exit(f"{out} is not empty. Name a new folder.")
    out.mkdir(parents=True, exist_ok=True)
    start, runner = time.monotonic(), Runner(checkout, out)
    runner.check_package()
    make_outputs(runner)
    hashes = hash_outputs(out, {str(out): "OUT", str(checkout): "CHECKOUT"})
    (out / "hashes.json").write_text(json.dumps({"libraries": libraries(), "outputs": hashes}, indent=1) + "\n")
    print(f"{len(hashes)} hashes of {len({key.partition(': ')[0] for key in hashes})} files,"
          f" {time.monotonic() - start:.0f} s: {out / 'hashes.json'}")  # fmt: skip
    if runner.failed:
        sys.exit("failed:\n" + "\n".join(runner.failed))


def compare(first: Path, second: Path) -> None:
    """Name every output that differs or that only one side has; fail if there are any."""
    sides = [json.loads(path.read_text()) for path in (first, second)]
    if sides[0]["libraries"] != sides[1]["libraries"]:
        print(f"made with other libraries: {sides[0]['libraries']} and {sides[1]['libraries']}")
    before, after = (side["outputs"] for side in sides)
    differences = [f"differs: {key}" for key in before if key in after and before[key] != after[key]]
    differences += [f"only in {first}: {key}" for key in before if key not in after]
    differences += [f"only in {second}: {key}" for key in after if key not in before]
    print("\n".join([*differences, f"{len(differences)} differences in {len(before.keys() | after.keys())} hashes"]))
    sys.exit(1 if differences else 0)


def main() -> None:
    """Make outputs, or compare two sets of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true", help="compare two files of hashes instead")
    parser.add_argument("paths", nargs=2, type=Path, metavar="PATH", help="CHECKOUT and OUT_FOLDER, or two hashes.json")
    arguments = parser.parse_args()
    first, second = (path.resolve() for path in arguments.paths)
    (compare if arguments.compare else make)(first, second)


if __name__ == "__main__":
    main()
