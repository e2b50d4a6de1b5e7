"""One thread per stream: it owns open, demux, mux and decode. Packets never change threads."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av.logging
import structlog
from av.packet import Packet

from services.ingest.adapters.audio import audio_track
from services.ingest.adapters.camera import Camera, Opening
from services.ingest.adapters.decoder import Decoder
from services.ingest.adapters.recorder import Identity, Notices, Recorder, Tally
from services.ingest.adapters.spool import Spool
from services.ingest.core.backoff import Backoff
from services.ingest.core.parameter_sets import is_foreign
from services.ingest.core.segmenter import Limits
from services.ingest.core.status import Happening
from shared.config.channels import AudioMode, ChannelConfig, StreamConfig
from shared.config.services import IngestConfig
from shared.domain.clock import Clock, seconds_to_ns
from shared.domain.errors import CameraStreamError, CameraUnreachable, VedetteError
from shared.domain.media import Picture, StreamKind
from shared.domain.redact import redact
from shared.messages.media import Discontinuity

log = structlog.get_logger(__name__)

STOP_S = 1.0  # a thread that hangs in a read of a silent camera is left behind after this; its segment is finished for it
FOREIGN_MAX = 10  # access units of another codec in a row: it was changed under way
SILENCE_SLACK_NS = 50_000_000  # libav's time-out may come a little early
MAX_NS = 1 << 62
#: What libav says of losses (FFmpeg 8; heard only when a channel uses UDP). A test over a lossy camera tells when the words change.
_LOST = ("RTP: missed", "missing picture in access unit", "bad cseq", "dropping old packet", "Missed", "Packet corrupt")


@dataclass(frozen=True, slots=True)
class Frame:
    """A sampled picture, on its way to the loop."""

    session: str
    capture_ns: int
    width: int
    height: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class Outlets:
    """What a stream's thread tells; all are called on that thread and must not block."""

    happened: Callable[[Happening, VedetteError | None], None]
    frame: Callable[[Frame], None]
    recorded: Callable[[], None]
    jump: Callable[[str, str], None]
    trouble: Callable[[VedetteError], None]
    failed: Callable[[str, BaseException], None]


@dataclass(frozen=True, slots=True)
class Task:
    """What a stream's thread is to do. `spool` None: not recorded. `analyse`: pictures are wanted."""

    device: str
    channel: ChannelConfig
    stream: StreamKind
    ingest: IngestConfig
    clock: Clock
    spool: Spool | None
    analyse: bool

    @property
    def config(self) -> StreamConfig:
        if self.stream is StreamKind.SUB:
            assert self.channel.sub is not None
            return self.channel.sub
        return self.channel.main


@dataclass(slots=True)
class _Seen:
    """What is remembered from session to session."""

    sessions: int = 0
    parameters: str | None = None


class StreamThread:
    """Reads one stream until stopped, and comes back when it fails."""

    def __init__(self, task: Task, outlets: Outlets) -> None:
        self._task, self._out = task, outlets
        self._stop = threading.Event()
        self._recorder: Recorder | None = None
        self._seen = _Seen()
        self.tally = Tally()
        self.camera_facts: tuple[str, int, int] = ("", 0, 0)  # codec, width, height
        # A daemon: when it hangs in libav past its deadline it must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"ingest-{task.channel.id}-{task.stream.value}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def signal_stop(self) -> None:
        """Ask it to end; returns at once."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the end, `STOP_S` at most, and see that the open segment is in the spool. Blocking: not on the event loop."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)
        recorder = self._recorder
        if recorder is not None:
            recorder.finish()

    def _run(self) -> None:
        ingest = self._task.ingest
        backoff = Backoff(ingest.reconnect_min_s, ingest.reconnect_max_s)
        with av.logging.Capture(local=True) as logs:
            while not self._stop.is_set():
                self._out.happened(Happening.DIALLING, None)
                try:
                    self._session(logs, backoff)
                except VedetteError as error:
                    self._out.happened(Happening.FAILED, error)
                except Exception as error:  # the boundary of the thread: whatever it was, the camera must be read again
                    log.error("a camera's thread failed, starting again", channel=self._task.channel.id, exc_info=error)
                    self._out.failed(self._thread.name, error)
                    self._out.happened(Happening.FAILED, CameraStreamError(redact(f"reading failed: {type(error).__name__}: {error}")))
                logs.clear()
                self._stop.wait(backoff.next(random.random()))

    def _session(self, logs: list[tuple[int, str, str]], backoff: Backoff) -> None:
        task = self._task
        want_audio = task.spool is not None and task.channel.audio is not AudioMode.OFF
        ingest = task.ingest
        camera = Camera(Opening(task.config, want_audio, ingest.connect_timeout_s, ingest.read_timeout_s, task.clock, self._stop))
        try:
            recorder = self._recorder = self._recorder_for(camera)
            decoder = Decoder(camera, task.channel.analysis) if task.analyse else None
            self.camera_facts = (camera.codec.value, *camera.size)
            logs.clear()
            try:
                self._read(camera, recorder, decoder, logs, backoff)
            finally:
                recorder.finish()
                self._seen.parameters = recorder.digest
        finally:
            camera.close()

    def _recorder_for(self, camera: Camera) -> Recorder:
        task, seen, ingest = self._task, self._seen, self._task.ingest
        first = Discontinuity.RECONNECT if seen.sessions else Discontinuity.START
        seen.sessions += 1
        return Recorder(
            Identity(task.device, task.channel.id, task.channel.number, task.stream, uuid.uuid4().hex),
            camera,
            audio_track(camera.audio, task.channel.audio),
            spool=task.spool,
            limits=Limits(ingest.segment_s, ingest.segment_max_bytes),
            clock=task.clock,
            tally=self.tally,
            notices=Notices(self._out.jump, self._out.trouble, self._out.recorded),
            first=first,
            last_parameters=seen.parameters,
        )

    def _read(
        self, camera: Camera, recorder: Recorder, decoder: Decoder | None, logs: list[tuple[int, str, str]], backoff: Backoff
    ) -> None:
        """The loop that everything is about: a few calls per packet."""
        stop, now, video_index = self._stop.is_set, self._task.clock.monotonic_ns, camera.video.index
        take_video, take_audio, codec, byte_stream = recorder.video, recorder.audio, camera.codec, recorder.byte_stream
        # libav ends no read at its first time-out: it hands out what it holds and goes on, out of step with the connection.
        timeout_s = self._task.ingest.read_timeout_s
        silence_ns = seconds_to_ns(timeout_s) - SILENCE_SLACK_NS if camera.live else MAX_NS
        first, foreign, last_ns = True, 0, now()
        for packet in camera.packets():
            if stop():
                return
            at_ns = now()
            if at_ns - last_ns > silence_ns:
                raise CameraUnreachable(f"nothing came for {timeout_s:g} s", hint="check the camera's network and power")
            last_ns = at_ns
            if packet.stream_index != video_index:
                take_audio(packet)
                continue
            if not packet.size:
                continue
            broken = packet.is_corrupt or (bool(logs) and self._lost(logs))
            if byte_stream and is_foreign(codec, bytes(memoryview(packet)[:8])):
                broken, foreign = True, foreign + 1
                if foreign > FOREIGN_MAX:
                    raise CameraStreamError("the stream holds no pictures any more", hint="the camera may have changed its codec")
            elif foreign:
                foreign = 0
            if first:
                first = False
                backoff.reset()
                self._out.happened(Happening.FIRST_PACKET, None)
            media = take_video(packet, at_ns, broken=broken)
            if decoder is not None and media is not None:
                self._decode(decoder, recorder, packet, media)

    def _decode(self, decoder: Decoder, recorder: Recorder, packet: Packet[Any], media: int) -> None:
        for at_ns, width, height, picture in decoder.feed(packet, media):
            self._out.frame(Frame(recorder.session, recorder.timeline.at(at_ns), width, height, picture))

    def _lost(self, logs: list[tuple[int, str, str]]) -> bool:
        """Whether libav told of lost or broken data since the last packet."""
        lost = any(mark in text for _, _, text in logs for mark in _LOST)
        logs.clear()
        if lost:
            self.tally.broken += 1
        return lost
