"""The console's HTTP side over real sockets: who gets in, what strangers see, and what is never said."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from services.console.auth import COOKIE
from shared.domain.clock import ManualClock
from shared.domain.errors import CatalogueError, ConfigError, ObjectStoreUnavailable
from shared.obs.metrics import REGISTRY
from shared.service import Health
from shared.topics import CHANNEL_STATUS, FRAMES
from tests.unit.console import stand

pytestmark = pytest.mark.integration

PRIVATE = (
    "/api/site",
    "/api/status",
    "/api/alarms",
    "/api/openapi.json",
    "/api/channels/gate/live.jpg",
    "/static/js/main.js",
    "/metrics",
    "/nowhere",
)


async def test_strangers_get_the_login_page_the_probe_and_nothing_else(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        for path in (*PRIVATE, "/metrics", "/nowhere"):
            assert (await client.get(path)).status_code == 401, path
        page = await client.get("/")
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        for path in ("/login", "/public/login.js", "/public/base.css", "/favicon.ico"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/public/../index.html")).status_code in (303, 401, 404)
        assert (await client.get("/public/%2e%2e/index.html")).status_code == 404
        health = await client.get("/healthz")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        s.answers.health["storage"] = Health(False, "disk sda is broken")
        health = await client.get("/healthz")
        assert (health.status_code, health.json()) == (503, {"status": "degraded"})
        assert (await client.delete("/api/session")).status_code == 401


async def test_the_password_is_made_once_for_its_owner_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with stand.running(tmp_path) as s:
        first = s.password
        for name in ("admin-password", "console/users.json"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    users = (tmp_path / "console" / "users.json").read_text()
    assert "$argon2id$" in users
    assert first not in users + caplog.text
    async with stand.running(tmp_path) as s:
        assert s.password == first
        async with s.logged_in():
            pass


async def test_the_session_opens_everything_and_ends_with_log_out_and_with_time(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, stand.site_of(session_hours=1), clock) as s:
        async with s.logged_in() as client:
            cookie = next(cookie for cookie in client.cookies.jar if cookie.name == COOKIE)
            assert cookie.has_nonstandard_attr("HttpOnly")
            assert cookie.get_nonstandard_attr("SameSite") == "strict"
            assert not cookie.secure
            assert (await client.get("/api/site")).json()["user"] == "admin"
            assert "Vedette" in (await client.get("/")).text
            assert (await client.delete("/api/session")).status_code == 204
            client.cookies.set(COOKIE, cookie.value or "")
            assert (await client.get("/api/site")).status_code == 401
        async with s.logged_in() as client:
            clock.advance(3599)
            assert (await client.get("/api/site")).status_code == 200
            clock.advance(1)
            assert (await client.get("/api/site")).status_code == 401


#: As a proxy on this machine tells of its visitors.
PROXY = {"trusted_proxies": ["127.0.0.1"]}


async def log_in(client: httpx.AsyncClient, password: str, *, visitor: str = "", user: str = "admin") -> httpx.Response:
    headers = {"x-forwarded-for": visitor} if visitor else {}
    return await client.post("/api/session", json={"user": user, "password": password}, headers=headers)


async def test_wrong_passwords_lock_their_own_address_and_nobody_else(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, stand.site_of(**PROXY), clock) as s, s.client() as client:
        thief, owner = "203.0.113.9", "203.0.113.10"
        answers = [(await log_in(client, "wrong", visitor=thief)).status_code for _ in range(7)]
        assert answers == [401] * 6 + [429]
        locked = await log_in(client, s.password, visitor=thief)
        assert locked.status_code == 429
        wait_s = int(locked.headers["retry-after"])
        assert 1 <= wait_s <= 6
        assert (await log_in(client, "wrong", visitor=thief, user="guest")).status_code == 401, "another account is another lock"
        assert (await log_in(client, s.password, visitor=owner)).status_code == 200
        metrics = await client.get("/metrics", auth=("admin", s.password), headers={"x-forwarded-for": owner})
        assert metrics.status_code == 200
        clock.advance(wait_s)
        assert (await log_in(client, s.password, visitor=thief)).status_code == 200


async def test_where_visitors_cannot_be_told_apart_wrong_logins_slow_down_and_lock_nobody(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, clock=clock) as s, s.client() as client:
        idle = clock.sleepers
        for _ in range(20):  # through a proxy that is not named: it could be anybody
            trying = asyncio.create_task(log_in(client, "wrong", visitor="203.0.113.9"))
            await _until_done(trying, clock, idle)
            assert trying.result().status_code == 401
        started_s = clock.monotonic_ns() / 1e9
        owner = asyncio.create_task(log_in(client, s.password))
        await _until_done(owner, clock, idle)
        assert owner.result().status_code == 200
        assert clock.monotonic_ns() / 1e9 - started_s <= 4
        assert (await log_in(client, s.password)).status_code == 200, "who was right has set it right"


async def _until_done(task: asyncio.Task[httpx.Response], clock: ManualClock, idle: int) -> None:
    """Let time pass until the answer is there: whenever more than the `idle` loops sleep, the try does."""
    async with asyncio.timeout(60):
        while not task.done():
            await asyncio.wait([task], timeout=0.02)
            if not task.done() and clock.sleepers > idle:
                clock.advance(0.5)


async def test_forwarded_addresses_are_believed_of_named_proxies_only(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, stand.site_of(trusted_proxies=["192.0.2.1"]), clock) as s, s.client() as client:
        before, idle = _slowed(), clock.sleepers
        for number in range(18):
            trying = asyncio.create_task(log_in(client, "wrong", visitor=f"203.0.113.{number}"))
            await _until_done(trying, clock, idle)
            assert trying.result().status_code == 401
        assert _slowed() - before >= 3, "a made-up address gains nothing"


def _slowed() -> float:
    return REGISTRY.get_sample_value("vedette_console_logins_total", {"result": "slowed"}) or 0.0


async def test_behind_a_named_proxy_with_tls_cookies_are_secure_and_the_origin_is_ours(tmp_path: Path) -> None:
    async with stand.running(tmp_path, stand.site_of(**PROXY)) as s, s.client() as client:
        headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "host": "nvr.example", "origin": "https://nvr.example"}
        answer = await client.post("/api/session", json={"user": "admin", "password": s.password}, headers=headers)
        assert answer.status_code == 200
        assert "Secure" in answer.headers["set-cookie"]


async def test_many_tries_at_once_get_no_more_than_one_after_the_other(tmp_path: Path) -> None:
    async with stand.running(tmp_path, stand.site_of(**PROXY), ManualClock()) as s, s.client() as client:
        answers = await asyncio.gather(*(log_in(client, "wrong", visitor="203.0.113.9", user="nobody") for _ in range(30)))
        checked = [answer for answer in answers if answer.status_code == 401]
        assert len(checked) <= 6
        assert {answer.status_code for answer in answers} <= {401, 429, 503}


async def test_other_sites_can_change_nothing(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        for headers in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            assert (await client.post("/api/alarms/x/acknowledge", headers=headers)).status_code == 403
            assert (await client.delete("/api/session", headers=headers)).status_code == 403
        assert (await client.delete("/api/session", headers={"origin": s.console.url})).status_code == 204


async def test_behind_a_tls_proxy_the_cookie_is_secure_and_its_origin_is_ours(tmp_path: Path) -> None:
    async with stand.running(tmp_path, stand.site_of(public_url="https://nvr.example")) as s, s.client() as client:
        login = {"user": "admin", "password": s.password}
        answer = await client.post("/api/session", json=login, headers={"origin": "https://nvr.example"})
        assert answer.status_code == 200
        assert "Secure" in answer.headers["set-cookie"]
        assert "strict-transport-security" in answer.headers


async def test_every_answer_keeps_the_page_to_itself(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        for path in ("/", "/login", "/healthz", "/api/site", "/static/js/main.js", "/nowhere"):
            headers = (await client.get(path)).headers
            assert "default-src 'self'" in headers["content-security-policy"], path
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers
        assert (await client.get("/api/site")).headers["cache-control"] == "no-store"


async def test_no_answer_holds_a_secret(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.health["ingest"] = Health(
            False, f"rtsp://viewer:{stand.CAMERA_PASSWORD}@10.77.0.1/ failed", {"url": f"x?token={stand.WEBHOOK_SECRET}"}
        )
        async with s.logged_in() as client:
            schema = (await client.get("/api/openapi.json")).json()
            paths = [path for path, item in schema["paths"].items() if "get" in item and "{" not in path]
            assert {"/api/site", "/api/status", "/healthz", "/metrics"} <= set(paths)
            for path in paths:
                text = (await client.get(path, params={"channel": "gate", "from_ns": 0, "to_ns": 1})).text
                for secret in (stand.CAMERA_PASSWORD, stand.WEBHOOK_SECRET, s.password, "secret-path", "argon2"):
                    assert secret not in text, (path, secret)
            assert "StatusAnswer" in json.dumps(schema["paths"]["/api/status"])


async def test_metrics_take_a_session_or_the_password(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        assert "Basic" in (await client.get("/metrics")).headers["www-authenticate"]
        assert (await client.get("/metrics", auth=("admin", "wrong"))).status_code == 401
        for _ in range(2):
            answer = await client.get("/metrics", auth=("admin", s.password))
            assert "vedette_console_viewers" in answer.text
        assert (await client.get("/api/site", auth=("admin", s.password))).status_code == 401


async def test_status_and_live_picture_follow_the_bus(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        assert (await client.get("/api/channels/gate/live.jpg")).status_code == 404
        now_ns = s.clock.now_ns()
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns))
        await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, 3, now_ns))
        async with asyncio.timeout(60):
            while (picture := await client.get("/api/channels/gate/live.jpg")).status_code == 404:
                pass
            while (await client.get("/api/status")).json()["channels"][0]["state"] != "online":
                pass
        assert picture.headers["x-capture-ns"] == str(now_ns)
        assert picture.content[:2] == b"\xff\xd8"


async def test_a_busy_port_and_broken_accounts_say_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"set console\.port"):
            async with stand.running(tmp_path, stand.site_of(port=taken.getsockname()[1])):
                pass
    (tmp_path / "console" / "users.json").write_text("{")
    with pytest.raises(ConfigError, match="restore the file"):
        async with stand.running(tmp_path):
            pass


async def test_stopping_cuts_a_download_that_nobody_reads(tmp_path: Path) -> None:
    big = tmp_path / "big.mp4"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    async with asyncio.timeout(60), AsyncExitStack() as cut, stand.running(tmp_path) as s:
        s.answers.files["big"] = big
        client = await cut.enter_async_context(s.logged_in())
        answer = await cut.enter_async_context(client.stream("GET", "/api/recordings/big/media"))
        assert answer.status_code == 200
    async with s.client() as late:
        with pytest.raises(httpx.ConnectError):
            await late.get("/healthz")


async def test_what_a_service_cannot_do_now_is_a_503_that_says_so(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        where = f"rtsp://viewer:{stand.CAMERA_PASSWORD}@10.77.0.1/"
        for error in (CatalogueError("the catalogue cannot be read", where=where), ObjectStoreUnavailable("the store is away")):
            s.answers.failure = error
            for path in ("/api/recordings?channel=gate&from_ns=0&to_ns=1", "/api/timeline?channel=gate&from_ns=0&to_ns=1", "/api/alarms"):
                answer = await client.get(path)
                assert answer.status_code == 503, path
                assert error.what in answer.json()["detail"]
                assert stand.CAMERA_PASSWORD not in answer.text
                assert int(answer.headers["retry-after"]) > 0
        s.answers.failure = ZeroDivisionError(stand.CAMERA_PASSWORD)
        answer = await client.get("/api/alarms")
        assert (answer.status_code, list(answer.json())) == (500, ["detail"])
        assert stand.CAMERA_PASSWORD not in answer.text


async def test_what_is_wrong_with_a_request_is_said_without_repeating_it(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        answer = await client.post("/api/session", json={"user": "admin", "password": "p" * 300, "colour": "red"})
        assert answer.status_code == 422
        assert {problem["loc"][-1] for problem in answer.json()["detail"]} == {"password", "colour"}
        assert "ppp" not in answer.text
        assert (await client.post("/api/session", content=b"x" * 2_000_000)).status_code == 413


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_an_address_that_is_not_of_this_machine_is_told_so(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="an address of this machine"):
        async with stand.running(tmp_path, stand.site_of(host=host)):
            pass
