"""What runs in a reading process: it decodes and crops pictures from stdin to stdout, within bounds."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from PIL import Image

from ..errors import PictureError
from . import limits
from .limits import MAX_PIXELS, MAX_SECONDS
from .preprocess import Preprocess
from .reading_process import receive, send

#: What a child may take beside Python and the file, in bytes: several times what the most pixels need.
MEMORY_BYTES = 4 * 2**30

#: What a picture may take while a child crops it, in bytes, before it asks the parent for more; together the children of a
#: machine then take no more than `limits.DECODING_BYTES`, and as much again.
CHILD_BYTES = limits.DECODING_BYTES // 16


def serve() -> None:
    """Read pictures from stdin to stdout until there are no more: the child's main function."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    source, target = sys.stdin.buffer, sys.stdout.buffer

    def ask(wanted: int) -> None:
        send(target, json.dumps({"wants": wanted}).encode(), b"", b"")
        receive(source, 1)

    limits.ask_above(CHILD_BYTES, ask)
    while True:
        try:
            header, data = receive(source, 2)
        except EOFError:
            return
        _limit_process()
        request = json.loads(header)
        send(target, *(_cropped(data, request) if "preprocess" in request else _decoded(data, request["format"])))


def _cropped(data: bytes, request: Mapping[str, Any]) -> tuple[bytes, bytes, bytes]:
    notes: list[str] = []
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in request["preprocess"].items()
        }
        pixels = Preprocess(**fields).crop_pixels(request["name"], data=BytesIO(data), on_note=notes.append)
        return json.dumps({"shape": pixels.shape, "notes": notes}).encode(), pixels.tobytes(), b""
    except EOFError:  # the parent is gone
        raise
    except Exception as error:
        text = str(error) if isinstance(error, PictureError) else f"{type(error).__name__}: {error}"
        return json.dumps({"problem": text}).encode(), b"", b""


def _decoded(data: bytes, picture_format: str) -> tuple[bytes, bytes, bytes]:
    try:
        with Image.open(BytesIO(data), formats=[picture_format]) as picture:
            picture.load()
            mode = picture.palette.mode if picture.palette else ""
            palette = picture.palette.tobytes() if picture.palette else b""
            told: dict[str, Any] = {"mode": picture.mode, "size": picture.size, "palette": mode}
            return json.dumps(told).encode(), picture.tobytes(), palette
    except Exception as error:
        return json.dumps({"problem": f"{type(error).__name__}: {error}"}).encode(), b"", b""


def _limit_process() -> None:
    """Give this process `MAX_SECONDS` more, and bounded memory, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: its parent stops it by the clock
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + MAX_SECONDS) + 1
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MEMORY_BYTES)):
        with contextlib.suppress(ValueError, OSError):  # a lower bound is in force already
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))
