"""One client's playback: paces a source's frames in real time and writes their packets into a sink."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from services.cli.demo.faults import FaultState
from services.cli.demo.rtp import RTP_HEADER_BYTES, goodbye, rtp_header, sender_report
from services.cli.demo.source import MediaFrame, MediaSource
from shared.domain.clock import NS_PER_S, Clock, seconds_to_ns


class PacketSink(Protocol):
    """Where packets go: the RTSP connection or a pair of UDP ports. `track` is the SDP's number.

    goodbye_delay_s: how long after the last picture BYE goes out, so that it does not overtake it.
    """

    @property
    def goodbye_delay_s(self) -> float: ...
    def rtp(self, track: int, packet: bytes) -> None: ...
    def rtcp(self, track: int, packet: bytes) -> None: ...

    async def flush(self) -> None:
        """Hand over what was queued; waits while the client does not read. Raises ConnectionError when it is gone."""
        ...


@dataclass(slots=True)
class ClientStats:
    """What one client was sent. Frames and packets count when handed to the network; times are UTC nanoseconds."""

    client: int
    transport: str
    video_frames_sent: int = 0
    audio_frames_sent: int = 0
    video_frames_skipped: int = 0
    packets_sent: int = 0
    packets_dropped: int = 0
    packets_corrupted: int = 0
    bytes_sent: int = 0
    first_capture_ns: int | None = None
    last_capture_ns: int | None = None
    ended: bool = False


@dataclass(frozen=True, slots=True)
class SentFrame:
    """Ground truth of one video frame as it goes out. `index` counts in the file, `media_ns` over the session."""

    client: int
    index: int
    key: bool
    media_ns: int
    capture_ns: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Where media time 0 lies on the clocks. `speed` 2.0 sends twice as fast; capture times keep media pace."""

    monotonic_ns: int
    wall_ns: int
    speed: float = 1.0

    def due_ns(self, media_ns: int) -> int:
        """Monotonic time at which a frame is to leave."""
        return self.monotonic_ns + round(media_ns / self.speed)

    def capture_ns(self, media_ns: int) -> int:
        """UTC time of capture that the camera claims."""
        return self.wall_ns + media_ns


class CameraView(Protocol):
    """What a playback sees of its camera, always as it is now."""

    @property
    def source(self) -> MediaSource: ...
    @property
    def loop(self) -> bool: ...
    @property
    def faults(self) -> FaultState: ...
    @property
    def report_interval_s(self) -> float: ...

    async def run_script(self, media_ns: int) -> None:
        """Apply scripted faults that are due."""
        ...


@dataclass(slots=True)
class _TrackState:
    """Counters of one RTP stream."""

    ssrc: int
    sequence: int
    timestamp_base: int
    packets: int = 0
    octets: int = 0
    last_report_ns: int | None = None


@dataclass(slots=True)
class Cursor:
    """Position in a looped source: frame `index` of the pass that began at media time `pass_start_ns`."""

    source: MediaSource
    pass_start_ns: int = 0
    index: int = 0

    @property
    def frame(self) -> MediaFrame:
        return self.source.frames[self.index]

    def advance(self, *, loop: bool) -> bool:
        """Step to the next frame; False at the end of a source that does not loop."""
        self.index += 1
        if self.index < len(self.source.frames):
            return True
        if not loop:
            return False
        self.index = 0
        self.pass_start_ns += self.source.duration_ns
        return True

    def seek_key(self, media_ns: int) -> None:
        """Go to the first key frame of video at or after a media time (what joining a live camera gives)."""
        passes, within_ns = divmod(media_ns, self.source.duration_ns)
        self.pass_start_ns = passes * self.source.duration_ns
        tracks = self.source.tracks
        for number, frame in enumerate(self.source.frames):
            if frame.dts_ns >= within_ns and frame.key and (tracks[frame.track].codec.is_video or len(tracks) == 1):
                self.index = number
                return
        self.index = 0
        self.pass_start_ns += self.source.duration_ns


@dataclass(slots=True)
class Playback:
    """Sends until the source ends (`run` returns) or the client is gone (`run` raises ConnectionError)."""

    camera: CameraView
    sink: PacketSink
    clock: Clock
    timeline: Timeline
    cursor: Cursor
    tracks: frozenset[int]
    stats: ClientStats
    rng: random.Random
    changed: Callable[[], None]
    on_frame: Callable[[SentFrame], None] | None = None
    _states: dict[int, _TrackState] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for track in sorted(self.tracks):
            self._states[track] = _TrackState(self.rng.getrandbits(32), self.rng.getrandbits(16), self.rng.getrandbits(32))

    def rtp_info(self, track: int) -> str:
        """`seq=..;rtptime=..` of the first packet to come, for the answer to PLAY."""
        state = self._states[track]
        media_ns = self.cursor.pass_start_ns + self.cursor.frame.pts_ns
        return f"seq={state.sequence};rtptime={self._timestamp(track, media_ns) & 0xFFFFFFFF}"

    async def run(self) -> None:
        """Send frame after frame, each at its time."""
        while True:
            media_ns = self.cursor.pass_start_ns + self.cursor.frame.dts_ns
            await self._wait(media_ns)
            await self.camera.run_script(media_ns)
            if self.camera.source is not self.cursor.source:
                self.cursor = Cursor(self.camera.source, media_ns)
            self._send(self.cursor.frame)
            if not self.cursor.advance(loop=self.camera.loop):
                break
        await self.sink.flush()
        await self.clock.sleep(self.sink.goodbye_delay_s)
        for track, state in self._states.items():
            self.sink.rtcp(track, goodbye(state.ssrc))
        await self.sink.flush()

    async def _wait(self, media_ns: int) -> None:
        delay_ns = self.timeline.due_ns(media_ns) - self.clock.monotonic_ns()
        if delay_ns > 0:
            await self.sink.flush()  # all that was due together goes out in one write
            await self.clock.sleep(delay_ns / NS_PER_S)
        elif -delay_ns > NS_PER_S // 10:
            await self.sink.flush()  # late: never queue without bound

    def _timestamp(self, track: int, media_ns: int) -> int:
        jump_ns = self.camera.faults.jump_ns
        return self._states[track].timestamp_base + self.cursor.source.tracks[track].ticks(media_ns + jump_ns)

    def _send(self, frame: MediaFrame) -> None:
        if frame.track not in self.tracks:
            return
        video = self.cursor.source.tracks[frame.track].codec.is_video
        if self.camera.faults.silent(self.clock.monotonic_ns()):
            self.stats.video_frames_skipped += video
            self.changed()
            return
        media_ns = self.cursor.pass_start_ns + frame.pts_ns
        self._report(frame.track, media_ns)
        self._send_packets(frame, self._timestamp(frame.track, media_ns))
        if video:
            self._count(frame, media_ns)
        else:
            self.stats.audio_frames_sent += 1
        self.changed()

    def _count(self, frame: MediaFrame, media_ns: int) -> None:
        stats, capture_ns = self.stats, self.timeline.capture_ns(media_ns)
        stats.video_frames_sent += 1
        stats.last_capture_ns = capture_ns
        if stats.first_capture_ns is None:
            stats.first_capture_ns = capture_ns
        if self.on_frame is not None:
            self.on_frame(SentFrame(stats.client, frame.index, frame.key, media_ns, capture_ns))

    def _send_packets(self, frame: MediaFrame, timestamp: int) -> None:
        state, stats, faults = self._states[frame.track], self.stats, self.camera.faults
        payload_type = self.cursor.source.tracks[frame.track].payload_type
        for payload in frame.payloads:
            header = rtp_header(
                marker=payload.marker,
                payload_type=payload_type,
                sequence=state.sequence,
                timestamp=timestamp,
                ssrc=state.ssrc,
            )
            state.sequence += 1
            whole = header + payload.data
            packet = faults.spoil(whole)
            if packet is None:
                stats.packets_dropped += 1
                continue
            stats.packets_corrupted += packet is not whole
            self.sink.rtp(frame.track, packet)
            stats.packets_sent += 1
            stats.bytes_sent += len(packet)
            state.packets += 1
            state.octets += len(packet) - RTP_HEADER_BYTES

    def _report(self, track: int, media_ns: int) -> None:
        state = self._states[track]
        interval_ns = seconds_to_ns(self.camera.report_interval_s)
        if state.last_report_ns is not None and media_ns - state.last_report_ns < interval_ns:
            return
        state.last_report_ns = media_ns
        wall_ns = self.timeline.capture_ns(media_ns) + self.camera.faults.sender_clock_offset_ns
        timestamp = self._timestamp(track, media_ns)
        report = sender_report(ssrc=state.ssrc, wall_ns=wall_ns, timestamp=timestamp, packets=state.packets, octets=state.octets)
        self.sink.rtcp(track, report)


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a playback task and wait until it is gone; its own outcome was reported by the task itself."""
    task.cancel()
    await asyncio.wait([task])
