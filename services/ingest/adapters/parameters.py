"""What all segments of one file share: codec, picture size, parameter sets, sound. Cameras change them under way."""

from __future__ import annotations

from typing import Any

import av
from av.packet import Packet

from services.ingest.adapters.audio import AudioTrack
from services.ingest.adapters.camera import Camera
from services.ingest.core.parameter_sets import (
    SCAN_BYTES,
    complete,
    digest,
    extradata_sets,
    is_byte_stream,
    parameter_sets,
    to_extradata,
)
from shared.domain.media import VideoCodec


class Parameters:
    """Those of one session, as they are now.

    Attributes:
        extradata: parameter sets for the MP4's header. `size`: of the picture, in pixels.
        byte_stream: packets hold start codes, and parameter sets may come among them.
        digest: differs when anything differs.
    """

    def __init__(self, camera: Camera, audio: AudioTrack | None) -> None:
        self._codec, self._audio = camera.codec, audio
        extradata = camera.video.codec_context.extradata
        self.extradata: bytes | None = extradata
        self.size = camera.size
        self.byte_stream = camera.codec is not VideoCodec.MJPEG and (not extradata or is_byte_stream(extradata))
        self._sets = extradata_sets(camera.codec, extradata) if extradata and is_byte_stream(extradata) else ()
        self.digest = self._digest()

    def _digest(self) -> str:
        audio = self._audio
        return digest(
            self._codec.value, *self.size, self.extradata,
            audio.codec if audio else None, audio.rate if audio else None, audio.extradata if audio else None,
        )  # fmt: skip

    def learn(self, packet: Packet[Any]) -> bool:
        """Take the parameter sets of a key frame; whether they are new, and a new file begins."""
        if not self.byte_stream:
            return False
        found = parameter_sets(self._codec, bytes(memoryview(packet)[:SCAN_BYTES]))
        if not found or set(found) <= set(self._sets) or not complete(self._codec, found):
            return False
        self.size = _decoded_size(self._codec, packet) or self.size
        self.extradata, self._sets = to_extradata(found), found
        self.digest = self._digest()
        return True


def _decoded_size(codec: VideoCodec, packet: Packet[Any]) -> tuple[int, int] | None:
    """Size of the picture in a key frame, by decoding it (only when parameter sets changed)."""
    context: Any = av.CodecContext.create(codec.value, "r")
    try:
        context.decode(av.Packet(bytes(packet)))
        context.decode(None)
    except av.FFmpegError:
        return None
    return (context.width, context.height) if context.width > 0 else None
