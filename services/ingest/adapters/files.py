"""A file as a camera: played in real time, looped, with timestamps that go on rising over the loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from services.ingest.adapters.errors import camera_error
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import CameraStreamError

_DEFAULT_FPS = Fraction(25)


class _Track:
    """Timestamps of one stream over the loops; all in the stream's time base."""

    def __init__(self, stream: Any) -> None:
        base = stream.time_base or Fraction(1, 90_000)
        self.base = base
        rate = getattr(stream, "average_rate", None) or _DEFAULT_FPS
        self.step = max(1, round(1 / (rate * base))) if stream.type == "video" else 0
        self.next_dts = 0
        self.begin_ns: int | None = None

    def stamp(self, packet: Packet[Any], shift_ns: int) -> int:
        """Give the packet its timestamps with the loop's shift. Its decode time without the shift, nanoseconds."""
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            dts = self.next_dts
        pts = packet.pts if packet.pts is not None else dts
        self.next_dts = dts + (packet.duration or self.step)
        shift = round(shift_ns / (self.base * NS_PER_S))
        packet.dts, packet.pts = dts + shift, pts + shift
        return round(dts * self.base * NS_PER_S)

    @property
    def end_ns(self) -> int:
        return round(self.next_dts * self.base * NS_PER_S)


def paced(container: InputContainer, streams: list[Any], clock: Clock, stop: threading.Event, where: str) -> Iterator[Packet[Any]]:
    """The file's packets, each when it is due by the monotonic clock, for ever; ends when `stop` is set.

    Raises:
        CameraStreamError: the file is broken or empty, or cannot be rewound.
    """
    shift_ns = 0
    start_ns: int | None = None
    while True:
        tracks = {stream.index: _Track(stream) for stream in streams}
        first_ns: int | None = None
        try:
            for packet in container.demux(streams):
                if packet.size == 0:
                    continue
                at_ns = tracks[packet.stream_index].stamp(packet, shift_ns)
                first_ns = at_ns if first_ns is None else first_ns
                due_ns = at_ns + shift_ns
                start_ns = clock.monotonic_ns() - due_ns if start_ns is None else start_ns
                wait_ns = start_ns + due_ns - clock.monotonic_ns()
                if wait_ns > 0 and stop.wait(wait_ns / NS_PER_S):
                    return
                yield packet
            if first_ns is None:
                raise CameraStreamError("the file holds no video", where=where)
            container.seek(0)
        except av.FFmpegError as error:
            raise camera_error(error, where) from None
        shift_ns += max(track.end_ns for track in tracks.values()) - first_ns
