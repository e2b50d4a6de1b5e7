"""Channels of one service beside each other: rules that change, handlers that are cancelled, pictures that are damaged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.analytics.app import LOOK_EVERY_S, SAVE_EVERY_S, AnalyticsService, create
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.media import Picture
from shared.faust.worker import Outgoing
from shared.media.pictures import to_jpeg
from shared.messages import DetectionsMessage, EventMessage, EventPhase, FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import EVENTS, FRAMES
from tests.support.analysis import plain_picture, touchy_model
from tests.support.waiting import until

pytestmark = pytest.mark.integration

CAPTURED_NS = 1_700_000_000 * NS_PER_S
STEP_NS = NS_PER_S // 5
#: Anything that travels, also what the detector has no class for: no person is needed.
MOVING: dict[str, object] = {"kind": "smd", "id": "moving", "targets": []}


def site(folder: Path, **rules: Sequence[dict[str, object]] | None) -> SiteConfig:
    """Channels by name, each with its rules; `None` for one that is not analysed."""
    channels = [
        {
            "id": name,
            "number": number,
            "main": {"url": f"rtsp://camera/{name}"},
            "rules": some or (),
            "analysis": {"enabled": some is not None},
        }
        for number, (name, some) in enumerate(rules.items(), start=1)
    ]
    analytics = {"model": str(touchy_model(folder / "touchy.onnx")), "engine": "onnx", "input_width": 160, "input_height": 96}
    return SiteConfig.model_validate({"data_dir": folder, "channels": channels, "analytics": analytics})


def frame(config: SiteConfig, name: str, sequence: int, clock: ManualClock) -> FrameMessage:
    """An empty picture first, then a square that walks to the right."""
    picture = plain_picture(40)
    assert picture.i420 is not None
    left = 8 + 3 * (sequence % 40)
    if sequence:
        picture.i420[30:60, left : left + 20] = 120
    channel = config.channel(name)
    assert channel is not None
    return FrameMessage(
        channel=name, channel_number=channel.number, session="s", sequence=sequence, published_ns=clock.now_ns(),
        capture_ns=CAPTURED_NS + sequence * STEP_NS, source_width=160, source_height=96, picture=picture,
    )  # fmt: skip


class Stand:
    def __init__(self, folder: Path, bus: EmbeddedBus, clock: ManualClock) -> None:
        self.folder, self.bus, self.clock = folder, bus, clock
        self.services: list[AnalyticsService] = []

    async def service(self, config: SiteConfig, name: str = "a") -> AnalyticsService:
        folder = self.folder / name
        folder.mkdir()
        one = create(Runtime(config, self.bus, self.clock, folder, Reporter(self.bus.producer, self.clock, "test")))
        self.services.append(one)
        await one.start()
        await until(lambda: one.ready, "the detector is ready")
        return one

    async def joined(self, one: AnalyticsService, channels: int) -> None:
        """The only service of the test joins, and holds its channels."""
        self.clock.advance(LOOK_EVERY_S)
        await until(lambda: one.health().details["channels"] == channels, "it holds its channels")


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    clock = ManualClock(CAPTURED_NS)
    bus = EmbeddedBus(clock)
    await bus.start()
    stand = Stand(tmp_path, bus, clock)
    yield stand
    for one in stand.services:
        await one.stop()
    await bus.stop()


def events(out: Sequence[Outgoing[Any]]) -> list[EventMessage]:
    return [one.message for one in out if one.topic is EVENTS]


@pytest.mark.parametrize("moves", [False, True], ids=["", "partitions move before it is told"])
async def test_rules_changed_on_one_channel_do_not_touch_the_other(stand: Stand, moves: bool) -> None:
    config = site(stand.folder, gate=[MOVING], yard=[MOVING], hall=[MOVING])
    service = await stand.service(config)
    await stand.joined(service, 3)
    published = await stand.bus.consumer([EVENTS], group=None)
    open_: dict[str, EventMessage] = {}
    for sequence in range(12):
        for name in ("gate", "yard", "hall"):
            for event in events(await service.on_frame(frame(config, name, sequence, stand.clock))):
                open_.setdefault(name, event)
    assert {event.phase for event in open_.values()} == {EventPhase.STARTED}
    assert set(open_) == {"gate", "yard", "hall"}

    changed = site(stand.folder, gate=[MOVING | {"sensitivity": 51}], yard=[MOVING, MOVING | {"id": "second"}], hall=None)
    await service.reconfigure(changed)
    if moves:
        await service.leave()
        await service.enter(frozenset((FRAMES.name, number) for number in range(FRAMES.partitions)))
    ended: list[EventMessage] = []
    stand.clock.advance(SAVE_EVERY_S)  # once: after ten seconds without a frame all channels are silent

    async def told() -> bool:
        ended.extend(r.message for r in await published.poll(timeout_s=0) if isinstance(r.message, EventMessage))
        return len(ended) >= 2

    await until(told, "what the changed rules had open has ended")
    assert {(event.event_id, event.phase) for event in ended} == {(open_[name].event_id, EventPhase.ENDED) for name in ("gate", "hall")}

    later: dict[str, list[EventMessage]] = {"gate": [], "yard": [], "hall": []}
    for sequence in range(12, 24):
        for name in later:
            later[name] += events(await service.on_frame(frame(changed, name, sequence, stand.clock)))
    assert later["hall"] == []
    assert [event.phase for event in later["gate"]][:1] == [EventPhase.STARTED]
    goes_on = [event for event in later["yard"] if event.source == "moving"]
    assert {event.event_id for event in goes_on} == {open_["yard"].event_id}
    assert {event.phase for event in goes_on} == {EventPhase.UPDATED}
    assert [event.phase for event in later["yard"] if event.source == "second"][:1] == [EventPhase.STARTED]


async def test_a_handler_that_is_cancelled_anywhere_changes_nothing(stand: Stand) -> None:
    config = site(stand.folder, gate=[MOVING])
    calm, disturbed = await stand.service(config, "calm"), await stand.service(config, "disturbed")
    for sequence in range(24):
        one = frame(config, "gate", sequence, stand.clock)
        for turns in range(sequence % 6):
            task = asyncio.create_task(disturbed.on_frame(one))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        mine, true = await disturbed.on_frame(one), await calm.on_frame(one)
        assert events(mine) == events(true)
        assert [(m.message.motion, m.message.boxes) for m in mine if isinstance(m.message, DetectionsMessage)] == [
            (m.message.motion, m.message.boxes) for m in true if isinstance(m.message, DetectionsMessage)
        ]


async def test_a_damaged_picture_is_dropped_and_harms_no_other_channel(stand: Stand) -> None:
    config = site(stand.folder, gate=[MOVING], yard=[MOVING])
    service = await stand.service(config)
    good = plain_picture(40)
    jpeg = to_jpeg(Picture(160, 96, i420=np.array(good.i420)))
    damaged = Picture(160, 96, jpeg=jpeg[:40])
    for sequence in range(4):
        bad = frame(config, "gate", sequence, stand.clock).model_copy(update={"picture": damaged})
        first, second = await asyncio.gather(service.on_frame(bad), service.on_frame(frame(config, "yard", sequence, stand.clock)))
        assert first == []
        assert second
    assert service.health().ok
    assert service.health().details["detector_failures"] == 0
    assert service.health().details["dropped"] == 4
