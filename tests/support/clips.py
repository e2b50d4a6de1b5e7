"""Small media files for tests, made on the spot: a moving pattern, and a tone when audio is asked for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

VIDEO_ENCODERS = {"h264": "libx264", "h265": "libx265", "mjpeg": "mjpeg", "mpeg4": "mpeg4"}
AUDIO_ENCODERS = {"aac": "aac", "pcmu": "pcm_mulaw", "pcma": "pcm_alaw"}
_OPTIONS = {
    "h264": {"preset": "ultrafast", "tune": "zerolatency", "threads": "1"},
    "h265": {"preset": "ultrafast", "x265-params": "log-level=none:bframes=0:pools=1:frame-threads=1"},
    "mjpeg": {"huffman": "default"},  # RTP/JPEG can carry no other tables
    "mpeg4": {},
}


def make_clip(
    file: Path,
    *,
    video: str = "h264",
    audio: str | None = None,
    seconds: float = 2.0,
    fps: int = 10,
    size: tuple[int, int] = (320, 180),
    gop: int = 10,
    bit_rate: int = 300_000,
    b_frames: int = 0,
) -> Path:
    """Encode `seconds * fps` frames of `size` (width, height) into `file`; the container follows the suffix.

    `video` is one of VIDEO_ENCODERS, `audio` of AUDIO_ENCODERS (mono; G.711 at 8 kHz, AAC at 16 kHz) or None.
    """
    with av.open(str(file), "w") as container:
        stream = container.add_stream(VIDEO_ENCODERS[video], rate=fps, options=_OPTIONS[video])
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.bit_rate = bit_rate
        tone = _add_tone(container, audio) if audio else None
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(_picture(number, size), format="gray").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            _write_tone(container, tone, seconds)
    return file


def _picture(number: int, size: tuple[int, int]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return cast("np.ndarray[tuple[int, int], np.dtype[np.uint8]]", ((x + 3 * y + 7 * number) % 256).astype(np.uint8))


def _add_tone(container: OutputContainer, audio: str) -> AudioStream:
    rate = 16_000 if audio == "aac" else 8_000
    stream = container.add_stream(AUDIO_ENCODERS[audio], rate=rate, layout="mono")
    assert isinstance(stream, AudioStream)
    return stream


def _write_tone(container: OutputContainer, stream: AudioStream, seconds: float) -> None:
    rate = stream.codec_context.sample_rate
    resampler = AudioResampler(
        format=stream.codec_context.format, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size or 160
    )
    samples = (np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate) * 8000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(piece))
    container.mux(stream.encode(None))
