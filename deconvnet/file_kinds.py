"""What a file is by its first bytes: said of files that were given for a picture or for weights, and are neither."""

from __future__ import annotations

import re

#: How many of a file's first bytes tell its kind.
HEAD_BYTES = 512

#: What a file begins with -> what it is, with its article. Texts are looked at after the marks of binary formats.
_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com", "a pointer of Git LFS, in place of the file itself (git lfs pull fetches it)"),
    (b"/annex/objects/", "a pointer of git-annex, in place of the file itself (git annex get fetches it)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"GGUF", "a GGUF file of language models"),
    (b"%PDF-", "a PDF document"),
    (b"%!", "a PostScript program"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript program"),
    (b"8BPS", "a Photoshop document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x00\x00\x00\x00\x00\x00\x00\x04", "a McIdas area file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance HDR picture"),
    (b"MM\x00+", "a BigTIFF file"),
    (b"II+\x00", "a BigTIFF file"),
)


#: The same of pictures that are read, where something else was wanted.
_PICTURES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
)


def picture_kind_of(head: bytes) -> str | None:
    """Say which kind of picture a file is by its first bytes, None where it is none, or one of the rarer ones."""
    return next((kind for mark, kind in _PICTURES if head.startswith(mark)), None)


def kind_of(head: bytes) -> str | None:
    """Say what a file is by its first `HEAD_BYTES` bytes, None where they do not tell.

    >>> kind_of(b"<!DOCTYPE html><html>Sign in</html>")
    'a web page (HTML)'
    """
    for mark, kind in _MARKS:
        if head.startswith(mark):
            return kind
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"hevc"):
        return "a HEIC picture"
    if head[128:132] == b"DICM":
        return "a DICOM file"
    return _kind_of_text(head)


def _kind_of_text(head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML)"
    if re.match(rb"<\?xml.{0,200}?<svg|<svg", text, re.DOTALL):
        return "an SVG drawing"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML document"
    if text.startswith((b"{", b"[")) and _is_text(text):
        return "a JSON text"
    return "a text" if text and _is_text(text) else None


def _is_text(head: bytes) -> bool:
    """Say whether bytes are text in UTF-8; where there are more of them, the last letter may be cut."""
    for cut in range(4 if len(head) > HEAD_BYTES - 8 else 1):
        try:
            text = head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return all(letter.isprintable() or letter.isspace() for letter in text)
    return False
