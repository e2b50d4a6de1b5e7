"""One session's segments on their way into the spool: at most one that is filled, and one that waits for late sound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
from av.packet import Packet

from services.ingest.adapters.audio import AudioTrack
from services.ingest.adapters.camera import Camera
from services.ingest.adapters.muxer import SegmentMuxer
from services.ingest.adapters.parameters import Parameters
from services.ingest.adapters.spool import Spool
from services.ingest.adapters.spool_file import SpoolFile
from services.ingest.core.segmenter import TICKS_PER_S, Segmenter, ticks_to_ns
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import VedetteError
from shared.domain.ids import deterministic_id
from shared.domain.media import StreamKind
from shared.messages.media import Discontinuity

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
class OpenSegment:
    """A segment that is being written."""

    file: SpoolFile
    muxer: SegmentMuxer
    continues: bool
    discontinuity: Discontinuity
    ticks: int  # of its first frame
    audio_base: int  # samples at its first frame
    start_ns: int
    held: Packet[Any]  # the last frame, written when the next tells its duration
    held_ticks: int
    frames: int = 1
    key_frames: int = 0
    audio_next: int = 0  # smallest allowed audio timestamp
    flushed_ns: int = 0
    end_ticks: int = 0
    cut: bool = False
    end_ns: int | None = None


class SegmentWriter:
    """Not thread-safe.

    Attributes:
        open: is being filled. `closing`: ended, but late sound may still come.
    """

    def __init__(
        self, identity: Identity, camera: Camera, audio: AudioTrack | None, parameters: Parameters, segmenter: Segmenter, *,
        spool: Spool | None, clock: Clock, tally: Tally, notices: Notices,
    ) -> None:  # fmt: skip
        """`spool` None: nothing is recorded."""
        self._identity, self._camera, self._audio, self._parameters = identity, camera, audio, parameters
        self._segmenter, self._spool, self._clock, self._tally, self._notices = segmenter, spool, clock, tally, notices
        self._finished = 0
        self.open: OpenSegment | None = None
        self.closing: OpenSegment | None = None

    # -- video -----------------------------------------------------------------------------------------------------------------

    def append(self, packet: Packet[Any], ticks: int, *, key: bool) -> None:
        """A frame of the open segment, if there is one."""
        segment = self.open
        if segment is None:
            return
        self._emit(segment, ticks)
        if self.open is not segment:  # it was given up
            return
        segment.held, segment.held_ticks = packet, ticks
        segment.frames += 1
        if key:
            segment.key_frames += 1
            self._flush(segment)

    def cut(self) -> None:
        """The open segment ends where the segmenter says; late sound may still be added."""
        self.end_closing()
        segment = self.open
        if segment is None:
            return
        self._emit(segment, self._segmenter.end_ticks)
        if self.open is segment:  # else it was given up
            segment.end_ticks, segment.cut = self._segmenter.end_ticks, self._segmenter.cut
            self.open, self.closing = None, segment

    def begin(self, packet: Packet[Any], ticks: int, start_ns: int, *, key: bool) -> None:
        """A segment that begins with this frame, as the segmenter says."""
        if self._spool is None:
            return
        segmenter, parameters = self._segmenter, self._parameters
        try:
            file = self._spool.create(self._identity.channel, self._header(start_ns))
            try:
                muxer = SegmentMuxer(
                    file, self._camera.video, self._camera.codec,
                    audio=self._audio, extradata=parameters.extradata, size=parameters.size,
                )  # fmt: skip
            except BaseException:
                file.abandon()
                raise
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._lost(self._cause(error))
            return
        audio_base = round((ticks - segmenter.shift) * self._audio.rate / TICKS_PER_S) if self._audio else 0
        self.open = OpenSegment(
            file, muxer, segmenter.continues, segmenter.discontinuity, ticks, audio_base, start_ns, packet, ticks,
            key_frames=int(key), flushed_ns=self._clock.monotonic_ns(),
        )  # fmt: skip

    def _header(self, start_ns: int) -> dict[str, Any]:
        me, segmenter, size = self._identity, self._segmenter, self._parameters.size
        return {
            "channel": me.channel, "channel_number": me.number, "device": me.device, "stream": me.stream.value, "session": me.session,
            "start_ns": start_ns, "codec": self._camera.codec.value, "width": size[0], "height": size[1],
            "audio_codec": self._audio.codec if self._audio else None, "parameters": self._parameters.digest,
            "continues": segmenter.continues, "discontinuity": segmenter.discontinuity.value,
            **self._numbered(self._finished + (self.closing is not None)),
        }  # fmt: skip

    def _numbered(self, sequence: int) -> dict[str, Any]:
        me = self._identity
        return {"sequence": sequence, "segment_id": deterministic_id(me.device, me.channel, me.stream.value, me.session, sequence)}

    def _emit(self, segment: OpenSegment, next_ticks: int) -> None:
        """Write the held packet, now that its duration is known."""
        segment.held.duration = max(1, next_ticks - segment.held_ticks)
        try:
            segment.muxer.write(segment.held, segment.muxer.video)
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._give_up(segment, error)

    def _flush(self, segment: OpenSegment) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns - segment.flushed_ns >= FLUSH_NS:
            segment.flushed_ns = now_ns
            try:
                segment.file.flush_to_disk()
            except VedetteError as error:
                self._give_up(segment, error)

    # -- ends ------------------------------------------------------------------------------------------------------------------

    def end_closing(self) -> None:
        """No more sound comes for it."""
        segment = self.closing
        if segment is not None:
            self._end(segment)
            self.closing = None

    def finish(self) -> None:
        """End all that is open."""
        self.end_closing()
        segment = self.open
        if segment is None:
            return
        # The last frame lasts as long as the one before it.
        last = segment.held.duration or TICKS_PER_S // 25
        if segment.frames > 1:
            last = max(1, (segment.held_ticks - segment.ticks) // (segment.frames - 1))
        segment.end_ticks = segment.held_ticks + last
        self._emit(segment, segment.end_ticks)
        if self.open is segment:
            self._end(segment)
            self.open = None

    def _end(self, segment: OpenSegment) -> None:
        """Finish a segment whose last frame is written. It is numbered now: those given up leave no gap."""
        duration_ns = ticks_to_ns(segment.end_ticks - segment.ticks)
        footer = {
            "end_ns": segment.end_ns if segment.end_ns is not None else segment.start_ns + duration_ns,
            "duration_ns": duration_ns, "frames": segment.frames, "key_frames": segment.key_frames, "cut": segment.cut,
            "discontinuity": segment.discontinuity.value, **self._numbered(self._finished),
        }  # fmt: skip
        try:
            segment.muxer.close()
            segment.file.finish(footer)
        except (av.FFmpegError, VedetteError, OSError) as error:
            self._give_up(segment, error)
            return
        self._finished += 1
        self._tally.segments += 1
        self._notices.recorded()

    def _give_up(self, segment: OpenSegment, error: BaseException) -> None:
        """A segment cannot be written: free its room. The one behind it goes on where that begins with a key frame; else all waits for the
        next key frame."""
        cause = segment.file.error = segment.file.error or self._cause(error)
        segment.file.abandon()
        if segment is self.open:
            self.open = None
        elif segment is self.closing:
            self.closing = None
            behind = self.open
            if behind is not None and not behind.continues:
                if behind.discontinuity is Discontinuity.NONE:
                    behind.discontinuity = Discontinuity.LOSS
                self._told(cause)
                return
            if behind is not None:
                self._give_up(behind, cause)
        self._lost(cause)

    def _cause(self, error: BaseException) -> VedetteError:
        if isinstance(error, VedetteError):
            return error
        text = getattr(error, "strerror", None) or type(error).__name__
        return VedetteError(f"a segment could not be written: {text}", where=self._identity.channel)

    def _lost(self, error: VedetteError) -> None:
        self._segmenter.break_off(Discontinuity.LOSS)
        self._told(error)

    def _told(self, error: VedetteError) -> None:
        self._tally.lost_segments += 1
        self._notices.trouble(error)

    # -- audio -----------------------------------------------------------------------------------------------------------------

    def place_audio(self, packet: Packet[Any]) -> None:
        """A sound packet, its timestamps in samples, into the segment of its time."""
        assert self._audio is not None
        pts = packet.pts
        segment = self.open
        if self.closing is not None and pts is not None:
            if segment is None or pts < segment.audio_base:
                segment = self.closing
            else:
                self.end_closing()
                segment = self.open  # given up too, perhaps
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
