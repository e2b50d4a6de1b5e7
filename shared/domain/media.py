"""Media values: streams, codecs and decoded pictures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


class StreamKind(StrEnum):
    """Which of a camera's streams."""

    MAIN = "main"
    SUB = "sub"


class VideoCodec(StrEnum):
    """Video codecs that are recorded by stream copy."""

    H264 = "h264"
    H265 = "hevc"
    MJPEG = "mjpeg"


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture at analysis size: either planar I420 pixels, or JPEG bytes, or both.

    Attributes:
        width, height: in pixels, both even.
        i420: uint8 array of shape (height * 3 // 2, width): the Y plane, then U and V at half size each; limited range
            (16..235), BT.601. None when only JPEG is held.
        jpeg: JPEG bytes, or None when only pixels are held.
        full_range: the pixels' luma runs 0..255 (JPEG range), not 16..235.
    """

    width: int
    height: int
    i420: Pixels | None = None
    jpeg: bytes | None = None
    full_range: bool = False

    def __post_init__(self) -> None:
        if self.i420 is None and self.jpeg is None:
            raise ValueError("a picture needs pixels or JPEG bytes")
        if self.i420 is not None and self.i420.shape != (self.height * 3 // 2, self.width):
            raise ValueError(f"I420 of {self.width}x{self.height} has shape {(self.height * 3 // 2, self.width)}, not {self.i420.shape}")
