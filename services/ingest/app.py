"""Wiring of ingest: cameras to segments, frames and status.

camera thread --segments--> spool --hand-over--> SEGMENTS        (durable, in order, blocks into the spool)
              --newest frame--> slot --frames loop--> FRAMES     (live, drops; for analysis, or for who watches)
              --happenings--> connection --status loop--> CHANNEL_STATUS
              --jumps, troubles--> reports loop --> EVENTS (exceptions)
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from services.ingest.adapters.camera import configure_libav, tells_losses
from services.ingest.adapters.slot import post
from services.ingest.adapters.spool import Spool
from services.ingest.channel import Channel, Events
from services.ingest.core.changes import changes
from services.ingest.core.spool_index import Entry
from services.ingest.handover import HandOver, Turns
from shared.config.channels import ChannelConfig
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.domain.errors import BusError
from shared.domain.ids import DEVICE_CHANNEL, DEVICE_CHANNEL_NUMBER
from shared.messages.media import ChannelState, ChannelStatus
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import CHANNEL_STATUS

log = structlog.get_logger(__name__)

DRAIN_S = 3.0  # at stop: how long the last segments may take to be handed over; what is left waits in the spool
REPORTS_MAX = 256
ONCE = "ingest.disabled"  # the one loop that ends by itself
LASTING = ("spool.full", "spool.error")  # exceptions that last until a segment is recorded again; the others are momentary
UNTOLD = ""  # one of them that found no room among the reports: it is told with the next segment that is lost
CLOCK_REPORT_EVERY_NS = 10 * NS_PER_S  # every camera sees our clock jump; it is told once


class IngestService:
    """Reads the site's cameras. Implements `shared.service.Service`."""

    name = "ingest"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._supervisor = Supervisor(runtime.clock, runtime.reporter.loop_failed)
        self._channels: dict[str, Channel] = {}
        self._handovers: dict[str, HandOver] = {}
        self._turns = Turns(runtime.clock, runtime.site.ingest.catch_up_bytes_per_s)
        self._spool: Spool | None = None
        self._reports: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue(REPORTS_MAX)
        self._clock_told_ns: int | None = None
        self._losing: dict[str, str] = {}  # channels that cannot be recorded now, and why: one of LASTING, or UNTOLD
        self._started = False

    async def start(self) -> None:
        """Open the spool, take up what waits in it, connect to the cameras. Needs no one else: without a bus, or without storage, all
        goes into the spool.

        Raises:
            SpoolError: the spool folder cannot be written.
        """
        runtime, loop = self._runtime, asyncio.get_running_loop()
        self._listen_to_libav()
        self._spool = Spool(
            runtime.data_dir / "spool", runtime.site.ingest.spool_max_bytes,
            min_free_bytes=runtime.site.storage.min_free_bytes, committed=lambda entry: post(loop, self._committed, entry),
        )  # fmt: skip
        waiting = await asyncio.to_thread(self._spool.open)
        if waiting:
            log.info("segments wait in the spool", segments=waiting, bytes=self._spool.used_bytes)
        self._started = True
        self._supervisor.spawn("ingest.reports", self._reports_loop)
        self._supervisor.spawn("ingest.ticks", self._ticks_loop)
        self._supervisor.spawn("ingest.turns", self._turns.run)
        # Also of channels that are no longer configured: what was recorded is handed over.
        for channel_id in sorted(self._spool.channels() | {channel.id for channel in runtime.site.channels if channel.enabled}):
            self._add_handover(channel_id, self._spool)
        self._supervisor.spawn(ONCE, partial(self._tell_disabled, _disabled(runtime.site)))
        self._read(runtime.site, [channel.id for channel in runtime.site.channels if channel.enabled], self._spool)

    def _listen_to_libav(self) -> None:
        streams = [stream for channel in self._runtime.site.channels if channel.enabled for stream in (channel.main, channel.sub)]
        configure_libav(listen=any(stream is not None and tells_losses(stream) for stream in streams))

    def _read(self, site: SiteConfig, wanted: Collection[str], spool: Spool) -> None:
        """Connect to those cameras."""
        events = Events(self._report, self._recovered, self._thread_failed)
        begun = []
        for config in site.channels:
            if config.id in wanted:
                channel = self._channels[config.id] = Channel(config, self._runtime, spool, events)
                self._supervisor.spawn(f"ingest.status.{config.id}", channel.status_loop)
                self._supervisor.spawn(f"ingest.frames.{config.id}", channel.frames_loop)
                begun.append(channel)
        for channel in begun:
            channel.start()

    async def reconfigure(self, site: SiteConfig) -> None:
        """Run by `site` from here on. Cameras whose connection it does not change are read on without a gap; what was recorded of those
        that it removes is still handed over. Called by one task at a time, after `start`."""
        todo, old, spool = changes(self._runtime.site, site), self._runtime.site, self._spool
        self._runtime = replace(self._runtime, site=site)
        if not self._started or spool is None:
            return
        self._listen_to_libav()
        spool.limit(site.ingest.spool_max_bytes, site.storage.min_free_bytes)
        self._turns.core.bytes_per_s = site.ingest.catch_up_bytes_per_s
        await asyncio.gather(*(self._stop_reading(name) for name in todo.stop))
        for name in sorted(todo.start - self._handovers.keys()):
            self._add_handover(name, spool)
        self._read(site, todo.start, spool)
        gone = [channel for channel in old.channels if channel.enabled and site.channel(channel.id) is None]  # nobody waits for these now
        await self._supervisor.cancel(ONCE)
        self._supervisor.spawn(ONCE, partial(self._tell_disabled, [*_disabled(site), *gone]))

    async def _stop_reading(self, name: str) -> None:
        """Finish what is open of a camera, and leave it."""
        channel = self._channels.pop(name)
        await channel.stop()
        await self._supervisor.cancel(f"ingest.status.{name}")
        await self._supervisor.cancel(f"ingest.frames.{name}")
        self._losing.pop(name, None)

    def _add_handover(self, channel_id: str, spool: Spool) -> None:
        handover = HandOver(channel_id, spool, self._runtime.bus.producer, self._runtime.clock, self._turns, self._unreadable)
        self._handovers[channel_id] = handover
        self._supervisor.spawn(f"ingest.handover.{channel_id}", handover.run)

    async def stop(self) -> None:
        """Finish the open segments, hand over what goes quickly, end. What is left is handed over after the next start."""
        for channel in self._channels.values():
            channel.signal_stop()
        await asyncio.gather(*(channel.stop() for channel in self._channels.values()))
        if self._started:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(handover.idle.wait() for handover in self._handovers.values())), DRAIN_S)
        self._started = False
        await self._supervisor.stop()

    def health(self) -> Health:
        """Loops that run, channels that deliver, bytes that wait. Not ok while a channel's footage is lost for want of room."""
        channels = self._channels.values()
        online = sum(channel.online for channel in channels)
        dead = [loop.name for loop in self._supervisor.loops if not loop.running and loop.name != ONCE]
        spool_bytes = self._spool.used_bytes if self._spool is not None else 0
        losing = f"; {len(self._losing)} not recorded, the spool has no room or cannot be written" if self._losing else ""
        return Health(
            ok=self._started and not dead and not self._losing,
            summary=f"{online} of {len(self._channels)} channels online{losing}",
            details={
                "channels": len(self._channels), "online": online, "spool_bytes": spool_bytes, "not_recorded": len(self._losing),
                "lost_segments": sum(channel.lost_segments for channel in channels), "dead_loops": ", ".join(dead),
            },
        )  # fmt: skip

    def statuses(self) -> list[ChannelStatus]:
        """The state of every stream that is read, now."""
        return [status for channel in self._channels.values() for status in channel.statuses()]

    # -- told by channels, on the loop -----------------------------------------------------------------------------------------

    def _committed(self, entry: Entry) -> None:
        self._turns.recorded(entry)
        handover = self._handovers.get(entry.channel)
        if handover is not None:
            handover.wake()

    def _report(self, source: str, text: str, channel: str) -> None:
        if source == "clock.jump":
            now_ns = self._runtime.clock.monotonic_ns()
            if self._clock_told_ns is not None and now_ns - self._clock_told_ns < CLOCK_REPORT_EVERY_NS:
                return
            self._clock_told_ns = now_ns
        if source in LASTING and self._losing.get(channel) == source:
            return  # told once, not with every segment that is lost
        queued = self._queue_report(source, text, channel)
        if source in LASTING:
            self._losing[channel] = source if queued else UNTOLD

    def _recovered(self, channel: str) -> None:
        if channel in self._losing and self._queue_report("spool.recovered", "", channel):
            del self._losing[channel]

    def _unreadable(self, channel: str, text: str) -> None:
        self._queue_report("spool.unreadable", text, channel)

    def _thread_failed(self, name: str, error: BaseException) -> None:
        self._queue_report("loop.failed", f"{name} failed and is started again: {type(error).__name__}: {error}", "")

    def _queue_report(self, source: str, text: str, channel: str) -> bool:
        """Whether there was room for it."""
        try:
            self._reports.put_nowait((source, text, channel))
        except asyncio.QueueFull:
            log.error("too many reports at once, one is only logged", source=source, text=text, channel=channel)
            return False
        return True

    # -- loops -----------------------------------------------------------------------------------------------------------------

    async def _reports_loop(self) -> None:
        """Exceptions to the events topic."""
        reporter = self._runtime.reporter
        while True:
            source, text, channel = await self._reports.get()
            config = self._runtime.site.channel(channel) if channel else None
            number = config.number if config else DEVICE_CHANNEL_NUMBER
            name = config.id if config else DEVICE_CHANNEL
            if source == "spool.recovered":
                for lasting in LASTING:
                    await reporter.clear(lasting, channel=name, number=number)
            elif source in LASTING:
                await reporter.raise_(source, text, channel=name, number=number)
            else:
                await reporter.tell(source, text, channel=name, number=number)

    async def _ticks_loop(self) -> None:
        while True:
            await self._runtime.clock.sleep(self._runtime.site.ingest.status_every_s)
            for channel in self._channels.values():
                channel.tick()

    async def _tell_disabled(self, disabled: Sequence[ChannelConfig]) -> None:
        """Once, as soon as the bus takes it."""
        for config in disabled:
            now_ns = self._runtime.clock.now_ns()
            status = ChannelStatus(
                channel=config.id, channel_number=config.number, device=self._runtime.site.device.id,
                state=ChannelState.DISABLED, since_ns=now_ns, at_ns=now_ns,
            )  # fmt: skip
            while not await self._published(status):
                await self._runtime.clock.sleep(self._runtime.site.ingest.status_every_s)

    async def _published(self, status: ChannelStatus) -> bool:
        try:
            await self._runtime.bus.producer.publish(CHANNEL_STATUS, status)
        except BusError:
            return False
        return True


def _disabled(site: SiteConfig) -> list[ChannelConfig]:
    return [config for config in site.channels if not config.enabled]


def create(runtime: Runtime) -> IngestService:
    """The ingest service. No side effects until `start`."""
    return IngestService(runtime)
