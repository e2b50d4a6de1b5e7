"""One session of one stream on its way into the spool: verdicts of the segmenter, times of the capture clock, bytes by the writer."""

from __future__ import annotations

import struct
import threading
from typing import Any

from av.packet import Packet

from services.ingest.adapters.audio import AudioTrack
from services.ingest.adapters.camera import TICK, Camera
from services.ingest.adapters.parameters import Parameters
from services.ingest.adapters.segment_writer import AUDIO_WAIT_TICKS, Identity, Notices, SegmentWriter, Tally
from services.ingest.adapters.spool import Spool
from services.ingest.core.segmenter import Limits, Segmenter, Verdict, ticks_to_ns
from services.ingest.core.timeline import CaptureClock
from shared.domain.clock import NS_PER_S, Clock
from shared.messages.media import Discontinuity


class Recorder:
    """Not thread-safe but for `finish`, which another thread may call when the camera's thread hangs in a read."""

    def __init__(
        self, identity: Identity, camera: Camera, audio: AudioTrack | None, *, spool: Spool | None, limits: Limits, clock: Clock,
        tally: Tally, notices: Notices, first: Discontinuity, last_parameters: str | None,
    ) -> None:  # fmt: skip
        """`spool` None: times are kept, nothing is recorded. `last_parameters`: digest of the session before, or None."""
        self._identity, self._camera, self._audio = identity, camera, audio
        self._clock, self._tally, self._notices = clock, tally, notices
        self.parameters = Parameters(camera, audio)
        if last_parameters is not None and self.parameters.digest != last_parameters:
            first = Discontinuity.CODEC_CHANGE
        self.segmenter = Segmenter(limits, first)
        self.timeline = CaptureClock()
        self._writer = SegmentWriter(
            identity, camera, audio, self.parameters, self.segmenter, spool=spool, clock=clock, tally=tally, notices=notices
        )
        self._lock = threading.Lock()
        self._finished = False
        self._next_dts = 0
        self._intact = False

    @property
    def session(self) -> str:
        """The session's id."""
        return self._identity.session

    def video(self, packet: Packet[Any], arrival_ns: int, *, broken: bool) -> int | None:
        """Take a video packet; its presentation time in media ticks, or None when it cannot be decoded. The packet is ours from now on.

        Args:
            arrival_ns: monotonic.
            broken: it is corrupt, or packets before it were lost.
        """
        if self._camera.rescale:
            packet.rescale_ts(TICK)
        dts, pts = self._stamps(packet, arrival_ns)
        key = packet.is_keyframe
        segmenter = self.segmenter
        size = packet.size
        if key:
            if self.parameters.learn(packet):
                segmenter.mark(Discontinuity.CODEC_CHANGE)
            self._check_clock()  # before the verdict: the segment that this key frame begins knows of a jump
        verdict = segmenter.feed(dts, size, key=key, arrival_ns=arrival_ns, broken=broken)
        ticks = segmenter.ticks
        self.timeline.observe(ticks_to_ns(ticks), arrival_ns)
        if segmenter.jumped:
            self._notices.jump("camera.timestamp_jump", "the camera's timestamps jumped; the recording goes on in a new segment")
        tally = self._tally
        tally.frames += 1
        tally.bytes += size
        shift = segmenter.shift
        media = pts + shift
        # What is decoded does not depend on what could be recorded: analysis goes on while the spool is full.
        self._intact = not broken and (key or self._intact)
        if verdict is Verdict.DROP:
            tally.discarded += 1
        elif verdict is not Verdict.APPEND or self._writer.open is not None:
            with self._lock:
                if not self._finished:
                    self._take(verdict, packet, ticks, media, key=key)
        return media if self._intact and self.timeline.ready else None

    def _stamps(self, packet: Any, arrival_ns: int) -> tuple[int, int]:
        """(dts, pts) in ticks, made up where they are missing."""
        if not self._camera.stamped:
            dts = arrival_ns * 9 // 100_000
            return dts, dts
        pts = packet.pts
        dts = packet.dts if packet.dts is not None else pts
        if dts is None:
            dts = self._next_dts
        self._next_dts = dts + (packet.duration or 0)
        return dts, dts if pts is None or pts < dts else pts

    def _check_clock(self) -> None:
        set_by_ns = self.timeline.check_clock(self._clock.monotonic_ns(), self._clock.now_ns())
        if set_by_ns:
            self.segmenter.mark(Discontinuity.CLOCK_JUMP)
            self._notices.jump("clock.jump", f"this machine's clock was set by {set_by_ns / NS_PER_S:+.1f} s; a new segment begins")

    def _take(self, verdict: Verdict, packet: Packet[Any], ticks: int, media: int, *, key: bool) -> None:
        writer = self._writer
        if verdict is Verdict.APPEND:
            writer.append(packet, ticks, key=key)
        else:
            writer.cut()
        if verdict is Verdict.START:
            start_ns = self._steer(packet, media, key=key)
            if self._audio is None:
                writer.end_closing()
            if self.segmenter.is_open:  # else the segment before could not be finished: try again at the next key frame
                writer.begin(packet, ticks, start_ns, key=key)
        elif verdict is Verdict.FINISH:
            writer.end_closing()
            return
        segment = writer.open
        if segment is not None:
            packet.dts, packet.pts = ticks - segment.ticks, media - segment.ticks
        if writer.closing is not None and ticks - writer.closing.end_ticks > AUDIO_WAIT_TICKS:
            writer.end_closing()

    def _steer(self, packet: Packet[Any], media: int, *, key: bool) -> int:
        """Steer the capture clock between two segments: where one ends the next begins. The capture time of this packet."""
        segmenter, timeline, ends = self.segmenter, self.timeline, self._writer.closing
        media_ns = ticks_to_ns(media)
        if not timeline.ready:
            self._check_clock()
        if ends is not None and segmenter.discontinuity is Discontinuity.CLOCK_JUMP:
            ends.end_ns = ends.start_ns + ticks_to_ns(ends.end_ticks - ends.ticks)
        timeline.steer(media_ns, sender_ns(packet) if key else None)
        start_ns = timeline.at(media_ns)
        if ends is not None and ends.end_ns is None and segmenter.discontinuity is not Discontinuity.LOSS:
            ends.end_ns = start_ns
        return start_ns

    def audio(self, packet: Packet[Any]) -> None:
        """Take a sound packet."""
        if self._audio is None:
            return
        for made in self._audio.packets(packet):
            with self._lock:
                if not self._finished:
                    self._writer.place_audio(made)

    def finish(self) -> None:
        """End the open segment and spool it. Idempotent; nothing is recorded afterwards."""
        with self._lock:
            if not self._finished:
                self._finished = True
                self._writer.finish()


def sender_ns(packet: Packet[Any]) -> int | None:
    """Capture time by the camera's clock (AVProducerReferenceTime: int64 us since the epoch), UTC, or None."""
    if not packet.has_sidedata("prft"):
        return None
    return int(struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))[0]) * 1000
