"""A process that decodes pictures, to be stopped where nothing else can: what runs in it, and what starts it.

Some decoders run in one call that cannot be interrupted, and their files can ask for hours (`formats.UNBOUNDED_FORMATS`). Such
a picture is decoded in a child process with bounded seconds and memory; if that dies, the picture is named, and the next one
gets a new process. Pixels go through a pipe as plain bytes: what comes from the child is never unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any

from PIL import Image

from .limits import MAX_PIXELS, MAX_SECONDS, TooSlowError

#: What a child may take beside Python and the file, in bytes: several times what the most pixels need.
MEMORY_BYTES = 4 * 2**30

#: A child that waits uses no time of a processor; after this many times `MAX_SECONDS` by the clock it is stopped anyway.
PATIENCE = 5

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from deconvnet.images.reading_process import serve; serve()"


#: The exit codes of a child that its bounds have ended: killed by the clock, or by its processor's seconds (SIGXCPU).
_BY_BOUNDS = (-9, -24, 1) if sys.platform == "win32" else (-9, -24)


class DeadReaderError(Exception):
    """A child ended while it decoded a picture."""


class ReadingProcess:
    """One child process, which decodes one picture after another."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def decode(self, data: bytes, picture_format: str) -> Image.Image:
        """Return a picture's first frame.

        Raises:
            TooSlowError: it took too long, or too much memory.
            OSError: it is damaged.
            DeadReaderError: it made the decoder crash.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        timer = threading.Timer(PATIENCE * MAX_SECONDS, self._child.kill)
        timer.start()
        try:
            _send(self._child.stdin, json.dumps({"format": picture_format}).encode(), data)
            header, pixels, palette = _receive(self._child.stdout, 3)
        except (EOFError, BrokenPipeError, ValueError) as error:  # dead, by the bounds or of its own, or closed
            if self._child.wait() in _BY_BOUNDS:
                raise TooSlowError from error
            raise DeadReaderError from error
        finally:
            timer.cancel()
        told = json.loads(header)
        if "problem" in told:
            raise OSError(told["problem"])
        picture = Image.frombytes(told["mode"], tuple(told["size"]), pixels)
        if palette:
            picture.putpalette(palette, told["palette"])
        return picture

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class _Pool:
    """Processes that wait for the next picture; as many as threads ever decoded at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[ReadingProcess] = []
        self._busy: set[ReadingProcess] = set()

    @contextlib.contextmanager
    def process(self) -> Iterator[ReadingProcess]:
        with self._lock:
            process = self._idle.pop() if self._idle else ReadingProcess()
            self._busy.add(process)
        healthy = False
        try:
            yield process
            healthy = True
        except OSError:
            healthy = True  # a damaged picture, of which the process told
            raise
        finally:
            with self._lock:
                self._busy.discard(process)
                if healthy:
                    self._idle.append(process)
            if not healthy:
                process.stop()

    def forget(self) -> None:
        """Leave the processes to the parent that this process was forked from."""
        self.__init__()  # type: ignore[misc]

    def stop_all(self) -> None:
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.stop()


_pool = _Pool()
atexit.register(_pool.stop_all)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.forget)


def decode(data: bytes, picture_format: str) -> Image.Image:
    """Decode the first frame of a picture in a child process; see `ReadingProcess.decode`."""
    with _pool.process() as process:
        return process.decode(data, picture_format)


def stop_readers() -> None:
    """Stop the processes that decode; what they were at is reported as too slow."""
    _pool.stop_all()


def serve() -> None:
    """Decode pictures from stdin to stdout until there are no more: the child's main function."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            header, data = _receive(source, 2)
        except EOFError:
            return
        _limit_process()
        _send(target, *_answer(data, json.loads(header)["format"]))


def _answer(data: bytes, picture_format: str) -> tuple[bytes, bytes, bytes]:
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


def _send(pipe: IO[bytes], *parts: bytes) -> None:
    for part in parts:
        pipe.write(len(part).to_bytes(8, "big"))
        pipe.write(part)
    pipe.flush()


def _receive(pipe: IO[bytes], count: int) -> list[bytes]:
    """Read so many parts; EOFError if the other side is gone."""
    return [_read(pipe, int.from_bytes(_read(pipe, 8), "big")) for _ in range(count)]


def _read(pipe: IO[bytes], length: int) -> bytes:
    if length > 16 * MAX_PIXELS:
        raise EOFError  # no picture is so large: what answers is no longer the decoder
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data
