"""Measure what a scan's precision and its decoder change of its table: the figures of docs/scan.md.

    python benchmarks/scan_differences.py PICTURES --weights squeezenet1_0.safetensors [--rounds 3]

Prints, against the exact scan in float32: bfloat16 on this CPU, all layers, and how much faster it is; and, by the code of
`--decode gpu` on the CPU, three layers: the CPU's own decoder in the GPU's place, and one that does not smooth colours between
their samples. The counts are of these pictures and of all channels; speed is a ratio round by round.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from scan import THREE, load, module_layers, seconds
from torch import Tensor

import deconvnet
from deconvnet.scanning import device_jpegs
from deconvnet.scanning.maxima import MaximaReducer


def decode_smoothly(data: list[Tensor]) -> list[Tensor]:
    """Decode with Pillow: the CPU's decoder in the place of the GPU's."""
    pictures = [Image.open(io.BytesIO(bytes(values.numpy()))).convert("RGB") for values in data]
    return [torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures]


def decode_blockwise(data: list[Tensor]) -> list[Tensor]:
    """Decode so that two by two pixels share one colour, as without smoothing: the mean of what smoothing gives."""
    decoded = []
    for pixels in decode_smoothly(data):
        light, *colours = Image.fromarray(pixels.permute(1, 2, 0).numpy()).convert("YCbCr").split()
        half = [colour.resize((-(-light.width // 2), -(-light.height // 2)), Image.Resampling.BOX) for colour in colours]
        blocks = [
            colour.resize((2 * colour.width, 2 * colour.height), Image.Resampling.NEAREST).crop((0, 0, *light.size))
            for colour in half
        ]
        decoded.append(torch.from_numpy(np.array(Image.merge("YCbCr", [light, *blocks]).convert("RGB"))).permute(2, 0, 1))
    return decoded


def compare(name: str, exact: deconvnet.Scan, other: deconvnet.Scan) -> None:
    """Print which of a table's entries stay, and how far maxima and the activations of those entries are off."""
    stay, entries, first, maxima, activations = 0, 0, [], [], []
    for layer in exact.layers:
        for channel in range(exact.sizes[layer][0]):
            hits = [{hit.path: hit.activation for hit in scan.top(layer, channel)} for scan in (exact, other)]
            shared = hits[0].keys() & hits[1].keys()
            stay, entries = stay + len(shared), entries + len(hits[0])
            activations += [abs(hits[1][path] / hits[0][path] - 1) for path in shared if hits[0][path]]
            first += [next(iter(hits[0])) == next(iter(hits[1]))] if all(hits) else []
        strongest = [scan.statistics(layer)["maximum"] for scan in (exact, other)]
        fires = strongest[0] > 0
        maxima += list(np.abs(strongest[1][fires] / strongest[0][fires] - 1))
    print(
        f"{name}: {stay:,} of {entries:,} entries stay ({stay / entries:.1%}), {np.mean(first):.1%} of the strongest pictures"
    )
    for what, values in (("strongest activations", maxima), ("activations of entries that stay", activations)):
        median, most = np.percentile(values, [50, 99])
        print(f"    {what} differ by {median:.2%} in the median, 99 % by at most {most:.2%}, all by at most {max(values):.2%}")


def main() -> None:
    """Scan in each way and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a folder of photographs")
    parser.add_argument("--weights", default="DEFAULT", help="of SqueezeNet 1.0: a file, or DEFAULT to download them")
    parser.add_argument("--rounds", type=int, default=3, help="how often the two precisions are timed (default 3)")
    options = parser.parse_args()
    net = load(options.weights)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:

        def scan(of: deconvnet.DeconvNet, name: str, **how: object) -> deconvnet.Scan:
            path = Path(folder, name)
            path.unlink(missing_ok=True)
            return opened.enter_context(deconvnet.scan(of, options.pictures, path, **how))  # type: ignore[arg-type]

        layers, ratios = module_layers(net), []
        for _ in range(options.rounds):
            times = [seconds(lambda kind=kind: scan(net, kind, layers=layers, precision=kind)) for kind in ("fp32", "bf16")]  # type: ignore[misc]
            ratios.append(times[0] / times[1])
        print(f"bf16 is {np.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
        compare(
            "bf16", *(deconvnet.Scan.open(Path(folder, kind), net=net, pictures=options.pictures) for kind in ("fp32", "bf16"))
        )
        exact = scan(net, "exact", layers=THREE)
        decoding = deconvnet.DeconvNet(net.loaded.with_preprocess(decode="gpu"))
        for decode in (decode_smoothly, decode_blockwise):
            device_jpegs.find_decoder.cache_clear()
            with (
                patch.object(MaximaReducer, "is_on_device", True),
                patch.object(device_jpegs, "DEVICES", ("cpu",)),
                patch.object(device_jpegs, "DECODERS", {"torchvision": lambda device, decode=decode: decode}),
            ):
                other = scan(decoding, decode.__name__, layers=THREE, batch=4)
            compare(decode.__name__, exact, other)
            print(f"    first pictures: {other.settings['decode_difference']}", flush=True)


if __name__ == "__main__":
    main()
