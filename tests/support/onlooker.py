"""Somebody who reads the frames of a site as its workers do, and whom nobody kills: what a worker tells that is never disturbed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from services.analytics.adapters.engines import prepare
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.channel import ChannelAnalysis
from services.analytics.core.events import event_message
from services.analytics.core.gate import Gate
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, SystemClock
from shared.domain.errors import BusError
from shared.media.pictures import luma
from shared.messages import DetectionsMessage, EventMessage, EventPhase, FrameMessage
from shared.topics import DETECTIONS, FRAMES
from tests.support.storing import on_bus
from tests.support.waiting import until_connected, wait_for


class Onlooker:
    """Frames as the broker has them, each channel's in its order, and when workers had first looked at each."""

    def __init__(self) -> None:
        self.frames: list[FrameMessage] = []
        self.reads = threading.Event()  # nothing that is published from then on is missed
        self._looked_ns: dict[tuple[str, int], int] = {}

    async def watch(self, broker: str, ended: asyncio.Event) -> None:
        """Read until `ended`, and then what is left."""
        async with on_bus(KafkaBus(KafkaConfig(brokers=(broker,)), SystemClock(), client_id="onlooker")) as bus:
            await until_connected(bus)
            consumer = await bus.consumer([FRAMES, DETECTIONS], group=None)
            self.reads.set()
            while True:
                last = ended.is_set()
                try:
                    records = await consumer.poll(timeout_s=3.0 if last else 0.5)
                except BusError:
                    continue  # away
                for record in records:
                    if isinstance(record.message, FrameMessage):
                        self.frames.append(record.message)
                    elif isinstance(record.message, DetectionsMessage):
                        self._looked_ns.setdefault((record.message.channel, record.message.capture_ns), record.timestamp_ns)
                if last and not records:
                    return

    def latest_s(self) -> float:
        """How long after it was published a worker had looked at the frame that was looked at latest, seconds."""
        late_ns = [self._looked_ns.get((frame.channel, frame.capture_ns), 0) - frame.published_ns for frame in tuple(self.frames)]
        return max(late_ns, default=0) / NS_PER_S

    def beginnings(self, site: SiteConfig) -> list[EventMessage]:
        """The events that begin in these frames, by the site's rules."""
        detector = prepare(site.analytics)
        analyses = {channel.id: _analysis(site, channel.id) for channel in site.channels}
        found = []
        for frame in {(frame.session, frame.sequence): frame for frame in self.frames}.values():
            channel = site.channel(frame.channel)
            assert channel is not None
            look = analyses[channel.id].look(luma(frame.picture), frame.capture_ns)
            _, fired = analyses[channel.id].finish(look, detector.detect([frame.picture])[0] if look.detect else None)
            told = [event_message(channel.id, channel.number, one.rule, one.event) for one in fired]
            found += [event for event in told if event.phase is EventPhase.STARTED]
        return found


def _analysis(site: SiteConfig, name: str) -> ChannelAnalysis:
    config, channel = site.analytics, site.channel(name)
    assert channel is not None
    gate = Gate(threshold=config.motion_threshold, recheck_s=config.recheck_s, enabled=config.motion_gate)
    fps = channel.analysis.fps
    analysis = ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=config.confidence, frame_rate=fps))
    analysis.configure(channel.rules, site.site.zone)
    return analysis


@contextmanager
def onlooker(broker: str) -> Iterator[Onlooker]:
    """One who reads from here on, on a thread of its own; after the block it has all frames. What goes wrong there fails the block."""
    watching, ended = Onlooker(), asyncio.Event()
    with closing(asyncio.new_event_loop()) as loop, ThreadPoolExecutor(max_workers=1, thread_name_prefix="onlooker") as thread:
        work = thread.submit(loop.run_until_complete, watching.watch(broker, ended))
        try:
            wait_for(lambda: watching.reads.is_set() or work.done(), what="the onlooker reads what the broker gets", deadline_s=120)
            if not work.done():
                yield watching
        finally:
            loop.call_soon_threadsafe(ended.set)
            work.result()
