"""A PDF written page by page, with real text and lossless pictures; each page is released before the next is drawn.

Figures go into papers, so letters are letters of an embedded font, which can be searched and printed at any size, and pixels
are compressed without loss. matplotlib and reportlab do that, too, but hold the pixels of all pages until the last one has
been drawn: a layer's plates are hundreds of them. What a page of lines of text and pictures needs of PDF (ISO 32000-1, 7.5 and
9.7) is little, and is written here; fontTools makes the font's subset.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import IO

from PIL import Image

from .page import Box, ImageItem, TextItem
from .pdf_font import EmbeddedFont

_CATALOGUE, _TREE, _INFORMATION, _FONT = 1, 2, 3, 4  # the numbers of the objects that every file has
_POINTS_PER_INCH = 72  # lengths on a page are in points
_PNG_PREDICTOR = 15  # rows as PNG compresses them, each by the filter that fits it best


def write_pdf(pages: Iterable[Box], handle: IO[bytes], *, subject: str = "", resolution: float = 150, scale: float = 1) -> int:
    """Write boxes as the pages of a PDF; the same pages give the same bytes, for there is no date inside.

    Args:
        pages: the pages.
        handle: an open file.
        subject: ASCII text for the file's properties.
        resolution: how many of the page's pixels are an inch.
        scale: how many times finer pictures are drawn.

    Returns:
        How many pages were written.
    """
    file = _File(handle)
    handle.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")  # the second line says that the file is binary
    numbers = [file.write_page(page, resolution, scale) for page in pages]
    file.write_font()
    file.write_object(_CATALOGUE, f"<< /Type /Catalog /Pages {_TREE} 0 R >>")
    kids = " ".join(f"{number} 0 R" for number in numbers)
    file.write_object(_TREE, f"<< /Type /Pages /Count {len(numbers)} /Kids [ {kids} ] >>")
    file.write_object(_INFORMATION, f"<< /Subject ({_escaped(subject)}) >>")
    file.write_table()
    return len(numbers)


class _File:
    """The objects of a PDF that is being written."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle, self.font = handle, EmbeddedFont()
        self.starts = dict.fromkeys((_CATALOGUE, _TREE, _INFORMATION, _FONT), 0)  # where in the file each object begins

    def write_page(self, page: Box, resolution: float, scale: float) -> int:
        """Write the objects of a page: its pictures, the commands that draw it, the page itself; return its number."""
        points = _POINTS_PER_INCH / resolution
        pictures = [item for item in page.items if isinstance(item, ImageItem)]
        texts = [item for item in page.items if isinstance(item, TextItem)]
        images = [self.write_image(item.draw(scale).convert("RGB")) for item in pictures]
        commands = [f"{points:.6f} 0 0 {points:.6f} 0 0 cm"]
        commands += [_image_command(item, number, page.height) for item, number in zip(pictures, images, strict=True)]
        commands += [self.text_command(item, page.height) for item in texts]
        contents = self.write_stream(self.next_number(), "", "\n".join(commands).encode("ascii"))
        names = " ".join(f"/I{number} {number} 0 R" for number in images)
        resources = f"<< /Font << /F {_FONT} 0 R >> /XObject << {names} >> >>"
        size = f"{page.width * points:.3f} {page.height * points:.3f}"
        parts = f"/Parent {_TREE} 0 R /MediaBox [ 0 0 {size} ] /Contents {contents} 0 R /Resources {resources}"
        return self.write_object(self.next_number(), f"<< /Type /Page {parts} >>")

    def write_image(self, image: Image.Image) -> int:
        """Write a picture, its pixels compressed as in a PNG."""
        size = f"/Width {image.width} /Height {image.height} /ColorSpace /DeviceRGB /BitsPerComponent 8"
        predictor = f"<< /Predictor {_PNG_PREDICTOR} /Colors 3 /BitsPerComponent 8 /Columns {image.width} >>"
        entries = f"/Type /XObject /Subtype /Image {size} /Filter /FlateDecode /DecodeParms {predictor}"
        return self.write_stream(self.next_number(), entries, _png_data(image))

    def text_command(self, item: TextItem, page_height: int) -> str:
        """Return the commands that set a line of text, stretched by a percent or two to the width that it was given."""
        natural = self.font.width(item.text) * item.size
        stretch = 100 * item.width / natural if natural else 100
        ink = " ".join(f"{part / 255:.3f}" for part in item.ink)
        place = f"{item.left} {page_height - item.baseline}"
        return f"BT {ink} rg /F {item.size} Tf {stretch:.2f} Tz {place} Td <{self.font.encode(item.text)}> Tj ET"

    def write_font(self) -> None:
        """Write the font with the letters that the pages have used."""
        numbers = self.next_number(), self.next_number() + 1, self.next_number() + 2, self.next_number() + 3
        descendant, descriptor, program, letters = numbers
        data = self.font.subset()
        self.write_object(descendant, self.font.descendant(descriptor))
        self.write_object(descriptor, self.font.descriptor(program))
        self.write_stream(program, f"/Length1 {len(data)} /Filter /FlateDecode", zlib.compress(data, 9))
        self.write_stream(letters, "", self.font.to_unicode().encode("ascii"))
        self.write_object(_FONT, self.font.composite(descendant, letters))

    def next_number(self) -> int:
        """Return the number of the next object."""
        return max(self.starts) + 1

    def write_stream(self, number: int, entries: str, data: bytes) -> int:
        """Write an object that holds bytes."""
        self.starts[number] = self.handle.tell()
        self.handle.write(f"{number} 0 obj\n<< {entries} /Length {len(data)} >>\nstream\n".encode("ascii"))
        self.handle.write(data)
        self.handle.write(b"\nendstream\nendobj\n")
        return number

    def write_object(self, number: int, text: str) -> int:
        """Write an object."""
        self.starts[number] = self.handle.tell()
        self.handle.write(f"{number} 0 obj\n{text}\nendobj\n".encode("ascii"))
        return number

    def write_table(self) -> None:
        """Write where each object begins, 20 bytes per line, and where this table itself begins."""
        begin = self.handle.tell()
        lines = ["0000000000 65535 f \n", *(f"{self.starts[number]:010d} 00000 n \n" for number in sorted(self.starts))]
        trailer = f"<< /Size {len(lines)} /Root {_CATALOGUE} 0 R /Info {_INFORMATION} 0 R >>"
        table = f"xref\n0 {len(lines)}\n{''.join(lines)}trailer\n{trailer}\nstartxref\n{begin}\n%%EOF\n"
        self.handle.write(table.encode("ascii"))


def _image_command(item: ImageItem, number: int, page_height: int) -> str:
    bottom = page_height - item.top - item.height
    return f"q {item.width} 0 0 {item.height} {item.left} {bottom} cm /I{number} Do Q"


def _png_data(image: Image.Image) -> bytes:
    """Return the compressed rows of a PNG, which PDF takes as they are."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data, start, parts = buffer.getvalue(), 8, []
    while start < len(data):  # each chunk: its length, its kind, its bytes, a sum
        (length,) = struct.unpack(">I", data[start : start + 4])
        if data[start + 4 : start + 8] == b"IDAT":
            parts.append(data[start + 8 : start + 8 + length])
        start += length + 12
    return b"".join(parts)


def _escaped(text: str) -> str:
    """Escape text as PDF does between parentheses."""
    for letter, written in (("\\", "\\\\"), ("(", "\\("), (")", "\\)"), ("\r", "\\r"), ("\n", "\\n")):
        text = text.replace(letter, written)
    return text
