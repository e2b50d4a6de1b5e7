"""One thread per stream: it owns open, demux, mux and decode. Packets never change threads."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import av.logging
import structlog
from av.packet import Packet

from services.ingest.adapters.audio import audio_track
from services.ingest.adapters.camera import Camera, Opening, tells_losses
from services.ingest.adapters.decoder import Decoder
from services.ingest.adapters.recorder import Recorder
from services.ingest.adapters.segment_writer import Identity, Notices, Tally
from services.ingest.adapters.spool import Spool
from services.ingest.core.backoff import Backoff
from services.ingest.core.parameter_sets import is_foreign
from services.ingest.core.sampler import Sampling
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
BATCH = 25  # packets: a second of most streams
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
    """What a stream's thread is to do. `spool` None: not recorded. `pictures` None: none are wanted."""

    device: str
    channel: ChannelConfig
    stream: StreamKind
    ingest: IngestConfig
    clock: Clock
    spool: Spool | None
    pictures: Sampling | None

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


class _Taker:
    """Takes packets into the recorder and the decoder, in batches: code and data are warm then, which halves the cost of a packet.

    With a decoder of every frame, or where libav tells of losses (which belong to one packet), a batch is one packet.
    """

    def __init__(
        self, task: Task, camera: Camera, recorder: Recorder, logs: list[tuple[int, str, str]], out: Outlets, tally: Tally
    ) -> None:
        self.waiting: list[tuple[Packet[Any], int]] = []
        self._camera, self._recorder, self._logs, self._out, self._tally = camera, recorder, logs, out, tally
        wanted = task.pictures
        self._decoder = Decoder(camera, wanted) if wanted is not None else None
        self.most = 1 if (wanted is not None and not wanted.keys_only) or tells_losses(task.config) else BATCH
        self._foreign = 0
        self._lock = threading.Lock()

    def take(self) -> None:
        """Work on all that waits. Also called by the stopping thread when the camera's thread hangs in a read.

        Raises:
            CameraStreamError: the stream is of another codec now.
        """
        video_index, recorder = self._camera.video.index, self._recorder
        with self._lock:
            try:
                for packet, at_ns in self.waiting:
                    if packet.stream_index != video_index:
                        recorder.audio(packet)
                    elif packet.size:
                        self._video(packet, at_ns)
            finally:
                self.waiting.clear()

    def _video(self, packet: Packet[Any], at_ns: int) -> None:
        broken = packet.is_corrupt or (bool(self._logs) and self._lost())
        if self._recorder.parameters.byte_stream and is_foreign(self._camera.codec, bytes(memoryview(packet)[:8])):
            broken, self._foreign = True, self._foreign + 1
            if self._foreign > FOREIGN_MAX:
                raise CameraStreamError("the stream holds no pictures any more", hint="the camera may have changed its codec")
        else:
            self._foreign = 0
        media = self._recorder.video(packet, at_ns, broken=broken)
        if self._decoder is None or media is None:
            return
        for picture_ns, width, height, picture in self._decoder.feed(packet, media):
            self._out.frame(Frame(self._recorder.session, self._recorder.timeline.at(picture_ns), width, height, picture))

    def _lost(self) -> bool:
        """Whether libav told of lost or broken data since the last packet."""
        lost = any(mark in text for _, _, text in self._logs for mark in _LOST)
        self._logs.clear()
        if lost:
            self._tally.broken += 1
        return lost

    def finish(self) -> None:
        """Take what waits and end the open segment. Idempotent."""
        with suppress(CameraStreamError):
            self.take()
        self._recorder.finish()


class StreamThread:
    """Reads one stream until stopped, and comes back when it fails."""

    def __init__(self, task: Task, outlets: Outlets) -> None:
        self._task, self._out = task, outlets
        self._stop = threading.Event()
        self._taker: _Taker | None = None
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
        taker = self._taker
        if taker is not None:
            taker.finish()

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
        camera = Camera(
            Opening(task.config, want_audio, ingest.connect_timeout_s, ingest.read_timeout_s, task.clock, self._stop, ingest.ca_file)
        )
        try:
            recorder = self._recorder_for(camera)
            logs.clear()
            taker = self._taker = _Taker(task, camera, recorder, logs, self._out, self.tally)
            self.camera_facts = (camera.codec.value, *camera.size)
            try:
                self._read(camera, taker, backoff)
            finally:
                taker.finish()
                self._seen.parameters = recorder.parameters.digest
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

    def _read(self, camera: Camera, taker: _Taker, backoff: Backoff) -> None:
        """The loop that everything is about: next to nothing per packet, the work once per batch."""
        stop, now, video_index = self._stop.is_set, self._task.clock.monotonic_ns, camera.video.index
        # libav ends no read at its first time-out: it hands out what it holds and goes on, out of step with the connection.
        timeout_s = self._task.ingest.read_timeout_s
        silence_ns = seconds_to_ns(timeout_s) - SILENCE_SLACK_NS if camera.live else MAX_NS
        waiting, most, take = taker.waiting, taker.most, taker.take
        first, last_ns = True, now()
        for packet in camera.packets():
            if stop():
                return
            at_ns = now()
            if at_ns - last_ns > silence_ns:
                raise CameraUnreachable(f"nothing came for {timeout_s:g} s", hint="check the camera's network and power")
            last_ns = at_ns
            waiting.append((packet, at_ns))
            is_video = packet.stream_index == video_index
            if first and is_video:
                first = False
                backoff.reset()
                self._out.happened(Happening.FIRST_PACKET, None)
            # A key frame ends a group of pictures, which is then written: a batch never holds a whole one back.
            if len(waiting) >= most or (is_video and packet.is_keyframe):
                take()
                last_ns = now()  # what our own disk took is no silence of the camera's
