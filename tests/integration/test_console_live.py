"""The live socket: pictures once for all, a slow page delays nobody, sessions and origins are checked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import simplejpeg  # type: ignore[import-untyped]  # it ships no types
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from services.console.auth import COOKIE
from shared.domain.clock import ManualClock
from shared.messages import EventMessage
from shared.obs.metrics import REGISTRY
from shared.topics import ACTIONS, ALARMS, CHANNEL_STATUS, DETECTIONS, EVENTS, FRAMES
from tests.unit.console import stand

pytestmark = pytest.mark.integration


async def cookie_of(s: stand.Stand) -> str:
    async with s.logged_in() as client:
        return client.cookies[COOKIE]


def page(s: stand.Stand, cookie: str, origin: str | None = None, **options: Any) -> connect:
    url = s.console.url.replace("http", "ws") + "/api/live"
    headers = {"cookie": f"{COOKIE}={cookie}"}
    return connect(url, origin=origin or s.console.url, additional_headers=headers, max_size=None, **options)  # type: ignore[arg-type]  # any origin is a str


async def facts(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of that type."""
    async with asyncio.timeout(60):
        while True:
            text = await socket.recv()
            if isinstance(text, str):
                message = json.loads(text)
                if message["type"] == kind:
                    data: dict[str, Any] = message["data"]
                    return data


async def picture(socket: ClientConnection) -> tuple[str, int, int, bytes]:
    """Channel, capture time, sequence and JPEG of the next picture."""
    async with asyncio.timeout(60):
        while True:
            data = await socket.recv()
            if isinstance(data, bytes):
                assert data[0] == 1
                length = data[1]
                return (
                    data[18 : 18 + length].decode(),
                    int.from_bytes(data[2:10], "big"),
                    int.from_bytes(data[10:18], "big"),
                    data[18 + length :],
                )


async def closed(socket: ClientConnection) -> int | None:
    """Read until the other side closes; its code."""
    async with asyncio.timeout(60):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code


def encoded(channel: str) -> float:
    return REGISTRY.get_sample_value("vedette_console_pictures_encoded_total", {"channel": channel}) or 0.0


async def test_strangers_and_other_sites_get_no_socket(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        cookie = await cookie_of(s)
        for bad_cookie, origin, status in (("x", s.console.url, 401), (cookie, "https://evil.example", 403), (cookie, "null", 403)):
            with pytest.raises(InvalidStatus) as refused:
                async with page(s, bad_cookie, origin):
                    pass
            assert refused.value.response.status_code == status


async def test_facts_of_every_topic_reach_the_page(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, page(s, await cookie_of(s)) as socket:
        assert (await facts(socket, "status"))["state"] == "waiting"
        now_ns = s.clock.now_ns()
        publish = s.bus.producer.publish
        await publish(DETECTIONS, stand.boxes("gate", 1, 5, now_ns))
        assert (await facts(socket, "detections"))["capture_ns"] == now_ns
        await publish(ALARMS, stand.alarm("a1", "gate", 1, now_ns))
        assert (await facts(socket, "alarm"))["alarm_id"] == "a1"
        notice = stand.notice("n", "gate", 1, now_ns, "hello")
        await publish(ACTIONS, notice.model_copy(update={"action": "snapshot", "text": "not for pages"}))
        await publish(ACTIONS, notice)
        assert (await facts(socket, "notice"))["text"] == "hello"
        count = EventMessage(
            channel="gate", channel_number=1, event_id="e", kind="people_counting", source="door", phase="started",
            start_ns=now_ns, at_ns=now_ns, counts={"enter": 3, "leave": 1, "stay": 2},
        )  # fmt: skip
        await publish(EVENTS, count)
        assert (await facts(socket, "counts"))["counts"] == {"enter": 3, "leave": 1, "stay": 2}
        await publish(CHANNEL_STATUS, stand.status("yard", 2, now_ns))
        while (status := await facts(socket, "status"))["state"] != "online":
            pass
        assert status["channel"] == "yard"


async def test_a_picture_is_encoded_once_for_all_and_only_when_somebody_watches(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, clock=clock) as s:
        cookie = await cookie_of(s)
        before = encoded("gate")
        await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, 1, s.clock.now_ns()))
        async with page(s, cookie) as one, page(s, cookie) as two:
            for socket in (one, two):
                await facts(socket, "status")
            assert encoded("gate") == before
            for socket in (one, two):
                await socket.send(json.dumps({"type": "subscribe", "channels": ["gate", "unknown"], "max_fps": 60}))
                assert (await picture(socket))[2] == 1
            clock.advance(1)  # else it would come faster than was asked for
            capture_ns = clock.now_ns()
            await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, 2, capture_ns))
            for socket in (one, two):
                channel, at_ns, sequence, jpeg = await picture(socket)
                assert (channel, at_ns, sequence) == ("gate", capture_ns, 2)
                assert simplejpeg.decode_jpeg(jpeg).shape == (360, 640, 3)
            assert encoded("gate") == before + 2


async def test_a_page_that_takes_nothing_gets_the_newest_later_and_delays_no_other(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, clock=clock) as s:
        cookie = await cookie_of(s)
        subscribe = {"type": "subscribe", "channels": ["gate"], "max_fps": 60, "window": 2}
        async with page(s, cookie) as slow, page(s, cookie) as quick:
            for socket in (slow, quick):
                await socket.send(json.dumps(subscribe))
            for step in range(1, 41):
                await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, step, s.clock.now_ns()))
                while (await picture(quick))[2] != step:
                    pass
                await quick.send(json.dumps({"type": "drawn", "count": 1}))
                clock.advance(1)  # else the next would come faster than was asked for
            got = [(await picture(slow))[2] for _ in range(2)]
            assert got[0] <= got[1] < 40
            await slow.send(json.dumps({"type": "drawn", "count": 2}))
            assert (await picture(slow))[2] == 40, "between the window and the newest nothing was kept"


async def test_a_page_that_sends_nonsense_is_told_and_kept(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, page(s, await cookie_of(s)) as socket:
        for nonsense in ("{", '{"type":"reboot"}', b"\x00\x01", '{"type":"subscribe","channels":["gate"],"max_fps":-1}'):
            await socket.send(nonsense)
            assert "not understood" in (await facts(socket, "error"))["detail"]


async def test_a_page_hears_of_the_recorder_also_when_nothing_happens(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, page(s, await cookie_of(s)) as socket:
        for _ in range(3):
            assert await facts(socket, "beat") == {}


async def test_a_page_is_told_to_ask_again_when_the_bus_had_to_be_joined_anew(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, page(s, await cookie_of(s)) as socket:
        assert (await facts(socket, "status"))["state"] == "waiting"
        await s.console._hub._joined["facts"].close()  # as after an error of the bus: what comes until it is joined again is not read
        assert await facts(socket, "resync") == {}
        await s.bus.producer.publish(ALARMS, stand.alarm("a1", "gate", 1, s.clock.now_ns()))
        assert (await facts(socket, "alarm"))["alarm_id"] == "a1"


async def test_logging_out_closes_the_pages_of_that_session_only(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        other = await cookie_of(s)
        async with s.logged_in() as client, page(s, client.cookies[COOKIE]) as mine, page(s, other) as theirs:
            await client.delete("/api/session")
            assert await closed(mine) == 4401
            await s.bus.producer.publish(ALARMS, stand.alarm("a", "gate", 1, s.clock.now_ns()))
            assert (await facts(theirs, "alarm"))["alarm_id"] == "a"


async def test_the_console_stops_with_pages_open(tmp_path: Path) -> None:
    async with asyncio.timeout(60):
        async with stand.running(tmp_path) as s:
            cookie = await cookie_of(s)
            sockets = [await page(s, cookie) for _ in range(3)]
            await s.console._hub.stop()
            server = s.console._server._server
            assert server is not None
            for connection in list(server.server_state.connections):
                connection.shutdown()  # what the server does next, as early as it may: who was not told by now is told something else
        for socket in sockets:
            assert await closed(socket) == 1001
