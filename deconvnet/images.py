"""Pictures in: opened safely, brought to the form that a net expects, and back to the pixels that it saw.

Two requirements shape this file. A picture that can be shown at all is converted, never refused: camera rotation, CMYK,
palettes, transparency, 16 bits, animations, one single pixel. A file that cannot be shown is refused in one line that names it,
before it can fill the memory. torch is imported where a tensor is made and nowhere else, so that opening a picture stays quick.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import OptionError, PictureError, check_option

if TYPE_CHECKING:
    import torch

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image"

#: The most pixels that are decoded: where Pillow starts to warn of a decompression bomb (a quarter of a gigabyte as RGB).
MAX_PIXELS = 89_478_485

#: The file names taken from a folder; a file that is named outright may have any suffix.
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_MID_GREY = (128, 128, 128, 255)
_BOMB = (Image.DecompressionBombWarning, Image.DecompressionBombError)
_HEADER = threading.Lock()  # `warnings.catch_warnings` swaps a list that all threads share


def open_picture(picture: Picture, *, data: IO[bytes] | None = None) -> Image.Image:
    """Open a picture as upright 8-bit RGB, decoded in full, its file closed; a PIL picture is converted alike.

    EXIF rotation is applied, transparency is laid over mid-grey (128), an animation gives its first frame. Deep greys are
    scaled, not clipped: 16-bit from 0..65535; 32-bit integers and floats from the smallest of the ranges 0..1 (floats only),
    0..255 and 0..65535 that holds all their values, otherwise from their minimum..maximum. One value only, outside those
    ranges, is shown as mid-grey; in floats a NaN is read as 0.

    `data`: the file's bytes, where they were read already; the path then only names it in errors.

        >>> open_picture(Image.new("L", (4, 3), 200)).getpixel((0, 0))
        (200, 200, 200)
    """
    if isinstance(picture, Image.Image):
        return _to_rgb_picture(_decoded(picture, "the PIL picture"), "the PIL picture")
    if not isinstance(picture, (str, os.PathLike)):
        raise PictureError(f"a {type(picture).__name__} is not a picture here. Give a file's path or a PIL picture.")
    name = repr(os.fspath(picture))
    with data or _opened(Path(picture), name) as handle, _read_header(handle, name) as lazy:
        return _to_rgb_picture(_decoded(lazy, name), name)


def find_pictures(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the pictures that `paths` name, in order: a file as it is, a folder by the pictures in and below it.

    A folder's pictures are those with a suffix of `SUFFIXES`, sorted by path, hidden files and folders left out.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: list[Path] = []
    for path in map(Path, paths):
        if not os.path.exists(path):  # unlike Path.exists, never raises: a name can be too long
            raise PictureError(f"cannot open {str(path)!r}: there is no such file or folder. Check the path.")
        found += _pictures_below(path) if path.is_dir() else [path]
    return found


def to_rgb(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Make pixels that can be shown: (H, W, C) -> (H, W, 3), 0..255.

    Three channels stay as they are, one becomes grey, and any other count is shown as the grey of its mean (rounded).
    """
    if pixels.ndim != 3 or not pixels.shape[2]:
        raise PictureError(f"pixels of shape {pixels.shape} cannot be shown. Give (H, W, C).")
    if pixels.shape[2] == 3:
        return pixels
    grey = np.rint(pixels.mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(grey, 3, axis=2)


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image as a net saw it, and what the net says about it.

    Attributes:
        source: the picture's path, or a name for an image that came without one.
        pixels: (H, W, C), 0..255: exactly the pixels that the net saw.
        top_classes: the classes with the highest probabilities, 0..1, the highest first; empty where the net is no classifier.
    """

    source: str
    pixels: npt.NDArray[np.uint8]
    top_classes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Preprocess:
    """What is done to a picture before a net sees it: the short side resized, the centre cropped, each channel normalised.

    `resize` and `crop` are pixels (`crop` a side, or height and width), `mean` and `std` are on the scale 0..1, one for each
    channel of the net. Resizing is Pillow's, antialiased, and sizes round as torchvision's `Resize` and `CenterCrop` do, so the
    pixels are theirs bit for bit. A small picture is enlarged; none is ever padded.

        >>> preprocess = Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        >>> preprocess(Image.new("RGB", (500, 375))).shape
        torch.Size([3, 224, 224])
    """

    resize: int
    crop: int | tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_option("interpolation", self.interpolation, FILTERS)
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise OptionError(f"mean {self.mean} and std {self.std} do not fit. Give one of each for a channel, std above 0.")
        if not 1 <= min(self.crop_size) <= max(self.crop_size) <= self.resize:
            height, width = self.crop_size
            raise OptionError(f"cannot crop {height} x {width} from a short side of {self.resize}. Give a smaller crop.")

    @property
    def channels(self) -> int:
        """How many channels the net takes."""
        return len(self.mean)

    @property
    def crop_size(self) -> tuple[int, int]:
        """The height and width that the net sees."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop

    def crop_picture(self, picture: Picture) -> Image.Image:
        """Return the pixels that the net sees, before they are normalised: a PIL picture, RGB, or L for one channel."""
        if self.channels not in (1, 3):
            raise PictureError(f"a picture has 1 or 3 channels, the net takes {self.channels}. Give a tensor (N, C, H, W).")
        opened = open_picture(picture)
        if self.channels == 1:
            opened = opened.convert("L")
        width, height = self._resized_size(*opened.size)
        opened = opened.resize((width, height), FILTERS[self.interpolation])
        crop_height, crop_width = self.crop_size
        top, left = round((height - crop_height) / 2.0), round((width - crop_width) / 2.0)
        return opened.crop((left, top, left + crop_width, top + crop_height))

    def __call__(self, picture: Picture) -> torch.Tensor:
        """Return (C, H, W) float32, normalised as the net expects."""
        import torch

        pixels = np.array(self.crop_picture(picture), dtype=np.float32)
        pixels = pixels.reshape(*pixels.shape[:2], self.channels).transpose(2, 0, 1) / np.float32(255)  # (H, W, C) -> (C, H, W)
        return torch.from_numpy(np.ascontiguousarray((pixels - self._column(self.mean)) / self._column(self.std)))

    def denormalise(self, image: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.uint8]:
        """Return the pixels that the net saw: (C, H, W) normalised -> (H, W, C), 0..255, exact for what this object made.

        Values outside the range of pixels are clipped; a NaN becomes 0.
        """
        values = _as_array(image)
        if values.ndim != 3 or len(values) != self.channels:
            raise PictureError(f"cannot undo an image of shape {values.shape}. Give ({self.channels}, H, W).")
        pixels = (values * self._column(self.std) + self._column(self.mean)) * 255
        pixels = np.rint(np.clip(np.nan_to_num(pixels, nan=0.0), 0, 255))
        return np.ascontiguousarray(pixels.astype(np.uint8).transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)

    def _column(self, values: tuple[float, ...]) -> npt.NDArray[np.float32]:
        return np.array(values, dtype=np.float32).reshape(-1, 1, 1)

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) with the short side at `resize`, the long one rounded down as in torchvision."""
        short, long = sorted((width, height))
        long = int(self.resize * long / short)
        if self.resize * long > MAX_PIXELS:  # one row of a million pixels is a small file, and enlarged 256 times a bomb
            raise PictureError(f"a picture of {height} x {width} pixels is too long to resize to {self.resize}. Crop it first.")
        return (self.resize, long) if width <= height else (long, self.resize)


def _as_array(image: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.float64]:
    tensor: Any = image  # on any device, in any type, with or without a gradient
    return np.asarray(tensor.detach().cpu().double() if hasattr(tensor, "detach") else tensor, dtype=np.float64)


def _pictures_below(folder: Path) -> list[Path]:
    inside = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    seen = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not seen:
        raise PictureError(f"no pictures in {str(folder)!r}. Looked in it and below for {', '.join(SUFFIXES)}.")
    return sorted(seen, key=lambda path: path.as_posix())


def _opened(path: Path, name: str) -> IO[bytes]:
    """Open the file for reading, or say what stands there instead."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a folder. Name a picture in it.")
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(f"cannot open {name} as a picture: it is a pipe or a device. Save the picture to a file first.")
        if not status.st_size:
            raise PictureError(f"cannot open {name}: the file is empty. Get a fresh copy.")
        return path.open("rb")
    except FileNotFoundError as error:
        raise PictureError(f"cannot open {name}: there is no such file. Check the path.") from error
    except PermissionError as error:
        raise PictureError(f"cannot open {name}: reading it is not permitted. Change its permissions.") from error
    except OSError as error:
        raise PictureError(f"cannot open {name}: {error.strerror}. Check the path.") from error


def _read_header(handle: IO[bytes], name: str) -> Image.Image:
    """Find out what the file is, its pixels still unread; Pillow's warning of a bomb is taken as a refusal."""
    try:
        with _HEADER, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata does not keep a picture from being shown
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(handle)
    except _BOMB as error:
        raise _bomb(name) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"cannot open {name}: it is not a picture that Pillow knows. Convert it to PNG or JPEG.") from error
    except Exception as error:
        raise _damaged(name) from error


def _decoded(picture: Image.Image, name: str) -> Image.Image:
    """Read all pixels of the first frame, and turn them upright."""
    if picture.width * picture.height > MAX_PIXELS:  # also where somebody has lifted Pillow's own limit
        raise _bomb(name)
    if not picture.width * picture.height:
        raise PictureError(f"cannot use {name}: it is {picture.height} x {picture.width} pixels. Give it at least one.")
    try:
        picture.load()
    except _BOMB as error:
        raise _bomb(name) from error
    except Exception as error:  # Pillow's decoders raise whatever they trip over: OSError, SyntaxError, struct.error, ...
        raise _damaged(name) from error
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF that cannot be read says nothing of a rotation
        return picture


def _bomb(name: str) -> PictureError:
    return PictureError(f"cannot open {name}: it has more than {MAX_PIXELS:,} pixels, too many to be safe. Shrink it first.")


def _damaged(name: str) -> PictureError:
    return PictureError(f"cannot open {name}: the picture is damaged or cut short. Get a fresh copy.")


def _to_rgb_picture(picture: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB, 8 bits a channel."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_8_bits(picture)).convert("RGB")
    try:
        if picture.mode == "La":  # premultiplied: Pillow has no direct way to RGBA
            picture = picture.convert("LA")
        if picture.has_transparency_data:
            return Image.alpha_composite(Image.new("RGBA", picture.size, _MID_GREY), picture.convert("RGBA")).convert("RGB")
        return picture.convert("RGB")
    except ValueError as error:
        raise PictureError(f"cannot open {name}: its colours are {picture.mode}. Convert it to RGB, as PNG or JPEG.") from error


def _to_8_bits(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Scale a deep grey picture, modes I;16, I and F, to (H, W), 0..255."""
    values = np.asarray(picture).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=_largest(values), neginf=-_largest(-values))
    if picture.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    else:
        low, high = _range(values, known=(1.0, 255.0, 65535.0) if picture.mode == "F" else (255.0, 65535.0))
    return np.rint((values - low) * 255 / (high - low)).astype(np.uint8)


def _largest(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0


def _range(values: npt.NDArray[np.float64], known: tuple[float, ...]) -> tuple[float, float]:
    """Return the smallest of the ranges 0..known that holds all values, else their own minimum and maximum."""
    low, high = float(values.min()), float(values.max())
    for limit in known:
        if low >= 0 and high <= limit:
            return 0.0, limit
    return (low, high) if high > low else (min(2 * low, 0.0), max(2 * low, 0.0))
