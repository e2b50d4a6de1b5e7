"""A broker that is killed while cameras record, and comes back: every frame is recorded once, in order, without a gap."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.simulated import CameraSpec
from services.ingest.app import IngestService, create
from services.storage.check import problems
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import SegmentMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import SEGMENTS
from tests.support.clips import make_clip
from tests.support.ingest import gapless
from tests.support.kafka import KafkaServer
from tests.support.kafka_log import log_of
from tests.support.minio import PASSWORD, USER, MinioServer
from tests.support.postgres import PostgresServer
from tests.support.rtsp import camera_simulator
from tests.support.storing import on_bus, storing
from tests.support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.servers]

#: Seconds of footage that wait when the broker comes back: longer than a request's time-out, so that requests fail as well as hang.
OUTAGE_S = int(os.environ.get("VEDETTE_OUTAGE_S", "25"))
FPS = 10
CAMERAS = ("door", "yard", "gate")


@asynccontextmanager
async def recording(folder: Path, config: SiteConfig) -> AsyncIterator[IngestService]:
    """Ingest in a data folder of its own, on Kafka."""
    assert isinstance(config.bus, KafkaConfig)
    clock = SystemClock()
    async with on_bus(KafkaBus(config.bus, clock, client_id="ingest")) as bus:
        service = create(Runtime(config, bus, clock, folder, Reporter(bus.producer, clock, config.device.id)))
        try:
            await service.start()
            yield service
        finally:
            await service.stop()


async def log_by_channel(config: KafkaConfig) -> dict[str, list[SegmentMessage]]:
    """Every segment that the broker has, in its order."""
    found: dict[str, list[SegmentMessage]] = {}
    for message in await log_of(config, SEGMENTS):
        assert isinstance(message, SegmentMessage)
        found.setdefault(message.channel, []).append(message)
    return found


def spooled(folder: Path) -> dict[str, int]:
    """Segments by channel that wait on the disk of ingest."""
    return {name: len(list((folder / "spool" / name).glob("*.mp4"))) for name in CAMERAS}


@dataclass(frozen=True)
class Servers:
    """What goes away and comes back, and how the site file names the others."""

    broker: KafkaServer
    kill: Callable[[], None]
    restart: Callable[[], None]
    sections: dict[str, Any] = field(default_factory=dict)


async def test_a_broker_that_is_killed_in_mid_stream_costs_nothing(tmp_path: Path, own_broker: KafkaServer) -> None:
    await go_through_an_outage(tmp_path, Servers(own_broker, own_broker.kill, own_broker.restart), OUTAGE_S)


@pytest.mark.slow
async def test_broker_database_and_object_server_away_at_once_cost_nothing(
    tmp_path: Path, own_broker: KafkaServer, postgres: PostgresServer
) -> None:
    objects = MinioServer.start(tmp_path)
    servers = (own_broker, postgres, objects)
    keys = {"access_key": USER, "secret_key": PASSWORD}
    sections = {
        "database": {"url": postgres.database()},
        "objects": {**objects.config.model_dump(exclude=set(keys)), **keys},
    }

    def kill() -> None:
        for server in servers:
            server.kill()

    def restart() -> None:
        for server in reversed(servers):  # the broker comes last: until then storage has nothing to do
            server.restart()

    try:
        await go_through_an_outage(tmp_path, Servers(own_broker, kill, restart, sections), 12)
    finally:
        objects.stop()


async def go_through_an_outage(tmp_path: Path, servers: Servers, outage_s: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=4, fps=FPS)
    at_ingest, at_storage = tmp_path / "ingest", tmp_path / "storage"
    with camera_simulator(*(CameraSpec(f"/{name}", clip) for name in CAMERAS)) as cameras:
        config = SiteConfig.model_validate(
            {
                "bus": {"kind": "kafka", "brokers": [servers.broker.address]},
                "ingest": {"segment_s": 1, "status_every_s": 0.5},
                "storage": {"min_free_bytes": 0, "file_s": 10},
                "channels": [
                    {"id": name, "number": number, "main": {"url": cameras.url(f"/{name}")}} for number, name in enumerate(CAMERAS, start=1)
                ],
                **servers.sections,
            }
        )
        assert isinstance(config.bus, KafkaConfig)
        storage_bus = KafkaBus(config.bus, SystemClock(), client_id="storage")
        async with storing(at_storage, config, bus=storage_bus) as store:

            async def kept() -> dict[str, int]:
                return {name: sum(found["frames"] for found in await store.recordings(name)) for name in CAMERAS}

            async with recording(at_ingest, config):

                async def frames() -> int:
                    return min((await kept()).values())

                async def enough(wanted: int) -> bool:
                    return await frames() >= wanted

                await until(lambda: enough(5 * FPS), "all cameras are recorded", deadline_s=180)
                before = await frames()
                await asyncio.to_thread(servers.kill)
                await until(lambda: min(spooled(at_ingest).values()) >= outage_s, "footage waits", deadline_s=outage_s * 2 + 60)
                await asyncio.to_thread(servers.restart)
                await until(lambda: enough(before + outage_s * FPS), "storage has caught up", deadline_s=240)
                await until(lambda: max(spooled(at_ingest).values()) <= 1, "the spool is empty but for what is live", deadline_s=180)
            # At its stop it hands over what goes quickly; what a busy machine leaves goes at the next start, also without cameras.
            async with recording(at_ingest, config.model_copy(update={"channels": ()})):
                await until(lambda: not any(spooled(at_ingest).values()), "the end is handed over too")
            log = await log_by_channel(config.bus)
            wanted: dict[str, int] = {}
            for name in CAMERAS:
                sequences = [segment.sequence for segment in log[name]]
                assert sequences == sorted(sequences), "a repeat may follow the first, never something older"
                segments = list({segment.segment_id: segment for segment in log[name]}.values())
                assert gapless(segments)
                assert all(segment.frames == round(segment.duration_ns * FPS / 1e9) for segment in segments)
                wanted[name] = sum(segment.frames for segment in segments)

            async def complete() -> bool:
                return await kept() == wanted

            await until(complete, "every frame is recorded, once")
            for name in CAMERAS:
                files = sorted(await store.recordings(name), key=lambda found: found["start_ns"])
                assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(files))
    assert await problems(config, at_storage, deep=True) == []
