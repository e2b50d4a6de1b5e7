"""Camera-like H.264 files: constant frame rate, no B-frames, a key frame every 2 s (as most cameras are set up)."""

from __future__ import annotations

import fcntl
import hashlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from shared.domain.errors import CameraStreamError

GOP_S = 2
SUB_WIDTH, SUB_HEIGHT = 640, 360
_ENCODER_VERSION = 1  # raise it when the settings below change, so that caches are rebuilt
Progress = Callable[[str, int, int], None]
"""Called with what is being built, units done, units in all."""


class ClipWriter:
    """Encodes frames one after another into an MP4 file."""

    def __init__(self, container: OutputContainer, size: tuple[int, int], rate: Fraction) -> None:
        # a fixed thread count: x264's output depends on it, and a rebuilt file is to have the same bytes
        options = {"preset": "veryfast", "crf": "24", "threads": "2", "bf": "0", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        assert isinstance(stream, VideoStream)  # libx264 is a video encoder
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = round(rate * GOP_S)
        self._container, self._stream, self._rate = container, stream, rate
        self.frames = 0

    def write(self, frame: av.VideoFrame) -> None:
        """Encode a picture as the next of the file, scaled to its size. The frame is taken over: its PTS may change."""
        fitted = frame.reformat(width=self._stream.width, height=self._stream.height, format="yuv420p", interpolation="AREA")
        fitted.pts, fitted.time_base = self.frames, 1 / self._rate
        fitted.pict_type = av.video.frame.PictureType.NONE
        self._container.mux(self._stream.encode(fitted))
        self.frames += 1

    def write_bgr(self, picture: NDArray[np.uint8]) -> None:
        """Encode a BGR picture of shape (height, width, 3)."""
        self.write(av.VideoFrame.from_ndarray(picture, format="bgr24"))

    def finish(self) -> None:
        """Flush the encoder."""
        self._container.mux(self._stream.encode(None))


@contextmanager
def clip_writer(file: Path, size: tuple[int, int], rate: Fraction) -> Iterator[ClipWriter]:
    """Write `file` under another name and move it into place when it is whole, so that a cache holds no halves. That name is
    its own: two demos may build the same file at once."""
    _remove_left_over(file.parent)
    with _part_of(file) as part:
        with av.open(str(part), "w", format="mp4") as container:
            writer = ClipWriter(container, size, rate)
            yield writer
            writer.finish()
        part.replace(file)


@contextmanager
def _part_of(file: Path) -> Iterator[Path]:
    """A new file beside `file`, locked for as long as whoever builds it lives."""
    while True:
        part = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.part")
        with part.open("xb") as held:
            with suppress(OSError):  # a file system without locks: nobody can tell then that it is left over
                fcntl.flock(held, fcntl.LOCK_EX)
            if part.exists():  # else somebody was quicker to lock it
                try:
                    yield part
                finally:
                    part.unlink(missing_ok=True)
                return


def _remove_left_over(folder: Path) -> None:
    """Parts of builds that were killed: nobody holds their locks."""
    for part in folder.glob(f"*.{'[0-9a-f]' * 32}.part"):
        with suppress(OSError), part.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def sub_size(width: int, height: int) -> tuple[int, int]:
    """The largest even size that fits 640 x 360 with the same shape, never larger than the picture."""
    scale = min(SUB_WIDTH / width, SUB_HEIGHT / height, 1.0)
    return round(width * scale) // 2 * 2, round(height * scale) // 2 * 2


@dataclass(frozen=True, slots=True)
class CameraPair:
    """Files of one camera's main and sub stream."""

    main: Path
    sub: Path


def camera_pair(file: Path, folder: Path, progress: Progress | None = None) -> CameraPair:
    """Re-encode real footage into a main and a sub stream of the same frame count and rate, cached by content.

    Blocking, seconds to a minute; call it in a thread.

    Raises:
        CameraStreamError: the file cannot be decoded.
    """
    digest = hashlib.sha256(file.read_bytes() + f"pair{_ENCODER_VERSION}".encode()).hexdigest()[:16]
    pair = CameraPair(folder / f"{file.stem}-{digest}-main.mp4", folder / f"{file.stem}-{digest}-sub.mp4")
    if pair.main.exists() and pair.sub.exists():
        return pair
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _reencode(file, pair, progress)
    except av.error.FFmpegError as error:
        raise CameraStreamError(f"cannot be re-encoded: {error.strerror}", where=file.name) from error
    return pair


def _reencode(file: Path, pair: CameraPair, progress: Progress | None) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(file)))
        if not source.streams.video:
            raise CameraStreamError("holds no video", where=file.name)
        stream = source.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        if rate is None:
            raise CameraStreamError("has no frame rate", where=file.name)
        size = stream.width // 2 * 2, stream.height // 2 * 2
        main = stack.enter_context(clip_writer(pair.main, size, Fraction(rate)))
        sub = stack.enter_context(clip_writer(pair.sub, sub_size(*size), Fraction(rate)))
        for frame in source.decode(stream):
            main.write(frame)
            sub.write(frame)
            if progress is not None and main.frames % 25 == 0:
                progress(file.stem, main.frames, max(stream.frames, main.frames))
