"""A PDF written page by page: each page is compressed and released before the next is drawn.

Pillow's own writer holds all pages until the last one has been drawn, and appending to a file reads it again and rewrites the
entry of every page: 17 seconds for 200 empty pages. A page that is one JPEG needs so little of PDF (ISO 32000-1, 7.5) that it
is written here.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import IO

from PIL import Image

_CATALOGUE, _TREE, _INFORMATION = 1, 2, 3  # the numbers of the three objects that every file has
_POINTS_PER_INCH = 72  # lengths on a page are in points


def write_pdf(pages: Iterable[Image.Image], handle: IO[bytes], *, subject: str = "", resolution: int = 150) -> int:
    """Write pictures as the pages of a PDF; the same pages give the same bytes, for there is no date inside.

    Args:
        pages: the pictures.
        handle: an open file.
        subject: ASCII text for the file's properties.
        resolution: dots per inch.

    Returns:
        How many pages were written.
    """
    starts: dict[int, int] = {}  # where in the file each object begins
    handle.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")  # the second line says that the file is binary
    numbers = [_write_page(handle, starts, page, resolution) for page in pages]
    _write_object(handle, starts, _CATALOGUE, f"<< /Type /Catalog /Pages {_TREE} 0 R >>")
    kids = " ".join(f"{number} 0 R" for number in numbers)
    _write_object(handle, starts, _TREE, f"<< /Type /Pages /Count {len(numbers)} /Kids [ {kids} ] >>")
    _write_object(handle, starts, _INFORMATION, f"<< /Subject ({_escaped(subject)}) >>")
    _write_table(handle, [starts[number] for number in sorted(starts)])
    return len(numbers)


def _write_page(handle: IO[bytes], starts: dict[int, int], page: Image.Image, resolution: int) -> int:
    """Write the objects of a page: a picture, the commands that draw it, and the page itself; return the page's number."""
    picture = _INFORMATION + len(starts) + 1
    contents, number = picture + 1, picture + 2
    jpeg = io.BytesIO()
    page.convert("RGB").save(jpeg, "JPEG", quality=95, subsampling=0)
    kind = f"/Type /XObject /Subtype /Image /Width {page.width} /Height {page.height}"
    _write_stream(
        handle, starts, picture, f"{kind} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode", jpeg.getvalue()
    )
    width, height = (f"{size * _POINTS_PER_INCH / resolution:.3f}" for size in page.size)
    _write_stream(handle, starts, contents, "", f"q {width} 0 0 {height} 0 0 cm /image Do Q".encode())
    resources = f"<< /XObject << /image {picture} 0 R >> >>"
    parts = f"/Parent {_TREE} 0 R /MediaBox [ 0 0 {width} {height} ] /Contents {contents} 0 R /Resources {resources}"
    _write_object(handle, starts, number, f"<< /Type /Page {parts} >>")
    return number


def _write_stream(handle: IO[bytes], starts: dict[int, int], number: int, entries: str, data: bytes) -> None:
    starts[number] = handle.tell()
    handle.write(f"{number} 0 obj\n<< {entries} /Length {len(data)} >>\nstream\n".encode("ascii"))
    handle.write(data)
    handle.write(b"\nendstream\nendobj\n")


def _write_object(handle: IO[bytes], starts: dict[int, int], number: int, text: str) -> None:
    starts[number] = handle.tell()
    handle.write(f"{number} 0 obj\n{text}\nendobj\n".encode("ascii"))


def _write_table(handle: IO[bytes], starts: Sequence[int]) -> None:
    """Write where each object begins, 20 bytes per line, and where this table itself begins."""
    begin = handle.tell()
    lines = ["0000000000 65535 f \n", *(f"{start:010d} 00000 n \n" for start in starts)]
    trailer = f"<< /Size {len(lines)} /Root {_CATALOGUE} 0 R /Info {_INFORMATION} 0 R >>"
    handle.write(f"xref\n0 {len(lines)}\n{''.join(lines)}trailer\n{trailer}\nstartxref\n{begin}\n%%EOF\n".encode("ascii"))


def _escaped(text: str) -> str:
    """Escape text as PDF does between parentheses."""
    for letter, written in (("\\", "\\\\"), ("(", "\\("), (")", "\\)"), ("\r", "\\r"), ("\n", "\\n")):
        text = text.replace(letter, written)
    return text
