"""JPEGs decoded, resized and cropped on a GPU, while the net computes there.

Threads read and hash the files, and look at their headers; what a GPU may not take, Pillow decodes as ever. The others wait
as bytes, and are decoded a batch ahead of the net, on a stream of their own. Resizing gives Pillow's very bytes
(`device_resize.py`), so that pixels differ only where the decoders do.

A picture's pixels do not depend on those beside it: where decoding a batch fails, each is decoded by itself, and those that
then fail by Pillow.
"""

from __future__ import annotations

import functools
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from typing import TypeAlias

import torch
from PIL import Image
from torch import Tensor

from ..errors import MissingPackageError, OptionError
from ..images import Preprocess
from ..models import Preprocessing
from .device_resize import crop_frames
from .jpegs import Jpeg
from .pictures import LoadedPicture, decode_exactly
from .reading import prefetch

#: Kinds of devices that decode JPEGs.
DEVICES = ("cuda",)

#: Pixels that are decoded together, about 25 bytes each while they are resized; one picture alone may have more.
TOGETHER_PIXELS = 2**25

#: Bytes of JPEGs, (B,) uint8 on the CPU each, to pixels (3, H, W), uint8 on a device.
Decode: TypeAlias = Callable[[list[Tensor]], list[Tensor]]


def wants_device(preprocess: Preprocessing | None) -> bool:
    """Say whether a preprocessing asks for JPEGs to be decoded on a GPU."""
    return isinstance(preprocess, Preprocess) and preprocess.decode == "gpu"


def check_decode(preprocess: Preprocessing | None, device: torch.device) -> None:
    """Raise, before any work, where JPEGs are to be decoded on a device that cannot.

    Raises:
        OptionError: it is no NVIDIA GPU, or the preprocessing is code of its own.
        MissingPackageError: nothing that is installed decodes JPEGs there.
    """
    if not wants_device(preprocess):
        return
    if type(preprocess) is not Preprocess:
        raise OptionError("decode cannot be 'gpu' with a preprocessing of its own kind. Choose exact.")
    if device.type not in DEVICES:
        raise OptionError(f"decode cannot be 'gpu' on {device.type}: only NVIDIA's GPUs decode JPEGs. Choose exact or reduced.")
    find_decoder(device)


@functools.cache
def find_decoder(device: torch.device) -> tuple[str, Decode]:
    """Return what decodes JPEGs on a device: its name and version, and the function. Each is tried once.

    Raises:
        MissingPackageError: nothing that is installed does.
    """
    probe, reasons = _probe(), []
    for name, make in DECODERS.items():
        try:
            decode = make(device)
            decode([probe])
        except Exception as error:  # a package may lack, or be made for other versions or without CUDA
            reasons.append(f"{name}: {' '.join(str(error).split())[:100] or type(error).__name__}")
        else:
            return f"{name} {version(name)}", decode
    raise MissingPackageError(
        f"decode 'gpu' needs torchcodec 0.16 or newer, with CUDA; nothing here decodes JPEGs on {device.type}"
        f' ({"; ".join(reasons)}). In a checkout: pip install -e ".[gpu]"'
    )


def _torchcodec(device: torch.device) -> Decode:
    from torchcodec.decoders import decode_jpeg

    return lambda data: decode_jpeg(data, mode="RGB", device=device)


def _torchvision(device: torch.device) -> Decode:
    from torchvision.io import ImageReadMode  # which registers the operators, until they are removed there

    # what `torchvision.io.decode_jpeg` calls, which itself warns at each call from torchvision 0.29 on: see the next package
    operators, mode = torch.ops.image, ImageReadMode.RGB.value
    if device.type == "cuda":
        return lambda data: list(operators.decode_jpegs_cuda(data, mode, device))
    return lambda data: [operators.decode_jpeg(values, mode, False) for values in data]


#: Packages that decode JPEGs, the best first.
DECODERS: dict[str, Callable[[torch.device], Decode]] = {"torchcodec": _torchcodec, "torchvision": _torchvision}


def _probe() -> Tensor:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), "grey").save(data, "JPEG")
    return torch.frombuffer(bytearray(data.getvalue()), dtype=torch.uint8)


class DeviceCrops:
    """Decodes, resizes and crops JPEGs on a device.

    Args:
        preprocess: of the net; its interpolation is one that a device has.
        device: of the net.
    """

    def __init__(self, preprocess: Preprocess, device: torch.device) -> None:
        self.preprocess, self.device = preprocess, device
        self.decode = find_decoder(device)[1]
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, pictures: Sequence[LoadedPicture]) -> list[LoadedPicture]:
        """Return a batch of pictures with pixels instead of JPEGs: (H, W, C), uint8, on the device."""
        done = list(pictures)
        for part in _parts([(number, picture.jpeg) for number, picture in enumerate(pictures) if picture.jpeg is not None]):
            for (number, _), pixels in zip(part, self.crop([jpeg for _, jpeg in part]), strict=True):
                picture = pictures[number]
                done[number] = (
                    decode_exactly(picture, self.preprocess) if pixels is None else replace(picture, pixels=pixels, jpeg=None)
                )
        return done

    def crop(self, jpegs: Sequence[Jpeg]) -> list[Tensor | None]:
        """Return the pixels (H, W, C) of each, None of one that the device cannot decode or resize."""
        try:
            return list(self._crop_together(jpegs))
        except (RuntimeError, ValueError) as error:
            if len(jpegs) > 1:
                return [pixels for jpeg in jpegs for pixels in self.crop([jpeg])]
            if isinstance(error, torch.OutOfMemoryError):  # says nothing of the picture
                raise
            return [None]

    def _crop_together(self, jpegs: Sequence[Jpeg]) -> list[Tensor]:
        with nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            decoded = self.decode([torch.frombuffer(jpeg.data, dtype=torch.uint8) for jpeg in jpegs])
            alike: dict[tuple[int, int], list[int]] = defaultdict(list)
            for number, (jpeg, pixels) in enumerate(zip(jpegs, decoded, strict=True)):
                if tuple(pixels.shape) != (3, jpeg.size[1], jpeg.size[0]):
                    raise ValueError("the decoder read another size than Pillow")
                alike[jpeg.size].append(number)
            crops: dict[int, Tensor] = {}
            for numbers in alike.values():
                frames = crop_frames(torch.stack([decoded[number] for number in numbers]), self.preprocess)
                crops.update(zip(numbers, frames.permute(0, 2, 3, 1).contiguous(), strict=True))  # -> N of (H, W, C)
        if self.stream is not None:
            self.stream.synchronize()  # in a thread that has nothing else to do
        return [crops[number] for number in range(len(jpegs))]

    def release(self, pictures: Iterable[LoadedPicture]) -> None:
        """Let the stream of the thread that calls use the pixels: their memory is kept until it has."""
        if self.stream is not None:
            user = torch.cuda.current_stream(self.device)
            for picture in pictures:
                if isinstance(picture.pixels, Tensor) and picture.pixels.is_cuda:
                    picture.pixels.record_stream(user)


def _parts(jpegs: Sequence[tuple[int, Jpeg]]) -> Iterator[list[tuple[int, Jpeg]]]:
    """Yield as many JPEGs at a time as have no more than `TOGETHER_PIXELS`, or one."""
    part: list[tuple[int, Jpeg]] = []
    pixels = 0
    for number, jpeg in jpegs:
        if part and pixels + jpeg.pixels > TOGETHER_PIXELS:
            yield part
            part, pixels = [], 0
        part.append((number, jpeg))
        pixels += jpeg.pixels
    if part:
        yield part


def crop_ahead(crops: DeviceCrops, batches: Iterable[list[LoadedPicture]]) -> Iterator[LoadedPicture]:
    """Yield the pictures of batches, decoded in a thread of its own one batch ahead of who takes them."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        for batch in prefetch(pool, crops, batches, 2):
            crops.release(batch)
            yield from batch
