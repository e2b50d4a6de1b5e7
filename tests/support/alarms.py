"""An alarm service on a real bus and a real book, and monitoring centres that can be told how to behave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook

from services.alarms.app import AlarmService, create
from services.alarms.check import check
from services.alarms.core.record import Alarm
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, Clock, ManualClock, SystemClock
from shared.domain.ids import deterministic_id
from shared.messages import EventKind, EventMessage, EventPhase, Message
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import ACTIONS, ALARMS, EVENTS
from tests.support.waiting import until
from tests.support.webhooks import TEST_SECRET

LINE = [[0.5, 0.0], [0.5, 1.0]]


@dataclass(frozen=True)
class Reply:
    """What a centre answers; `after`: it waits for this first."""

    status: int = 204
    headers: tuple[str, ...] = ()
    after: asyncio.Event | None = None
    body: bytes = b""


@dataclass(frozen=True)
class Arrival:
    """A POST that arrived and whose signature was right."""

    webhook_id: str
    event: dict[str, Any]
    reply: Reply

    @property
    def alarm_id(self) -> str:
        return str(self.event["data"]["alarm_id"])

    @property
    def channel(self) -> str:
        return str(self.event["data"]["channel"]["id"])


@dataclass
class Receiver:
    """A centre. `behave` decides, from the CloudEvent, what is answered."""

    url: str = ""
    behave: Callable[[dict[str, Any]], Reply] = lambda _event: Reply()
    arrivals: list[Arrival] = field(default_factory=list)
    connections: int = 0

    def accepted(self) -> list[Arrival]:
        """What was answered with success, in order."""
        return [arrival for arrival in self.arrivals if arrival.reply.status < 300]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.decode().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
                body = await reader.readexactly(int(headers["content-length"]))
                Webhook(TEST_SECRET).verify(body, headers)  # raises, and the test sees no arrival
                event = json.loads(body)
                reply = self.behave(event)
                if reply.after is not None:
                    await reply.after.wait()
                self.arrivals.append(Arrival(headers["webhook-id"], event, reply))
                head = [f"HTTP/1.1 {reply.status} x", f"content-length: {len(reply.body)}", *reply.headers, "", ""]
                writer.write("\r\n".join(head).encode() + reply.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


@asynccontextmanager
async def receiver(behave: Callable[[dict[str, Any]], Reply] | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """A centre on loopback."""
    centre = Receiver()
    if behave is not None:
        centre.behave = behave
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(centre.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    centre.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/alarms"
    try:
        yield centre
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def centre_config(url: str, name: str = "station", **settings: Any) -> dict[str, Any]:
    """A centre in the configuration that tries again quickly."""
    return {"id": name, "url": url, "secret": TEST_SECRET, "retry_min_s": 0.02, "retry_max_s": 0.05, **settings}


def site_config(*centres: dict[str, Any], channels: int = 2, rule: dict[str, Any] | None = None, **more: Any) -> SiteConfig:
    """Channels cam1.. with a tripwire `line` that reports to all centres, and an unarmed one, `off`."""
    line = {"id": "line", "name": "Gate", "kind": "tripwire", "line": LINE, "linkage": {"webhooks": [one["id"] for one in centres]}}
    unarmed = {"id": "off", "kind": "tripwire", "line": LINE, "arming": "never", "linkage": {"webhooks": [one["id"] for one in centres]}}
    counting = {"id": "people", "kind": "people_counting", "line": LINE, "enter_threshold": 5}
    days = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
    return SiteConfig.model_validate(
        {
            "device": {"id": "recorder"},
            "schedules": {"never": {day: [] for day in days}},
            "centres": list(centres),
            "console": {"public_url": "https://nvr.example"},
            "channels": [
                {
                    "id": f"cam{number}",
                    "number": number,
                    "name": f"Camera {number}",
                    "main": {"url": "rtsp://192.0.2.1/x"},
                    "rules": [line | (rule or {}), unarmed, counting],
                }
                for number in range(1, channels + 1)
            ],
            **more,
        }
    )


def event(
    name: str,
    at_s: float,
    phase: EventPhase = EventPhase.STARTED,
    *,
    base_ns: int,
    channel: int = 1,
    source: str = "line",
    kind: EventKind = EventKind.TRIPWIRE,
    start_s: float | None = None,
    **more: Any,
) -> EventMessage:
    """A message of the event `name`, `at_s` seconds after `base_ns`."""
    at_ns = base_ns + round(at_s * NS_PER_S)
    return EventMessage(
        channel=f"cam{channel}",
        channel_number=channel,
        event_id=deterministic_id("test", name),
        kind=kind,
        source=source,
        phase=phase,
        start_ns=at_ns if start_s is None else base_ns + round(start_s * NS_PER_S),
        at_ns=at_ns,
        end_ns=at_ns if phase is EventPhase.ENDED else None,
        **more,
    )


def crossing(name: str, at_s: float, *, base_ns: int, channel: int = 1, source: str = "line") -> list[EventMessage]:
    """A momentary event: started and ended at once."""
    phases = (EventPhase.STARTED, EventPhase.ENDED)
    return [event(name, at_s, phase, base_ns=base_ns, channel=channel, source=source, direction="a_to_b") for phase in phases]


@dataclass
class Running:
    """A running alarm service, and what it published."""

    site: SiteConfig
    folder: Path
    clock: Clock
    bus: EmbeddedBus
    service: AlarmService
    published: list[Message] = field(default_factory=list)

    async def send(self, *events: EventMessage) -> None:
        for one in events:
            await self.bus.producer.publish(EVENTS, one)

    async def alarms(self, **search: Any) -> list[Alarm]:
        """Oldest first, by their beginnings: those of several channels are raised in any order."""
        async with self.service.book.read() as page:
            return sorted(await page.search(**search), key=lambda alarm: alarm.start_ns)

    async def wait_alarms(self, count: int, *, quiet: bool = False, **search: Any) -> list[Alarm]:
        """`quiet`: and no event of theirs goes on, as is so when the last message of each has been handled."""

        async def enough() -> list[Alarm]:
            found = await self.alarms(**search)
            return found if len(found) >= count and not (quiet and any(alarm.live for alarm in found)) else []

        found: list[Alarm] = await until(enough, f"{count} alarms")
        return found

    async def problems(self) -> list[str]:
        return await check(self.site, self.folder, self.clock.now_ns())


def asleep(clock: ManualClock, name: str) -> bool:
    """Whether the task of that name waits for `clock`. One that was just woken has to run first: ask after an `await` of something."""
    for task in asyncio.all_tasks():
        waits_in: Any = task.get_coro() if task.get_name() == name else None
        while getattr(waits_in, "cr_await", None) is not None:
            if waits_in.cr_code is ManualClock.sleep.__code__:
                return clock.sleepers > 0
            waits_in = waits_in.cr_await
    return False


async def timers_sleep(clock: ManualClock) -> None:
    """Wait until the timers wait for `clock`: only then does its advance make them look."""
    await asyncio.sleep(0)  # those that were just woken run
    await until(lambda: asleep(clock, "alarm timers"), "the timers sleep")


async def pass_time(clock: ManualClock, seconds: float) -> None:
    """So that the timers look, and have looked."""
    await timers_sleep(clock)
    clock.advance(seconds)
    await timers_sleep(clock)


@asynccontextmanager
async def running(site: SiteConfig, folder: Path, clock: Clock | None = None) -> AsyncIterator[Running]:
    """An alarm service on an embedded bus; its book is in `folder`, where the next one finds it."""
    clock = clock or SystemClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    runtime = Runtime(site, bus, clock, folder, Reporter(bus.producer, clock, site.device.id))
    service = create(runtime)
    outputs = await bus.consumer([ALARMS, ACTIONS], group=None)
    recorder = Running(site, folder, clock, bus, service)

    async def listen() -> None:
        while True:
            recorder.published += [record.message for record in await outputs.poll()]

    listening = asyncio.create_task(listen())
    try:
        await service.start()
        yield recorder
    finally:
        await service.stop()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await outputs.close()
        await bus.stop()
