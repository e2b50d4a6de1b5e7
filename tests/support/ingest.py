"""Ingest with an embedded bus and a reader in storage's place, for tests that look at what comes out."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from services.ingest.app import IngestService, create
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import Clock, SystemClock
from shared.messages import ChannelStatus, EventMessage, FrameMessage, SegmentMessage
from shared.messages.media import ChannelState
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import CHANNEL_STATUS, EVENTS, FRAMES, SEGMENTS


@dataclass
class Received:
    """Everything that ingest published, in order."""

    service: IngestService
    segments: list[SegmentMessage] = field(default_factory=list)
    frames: list[FrameMessage] = field(default_factory=list)
    statuses: list[ChannelStatus] = field(default_factory=list)
    events: list[EventMessage] = field(default_factory=list)
    taking: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: "storage" acknowledges nothing
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    def of(self, channel: str) -> list[SegmentMessage]:
        """Segments of one channel."""
        return [segment for segment in self.segments if segment.channel == channel]

    def state(self, channel: str) -> ChannelStatus | None:
        """The latest status of a channel."""
        return next((status for status in reversed(self.statuses) if status.channel == channel), None)

    async def until(self, predicate: Callable[[Received], bool], timeout_s: float = 60.0) -> None:
        """Wait for a condition over what was received."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: predicate(self)), timeout_s)

    async def online(self, channel: str = "cam") -> None:
        """Wait until a channel delivers."""
        await self.until(lambda r: any(s.channel == channel and s.state is ChannelState.ONLINE for s in r.statuses))

    async def failed(self, channel: str = "cam") -> ChannelStatus:
        """Wait until a channel is offline; its status. It must stay so: a state that ends at once may never be published."""
        await self.until(lambda r: any(s.channel == channel and s.state is ChannelState.OFFLINE for s in r.statuses))
        return next(s for s in self.statuses if s.channel == channel and s.state is ChannelState.OFFLINE)

    async def take(self, messages: Sequence[Any]) -> None:
        async with self._news:
            for message in messages:
                match message:
                    case SegmentMessage():
                        self.segments.append(message)
                    case FrameMessage():
                        self.frames.append(message)
                    case ChannelStatus():
                        self.statuses.append(message)
                    case EventMessage():
                        self.events.append(message)
            self._news.notify_all()


def channel(channel_id: str, number: int, url: str, **more: Any) -> dict[str, Any]:
    """Configuration of one channel; keys of its main stream may be among `more`."""
    stream = {key: more.pop(key) for key in ("transport", "user", "password", "verify_tls", "ca_file") if key in more}
    return {"id": channel_id, "number": number, "main": {"url": url, **stream}, **more}


@asynccontextmanager
async def ingest(
    *channels: dict[str, Any],
    data_dir: Path | None = None,
    clock: Clock | None = None,
    take: bool = True,
    min_free_bytes: int = 0,
    bus_comes: asyncio.Event | None = None,
    **settings: Any,
) -> AsyncIterator[Received]:
    """A running ingest service. `settings` go to its section; segments of 1 s and quick reconnects unless told otherwise.

    `min_free_bytes`: kept free on the disk; nothing on that of the tests. `bus_comes`: the bus does not run until this is set.
    """
    clock = clock or SystemClock()
    section = {"segment_s": 1, "reconnect_min_s": 0.1, "reconnect_max_s": 0.5, "status_every_s": 0.5} | settings
    site = SiteConfig.model_validate({"channels": list(channels), "ingest": section, "storage": {"min_free_bytes": min_free_bytes}})
    bus = EmbeddedBus(clock)
    with tempfile.TemporaryDirectory() as scratch:
        folder = data_dir or Path(scratch)
        reporter = Reporter(bus.producer, clock, "device")
        service = create(Runtime(site, bus, clock, folder, reporter))
        received = Received(service)
        if take:
            received.taking.set()

        async def connect() -> list[asyncio.Task[None]]:
            await bus.start()
            storage = await bus.consumer([SEGMENTS], group="storage")
            live = await bus.consumer([FRAMES, CHANNEL_STATUS, EVENTS], group=None)
            return [asyncio.create_task(store(storage)), asyncio.create_task(watch(live))]

        async def connect_later(comes: asyncio.Event) -> None:
            await comes.wait()
            await asyncio.gather(*await connect())

        async def store(storage: Consumer) -> None:
            while True:
                await received.taking.wait()
                records = await storage.poll(timeout_s=0.2)
                await received.take([record.message for record in records])
                await storage.commit([record.position for record in records])

        async def watch(live: Consumer) -> None:
            while True:
                await received.take([record.message for record in await live.poll(timeout_s=0.2)])

        tasks = await connect() if bus_comes is None else [asyncio.create_task(connect_later(bus_comes))]
        try:
            await service.start()
            yield received
        finally:
            await service.stop()
            await reporter.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await bus.stop()


@dataclass(frozen=True)
class Played:
    """A payload as a player sees it."""

    codec: str
    tag: str
    video_dts: list[int]
    keys: list[bool]
    pictures: int
    audio_codec: str | None
    audio_seconds: float
    time_base: float


def play(payload: bytes, folder: Path) -> Played:
    """Demultiplex and decode a whole segment."""
    file = folder / "segment.mp4"
    file.write_bytes(payload)
    with av.open(str(file)) as container:
        video = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        packets = [packet for packet in container.demux() if packet.size]
        pictures = 0
        for packet in packets:
            if packet.stream_index == video.index:
                pictures += len(packet.decode())
        pictures += len(video.codec_context.decode(None))
        sound = [packet for packet in packets if audio is not None and packet.stream_index == audio.index]
        seconds = sum(float((packet.duration or 0) * packet.time_base) for packet in sound)
        return Played(
            video.codec_context.name,
            video.codec_context.codec_tag,
            [packet.dts for packet in packets if packet.stream_index == video.index and packet.dts is not None],
            [packet.is_keyframe for packet in packets if packet.stream_index == video.index],
            pictures,
            audio.codec_context.name if audio is not None else None,
            seconds,
            float(video.time_base or 0),
        )


def gapless(segments: Sequence[SegmentMessage]) -> bool:
    """Whether the segments touch each other, in one session without a discontinuity after the first."""
    pairs = list(pairwise(segments))
    return all(a.end_ns == b.start_ns and b.sequence == a.sequence + 1 and b.discontinuity.value == "none" for a, b in pairs)
