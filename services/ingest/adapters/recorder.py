"""One session of one stream on its way into the spool: verdicts of the segmenter, times of the capture clock, bytes by the muxer."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av
import structlog
from av.packet import Packet

from services.ingest.adapters.audio import AudioTrack
from services.ingest.adapters.camera import TICK, Camera
from services.ingest.adapters.muxer import SegmentMuxer
from services.ingest.adapters.spool import Spool
from services.ingest.adapters.spool_file import SpoolFile
from services.ingest.core.parameter_sets import (
    SCAN_BYTES,
    complete,
    digest,
    extradata_sets,
    is_byte_stream,
    parameter_sets,
    to_extradata,
)
from services.ingest.core.segmenter import TICKS_PER_S, Limits, Segmenter, Verdict, ticks_to_ns
from services.ingest.core.timeline import CaptureClock
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import VedetteError
from shared.domain.ids import deterministic_id
from shared.domain.media import StreamKind, VideoCodec
from shared.messages.media import Discontinuity

log = structlog.get_logger(__name__)

AUDIO_WAIT_TICKS = TICKS_PER_S // 2  # at a cut, the old segment stays open for late sound this long
AUDIO_AHEAD_S = 5.0  # sound further ahead of the picture than this has broken timestamps
FLUSH_NS = NS_PER_S  # fdatasync of the open segment at key frames, at most this often


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose footage it is."""

    device: str
    channel: str
    number: int
    stream: StreamKind
    session: str


@dataclass(slots=True)
class Tally:
    """Counts of one stream over all sessions. Written by its thread, read by anyone."""

    frames: int = 0
    bytes: int = 0
    segments: int = 0
    lost_segments: int = 0
    broken: int = 0
    discarded: int = 0


@dataclass(slots=True)
class Notices:
    """What the recorder tells its owner, on the camera's thread."""

    jump: Callable[[str, str], None]  # (source of the exception, text)
    trouble: Callable[[VedetteError], None]  # a segment was lost
    recorded: Callable[[], None]  # a segment was finished


@dataclass(slots=True)
class _Open:
    """A segment that is being written."""

    file: SpoolFile
    muxer: SegmentMuxer
    sequence: int
    ticks: int  # of its first frame
    audio_base: int  # samples at its first frame
    start_ns: int
    shift: int
    held: Packet[Any]
    held_ticks: int
    frames: int = 1
    key_frames: int = 0
    audio_next: int = 0  # smallest allowed audio timestamp
    flushed_ns: int = 0
    end_ticks: int = 0
    cut: bool = False
    end_ns: int | None = None


@dataclass(slots=True)
class _Parameters:
    """What all segments of one file share."""

    extradata: bytes | None
    size: tuple[int, int]
    sets: tuple[bytes, ...] = field(default=())


class Recorder:
    """Not thread-safe but for `finish`, which another thread may call when the camera's thread hangs in a read."""

    def __init__(
        self, identity: Identity, camera: Camera, audio: AudioTrack | None, *, spool: Spool | None, limits: Limits, clock: Clock,
        tally: Tally, notices: Notices, first: Discontinuity, last_parameters: str | None,
    ) -> None:  # fmt: skip
        """`spool` None: times are kept, nothing is recorded. `last_parameters`: digest of the session before, or None."""
        self._identity, self._camera, self._audio, self._spool = identity, camera, audio, spool
        self._clock, self._tally, self._notices = clock, tally, notices
        context = camera.video.codec_context
        extradata = context.extradata
        sets = extradata_sets(camera.codec, extradata) if extradata and is_byte_stream(extradata) else ()
        self._parameters = _Parameters(extradata, camera.size, sets)
        self.byte_stream = camera.codec is not VideoCodec.MJPEG and (not extradata or is_byte_stream(extradata))
        self.digest = self._digest()
        if last_parameters is not None and self.digest != last_parameters:
            first = Discontinuity.CODEC_CHANGE
        self.segmenter = Segmenter(limits, first)
        self.timeline = CaptureClock()
        self._sequence = 0
        self._open: _Open | None = None
        self._closing: _Open | None = None  # ended, but late sound may still come
        self._lock = threading.Lock()
        self._finished = False
        self._next_dts = 0
        self._intact = False

    @property
    def session(self) -> str:
        """The session's id."""
        return self._identity.session

    def _digest(self) -> str:
        audio = self._audio
        return digest(
            self._camera.codec.value, *self._parameters.size, self._parameters.extradata,
            audio.codec if audio else None, audio.rate if audio else None, audio.extradata if audio else None,
        )  # fmt: skip

    # -- video -----------------------------------------------------------------------------------------------------------------

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
            self._inspect_key(packet)
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
        elif verdict is not Verdict.APPEND or self._open is not None:
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

    def _inspect_key(self, packet: Packet[Any]) -> None:
        """New parameter sets in the stream begin a new file."""
        if not self.byte_stream:
            return
        found = parameter_sets(self._camera.codec, bytes(memoryview(packet)[:SCAN_BYTES]))
        known = self._parameters
        if not found or set(found) <= set(known.sets) or not complete(self._camera.codec, found):
            return
        size = _decoded_size(self._camera.codec, packet) or known.size
        self._parameters = _Parameters(to_extradata(found), size, found)
        self.digest = self._digest()
        self.segmenter.mark(Discontinuity.CODEC_CHANGE)

    def _check_clock(self) -> None:
        set_by_ns = self.timeline.check_clock(self._clock.monotonic_ns(), self._clock.now_ns())
        if set_by_ns:
            self.segmenter.mark(Discontinuity.CLOCK_JUMP)
            self._notices.jump("clock.jump", f"this machine's clock was set by {set_by_ns / NS_PER_S:+.1f} s; a new segment begins")

    def _take(self, verdict: Verdict, packet: Packet[Any], ticks: int, media: int, *, key: bool) -> None:
        segmenter = self.segmenter
        segment = self._open
        if verdict is Verdict.APPEND:
            if segment is None:
                return
            self._emit(segment, ticks)
            segment.held, segment.held_ticks = packet, ticks
            segment.frames += 1
            if key:
                segment.key_frames += 1
                self._flush(segment)
        elif segment is not None:
            self._emit(segment, segmenter.end_ticks)
            segment.end_ticks, segment.cut = segmenter.end_ticks, segmenter.cut
            self._open = None
            self._end(self._closing)
            self._closing = segment
        if verdict is Verdict.START:
            start_ns = self._steer(packet, media, key=key)
            if self._audio is None:
                self._end(self._closing)
                self._closing = None
            if segmenter.is_open:  # else the segment before could not be finished: try again at the next key frame
                self._begin(packet, ticks, start_ns, key=key)
        elif verdict is Verdict.FINISH:
            self._end(self._closing)
            self._closing = None
            return
        segment = self._open
        if segment is not None:
            packet.dts, packet.pts = ticks - segment.ticks, media - segment.ticks
        if self._closing is not None and ticks - self._closing.end_ticks > AUDIO_WAIT_TICKS:
            self._end(self._closing)
            self._closing = None

    def _emit(self, segment: _Open, next_ticks: int) -> None:
        """Write the held packet, now that its duration is known."""
        segment.held.duration = max(1, next_ticks - segment.held_ticks)
        try:
            segment.muxer.write(segment.held, segment.muxer.video)
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._give_up(segment, error)

    def _flush(self, segment: _Open) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - segment.flushed_ns >= FLUSH_NS:
            segment.flushed_ns = now_ns
            try:
                segment.file.flush_to_disk()
            except VedetteError as error:
                self._give_up(segment, error)

    # -- segments --------------------------------------------------------------------------------------------------------------

    def _steer(self, packet: Packet[Any], media: int, *, key: bool) -> int:
        """Steer the capture clock between two segments: where one ends the next begins. The capture time of this packet."""
        segmenter, timeline, ends = self.segmenter, self.timeline, self._closing
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

    def _begin(self, packet: Packet[Any], ticks: int, start_ns: int, *, key: bool) -> None:
        if self._spool is None:
            return
        segmenter = self.segmenter
        codec, size = self._camera.codec, self._parameters.size
        me = self._identity
        header: dict[str, Any] = {
            "channel": me.channel, "channel_number": me.number, "device": me.device, "stream": me.stream.value, "session": me.session,
            "segment_id": deterministic_id(me.device, me.channel, me.stream.value, me.session, self._sequence),
            "sequence": self._sequence, "start_ns": start_ns, "codec": codec.value, "width": size[0], "height": size[1],
            "audio_codec": self._audio.codec if self._audio else None, "parameters": self.digest,
            "continues": segmenter.continues, "discontinuity": segmenter.discontinuity.value,
        }  # fmt: skip
        file: SpoolFile | None = None
        try:
            file = self._spool.create(me.channel, header)
            muxer = SegmentMuxer(file, self._camera.video, codec, audio=self._audio, extradata=self._parameters.extradata, size=size)
        except VedetteError as error:
            if file is not None:
                file.abandon()
            self._lost(error)
            return
        audio_base = round((ticks - segmenter.shift) * self._audio.rate / TICKS_PER_S) if self._audio else 0
        self._sequence += 1
        self._open = _Open(
            file, muxer, self._sequence - 1, ticks, audio_base, start_ns, segmenter.shift, packet, ticks,
            key_frames=int(key), flushed_ns=self._clock.monotonic_ns(),
        )  # fmt: skip

    def _end(self, segment: _Open | None) -> None:
        """Finish a segment whose last frame is written."""
        if segment is None or segment.file.error is not None:
            return
        duration_ns = ticks_to_ns(segment.end_ticks - segment.ticks)
        footer = {
            "end_ns": segment.end_ns if segment.end_ns is not None else segment.start_ns + duration_ns,
            "duration_ns": duration_ns, "frames": segment.frames, "key_frames": segment.key_frames, "cut": segment.cut,
        }  # fmt: skip
        try:
            segment.muxer.close()
            segment.file.finish(footer)
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._give_up(segment, error)
            return
        self._tally.segments += 1
        self._notices.recorded()

    def _give_up(self, segment: _Open, error: BaseException) -> None:
        """A segment cannot be written: free its room and wait for a key frame to try again."""
        cause = segment.file.error or (error if isinstance(error, VedetteError) else None)
        if cause is None:
            text = getattr(error, "strerror", None) or type(error).__name__
            cause = VedetteError(f"a segment could not be written: {text}", where=self._identity.channel)
        segment.file.error = cause
        segment.file.abandon()
        if self._open is segment:
            self._open = None
        if segment.sequence == self._sequence - 1:
            self._sequence -= 1  # sequences have no gaps
        self._lost(cause)

    def _lost(self, error: VedetteError) -> None:
        self._tally.lost_segments += 1
        self.segmenter.break_off(Discontinuity.LOSS)
        self._notices.trouble(error)

    # -- audio -----------------------------------------------------------------------------------------------------------------

    def audio(self, packet: Packet[Any]) -> None:
        """Take a sound packet."""
        if self._audio is None:
            return
        for made in self._audio.packets(packet):
            with self._lock:
                if not self._finished:
                    self._place_audio(made)

    def _place_audio(self, packet: Packet[Any]) -> None:
        assert self._audio is not None
        pts = packet.pts
        segment = self._open
        if self._closing is not None and pts is not None:
            if segment is None or pts < segment.audio_base:
                segment = self._closing
            else:
                self._end(self._closing)
                self._closing = None
        if segment is None or pts is None or segment.muxer.audio is None:
            return
        at = pts - segment.audio_base
        ahead = at / self._audio.rate - (segment.held_ticks - segment.ticks) / TICKS_PER_S
        if at < segment.audio_next or ahead > AUDIO_AHEAD_S:
            return
        segment.audio_next = at + 1
        packet.pts = packet.dts = at
        try:
            segment.muxer.write(packet, segment.muxer.audio)
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._give_up(segment, error)

    # -- end -------------------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """End the open segment and spool it. Idempotent; nothing is recorded afterwards."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
            self._end(self._closing)
            segment, self._open, self._closing = self._open, None, None
            if segment is None:
                return
            # The last frame lasts as long as the one before it.
            last = segment.held.duration or TICKS_PER_S // 25
            if segment.frames > 1:
                last = max(1, (segment.held_ticks - segment.ticks) // (segment.frames - 1))
            segment.end_ticks = segment.held_ticks + last
            self._emit(segment, segment.end_ticks)
            self._end(segment)


def sender_ns(packet: Packet[Any]) -> int | None:
    """Capture time by the camera's clock (AVProducerReferenceTime: int64 us since the epoch), UTC, or None."""
    if not packet.has_sidedata("prft"):
        return None
    return int(struct.unpack_from("=q", bytes(packet.get_sidedata("prft")))[0]) * 1000


def _decoded_size(codec: VideoCodec, packet: Packet[Any]) -> tuple[int, int] | None:
    """Size of the picture in a key frame, by decoding it (only when parameter sets changed)."""
    context: Any = av.CodecContext.create(codec.value, "r")
    try:
        context.decode(av.Packet(bytes(packet)))
        context.decode(None)
    except av.FFmpegError:
        return None
    return (context.width, context.height) if context.width > 0 else None
