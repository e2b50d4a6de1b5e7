"""The health of the whole site: the console asks every process, says which is away, and stays well itself."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from services.cli.inside import create_app
from services.cli.share import Share
from shared.config.site import SiteConfig
from shared.http.server import HttpServer, listen, url_of
from shared.service import Health
from tests.support.ports import kept_port
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import browsing, needs_chromium

pytestmark = pytest.mark.integration

ABSENT = ("ingest", "storage", "alarms", "analytics")
AWAY = "does not answer: its process is away, or cannot be reached"


@asynccontextmanager
async def process(health: dict[str, Health], share: Share | None = None, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Another process that tells its health; its HOST:PORT."""
    listener = listen(host, port, host_setting="host", port_setting="port")
    server = HttpServer(create_app(lambda: health, [], "", str, share), "test.http")
    await server.start(listener)
    try:
        yield url_of(listener).removeprefix("http://")
    finally:
        await server.stop()


@asynccontextmanager
async def site(folder: Path, **internal: Any) -> AsyncIterator[stand.Stand]:
    """A console that has no other service in its process."""
    config = stand.site_of().model_dump() | {"internal": internal}
    async with stand.running(folder, SiteConfig.model_validate(config), absent=ABSENT) as running:
        running.answers.health = {}
        yield running


async def told(client: httpx.AsyncClient, when: Callable[[dict[tuple[str, str], Any]], bool]) -> dict[tuple[str, str], Any]:
    """The services by name and process, once `when` holds of them."""

    async def asked() -> Any:
        services = {(one["name"], one["process"]): one for one in (await client.get("/api/status")).json()["services"]}
        return services if when(services) else None

    found: dict[tuple[str, str], Any] = await until(asked, "every process was asked")
    return found


def known(services: dict[tuple[str, str], Any]) -> bool:
    return all(one["summary"] != "not asked yet" for one in services.values())


def away(*where: tuple[str, str]) -> Callable[[dict[tuple[str, str], Any]], bool]:
    """Whether all were asked and none but these are away: on a busy machine another may answer too late, and is so until the next look."""
    return lambda services: known(services) and {each for each, one in services.items() if one["summary"] == AWAY} == set(where)


async def test_every_process_is_told_and_what_is_away_is_said(tmp_path: Path) -> None:
    """One takes requests and never answers: the others are told meanwhile."""
    async with AsyncExitStack() as stack:
        nobody = f"127.0.0.1:{stack.enter_context(kept_port())}"
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        storage = await stack.enter_async_context(
            process({"storage": Health(True, "well"), "bus": Health(False, "not running: no broker")})
        )
        ingest = await stack.enter_async_context(process({"ingest": Health(False, "1 not recorded", {"channels": 4, "online": 3})}))
        s = await stack.enter_async_context(
            site(
                tmp_path, storage=f"http://{storage}", alarms=f"http://{nobody}", ingest=[f"http://{ingest}"], analytics=[f"http://{mute}"]
            )
        )
        client = await stack.enter_async_context(s.logged_in())
        at_once = await told(client, lambda found: ("bus", storage) in found and ("ingest", ingest) in found)
        assert at_once[("analytics", mute)]["ok"] is False

        services = await told(client, away(("alarms", nobody), ("analytics", mute)))
        assert services[("console", "")]["ok"]
        assert services[("storage", storage)]["summary"] == "well"
        assert (services[("bus", storage)]["ok"], services[("bus", storage)]["summary"]) == (False, "not running: no broker")
        assert services[("ingest", ingest)]["details"] == {"channels": 4, "online": 3}
        assert services[("alarms", nobody)]["ok"] is False
        assert (await client.get("/api/status")).json()["ok"] is False
        assert (await client.get("/healthz")).status_code == 200  # its own health


async def test_a_process_that_comes_back_is_well_again(tmp_path: Path) -> None:
    with kept_port() as port:
        async with site(tmp_path, storage=f"http://127.0.0.1:{port}") as s, s.logged_in() as client:
            where = ("storage", f"127.0.0.1:{port}")
            assert not (await told(client, known))[where]["ok"]
            async with process({"storage": Health(True, "well")}, port=port):
                await told(client, lambda found: found[where]["ok"])
            await told(client, lambda found: found[where]["summary"] == AWAY)


async def test_a_share_of_the_cameras_that_nobody_takes_is_told(tmp_path: Path) -> None:
    """Its process may have left the name that all of them share."""
    well = {"ingest": Health(True, "2 of 2 channels online")}
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(process(well, Share(1, 2)))
        port = stack.enter_context(kept_port())
        s = await stack.enter_async_context(site(tmp_path, ingest=[f"http://{first}", f"http://127.0.0.1:{port}"]))
        client = await stack.enter_async_context(s.logged_in())
        services = await told(client, lambda found: ("ingest", "share 2/2") in found)
        missing = services[("ingest", "share 2/2")]
        assert (missing["ok"], missing["summary"]) == (False, "no process takes this share of the cameras")
        async with process(well, Share(2, 2), port=port):
            await told(client, lambda found: set(found) == {("console", ""), ("ingest", first), ("ingest", f"127.0.0.1:{port}")})


async def test_all_behind_one_name_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that stands for three processes, as that of a scaled service of containers does; one of them is away."""
    resolve, hosts = socket.getaddrinfo, ("127.0.0.1", "127.0.0.2", "127.0.0.3")

    def resolved(host: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [found for one in (hosts if host == "workers.test" else (host,)) for found in resolve(one, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)  # no test may write the machine's names
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(process({"analytics": Health(True, "well")}))
        port = int(first.rpartition(":")[2])
        second = await stack.enter_async_context(process({"analytics": Health(False, "no model")}, host=hosts[1], port=port))
        s = await stack.enter_async_context(site(tmp_path, analytics=[f"http://workers.test:{port}"]))
        third = f"{hosts[2]}:{port}"
        services = await told(await stack.enter_async_context(s.logged_in()), away(("analytics", third)))
        assert services[("analytics", first)]["ok"]
        assert services[("analytics", second)]["summary"] == "no model"


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"services": {"x": 1}}', b'{"services": {}, "share": "2 of 1"}', b"x" * 2_000_000])
async def test_what_is_no_process_of_vedette_is_away(tmp_path: Path, body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):  # who asks may leave at any time
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        where = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with site(tmp_path, storage=f"http://{where}") as s, s.logged_in() as client:
            assert (await told(client, known))[("storage", where)]["summary"] == AWAY


@needs_chromium
async def test_the_page_shows_each_process(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nobody = f"127.0.0.1:{stack.enter_context(kept_port())}"
        online = {"ingest": Health(True, "2 of 2 channels online", {"channels": 2, "online": 2})}
        first = await stack.enter_async_context(process(online, Share(1, 2)))
        second = await stack.enter_async_context(process(online, Share(2, 2)))
        s = await stack.enter_async_context(site(tmp_path, ingest=[f"http://{first}", f"http://{second}"], storage=f"http://{nobody}"))
        page = await stack.enter_async_context(browsing(s))
        system = page.locator("#system")
        await expect(page.locator("#health-text")).to_have_text("1 service needs help")
        await expect(system.locator(".marks li", has_text="ingest")).to_have_text("ingest \N{MULTIPLICATION SIGN}2")
        await expect(system.locator(".lines li", has_text="storage")).to_contain_text(nobody)
        await expect(system.locator(".lines li", has_text="storage")).to_contain_text(AWAY)
        await system.get_by_role("button", name="Details").click()
        await expect(system.locator(".lines li", has_text=second)).to_contain_text("2 of 2 channels online")
