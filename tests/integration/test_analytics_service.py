"""The service on the embedded bus, with the real detector."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TypeVar

import pytest

from services.analytics.adapters.engines import prepare
from services.analytics.app import AnalyticsService, create
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Consumer
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, ManualClock, SystemClock
from shared.messages import DetectionsMessage, EventMessage, EventPhase, FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS, EVENTS, FRAMES
from tests.support.analysis import pictures, weights
from tests.support.footage import footage
from tests.support.waiting import until

pytestmark = pytest.mark.integration

M = TypeVar("M", DetectionsMessage, EventMessage)
LINE = [(560 / 768, 0.0), (560 / 768, 1.0)]
CAPTURED_NS = 1_700_000_000 * NS_PER_S


def site(tmp_path: Path, **analytics: object) -> SiteConfig:
    rules = [{"kind": "tripwire", "id": "line", "line": LINE}, {"kind": "people_counting", "id": "door", "line": LINE}]
    channel = {"id": "room", "number": 3, "main": {"url": "rtsp://camera/room"}, "rules": rules}
    return SiteConfig.model_validate({"data_dir": tmp_path, "channels": [channel], "analytics": analytics})


def runtime(config: SiteConfig, bus: EmbeddedBus, tmp_path: Path) -> Runtime:
    clock = SystemClock()
    return Runtime(config, bus, clock, tmp_path, Reporter(bus.producer, clock, "test"))


def frames(first: int, last: int) -> list[FrameMessage]:
    path = footage("one-by-one-person-detection.mp4")
    return [
        FrameMessage(
            channel="room", channel_number=3, session="s", sequence=number, published_ns=0,
            capture_ns=CAPTURED_NS + number * NS_PER_S // 10,
            source_width=768, source_height=432, picture=picture,
        )
        for number, picture in pictures(path, width=640, height=360, step=2)
        if first <= number < last
    ]  # fmt: skip


async def next_of(
    consumer: Consumer, kind: type[DetectionsMessage | EventMessage], count: int = 1
) -> list[DetectionsMessage | EventMessage]:
    found: list[DetectionsMessage | EventMessage] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found += [record.message for record in await consumer.poll(timeout_s=0.5) if isinstance(record.message, kind)]
    return found


async def joined(service: AnalyticsService) -> None:
    """It holds its channel: a frame of before would be stale where joining takes long, and meet another claim when handled directly."""
    await until(lambda: service.health().details["channels"], "it holds its channel")


async def publish(bus: EmbeddedBus, frame: FrameMessage, *, age_s: float = 0.0) -> None:
    now_ns = SystemClock().now_ns() - round(age_s * NS_PER_S)
    await bus.producer.publish(FRAMES, frame.model_copy(update={"published_ns": now_ns}))


async def test_frames_become_boxes_events_and_counts_that_survive_a_restart(tmp_path: Path) -> None:
    weights()
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    detections, events = await bus.consumer([DETECTIONS], group=None), await bus.consumer([EVENTS], group=None)
    service = create(runtime(site(tmp_path, stale_after_s=30), bus, tmp_path))
    await service.start()
    try:
        await joined(service)
        boxes = []
        for frame in frames(60, 200):
            await publish(bus, frame)
            boxes += await next_of(detections, DetectionsMessage)
        assert [message.frame_sequence for message in boxes if isinstance(message, DetectionsMessage)] == list(range(60, 200, 2))
        told = [e for e in await next_of(events, EventMessage, 4) if isinstance(e, EventMessage)]
        crossing = [e for e in told if e.source == "line"]
        assert [(e.direction, e.phase) for e in crossing] == [("a_to_b", EventPhase.STARTED), ("a_to_b", EventPhase.ENDED)]
        totals = [(e.phase, e.counts["enter"], e.counts["leave"]) for e in told if e.source == "door"]
        assert totals == [(EventPhase.UPDATED, 0, 0), (EventPhase.UPDATED, 1, 0)]
        assert abs(crossing[0].start_ns - (CAPTURED_NS + 187 * NS_PER_S // 10)) <= NS_PER_S // 2
        assert service.health().ok
        (counted,) = service.counts()
        assert counted.since_ns > 0  # the footage is of another day: today nothing was counted
    finally:
        await service.stop()
    again = create(runtime(site(tmp_path, stale_after_s=30), bus, tmp_path))
    await again.start()
    try:
        await joined(again)
        for frame in frames(200, 204):
            await publish(bus, frame)
            await next_of(detections, DetectionsMessage)
        assert again._channels["room"].analysis.counts()["door"].enter == 1
    finally:
        await again.stop()
        await bus.stop()


async def test_a_stale_frame_is_dropped_and_counted_and_one_delivered_again_gives_the_same(tmp_path: Path) -> None:
    weights()
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    service = create(runtime(site(tmp_path, motion_gate=False, stale_after_s=30), bus, tmp_path))
    await service.start()
    try:
        await joined(service)
        outputs = {}
        for frame in frames(180, 192):
            fresh = frame.model_copy(update={"published_ns": SystemClock().now_ns()})
            outputs[frame.sequence] = await service.on_frame(fresh)
        for frame in frames(180, 192):
            assert await service.on_frame(frame) == outputs[frame.sequence]
        old = frames(192, 194)[0].model_copy(update={"published_ns": SystemClock().now_ns() - 60 * NS_PER_S})
        assert await service.on_frame(old) == []
        assert service.health().details["dropped"] == 1
    finally:
        await service.stop()
        await bus.stop()


async def test_while_the_model_is_missing_the_service_runs_and_says_so(tmp_path: Path) -> None:
    bus = EmbeddedBus(SystemClock())
    await bus.start()
    events = await bus.consumer([EVENTS], group=None)
    config = site(tmp_path, model=str(tmp_path / "nowhere.onnx"))
    service = create(runtime(config, bus, tmp_path))
    await service.start()
    try:
        told = (await next_of(events, EventMessage))[0]  # what lasts is said again
        assert isinstance(told, EventMessage)
        assert told.source == "analytics.model"
        assert not service.health().ok
        assert "no such file" in service.health().summary
        fresh = frames(60, 62)[0].model_copy(update={"published_ns": SystemClock().now_ns()})
        assert await service.on_frame(fresh) == []
    finally:
        await service.stop()
        await bus.stop()


async def test_what_lasts_ends_when_a_channel_goes_silent(tmp_path: Path) -> None:
    weights()
    clock = ManualClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    zone = {"kind": "intrusion", "id": "zone", "zone": [(0, 0), (1, 0), (1, 1), (0, 1)], "actions": ["appear"], "min_stay_s": 0}
    config = site(tmp_path)
    channel = config.channels[0].model_dump() | {"rules": [zone]}
    config = SiteConfig.model_validate({"data_dir": tmp_path, "channels": [channel]})
    events = await bus.consumer([EVENTS], group=None)
    service = create(dataclasses.replace(runtime(config, bus, tmp_path), clock=clock))
    prepare(config.analytics).close()
    await service.start()
    try:
        await until(lambda: service.ready, "the detector runs")
        outputs = []
        for frame in frames(90, 110):
            outputs += await service.on_frame(frame.model_copy(update={"published_ns": clock.now_ns()}))
        assert next(o.message.phase for o in outputs if o.topic is EVENTS) is EventPhase.STARTED
        async with asyncio.timeout(60):
            ended: list[EventMessage] = []
            while not ended:
                clock.advance(1.0)
                records = await events.poll(timeout_s=0)
                ended = [r.message for r in records if isinstance(r.message, EventMessage) and r.message.phase is EventPhase.ENDED]
                await asyncio.sleep(0)
        assert ended[0].source == "zone"
    finally:
        await service.stop()
        await bus.stop()
