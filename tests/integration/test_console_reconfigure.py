"""A console that runs takes another configuration: open pages show it without a reload, and who is logged in stays so."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect
from websockets.asyncio.client import connect

from services.cli.following import begin, follow, hangups
from services.cli.ports import with_known_port
from services.cli.wiring import Wiring
from services.console.app import ConsoleService
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.service import Reconfigurable
from shared.supervise import Supervisor
from shared.topics import CHANNEL_STATUS, FRAMES
from tests.support.ports import kept_port
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import browsing, feeding, needs_chromium
from tests.unit.console.reconfigured import changed

pytestmark = pytest.mark.integration


async def test_sessions_and_sockets_stay_and_are_told(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        assert isinstance(s.console, Reconfigurable)
        cookie = f"vedette_session={client.cookies['vedette_session']}"
        url = s.console.url.replace("http", "ws") + "/api/live"
        async with connect(url, origin=s.console.url, additional_headers={"cookie": cookie}) as socket:  # type: ignore[arg-type]  # a plain str is one
            while '"attic"' not in await socket.recv(decode=True):
                pass
            await s.console.reconfigure(changed(stand.site_of()))
            while '"type":"site"' not in await socket.recv(decode=True):
                pass
            await socket.send('{"type":"subscribe","channels":["shed","quay"]}')
            for channel, number in (("quay", 3), ("shed", 5)):
                await s.bus.producer.publish(FRAMES, stand.frame(channel, number, 1, s.clock.now_ns()))
            while not isinstance(picture := await socket.recv(), bytes):
                pass
            assert b"shed" in picture[:40]
        site = (await client.get("/api/site")).json()
        assert (site["name"], [channel["id"] for channel in site["channels"]]) == ("Harbour and docks", ["gate", "yard", "attic", "shed"])
        assert [one["channel"] for one in (await client.get("/api/status")).json()["channels"]] == ["gate", "yard", "attic", "shed"]
        assert (await client.get("/api/channels/quay/live.jpg")).status_code == 404
        assert (await client.get("/api/channels/shed/live.jpg")).status_code == 200


async def test_the_way_to_the_page_changes(tmp_path: Path) -> None:
    """Its public address, whose word on visitors is taken, and how long sessions last."""
    forwarded = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    async with stand.running(tmp_path) as s, s.client() as client:
        login = {"user": "admin", "password": s.password}
        other = {"origin": "https://nvr.example", **forwarded}
        assert (await client.post("/api/session", json=login, headers=other)).status_code == 403
        assert "secure" not in (await client.post("/api/session", json=login, headers=forwarded)).headers["set-cookie"].lower()
        behind = {"public_url": "https://nvr.example", "trusted_proxies": ["127.0.0.1"], "session_hours": 1}
        await s.console.reconfigure(changed(stand.site_of(), **behind))
        answer = await client.post("/api/session", json=login, headers=other)
        assert answer.status_code == 200
        assert {"secure", "max-age=3600"} <= set(answer.headers["set-cookie"].lower().split("; "))
        assert answer.headers["strict-transport-security"]
        await s.console.reconfigure(stand.site_of())
        assert (await client.post("/api/session", json=login, headers=other)).status_code == 403


async def test_a_secret_that_was_replaced_is_not_told(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        new = changed(stand.site_of()).model_dump()
        new["channels"][0]["main"]["password"] = "horse-on-the-roof"
        await s.console.reconfigure(SiteConfig.model_validate(new))
        for secret in (stand.CAMERA_PASSWORD, "horse-on-the-roof"):
            await s.bus.producer.publish(
                CHANNEL_STATUS, stand.status("gate", 1, s.clock.now_ns(), reason=f"refused {secret} [{len(secret)}]")
            )

            async def told(length: str = f"[{len(secret)}]") -> Any:
                reason = str((await client.get("/api/status")).json()["channels"][0]["reason"])
                return reason if length in reason else None

            assert secret not in await until(told, "the status is there")


@needs_chromium
async def test_an_open_page_shows_the_new_site(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, feeding(s, boxes=False), browsing(s) as page:
        await expect(page.locator(".tile[data-channel=gate]")).to_contain_text("25 fps", timeout=60_000)
        await page.evaluate("window.sameDocument = true")
        await s.console.reconfigure(changed(stand.site_of()))
        await expect(page.locator("#site-name")).to_have_text("Harbour and docks", timeout=60_000)
        await expect(page.locator(".tile")).to_have_count(4)
        await expect(page.locator(".tile[data-channel=shed]")).to_contain_text("Shed")
        await expect(page.locator(".tile[data-channel=quay]")).to_have_count(0)
        gate = page.locator(".tile[data-channel=gate]")
        await expect(gate.locator(".title")).to_have_text("North gate")
        await expect(gate).to_contain_text("25 fps")  # its picture and status went on
        await expect(page.locator("#dock .name")).to_have_text(["North gate", "Yard", "Attic <b>&amp;</b>", "Shed"])
        await expect(page.locator("#counts tbody tr")).to_have_count(1)
        await expect(page.locator("#counts tbody")).to_contain_text("Way in")
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("shed", 5, s.clock.now_ns(), fps=12.0))
        await s.bus.producer.publish(FRAMES, stand.frame("shed", 5, 1, s.clock.now_ns()))
        await expect(page.locator(".tile[data-channel=shed]")).to_contain_text("12 fps")
        await expect(page.locator(".tile[data-channel=shed]")).to_have_attribute("data-capture", re.compile(r"^\d+$"))
        assert await page.evaluate("window.sameDocument") is True


@needs_chromium
async def test_sighup_brings_a_new_camera_to_the_open_page(tmp_path: Path) -> None:
    """Also where the page has any free port: it stays where it is."""
    file, camera = tmp_path / "site.yml", "  - {{id: {0}, number: {1}, main: {{url: 'rtsp://127.0.0.1:9/s'}}}}\n"
    start = f"data_dir: {tmp_path}/data\nconsole: {{port: 0}}\nchannels:\n{camera.format('gate', 1)}"
    file.write_text(start)
    site, own = await asyncio.to_thread(begin, file)
    site, clock = with_known_port(site), SystemClock()
    wiring, supervisor = Wiring(site, clock, ("ingest", "console")), Supervisor(clock)
    with hangups() as asked, kept_port(site.console.port):  # the console listens there some seconds from now
        try:
            await wiring.start(lambda _name, _what: None)
            await until(lambda: "console" in wiring.services, "the console is open")
            supervisor.spawn("config", partial(follow, wiring, site, own, clock, asked))
            console = wiring.services["console"]
            assert isinstance(console, ConsoleService)
            assert isinstance(wiring.bus, EmbeddedBus)
            async with browsing(stand.Stand(console, wiring.bus, clock, stand.Answers(), tmp_path / "data")) as page:
                await expect(page.locator(".tile")).to_have_count(1)
                file.write_text(start + camera.format("yard", 2))
                os.kill(os.getpid(), signal.SIGHUP)
                await expect(page.locator(".tile[data-channel=yard]")).to_contain_text("Offline", timeout=60_000)  # ingest has it too
                await expect(page.locator(".tile[data-channel=gate]")).to_contain_text("Offline")
        finally:
            await supervisor.stop()
            await wiring.stop(lambda _name, _what: None)
