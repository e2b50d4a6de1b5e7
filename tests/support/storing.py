"""A storage service on a folder, over the embedded bus, with real clocks, files and databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from services.storage.api import router
from services.storage.app import StorageService, create
from services.storage.check import problems
from shared.bus.embedded import EmbeddedBus
from shared.bus.port import Bus, Consumer, Position
from shared.config.services import S3Objects
from shared.config.site import SiteConfig
from shared.domain.clock import Clock, SystemClock
from shared.messages import ActionKind, ActionMessage, ActionPhase, Message, SegmentMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import SEGMENTS, Topic
from tests.support.minio import minio_server
from tests.support.segments import START_NS
from tests.support.waiting import until as until  # noqa: PLC0414  # the alias says that tests may take it from here

MIB = 1024 * 1024
_READY_S = 180.0
#: What the stop of a service may take here: a busy machine is late, and tests look at what an orderly stop leaves.
_STOP_S = 60.0
B = TypeVar("B", bound=Bus)


def site(*channels: str, storage: dict[str, Any] | None = None, recording: dict[str, Any] | None = None, **more: Any) -> SiteConfig:
    """Channels numbered from 1; nothing kept free on the disk of the tests."""
    return SiteConfig.model_validate(
        {
            "storage": {"min_free_bytes": 0, "file_s": 4, "sweep_every_s": 0.2, **(storage or {})},
            "channels": [
                {"id": name, "number": number, "main": {"url": f"rtsp://127.0.0.1/{name}"}, "recording": recording or {}}
                for number, name in enumerate(channels, start=1)
            ],
            **more,
        }
    )


@contextmanager
def objects_of(kind: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The section `objects` of a site: `local`, on this disk, or `s3`, a server that keeps what it has in `folder`."""
    if kind == "local":
        yield {"kind": "local"}
        return
    folder.mkdir()
    with minio_server(folder) as server:
        yield as_section(server)


def put_back(moved: Path, place: Path) -> None:
    """A folder is at its place again, instead of a file, and never was there nothing: somebody might make it anew."""
    link = moved.with_name(f"{moved.name}-link")
    link.symlink_to(moved, target_is_directory=True)
    link.replace(place)


def as_section(server: S3Objects) -> dict[str, Any]:
    """With its secrets written out."""
    secrets = {"access_key": server.access_key.get_secret_value(), "secret_key": server.secret_key.get_secret_value()}
    return {**server.model_dump(), **secrets}


@dataclass
class Storing:
    """A running service and what tests ask it."""

    service: StorageService
    bus: Bus
    http: httpx.AsyncClient
    config: SiteConfig
    data_dir: Path

    @property
    def embedded(self) -> EmbeddedBus:
        assert isinstance(self.bus, EmbeddedBus)
        return self.bus

    async def send(self, *segments: SegmentMessage) -> list[asyncio.Future[Position]]:
        """Publish; each future resolves when the segment is durable."""
        return [await self.bus.producer.enqueue(SEGMENTS, segment) for segment in segments]

    async def keep(self, *segments: SegmentMessage, deadline_s: float = 180.0) -> None:
        """Publish, and wait until all are acknowledged."""
        async with asyncio.timeout(deadline_s):
            await asyncio.gather(*await self.send(*segments))

    async def recordings(self, channel: str | None = None) -> list[dict[str, Any]]:
        answer = await self.http.get("/api/recordings", params={} if channel is None else {"channel": channel})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["recordings"]
        return found

    async def every_recording_plays(self, channel: str | None = None) -> None:
        """Each gives all its bytes, as many as are listed before or after: a file that has ended gets its index when it is closed."""
        for recording in await self.recordings(channel):
            answer = await self.http.get(f"/api/recordings/{recording['id']}/media")
            assert answer.status_code == 200, answer.text
            listed = {recording["size_bytes"]} | {r["size_bytes"] for r in await self.recordings(channel) if r["id"] == recording["id"]}
            assert len(answer.content) in listed

    async def listen(self, topic: Topic[Any]) -> Consumer:
        return await self.bus.consumer([topic], group=None)

    async def check(self) -> list[str]:
        return [str(problem) for problem in await problems(self.config, self.data_dir, deep=True)]


async def next_of(consumer: Consumer, wanted: Callable[[Any], bool], deadline_s: float = 180.0) -> Message:
    """The next message that is wanted."""
    async with asyncio.timeout(deadline_s):
        while True:
            for record in await consumer.poll(max_records=1, timeout_s=1.0):
                if wanted(record.message):
                    return record.message


def command(
    kind: ActionKind, channel: str, *, at_ns: int = 0, from_ns: int | None = None, to_ns: int | None = None, name: str = "a1", key: str = ""
) -> ActionMessage:
    """What the alarm service asks for."""
    return ActionMessage(
        channel=channel, channel_number=1, action_id=name, alarm_id="alarm", action=kind, phase=ActionPhase.REQUESTED,
        at_ns=at_ns or START_NS, from_ns=from_ns, to_ns=to_ns, object_key=key,
    )  # fmt: skip


@asynccontextmanager
async def on_bus(bus: B) -> AsyncIterator[B]:
    await bus.start()
    try:
        yield bus
    finally:
        await bus.stop()


@asynccontextmanager
async def of_service(bus: Bus, data_dir: Path, config: SiteConfig, clock: Clock, *, stop_s: float = _STOP_S) -> AsyncIterator[Storing]:
    """A service that is not started yet, and its HTTP part; stopped at the end, which may take `stop_s`."""
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    reporter = Reporter(bus.producer, clock, config.device.id)
    service = create(Runtime(config, bus, clock, data_dir, reporter), drain_s=stop_s)
    app = FastAPI()
    app.include_router(router(service))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://storage") as http:
            yield Storing(service, bus, http, config, data_dir)
    finally:
        await service.stop()
        await reporter.stop()


@asynccontextmanager
async def storing(
    data_dir: Path, config: SiteConfig, clock: Clock | None = None, bus: Bus | None = None, *, stop_s: float = _STOP_S
) -> AsyncIterator[Storing]:
    """Start the service on the folder, and wait until it is ready; stop it in order. `bus`: not started yet; None: an embedded one."""
    clock = clock or SystemClock()
    async with on_bus(bus or EmbeddedBus(clock)) as running, of_service(running, data_dir, config, clock, stop_s=stop_s) as store:
        await store.service.start()
        assert await store.service.wait_ready(_READY_S), store.service.not_ready
        yield store
