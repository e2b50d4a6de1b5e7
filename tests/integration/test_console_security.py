"""What somebody who means harm tries against the real server: odd paths, foreign pages, stolen and stale sessions, floods."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from services.console.auth import COOKIE
from services.storage.api import router as storage_routes
from shared.domain.clock import ManualClock
from tests.support import storing
from tests.unit.console import stand

pytestmark = pytest.mark.integration

TRAVERSALS = (
    "../admin-password",
    "../../admin-password",
    "gate/../../../admin-password",
    "..%2f..%2fadmin-password",
    "%2e%2e/%2e%2e/admin-password",
    "..%5c..%5cadmin-password",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "gate%00.jpg",
    "%ff%fe",
    ".",
    "a" * 5000,
)


async def raw(s: stand.Stand, target: str, cookie: str = "", method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Status and body of a request with exactly that target: clients of libraries tidy odd paths up."""
    where = urlsplit(s.console.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    lines = [f"{method} {target} HTTP/1.1", f"host: {where.netloc}", "connection: close", f"cookie: {COOKIE}={cookie}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_no_key_of_a_snapshot_leads_out_of_the_store(tmp_path: Path) -> None:
    async with (
        storing.storing(tmp_path / "storage", storing.site("gate")) as kept,
        stand.running(tmp_path, storage=storage_routes(kept.service)) as s,
        s.logged_in() as client,
    ):
        (tmp_path / "storage" / "admin-password").write_text(s.password)
        for key in TRAVERSALS:
            status, body = await raw(s, f"/api/snapshots/{key}", client.cookies[COOKIE])
            assert status in {400, 404, 414, 422}, key
            assert s.password.encode() not in body
            assert b"root:" not in body
        for path in ("/static/../index.html", "/static/%2e%2e/%2e%2e/http.py", "/public/..%2f..%2fhttp.py", "/static//etc/passwd"):
            status, body = await raw(s, path, client.cookies[COOKIE])
            assert status == 404, path
            assert b"import" not in body


async def test_no_odd_path_passes_without_a_session(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        for path in (
            "//api/site",
            "/public/../api/site",
            "/public/%2e%2e/api/site",
            "/api/site?x=/public/",
            "/api//site",
            "/login/../api/site",
        ):
            status, body = await raw(s, path)
            assert status in {401, 404}, path
            assert b"gate" not in body
        for method in ("POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
            assert (await raw(s, "/api/site", method=method, content_length="0"))[0] == 401, method


async def test_a_page_can_run_no_script_but_ours_and_be_framed_by_nobody(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        for path in ("/login", "/healthz", "/api/site"):
            headers = (await client.get(path)).headers
            policy = {rule.split()[0]: rule.split()[1:] for rule in headers["content-security-policy"].split("; ")}
            assert policy["default-src"] == ["'self'"]
            assert "unsafe" not in headers["content-security-policy"]
            assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
            assert headers["x-frame-options"] == "DENY"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
        for page in (Path(stand.__file__).parents[3] / "services/console/static").glob("*.html"):
            text = page.read_text(encoding="utf-8")
            assert "<style" not in text
            assert " style=" not in text
            assert " on" not in text.replace(" one", "")
            assert all("src=" in tag for tag in text.split("<script")[1:])


async def test_every_change_is_refused_to_pages_of_other_sites(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        schema = (await client.get("/api/openapi.json")).json()
        changing = [(path, method) for path, item in schema["paths"].items() for method in item if method not in {"get", "head"}]
        assert len(changing) >= 5
        for path, method in changing:
            for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "same-site"}):
                answer = await client.request(method, path.replace("{", "").replace("}", ""), headers=headers)
                assert answer.status_code == 403, (path, method)


async def test_the_token_of_a_session_is_new_with_every_login_and_dead_after_it(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        client.cookies.set(COOKIE, "chosen-by-somebody-else")
        tokens = []
        for _ in range(2):
            answer = await client.post("/api/session", json={"user": "admin", "password": s.password})
            tokens.append(answer.cookies[COOKIE])
            client.cookies.clear()
            client.cookies.set(COOKIE, tokens[-1])
        assert "chosen-by-somebody-else" not in tokens
        assert tokens[0] != tokens[1]
        assert (await raw(s, "/api/site", tokens[0]))[0] == 401, "who logs in again leaves the session before"
        assert (await raw(s, "/api/site", tokens[1]))[0] == 200


async def test_an_open_page_closes_when_its_session_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    async with stand.running(tmp_path, stand.site_of(session_hours=1), clock) as s, s.logged_in() as client:
        url = s.console.url.replace("http", "ws") + "/api/live"
        headers = {"cookie": f"{COOKIE}={client.cookies[COOKIE]}"}
        with pytest.raises(InvalidStatus):  # a script without an origin, with a stolen cookie
            async with connect(url, additional_headers=headers):
                pass
        async with connect(url, origin=s.console.url, additional_headers=headers) as page:  # type: ignore[arg-type]  # any origin is a str
            clock.advance(3600)
            async with asyncio.timeout(60):
                await page.wait_closed()
            assert page.close_code == 4401


async def test_names_and_passwords_that_are_tried_are_in_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        for user, password in (("typed-the-password-here", "x"), ("admin", "nearly-right-password")):
            await client.post("/api/session", json={"user": user, "password": password})
        await client.get("/metrics", auth=("admin", "wrong-scrape-password"))
        async with s.logged_in() as inside:
            token = inside.cookies[COOKIE]
        said = "".join(capsys.readouterr())
        for secret in ("typed-the-password-here", "nearly-right-password", "wrong-scrape-password", s.password, token):
            assert secret not in said


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"x"', json.dumps({"user": "admin"}).encode(), b"\xff\xfe", b'{"user":"\\u0000","password":"x"}']
)
async def test_a_login_that_is_none_is_refused(tmp_path: Path, body: bytes) -> None:
    async with stand.running(tmp_path) as s, s.client() as client:
        answer = await client.post("/api/session", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in {401, 422}


async def test_a_flood_of_logins_leaves_the_rest_of_the_page_served(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, s.logged_in() as client:
        async with httpx.AsyncClient(base_url=s.console.url, timeout=60, limits=httpx.Limits(max_connections=40)) as flood:
            began_s = time.monotonic()
            tries = [asyncio.create_task(flood.post("/api/session", json={"user": f"u{n}", "password": "x"})) for n in range(60)]
            for _ in range(10):
                assert (await client.get("/api/site")).status_code == 200
            statuses = [answer.status_code for answer in await asyncio.gather(*tries)]
        assert set(statuses) <= {401, 429, 503}
        assert statuses.count(401) <= 20 + (time.monotonic() - began_s) / 3, "what is checked costs 64 MiB each; one more may every 3 s"
