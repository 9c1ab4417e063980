"""A process that reads pictures, to be stopped where nothing else can, or to keep another core busy.

Some decoders run in one call that cannot be interrupted, and their files can ask for hours (`formats.UNBOUNDED_FORMATS`). Such
a picture is decoded in a child process with bounded seconds and memory; if that dies, the picture is named, and the next one
gets a new process. And a scan on many cores has its pictures decoded and cropped by children, since threads of one interpreter
keep no more than about four cores busy (`crop`).

Bytes go to a child and pixels come back through pipes: no shared memory that can run out, no start method of
`multiprocessing`, so that notebooks and scripts without `if __name__ == "__main__"` need nothing. What comes from a child is
never unpickled.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import PictureError
from . import limits
from .limits import MAX_PIXELS, MAX_SECONDS, TooSlowError

#: A child that waits uses no time of a processor; after this many times `MAX_SECONDS` by the clock it is stopped anyway.
PATIENCE = 5

#: How often the clock is looked at, in seconds.
TICK = 0.2

#: Bytes that a pipe holds, where the system lets us choose: a picture as a net sees it in one piece, or two.
PIPE_BYTES = 2**18

#: Let glibc keep the memory of one picture for the next: a fifth of the time to read a small one, a third of a large one.
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from deconvnet.images.reading_child import serve; serve()"

_SIGXCPU = -24  # the exit code of a child whose seconds on the processor are used up


class DeadReaderError(Exception):
    """A child ended while it had a picture."""


class NoReaderError(Exception):
    """No child can be started."""


class ReadingProcess:
    """One child process, which reads one picture after another."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**_KEEP_MEMORY, **os.environ},
            )
        except (OSError, ValueError) as error:  # no memory, no more processes, or no interpreter of its own
            raise NoReaderError(str(error)) from error
        self._is_stopped = False
        _widen(self._child.stdin, self._child.stdout)

    def decode(self, data: bytes, picture_format: str) -> Image.Image:
        """Return a picture's first frame.

        Raises:
            TooSlowError: it took too long, or too much memory.
            OSError: it is damaged.
            DeadReaderError: it made the decoder crash.
        """
        told, pixels, palette = self._ask({"format": picture_format}, data)
        if "problem" in told:
            raise OSError(told["problem"])
        picture = Image.frombytes(told["mode"], tuple(told["size"]), pixels)
        if palette:
            picture.putpalette(palette, told["palette"])
        return picture

    def crop(self, data: bytes, name: str, preprocess: Mapping[str, Any]) -> tuple[npt.NDArray[np.uint8], list[str]]:
        """Return what a net sees of a picture, (H, W, C), and notes on what was left out.

        Args:
            data: the bytes of the file.
            name: its path, for errors.
            preprocess: the fields of a `Preprocess`.

        Raises:
            PictureError: the picture cannot be used.
            TooSlowError: it took too long.
            DeadReaderError: the child ended.
        """
        told, pixels, _ = self._ask({"name": name, "preprocess": dict(preprocess)}, data)
        if "problem" in told:
            raise PictureError(told["problem"])
        return np.frombuffer(pixels, np.uint8).reshape(told["shape"]), told["notes"]

    def stop(self) -> None:
        """End the process, whatever it does; what it was at is reported as too slow."""
        self._is_stopped = True
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def kill_as_late(self) -> None:
        """End a process that has taken too long; whoever waits for it cleans up."""
        self._is_stopped = True
        self._child.kill()

    def _ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes, bytes]:
        """Send a request with a file's bytes; return what is told, and its two parts."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        parts: tuple[bytes, ...] = (json.dumps(request).encode(), data)
        with contextlib.ExitStack() as held:
            while True:
                header, first, second = self._exchange(*parts)
                told: dict[str, Any] = json.loads(header)
                if "wants" not in told:
                    return told, first, second
                held.close()
                held.enter_context(limits.taking(told["wants"]))
                parts = (b"go",)

    def _exchange(self, *parts: bytes) -> list[bytes]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            with _clock.watching(self):
                send(self._child.stdin, *parts)
                return receive(self._child.stdout, 3)
        except (EOFError, BrokenPipeError, ValueError) as error:  # dead, by the bounds or of its own, or closed
            if self._child.wait() == _SIGXCPU or self._is_stopped:
                raise TooSlowError from error
            raise DeadReaderError from error


class _Clock:
    """Ends children that take too long by the clock: one thread for all of them, which lives while any is watched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[ReadingProcess, float] = {}
        self._runs = False

    @contextlib.contextmanager
    def watching(self, process: ReadingProcess) -> Iterator[None]:
        with self._lock:
            self._ends[process] = time.monotonic() + PATIENCE * MAX_SECONDS
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="readers' clock", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._ends.pop(process, None)

    def forget(self) -> None:
        """Leave the processes to the parent that this process was forked from."""
        self.__init__()  # type: ignore[misc]

    def _run(self) -> None:
        while True:
            time.sleep(TICK)
            with self._lock:  # in which no process can have gone on to its next picture
                for process in [process for process, end in self._ends.items() if end < time.monotonic()]:
                    del self._ends[process]
                    process.kill_as_late()
                if not self._ends:
                    self._runs = False
                    return


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
        except (OSError, PictureError):
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

    def stop_idle(self) -> None:
        with self._lock:
            processes, self._idle = self._idle, []
        for process in processes:
            process.stop()

    def stop_all(self) -> None:
        with self._lock:
            processes, self._idle = [*self._idle, *self._busy], []
        for process in processes:
            process.stop()


_pool, _clock = _Pool(), _Clock()
atexit.register(_pool.stop_all)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.forget)
    os.register_at_fork(after_in_child=_clock.forget)


def decode(data: bytes, picture_format: str) -> Image.Image:
    """Decode the first frame of a picture in a child process; see `ReadingProcess.decode`."""
    with _pool.process() as process:
        return process.decode(data, picture_format)


def crop(data: bytes, name: str, preprocess: Mapping[str, Any]) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Crop a picture in a child process; see `ReadingProcess.crop`. If that ends, somehow, another one tries once more.

    Raises:
        PictureError: the picture cannot be used.
        NoReaderError: no process can be started.
    """
    for attempt in (1, 2):
        try:
            with _pool.process() as process:
                return process.crop(data, name, preprocess)
        except TooSlowError as error:
            raise limits.slow_error(repr(name)) from error
        except DeadReaderError as error:  # killed from outside, or by this picture
            if attempt == 2:
                raise limits.damaged_error(repr(name)) from error
    raise AssertionError("two attempts end in a result or an error")


def can_read() -> bool:
    """Say whether children can be started here and answer: not where Python is embedded, or processes are forbidden."""
    try:
        with _pool.process() as process:
            return "problem" in process._ask({"format": "PNG"}, b"no picture")[0]
    except (NoReaderError, DeadReaderError, TooSlowError, OSError):
        return False


def stop_readers() -> None:
    """Stop the processes that decode; what they were at is reported as too slow."""
    _pool.stop_all()


def release_readers() -> None:
    """Stop the processes that wait for a picture; those that have one go on."""
    _pool.stop_idle()


def _widen(*pipes: IO[bytes] | None) -> None:
    """Let pipes hold more, where the system can: each piece of a picture costs a change of threads."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl
    except ImportError:  # not Linux
        return
    for pipe in pipes:
        with contextlib.suppress(OSError):  # this user's pipes hold enough
            assert pipe is not None
            fcntl(pipe, F_SETPIPE_SZ, PIPE_BYTES)


def send(pipe: IO[bytes], *parts: bytes) -> None:
    """Write parts to a pipe, behind their lengths."""
    pipe.write(b"".join(len(part).to_bytes(8, "big") for part in parts))
    for part in parts:
        pipe.write(part)
    pipe.flush()


def receive(pipe: IO[bytes], count: int) -> list[bytes]:
    """Read so many parts; EOFError if the other side is gone."""
    lengths = _read(pipe, 8 * count)
    return [_read(pipe, int.from_bytes(lengths[at : at + 8], "big")) for at in range(0, 8 * count, 8)]


def _read(pipe: IO[bytes], length: int) -> bytes:
    if length > 16 * MAX_PIXELS:
        raise EOFError  # no picture is so large: what answers is no longer the decoder
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data
