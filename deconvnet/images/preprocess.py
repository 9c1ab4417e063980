"""What is done to a picture before a net sees it, and back: the pixels that the net saw.

torch is imported only where a tensor is made, so that opening and showing pictures stays quick.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..choices import DECODES, INTERPOLATIONS, Decode, Interpolation
from ..errors import OptionError, PictureError, check_option
from .answer import FoundObject, Segments
from .depth import ValueRange, check_range
from .limits import MAX_PIXELS
from .opening import OnNote, Picture, open_grey_or_rgb

if TYPE_CHECKING:
    import torch

REDUCED_SIDES = 2  # times `resize` that the short side keeps where the decoder reduces, so that resizing still averages

GPU_INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "lanczos")  # which are sums of neighbours

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image as a net saw it, and what the net says about it.

    Attributes:
        source: the picture's path, or a name for an image that came without one.
        pixels: (H, W, C), 0..255: exactly the pixels that the net saw.
        top_classes: the classes with the highest probabilities, 0..1, the highest first; empty where the net is no classifier.
        values: of a signal, its own values, (C, L).
        objects: that a detector found, the highest score first; None where the net is no detector.
        segments: a segmenter's class of each pixel; None where the net is no segmenter.
    """

    source: str
    pixels: npt.NDArray[np.uint8]
    top_classes: tuple[tuple[str, float], ...] = ()
    values: npt.NDArray[np.floating] | None = None
    objects: tuple[FoundObject, ...] | None = None
    segments: Segments | None = None

    def words(self, count: int = 3) -> str:
        """Return what the net says, in a line: the first `count` classes, objects or segments; "" where it says nothing."""
        if self.objects is not None:
            return ", ".join(f"{item.name} {item.score:.0%}" for item in self.objects[:count]) or "no object"
        if self.segments is not None:
            shares = self.segments.shares()[:count]
            return ", ".join(f"{self.segments.names[number]} {share:.0%} of the pixels" for number, share in shares)
        return ", ".join(f"{name} {share:.0%}" for name, share in self.top_classes[:count] if share >= 0.005)


@dataclass(frozen=True)
class Preprocess:
    """What is done to a picture before a net sees it: resize the short side, crop the centre, normalise each channel.

    Resizing is Pillow's, antialiased, and sizes are rounded as torchvision's `Resize` and `CenterCrop` do, so the pixels equal
    torchvision's bit for bit. A small picture is enlarged; none is ever padded.

    Attributes:
        resize: the short side, in pixels.
        crop: the side of a square, or (height, width), in pixels; no more than `resize`.
        mean: the mean of each channel of the net, of pixels on the scale 0..1.
        std: the standard deviation of each channel, on the same scale, above 0.
        interpolation: Pillow's filter for resizing.
        value_range: (black, white) of pictures with more than 8 bits; None: by their values, as `open_picture` says.
        decode: "exact", or "reduced": a JPEG is decoded at a half, a quarter or an eighth of its sides, as long as the short
            one keeps twice `resize`. Large photographs are read about twice as fast, and their pixels differ a little. "gpu":
            where a scan runs on an NVIDIA GPU, that decodes and resizes JPEGs; everywhere else this is "exact".

    Raises:
        OptionError: the numbers do not fit each other, or a GPU has no such interpolation.

        >>> preprocess = Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        >>> preprocess(Image.new("RGB", (500, 375))).shape
        torch.Size([3, 224, 224])
    """

    resize: int
    crop: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Interpolation = "bilinear"
    value_range: ValueRange | None = None
    decode: Decode = "exact"

    def __post_init__(self) -> None:
        check_option("interpolation", self.interpolation, INTERPOLATIONS)
        check_option("decode", self.decode, DECODES)
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise OptionError(f"mean {self.mean} and std {self.std} do not fit. Give one of each for a channel, std above 0.")
        if not 1 <= min(self.crop_size) <= max(self.crop_size) <= self.resize:
            height, width = self.crop_size
            raise OptionError(f"cannot crop {height} x {width} from a short side of {self.resize}. Give a smaller crop.")
        if self.value_range is not None:
            check_range(self.value_range)
        if self.decode == "gpu" and self.interpolation not in GPU_INTERPOLATIONS:
            raise OptionError(
                f"decode cannot be 'gpu' with {self.interpolation!r}: GPUs resize by {', '.join(GPU_INTERPOLATIONS)}."
                " Choose exact or reduced."
            )

    @property
    def channels(self) -> int:
        """The number of channels of the net's images."""
        return len(self.mean)

    @property
    def crop_size(self) -> tuple[int, int]:
        """(height, width) of the images, in pixels."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def settings(self) -> dict[str, Any]:
        """Return the fields that make another one like it; a range that was left open, and exact decoding, are left out."""
        usual = {"value_range": None, "decode": "exact"}
        return {name: value for name, value in asdict(self).items() if name not in usual or value != usual[name]}

    def crop_picture(self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None) -> Image.Image:
        """Return the pixels that the net sees, before they are normalised.

        Args:
            picture: a path or a PIL picture.
            data: the file's bytes, if they were read already.
            on_note: is told of what was left out; None: that is a warning.

        Returns:
            A PIL picture: RGB for 3 channels, L for 1.

        Raises:
            PictureError: the picture cannot be opened, is too long to be resized, or the net takes other than 1 or 3 channels.
        """
        if self.channels not in (1, 3):
            raise PictureError(f"a picture has 1 or 3 channels, the net takes {self.channels}. Give a tensor (N, C, H, W).")
        least = REDUCED_SIDES * self.resize if self.decode == "reduced" else None
        image = open_grey_or_rgb(picture, data=data, value_range=self.value_range, on_note=on_note, least_side=least)
        if self.channels == 1:
            image = image.convert("L")
        full_size = image.info.get("full_size") if least else None
        if not isinstance(full_size, tuple):  # decoded in full; a file's own text of that name is no tuple
            full_size = image.size
        resized, (top, left) = self.crop_geometry(full_size)
        image = image.resize(resized, _FILTERS[self.interpolation], box=_extent(image.size, full_size))
        crop_height, crop_width = self.crop_size
        image = image.crop((left, top, left + crop_width, top + crop_height))
        return image if self.channels == 1 or image.mode == "RGB" else image.convert("RGB")

    def crop_geometry(self, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return what a picture of (width, height) is resized to, (width, height), and the (top, left) of the crop in that.

        Raises:
            PictureError: the picture is too long to be resized.
        """
        width, height = self._resized_size(*size)
        crop_height, crop_width = self.crop_size
        return (width, height), (round((height - crop_height) / 2.0), round((width - crop_width) / 2.0))

    def crop_pixels(
        self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels of `crop_picture` as an array (H, W, C), 0..255."""
        pixels: npt.NDArray[np.uint8] = np.asarray(self.crop_picture(picture, data=data, on_note=on_note))
        return pixels if pixels.ndim == 3 else pixels[:, :, None]

    def __call__(self, picture: Picture) -> torch.Tensor:
        """Return a picture as the net expects it: (C, H, W), float32, normalised. See `crop_picture`."""
        import torch

        pixels = np.array(self.crop_picture(picture), dtype=np.float32)
        pixels = pixels.reshape(*pixels.shape[:2], self.channels).transpose(2, 0, 1) / np.float32(255)  # (H, W, C) -> (C, H, W)
        return torch.from_numpy(np.ascontiguousarray((pixels - self._column(self.mean)) / self._column(self.std)))

    def denormalise(self, image: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.uint8]:
        """Return the pixels that the net saw: (C, H, W), normalised -> (H, W, C), 0..255.

        They are exact for an image that this object made. Values outside the range of pixels are clipped; a NaN becomes 0.

        Raises:
            PictureError: the image has other axes or another number of channels.
        """
        values = _as_array(image)
        if values.ndim != 3 or len(values) != self.channels:
            raise PictureError(f"cannot denormalise an image of shape {values.shape}. Give ({self.channels}, H, W).")
        pixels = (values * self._column(self.std) + self._column(self.mean)) * 255
        pixels = np.rint(np.clip(np.nan_to_num(pixels, nan=0.0), 0, 255))
        return np.ascontiguousarray(pixels.astype(np.uint8).transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)

    def _column(self, values: tuple[float, ...]) -> npt.NDArray[np.float32]:
        return np.array(values, dtype=np.float32).reshape(-1, 1, 1)

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) with the short side at `resize`, the long one rounded down as in torchvision."""
        short, long = sorted((width, height))
        long = int(self.resize * long / short)
        if self.resize * long > MAX_PIXELS:  # a row of a million pixels is a small file, but a bomb when enlarged 256 times
            raise PictureError(f"a picture of {height} x {width} pixels is too long to resize to {self.resize}. Crop it first.")
        return (self.resize, long) if width <= height else (long, self.resize)


def _extent(size: tuple[int, int], full_size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the box of a picture that was decoded at a part of its size: its last row and column may be fractions of one."""
    divisor = next(divisor for divisor in (1, 2, 4, 8) if tuple(-(-side // divisor) for side in full_size) == size)
    return 0, 0, full_size[0] / divisor, full_size[1] / divisor


def _as_array(image: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.float64]:
    tensor: Any = image  # of torch: on any device, of any type, with or without a gradient
    return np.asarray(tensor.detach().cpu().double() if hasattr(tensor, "detach") else tensor, dtype=np.float64)


def to_rgb(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return pixels that can be shown: (H, W, C) -> (H, W, 3), 0..255.

    Three channels stay as they are; any other number of channels becomes the grey of their rounded mean.

    Raises:
        PictureError: the pixels are not (H, W, C), or C is 0.
    """
    if pixels.ndim != 3 or not pixels.shape[2]:
        raise PictureError(f"pixels of shape {pixels.shape} cannot be shown. Give (H, W, C).")
    if pixels.shape[2] == 3:
        return pixels
    grey = np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)
