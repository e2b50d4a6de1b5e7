"""One channel on the event loop: its threads, its state, its frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import structlog

from services.ingest import metrics
from services.ingest.adapters.channel import Frame, Outlets, StreamThread, Task
from services.ingest.adapters.segment_writer import Tally
from services.ingest.adapters.slot import NewestSlot, post
from services.ingest.adapters.spool import Spool
from services.ingest.core.sampler import Sampling
from services.ingest.core.status import Connection, Happening
from shared.bus.port import Position, Producer
from shared.config.channels import AnalysisStream, ChannelConfig, RecordMode
from shared.domain.clock import NS_PER_S
from shared.domain.errors import BusError, StorageFull, VedetteError
from shared.domain.media import StreamKind
from shared.domain.redact import redact
from shared.domain.tracing import frame_trace
from shared.messages.media import ChannelState, ChannelStatus, FrameMessage
from shared.service import Runtime
from shared.topics import CHANNEL_STATUS, FRAMES

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Use:
    """What a stream is read for: `pictures` None: none are wanted of it."""

    recorded: bool
    pictures: Sampling | None


def streams_of(channel: ChannelConfig, live_fps: float) -> dict[StreamKind, Use]:
    """Which streams are read, and for what. Pictures are for analysis, or without it for who watches live (`live_fps`; 0: none)."""
    analysis, record = channel.analysis, channel.recording.mode is not RecordMode.OFF
    pictures: Sampling | None = None
    if analysis.enabled:
        pictures = Sampling(analysis.fps, analysis.width, analysis.height)
    elif live_fps > 0:
        pictures = Sampling(live_fps, analysis.width, analysis.height, keys_only=True)
    on_sub = channel.sub is not None and analysis.stream in (AnalysisStream.AUTO, AnalysisStream.SUB)
    if pictures is None or not on_sub:
        return {StreamKind.MAIN: Use(record, pictures)}  # also for nothing but its state
    sub = {StreamKind.SUB: Use(False, pictures)}
    return {StreamKind.MAIN: Use(True, None)} | sub if record else sub


@dataclass(slots=True)
class _Rates:
    """Frames and bits a second, from one tick to the next."""

    at_ns: int = 0
    frames: int = 0
    bytes: int = 0
    fps: float = 0.0
    bitrate_bps: float = 0.0

    def tick(self, now_ns: int, tally: Tally) -> tuple[int, int]:
        """Update; new frames and bytes since the last tick."""
        frames, size = tally.frames - self.frames, tally.bytes - self.bytes
        if self.at_ns and now_ns > self.at_ns:
            seconds = (now_ns - self.at_ns) / NS_PER_S
            self.fps, self.bitrate_bps = round(frames / seconds, 2), round(size * 8 / seconds)
        self.at_ns, self.frames, self.bytes = now_ns, tally.frames, tally.bytes
        return frames, size


@dataclass(slots=True)
class _Stream:
    """One stream of the channel."""

    kind: StreamKind
    thread: StreamThread
    connection: Connection
    rates: _Rates = field(default_factory=_Rates)
    counted_segments: int = 0
    counted_lost: int = 0
    counted_broken: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """What a channel tells the service; on the loop."""

    report: Callable[[str, str, str], None]  # (source, text, channel or "")
    recovered: Callable[[str], None]  # channel
    failed: Callable[[str, BaseException], None]


class Channel:
    """Owner of one enabled channel's threads. `status_loop` and `frames_loop` are supervised loops."""

    def __init__(self, config: ChannelConfig, runtime: Runtime, spool: Spool, events: Events) -> None:
        """On the running loop."""
        self.config = config
        self._runtime, self._spool, self._events = runtime, spool, events
        self._loop = asyncio.get_running_loop()
        self._slot: NewestSlot[Frame] = NewestSlot(self._loop)
        self._changed = asyncio.Event()
        self._frames = 0
        self._unsent = 0
        self._counted_dropped = 0
        wanted = streams_of(config, runtime.site.ingest.live_fps)
        self._streams = [self._stream(kind, use) for kind, use in wanted.items()]

    def _stream(self, kind: StreamKind, use: Use) -> _Stream:
        runtime, spool = self._runtime, self._spool if use.recorded else None
        task = Task(runtime.site.device.id, self.config, kind, runtime.site.ingest, runtime.clock, spool, use.pictures)
        stream: _Stream
        events, post_ = self._events, partial(post, self._loop)

        def happened(happening: Happening, error: VedetteError | None) -> None:
            post_(self._happened, stream, happening, error)

        outlets = Outlets(
            happened=happened,
            frame=self._slot.put,
            recorded=lambda: post_(events.recovered, self.config.id),
            jump=lambda source, text: post_(events.report, source, text, "" if source == "clock.jump" else self.config.id),
            trouble=lambda error: post_(self._trouble, error),
            failed=lambda name, error: post_(events.failed, name, error),
        )
        stream = _Stream(kind, StreamThread(task, outlets), Connection(runtime.clock.now_ns()))
        return stream

    @property
    def online(self) -> bool:
        """Whether every stream that is read delivers."""
        return all(stream.connection.state is ChannelState.ONLINE for stream in self._streams)

    @property
    def lost_segments(self) -> int:
        return sum(stream.thread.tally.lost_segments for stream in self._streams)

    def start(self) -> None:
        """Start the threads."""
        self._changed.set()
        for stream in self._streams:
            stream.thread.start()

    def signal_stop(self) -> None:
        """Ask the threads to end."""
        for stream in self._streams:
            stream.thread.signal_stop()

    async def stop(self) -> None:
        """Wait for the threads; what was open is in the spool afterwards."""
        self.signal_stop()
        await asyncio.gather(*(asyncio.to_thread(stream.thread.join) for stream in self._streams))

    def _happened(self, stream: _Stream, happening: Happening, error: VedetteError | None) -> None:
        reason = str(error) if error is not None else ""
        name = type(error).__name__ if error is not None else ""
        connection = stream.connection
        before = (connection.state, connection.error)
        now_ns = self._follow_clock(connection)
        if connection.apply(happening, now_ns, reason=reason, error=name):
            self._changed.set()
        if (connection.state, connection.error) != before:  # not the reason: its figures may differ at every attempt
            self._log_state(stream.kind, connection)

    def _follow_clock(self, connection: Connection) -> int:
        """This machine's time, which the connection's state is told by."""
        now_ns = self._runtime.clock.now_ns()
        connection.follow(now_ns - self._runtime.clock.monotonic_ns())
        return now_ns

    def _log_state(self, kind: StreamKind, connection: Connection) -> None:
        bound = log.bind(channel=self.config.id, stream=kind.value)
        if connection.state is ChannelState.ONLINE:
            bound.info("the camera is online", reconnects=connection.reconnects)
        elif connection.state is ChannelState.OFFLINE:
            bound.warning("the camera is offline", error=connection.error, reason=redact(connection.reason))

    def _trouble(self, error: VedetteError) -> None:
        source = "spool.full" if isinstance(error, StorageFull) else "spool.error"
        self._events.report(source, str(error), self.config.id)
        self._changed.set()

    def tick(self) -> None:
        """Every `status_every_s`: rates, metrics, and a status even when nothing changed."""
        now_ns, channel = self._runtime.clock.monotonic_ns(), self.config.id
        for stream in self._streams:
            tally, kind = stream.thread.tally, stream.kind.value
            frames, size = stream.rates.tick(now_ns, tally)
            metrics.FRAMES.labels(channel, kind).inc(frames)
            metrics.BYTES.labels(channel, kind).inc(size)
            metrics.SEGMENTS.labels(channel).inc(tally.segments - stream.counted_segments)
            metrics.LOST_SEGMENTS.labels(channel).inc(tally.lost_segments - stream.counted_lost)
            metrics.BROKEN.labels(channel, kind).inc(tally.broken - stream.counted_broken)
            stream.counted_segments, stream.counted_lost, stream.counted_broken = tally.segments, tally.lost_segments, tally.broken
            metrics.ONLINE.labels(channel, kind).set(stream.connection.state is ChannelState.ONLINE)
        dropped = self.dropped_frames
        metrics.DROPPED_FRAMES.labels(channel).inc(dropped - self._counted_dropped)
        self._counted_dropped = dropped
        metrics.SPOOL_BYTES.labels(channel).set(self._spool.waiting(channel)[1])
        self._changed.set()

    @property
    def dropped_frames(self) -> int:
        """Sampled frames that were not published."""
        return self._slot.dropped + self._unsent

    def statuses(self) -> list[ChannelStatus]:
        """The state of each stream that is read, now."""
        segments, size = self._spool.waiting(self.config.id)
        made = []
        for stream in self._streams:
            connection, tally = stream.connection, stream.thread.tally
            now_ns = self._follow_clock(connection)
            online = connection.state is ChannelState.ONLINE
            codec, width, height = stream.thread.camera_facts
            made.append(
                ChannelStatus(
                    channel=self.config.id, channel_number=self.config.number, device=self._runtime.site.device.id, stream=stream.kind,
                    state=connection.state, reason=connection.reason, error=connection.error,
                    since_ns=connection.since_ns, at_ns=now_ns, codec=codec, width=width, height=height,
                    fps=stream.rates.fps if online else 0.0, bitrate_bps=stream.rates.bitrate_bps if online else 0.0,
                    reconnects=connection.reconnects, spool_bytes=size, spool_segments=segments,
                    dropped_frames=self.dropped_frames, lost_segments=tally.lost_segments,
                )
            )  # fmt: skip
        return made

    async def status_loop(self) -> None:
        """Publish the status at every change and tick."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            for status in self.statuses():
                await _send(self._runtime.bus.producer, status)

    async def frames_loop(self) -> None:
        """Publish the newest sampled frame, and the next when the bus took it."""
        producer, clock = self._runtime.bus.producer, self._runtime.clock
        while True:
            frame = await self._slot.take()
            message = FrameMessage(
                channel=self.config.id, channel_number=self.config.number, session=frame.session, sequence=self._frames,
                capture_ns=frame.capture_ns, published_ns=clock.now_ns(),
                source_width=frame.width, source_height=frame.height, picture=frame.picture,
                trace=frame_trace(self.config.id, frame.session, self._frames),
            )  # fmt: skip
            log.debug("a frame is published", channel=message.channel, sequence=message.sequence, trace=message.trace)
            metrics.CAPTURE_TO_PUBLISH.observe(max(0, message.published_ns - message.capture_ns) / NS_PER_S)
            self._frames += 1
            try:
                (await producer.enqueue(FRAMES, message)).add_done_callback(_retrieve)
            except BusError:
                self._unsent += 1  # live analysis never waits for a broker: the next frame is tried


async def _send(producer: Producer, status: ChannelStatus) -> None:
    try:
        (await producer.enqueue(CHANNEL_STATUS, status)).add_done_callback(_retrieve)
    except BusError:
        return  # the next status says the same, and newer


def _retrieve(future: asyncio.Future[Position]) -> None:
    """Nobody waits for these; a failure must not be logged as never retrieved."""
    if not future.cancelled():
        future.exception()
