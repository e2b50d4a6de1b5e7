"""The small server of a process: health and metrics to all, the API to who has the token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request

from services.cli.factory import routers
from services.cli.inside import InsideServer
from services.cli.serve import check_listen
from services.cli.wiring import START_ORDER
from shared.config.load import parse_site
from shared.config.site import SiteConfig
from shared.domain.errors import ConfigError, ConfigInvalid
from shared.http import USER_HEADER
from shared.service import Health, Service
from tests.support.ports import free_port

TOKEN = "0123456789abcdef0123"
WITH_TOKEN = {"authorization": f"Bearer {TOKEN}"}
WELL = Health(True, "well", {"lag": 3})


@dataclass
class Process:
    """Services of a process, as the wiring shows them: none of them runs."""

    names: tuple[str, ...] = ("alarms",)
    found: dict[str, Health] = field(default_factory=lambda: {"alarms": WELL})

    def running(self, name: str) -> Service | None:
        return None

    def health(self) -> Mapping[str, Health]:
        return self.found


def who() -> APIRouter:
    """A part that says on whose behalf it is asked."""
    router = APIRouter()

    @router.get("/api/who")
    async def get_who(request: Request) -> dict[str, str]:
        return {"user": request.state.user}

    return router


def site_of(token: str | None = TOKEN) -> SiteConfig:
    return SiteConfig.model_validate({"internal": {"token": token}})


@asynccontextmanager
async def inside(process: Process, site: SiteConfig | None = None) -> AsyncIterator[httpx.AsyncClient]:
    server = InsideServer(site or site_of(), process.health, [*routers(process), who()], "127.0.0.1:0")
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            yield client
    finally:
        await server.stop()


async def test_health_is_told_by_service_and_without_secrets() -> None:
    process = Process()
    async with inside(process) as client:
        answer = await client.get("/healthz")
        assert answer.status_code == 200
        assert answer.json() == {"status": "ok", "services": {"alarms": {"ok": True, "summary": "well", "details": {"lag": 3}}}}
        process.found["ingest"] = Health(False, f"rtsp://u:pw@cam and {TOKEN}", {"last": TOKEN})
        answer = await client.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "degraded"
        assert answer.json()["services"]["ingest"] == {"ok": False, "summary": "rtsp://u:***@cam and ***", "details": {"last": "***"}}


async def test_metrics_are_open() -> None:
    async with inside(Process()) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "headers",
    [{}, *({"authorization": text} for text in (TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer"))],
)
@pytest.mark.parametrize("path", ["/api/who", "/api/nothing", "/", "/healthz/", "/openapi.json"])
async def test_nothing_else_is_told_without_the_token(headers: dict[str, str], path: str) -> None:
    async with inside(Process()) as client:
        answer = await client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.json() == {"detail": "the internal token is wrong or missing"}


async def test_with_the_token_the_api_answers_the_user_that_is_named() -> None:
    async with inside(Process()) as client:
        assert (await client.get("/api/who", headers=WITH_TOKEN)).json() == {"user": "internal"}
        named = {**WITH_TOKEN, USER_HEADER: "J%C3%B8rn%20A"}
        assert (await client.get("/api/who", headers=named)).json() == {"user": "Jørn A"}


async def test_a_service_that_does_not_run_is_named() -> None:
    async with inside(Process()) as client:
        answer = await client.get("/api/alarms", headers=WITH_TOKEN)
        assert (answer.status_code, answer.json()) == (503, {"detail": "alarms does not run now"})


async def test_without_a_configured_token_the_api_is_refused_and_health_is_told() -> None:
    async with inside(Process(), site_of(None)) as client:
        assert (await client.get("/healthz")).status_code == 200
        for headers in ({}, WITH_TOKEN, {"authorization": "Bearer"}):
            answer = await client.get("/api/who", headers=headers)
            assert answer.status_code == 403
            assert "internal.token" in answer.json()["detail"]


async def test_an_address_in_use_is_told() -> None:
    port = free_port()
    first, second = (InsideServer(site_of(), Process().health, [], f"127.0.0.1:{port}") for _ in range(2))
    await first.start()
    try:
        with pytest.raises(ConfigError, match=r"--listen \(internal.listen\) \(127.0.0.1:\d+\): cannot listen: Address already in use"):
            await second.start()
    finally:
        await first.stop()
    await second.start()  # the port is free again
    await second.stop()


def test_the_option_goes_before_the_file_and_the_console_alone_needs_none() -> None:
    site = parse_site("internal: {listen: '0.0.0.0:8790'}")
    assert check_listen(None, START_ORDER, site) == "0.0.0.0:8790"
    assert check_listen("127.0.0.1:1", START_ORDER, site) == "127.0.0.1:1"
    assert check_listen(None, START_ORDER, parse_site("site: {name: x}")) is None
    assert check_listen(None, ("console",), site) is None
    with pytest.raises(ConfigError, match="the console alone has no use for it"):
        check_listen("127.0.0.1:1", ("console",), site)
    with pytest.raises(ConfigError, match="must be HOST:PORT"):
        check_listen("8790", START_ORDER, site)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"listen": "8790"}, "internal.listen: must be HOST:PORT, for example"),
        ({"listen": "a:b"}, "internal.listen: must be HOST:PORT"),
        ({"listen": "http://a:1"}, "internal.listen: must be HOST:PORT"),
        ({"token": "short"}, "internal.token: a token has 16 or more"),
        ({"storage": "storage:8790"}, "internal.storage: must begin with http:// or https:// and name a host"),
        ({"analytics": ["x"]}, r"internal.analytics\[0\]: must begin with http:// or https://"),
    ],
)
def test_mistakes_of_the_section_are_told(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigInvalid, match=problem):
        parse_site(f"internal: {section}")
