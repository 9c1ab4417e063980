"""Reads the PDFs that deconvnet writes by Pillow's parser: pages, their pictures, their text, and the font."""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PdfParser


@dataclass
class Line:
    """A line of text: what it says, where it begins, in points from the page's lower left corner, and its size in points."""

    text: str
    left: float
    bottom: float
    size: float


@dataclass
class Page:
    """A page: its size in points, its pictures with their places (left, bottom, width, height) in points, its lines."""

    size: tuple[float, float]
    images: list[Image.Image]
    places: list[tuple[float, ...]]
    lines: list[Line]


def read_pdf(path: Path) -> tuple[list[Page], str, Any]:
    """Return the pages, the subject, and the font's file as fontTools reads it."""
    from fontTools.ttLib import TTFont

    with PdfParser.PdfParser(str(path), mode="rb") as pdf:
        pages = [_page(pdf, pdf.read_indirect(reference)) for reference in pdf.pages]
        font = pdf.read_indirect(pdf.read_indirect(pdf.pages[0])[b"Resources"][b"Font"][b"F"])
        descriptor = pdf.read_indirect(pdf.read_indirect(font[b"DescendantFonts"][0])[b"FontDescriptor"])
        program = TTFont(io.BytesIO(zlib.decompress(pdf.read_indirect(descriptor[b"FontFile2"]).buf)))
        return pages, str(pdf.info[b"Subject"], "ascii"), program


def _page(pdf: PdfParser.PdfParser, page: Any) -> Page:
    contents = pdf.read_indirect(page[b"Contents"]).buf.decode("ascii")
    unit = float(contents.split()[0])
    objects = page[b"Resources"][b"XObject"]
    images, places = [], []
    for *place, name in re.findall(r"q (\S+) 0 0 (\S+) (\S+) (\S+) cm /(I\d+) Do Q", contents):
        width, height, left, bottom = (unit * float(number) for number in place)
        images.append(_image(pdf.read_indirect(objects[name.encode()])))
        places.append((left, bottom, width, height))
    letters = _letters(pdf, page)
    lines = []
    for size, left, bottom, glyphs in re.findall(r"/F (\d+) Tf \S+ Tz (\S+) (\S+) Td <(\w+)> Tj ET", contents):
        numbers = [int(glyphs[place : place + 4], 16) for place in range(0, len(glyphs), 4)]
        text = "".join(letters[number] for number in numbers)
        lines.append(Line(text, unit * float(left), unit * float(bottom), unit * float(size)))
    return Page(tuple(float(edge) for edge in page[b"MediaBox"][2:]), images, places, lines)


def _letters(pdf: PdfParser.PdfParser, page: Any) -> dict[int, str]:
    """Return the letter of each glyph, by the table that readers use to search and copy."""
    font = pdf.read_indirect(page[b"Resources"][b"Font"][b"F"])
    table = pdf.read_indirect(font[b"ToUnicode"]).buf.decode("ascii")
    return {
        int(glyph, 16): bytes.fromhex(letter).decode("utf-16-be")
        for block in re.findall(r"beginbfchar\n(.*?)\nendbfchar", table, re.S)
        for glyph, letter in re.findall(r"<(\w+)> <(\w+)>", block)
    }


def _image(stream: Any) -> Image.Image:
    """Put the compressed rows back into a PNG, and open that."""
    size = int(stream.dictionary[b"Width"]), int(stream.dictionary[b"Height"])
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", stream.buf), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    with Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))) as image:
        return image.convert("RGB")
