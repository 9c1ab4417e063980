"""The font of a PDF: DejaVu Sans, of which only the letters that were used are embedded.

Letters are written as the numbers of their glyphs (ISO 32000-1, 9.7.4: Identity-H), and a table says which letter each glyph
is, so that text can be searched and copied.
"""

from __future__ import annotations

import io
from typing import Any

from .text import font_file

_NAME = "DCNVNT+DejaVuSans"  # six capitals say that it is a subset
_UNITS = 1000  # of an em, in which a PDF's font is measured
_SYMBOLIC = 4  # glyphs are chosen by number


class EmbeddedFont:
    """DejaVu Sans, and which of its letters were used."""

    def __init__(self) -> None:
        from fontTools.ttLib import TTFont  # here: pictures without a PDF need none of it

        self._font: Any = TTFont(font_file(), recalcTimestamp=False)
        self._names: dict[int, str] = self._font.getBestCmap()
        self._widths: dict[str, tuple[int, int]] = self._font["hmtx"].metrics
        self._em: int = self._font["head"].unitsPerEm
        self._letters: dict[int, str] = {}  # by the number of the glyph

    def width(self, text: str) -> float:
        """Return the width of a line of text at type size 1."""
        return sum(self._widths[self._name(letter)][0] for letter in text) / self._em

    def encode(self, text: str) -> str:
        """Return text as hexadecimal numbers of glyphs, and remember its letters."""
        glyphs = [(self._font.getGlyphID(self._name(letter)), letter) for letter in text]
        for number, letter in glyphs:
            self._letters.setdefault(number, letter)
        return "".join(f"{number:04X}" for number, _ in glyphs)

    def _name(self, letter: str) -> str:
        return self._names.get(ord(letter), ".notdef")

    def subset(self) -> bytes:
        """Return the font's file with the letters that were used, each glyph under its number."""
        from fontTools.subset import Options, Subsetter

        options = Options(retain_gids=True, notdef_outline=True, hinting=False, layout_features=[])
        options.drop_tables = sorted(set(self._font.keys()) - set(_TABLES))
        subsetter = Subsetter(options)
        subsetter.populate(gids=sorted(self._letters))
        subsetter.subset(self._font)
        buffer = io.BytesIO()
        self._font.save(buffer, reorderTables=True)
        return buffer.getvalue()

    def composite(self, descendant: int, letters: int) -> str:
        """Return the font that a page names, given the numbers of its parts."""
        kind = f"/Type /Font /Subtype /Type0 /BaseFont /{_NAME} /Encoding /Identity-H"
        return f"<< {kind} /DescendantFonts [ {descendant} 0 R ] /ToUnicode {letters} 0 R >>"

    def descendant(self, descriptor: int) -> str:
        """Return the font with its glyphs' widths."""
        names = self._font.getGlyphOrder()
        widths = " ".join(f"{number} [ {self._scaled(self._widths[names[number]][0])} ]" for number in sorted(self._letters))
        system = "/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /CIDToGIDMap /Identity"
        kind = f"/Type /Font /Subtype /CIDFontType2 /BaseFont /{_NAME}"
        return f"<< {kind} {system} /FontDescriptor {descriptor} 0 R /DW {_UNITS} /W [ {widths} ] >>"

    def descriptor(self, program: int) -> str:
        """Return what a reader knows of the font without opening it."""
        head, lines = self._font["head"], self._font["hhea"]
        box = " ".join(str(self._scaled(edge)) for edge in (head.xMin, head.yMin, head.xMax, head.yMax))
        ascent, descent = self._scaled(lines.ascent), self._scaled(lines.descent)
        shape = f"/FontBBox [ {box} ] /ItalicAngle 0 /Ascent {ascent} /Descent {descent} /CapHeight 729 /StemV 80"
        return f"<< /Type /FontDescriptor /FontName /{_NAME} /Flags {_SYMBOLIC} {shape} /FontFile2 {program} 0 R >>"

    def to_unicode(self) -> str:
        """Return the table that says which letter each glyph is."""
        rows = [f"<{number:04X}> <{_utf16(letter)}>" for number, letter in sorted(self._letters.items())]
        blocks = [rows[first : first + 100] for first in range(0, len(rows), 100)]  # the most that one block may have
        tables = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
        return (
            "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n"
            "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
            "/CMapName /Letters def\n/CMapType 2 def\n1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
            f"{tables}\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend"
        )

    def _scaled(self, length: int) -> int:
        return round(length * _UNITS / self._em)


#: What a PDF needs of a TrueType font (ISO 32000-1, 9.9), without instructions for hinting.
_TABLES = ("glyf", "head", "hhea", "hmtx", "loca", "maxp")


def _utf16(letter: str) -> str:
    return letter.encode("utf-16-be").hex().upper()
