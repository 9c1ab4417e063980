"""Make every number and figure of README and docs again, and write them into the pages; or check that they are still the same.

    python benchmarks/regenerate.py                       # lists what there is
    python benchmarks/regenerate.py --all --weights squeezenet1_0.safetensors --photos photos/
    python benchmarks/regenerate.py --only docs/cannot-show.md
    python benchmarks/regenerate.py --check --fast        # makes the fast ones elsewhere, and fails if they have drifted
    python benchmarks/regenerate.py --write               # fills the pages from docs/data, and runs nothing

A name in place of a page makes one of the list. Weights and photographs are those that the pages are of: their hashes are in
benchmarks/outputs.py. What needs them, or a package that is missing, is skipped, and says so. What is compared
takes little more than an hour on one core, everything four hours.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from drift import drift, environments
from filled_pages import PAGES, write_pages
from outputs import OUTPUTS, PHOTOS, WEIGHTS, Output
from pages import ROOT

from deconvnet.images import find_pictures

COPIED = ("benchmarks", "deconvnet", "docs", "examples", "tests", "notebooks", "paper", "cli.py", "README.md", "pyproject.toml")


def main() -> None:
    """List, make, or check; ends with what went wrong."""
    arguments = parse()
    if arguments.write:
        print(written_text())
        return
    outputs = chosen(arguments)
    if not (arguments.all or arguments.check or arguments.fast or arguments.only):
        print("\n".join(map(line, outputs)))
        return
    given = {"weights": arguments.weights, "photos": arguments.photos}
    problems = check(outputs, given) if arguments.check else make(outputs, given)
    if problems:
        sys.exit("\n".join(["", *problems]))


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="make all")
    parser.add_argument("--only", metavar="PAGE", help="only what this page shows, or the one of this name")
    parser.add_argument("--fast", action="store_true", help="only what takes seconds")
    parser.add_argument("--check", action="store_true", help="make them in a copy of the checkout, and compare")
    parser.add_argument("--write", action="store_true", help="make nothing: fill the pages from docs/data")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="SqueezeNet's")
    parser.add_argument("--photos", metavar="FOLDER", type=Path, help="the pages' photographs")
    return parser.parse_args()


def chosen(arguments: argparse.Namespace) -> list[Output]:
    """Return what the options ask for."""
    only, fast = arguments.only, arguments.fast
    filled = {f"docs/data/{name}.json" for page in PAGES if page.path == only for name in page.data}
    outputs = [
        output
        for output in OUTPUTS
        if (only in (None, output.page, output.name) or filled & {*output.makes}) and (output.fast or not fast)
    ]
    if not outputs:
        pages = sorted({output.page for output in OUTPUTS})
        sys.exit(f"nothing is made for {only!r}{' in seconds' if fast else ''}; pages are {', '.join(pages)}")
    return outputs


def line(output: Output) -> str:
    """Return a line that says what there is."""
    needs = [*(f"--{name}" for name in output.inputs), *output.needs]
    time_text = f"{60 * output.minutes:.0f} s" if output.minutes < 1 else f"{output.minutes:g} min"
    compared = "not compared" if output.tolerance is None else f"within {output.tolerance:g}"
    return f"{output.name:22} {output.page:28} {time_text:>7}  {compared:13} {', '.join(needs)}".rstrip()


def missing(output: Output, given: dict[str, Path | None]) -> str:
    """Return why an output cannot be made here; "" if it can."""
    found = {name: torch.cuda.is_available() if name == "a GPU" else importlib.util.find_spec(name) for name in output.needs}
    modules = [name for name, is_there in found.items() if not is_there]
    options = [f"--{name}" for name in output.inputs if given[name] is None]
    return f"skipped, needs {', '.join([*options, *modules])}" if options or modules else ""


def check_inputs(given: dict[str, Path | None]) -> None:
    """End if the weights or the photographs are not those that the pages are of."""
    for name, pinned, digest in (("weights", WEIGHTS, weights_digest), ("photos", PHOTOS, photos_digest)):
        path = given[name]
        if path is not None and not path.exists():
            sys.exit(f"--{name}: there is no {str(path)!r}")
        if path is not None and digest(path) != pinned:
            sys.exit(f"--{name}: {str(path)!r} has the SHA-256 {digest(path)}; the pages' numbers are of {pinned}")


def weights_digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def photos_digest(path: Path) -> str:
    """Return the SHA-256 of the sorted SHA-256s of a folder's pictures, whatever they are called."""
    digests = sorted(weights_digest(picture) for picture in find_pictures(path))
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def run(output: Output, given: dict[str, Path | None], checkout: Path) -> str:
    """Make an output in a checkout; return what went wrong, "" if nothing did."""
    paths = {name: shlex.quote(str(path.resolve())) for name, path in given.items() if path}
    command = [sys.executable, *shlex.split(output.command.format(**paths))]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=bool(output.makes), text=True)
    if done.returncode:
        told = (done.stderr or "").strip().splitlines()
        return f"{output.name}: `{output.command}` ended with {done.returncode}: {told[-1] if told else ''}"
    return ""


def make(outputs: list[Output], given: dict[str, Path | None], checkout: Path = ROOT) -> list[str]:
    """Make outputs in their places and fill the pages; return what went wrong."""
    check_inputs(given)
    problems = []
    for output in outputs:
        reason, started = missing(output, given), time.monotonic()
        if not reason and (problem := run(output, given, checkout)):
            problems.append(problem)
            reason = "failed"
        print(f"{output.name}: {reason or f'made, {time.monotonic() - started:.0f} s'}", flush=True)
    if checkout == ROOT:
        print(written_text())
    return problems


def written_text() -> str:
    """Fill the pages, and return what changed."""
    return "\n".join(f"written: {path}" for path in write_pages()) or "the pages say what docs/data says"


def check(outputs: list[Output], given: dict[str, Path | None]) -> list[str]:
    """Make outputs in a copy of the checkout, and return what has drifted, and what pages say that is not kept."""
    problems = [fault for page in PAGES for fault in page.faults((ROOT / page.path).read_text())]
    compared = [output for output in outputs if output.tolerance is not None]
    for output in outputs:
        if output not in compared:
            print(f"{output.name}: not compared, since it times something or is of a machine; make it by --only {output.name}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        copy_checkout(copy, [made for output in compared for made in output.makes if not made.endswith(".md")])
        problems += make(compared, given, copy)
        for output in compared:
            if missing(output, given):
                continue
            for made in output.makes:
                problems += drift(ROOT / made, copy / made, output.tolerance or 0)
                if versions := environments(ROOT / made, copy / made):
                    print(f"{made}: made with other versions, {versions}")
    return problems


def copy_checkout(copy: Path, made: list[str]) -> None:
    """Copy a checkout without what is to be made, so that nothing old is taken for it."""
    for name in COPIED:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__", ".*_cache")
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=ignored)
        elif source.exists():
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy / name)
    for name in made:
        (copy / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
