"""The formats of pictures that are read. A file's content decides which one it is, never its name.

Pillow knows some forty formats, some of which start other programs (PostScript starts Ghostscript) or are hardly looked after.
What a stranger calls photo.jpg must reach none of those.
"""

from __future__ import annotations

#: The formats that are read, by Pillow's names, the most frequent ones first; JPEG takes in MPO, two JPEG pictures in a file.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000")

#: How people write them.
FORMAT_NAMES = "AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PGM, PPM, TIFF and WebP"

#: The suffixes of the pictures that are found in a folder; a file that is named itself may have any suffix.
SUFFIXES = (
    ".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tif", ".tiff", ".webp",
)  # fmt: skip

#: Suffixes of pictures that are not read; those in a folder are counted, not passed over in silence.
UNREAD_SUFFIXES = (
    ".arw", ".cr2", ".cr3", ".dcm", ".dib", ".dng", ".eps", ".exr", ".fit", ".fits", ".hdr", ".heic", ".heif", ".ico", ".jxl",
    ".nef", ".nii", ".pcx", ".psd", ".raf", ".raw", ".sgi", ".svg", ".tga",
)  # fmt: skip

#: Formats whose decoder runs in one call that nothing can interrupt, and whose files can ask for much more than their pixels.
UNBOUNDED_FORMATS = ("AVIF", "JPEG2000")
