"""A console whose other services are in other processes: their answers pass through it, and what is away is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from services.cli.inside import create_app
from shared.config.site import SiteConfig
from shared.http.server import HttpServer, listen, url_of
from shared.service import Health
from tests.support.ports import kept_port
from tests.unit.console.stand import Answers, alarm, alarms_router, recording, running, storage_router

pytestmark = pytest.mark.integration

TOKEN = "0123456789abcdef0123"
ABSENT = ("storage", "alarms", "analytics")


@asynccontextmanager
async def process(*routers: APIRouter, token: str = TOKEN) -> AsyncIterator[str]:
    """Another process that serves these routes; its URL."""
    listener = listen("127.0.0.1", 0, host_setting="host", port_setting="port")
    server = HttpServer(create_app(lambda: {"it": Health(True)}, routers, token, str), "test.http")
    await server.start(listener)
    try:
        yield url_of(listener)
    finally:
        await server.stop()


def worker(*rows: tuple[str, str, int, int]) -> APIRouter:
    """Analytics that answers with (channel, rule, enter, as_of_ns)."""
    router = APIRouter()

    @router.get("/api/counts")
    async def counts() -> dict[str, Any]:
        return {"counts": [dict(zip(("channel", "rule", "enter", "as_of_ns"), row, strict=True)) for row in rows]}

    return router


@asynccontextmanager
async def console(folder: Path, **internal: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A logged-in client of a console that has no other service in its process."""
    site = SiteConfig.model_validate({"console": {"port": 0}, "internal": {"token": TOKEN, **internal}})
    async with running(folder, site, absent=ABSENT) as stand, stand.logged_in() as client:
        yield client


async def test_storage_is_reached_with_ranges_changes_and_refusals(tmp_path: Path) -> None:
    answers, film = Answers(), tmp_path / "film.mp4"
    film.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: more than any buffer on the way
    answers.recordings, answers.files = [recording("r1", "gate", 0, 60)], {"r1": film}
    answers.snapshots = {"gate/2 é.jpg": b"jpeg"}
    async with process(storage_router(answers)) as url, console(tmp_path, storage=f"{url}/") as client:
        found = await client.get("/api/recordings", params={"channel": "gate", "from_ns": 0, "to_ns": 10**12})
        assert [one["id"] for one in found.json()["recordings"]] == ["r1"]
        assert found.headers["x-frame-options"] == "DENY"  # the console's own headers stand on it
        whole = await client.get("/api/recordings/r1/media")
        assert whole.headers["content-type"] == "video/mp4"
        assert whole.content == film.read_bytes()
        part = await client.get("/api/recordings/r1/media", headers={"range": "bytes=100-355"})
        assert part.status_code == 206
        assert part.headers["content-range"] == f"bytes 100-355/{film.stat().st_size}"
        assert part.content == film.read_bytes()[100:356]
        beyond = await client.get("/api/recordings/r1/media", headers={"range": f"bytes={10**9}-"})
        assert beyond.status_code == 416
        assert (await client.put("/api/recordings/r1/lock")).status_code == 204
        assert answers.recordings[0]["locked"] is True
        assert (await client.get("/api/snapshots/gate/2%20%C3%A9.jpg")).content == b"jpeg"
        gone = await client.get("/api/snapshots/gate/3.jpg")
        assert (gone.status_code, gone.json()) == (404, {"detail": "no such picture"})


async def test_the_user_is_named_where_an_alarm_is_acknowledged(tmp_path: Path) -> None:
    answers = Answers(alarms={"a1": alarm("a1", "gate", 1, 5)})
    async with process(alarms_router(answers)) as url, console(tmp_path, alarms=url) as client:
        seen = await client.post("/api/alarms/a1/acknowledge", json={"note": "seen"})
        assert seen.status_code == 200
        assert seen.json()["acknowledged_by"] == "admin"


async def test_nothing_passes_without_a_session_or_from_another_site(tmp_path: Path) -> None:
    answers = Answers(recordings=[recording("r1", "gate", 0, 60)])
    async with process(storage_router(answers)) as url, console(tmp_path, storage=url) as client:
        other = await client.put("/api/recordings/r1/lock", headers={"origin": "https://elsewhere.example"})
        assert other.status_code == 403
        client.cookies.clear()
        assert (await client.get("/api/recordings")).status_code == 401
        assert (await client.get("/api/counts")).status_code == 401


async def test_what_is_away_is_named(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        nobody = f"http://127.0.0.1:{stack.enter_context(kept_port())}"
        client = await stack.enter_async_context(console(tmp_path, storage=nobody, analytics=[nobody]))
        expected = {
            "/api/storage": "storage does not answer: its process is away, or cannot be reached",
            "/api/counts": "analytics does not answer: its process is away, or cannot be reached",
            "/api/alarms": "alarms does not run in this process, and internal.alarms does not say where it is",
        }
        for path, detail in expected.items():
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["detail"]) == (503, detail)
            assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("token", ["another-token-0123456789", ""])
async def test_a_token_that_is_refused_does_not_end_the_session(tmp_path: Path, token: str) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(process(storage_router(Answers()), worker(), token=token))
        client = await stack.enter_async_context(console(tmp_path, storage=url, analytics=[url]))
        for path, name in (("/api/storage", "storage"), ("/api/counts", "analytics")):
            answer = await client.get(path)
            told = f"{name} does not take the internal token: internal.token must be the same in every process"
            assert (answer.status_code, answer.json()["detail"]) == (503, told)
        assert (await client.get("/api/session")).status_code == 200


async def test_without_a_token_nobody_is_asked(tmp_path: Path) -> None:
    async with console(tmp_path, token=None, storage="http://127.0.0.1:9") as client:
        answer = await client.get("/api/storage")
        assert answer.status_code == 503
        assert "internal.token is not set" in answer.json()["detail"]


@pytest.mark.parametrize("order", [1, -1])
async def test_counts_are_of_the_worker_that_handled_the_channel_last(tmp_path: Path, order: int) -> None:
    old = worker(("gate", "door", 3, 1000), ("yard", "in", 9, 5000), ("attic", "in", 0, 0))
    new = worker(("gate", "door", 5, 2000), ("yard", "in", 8, 4000), ("attic", "in", 0, 0))
    async with AsyncExitStack() as stack:
        urls: Sequence[str] = [await stack.enter_async_context(process(one)) for one in (old, new)]
        nobody = stack.enter_context(kept_port())
        urls = [*urls[::order], f"http://127.0.0.1:{nobody}"]  # one more is away, which keeps no count from being told
        client = await stack.enter_async_context(console(tmp_path, analytics=urls))
        counts = (await client.get("/api/counts")).json()["counts"]
        assert sorted((row["channel"], row["rule"], row["enter"]) for row in counts) == [
            ("attic", "in", 0),
            ("gate", "door", 5),
            ("yard", "in", 9),
        ]
