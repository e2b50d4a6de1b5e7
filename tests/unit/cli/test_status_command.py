"""`vedette health` and `vedette status`: what they say of processes that are well, not well, and away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.cli.health import NOT_WELL, USAGE, WELL, check
from services.cli.inside import InsideServer
from services.cli.status import ServiceRow, console_url, look, tell
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import ChannelState
from shared.service import Health
from shared.topics import CHANNEL_STATUS
from tests.support.ports import free_port
from tests.support.waiting import until
from tests.unit.console import stand

# A busy machine takes longer to log somebody in than a person waits.
ask, check_patiently = partial(look, timeout_s=300), partial(check, timeout_s=300)
LAGGING = {"storage": Health(True, "well"), "alarms": Health(False, "7 events wait", {"lag": 7})}


@asynccontextmanager
async def process(health: dict[str, Health]) -> AsyncIterator[str]:
    server = InsideServer(SiteConfig(), lambda: health, [], "127.0.0.1:0")
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


async def test_health_is_an_exit_code_and_the_reason() -> None:
    health = {"storage": Health(True, "well")}
    async with process(health) as url:
        for form in (url, f"{url}/", f"{url}/healthz", url.removeprefix("http://")):
            assert await asyncio.to_thread(check_patiently, form) == (WELL, "ok")
        health |= LAGGING
        assert await asyncio.to_thread(check_patiently, url) == (NOT_WELL, "alarms: 7 events wait")
        assert await asyncio.to_thread(check_patiently, f"{url}/else") == (NOT_WELL, "it answers 403")
    code, why = await asyncio.to_thread(check_patiently, url)
    assert code == NOT_WELL
    assert why.startswith("no answer: ")


@pytest.mark.parametrize("url", ["", "http://", "ftp://host", "http://host:port", "http://[::1"])
def test_what_is_no_url_is_wrong_usage(url: str) -> None:
    code, why = check(url)
    assert code == USAGE
    assert "an example: http://127.0.0.1:8790" in why


def test_health_imports_almost_nothing() -> None:
    program = f"""
import sys
sys.argv = ["vedette", "health", "127.0.0.1:{free_port()}"]
from services.cli.entry import main
try:
    main()
except SystemExit as end:
    assert end.code == 1, end.code
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert "services.cli.health" in done.stdout.split()
    heavy = {"typer", "rich", "pydantic", "numpy", "ruamel", "asyncio", "httpx", "fastapi", "services.cli.main"}
    assert not heavy & set(done.stdout.split())


async def test_status_has_services_wherever_they_run_and_the_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with stand.running(tmp_path) as running, process(LAGGING) as url:
        now_ns = SystemClock().now_ns()
        await running.bus.producer.publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns))
        gone = stand.status("quay", 3, now_ns, ChannelState.OFFLINE, reason="no answer")
        await running.bus.producer.publish(CHANNEL_STATUS, gone)
        site = SiteConfig.model_validate({"data_dir": str(tmp_path), "internal": {"alarms": "http://127.0.0.1:9"}})  # the console is asked

        async def seen() -> Any:
            found = await asyncio.to_thread(
                ask, site, running.console.url, None, [url, url, nobody]
            )  # the same process twice is asked once
            return found if [one["state"] for one in found.channels] == ["online", "waiting", "offline", "waiting"] else None

        found = await until(seen, "the console has heard of both channels")
    where = url.removeprefix("http://")
    page = running.console.url.removeprefix("http://")
    assert found.services[-1].summary.startswith("no answer (")
    assert found.services[:-1] == [
        ServiceRow("console", page, True, "0 pages open"),
        ServiceRow("storage", page, True, "well"),
        ServiceRow("storage", where, True, "well"),
        ServiceRow("alarms", where, False, "7 events wait", 7),
    ]
    assert not found.ok
    tell(found)
    printed = capsys.readouterr().out
    for word in ("gate", "quay", "offline", "online", "25.0", "events wait", "not ok"):
        assert word in printed


async def test_the_console_knows_the_processes_of_the_site(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with process(LAGGING) as url:
        internal = {"storage": url, "ingest": [f"http://{nobody}"]}
        site = SiteConfig.model_validate({"data_dir": str(tmp_path), "console": {"port": 0}, "internal": internal})
        async with stand.running(tmp_path, site, absent=("ingest", "storage")) as running:
            page, where = running.console.url.removeprefix("http://"), url.removeprefix("http://")
            expected = [
                ServiceRow("console", page, True, "0 pages open"),
                ServiceRow("storage", page, True, "well"),
                ServiceRow("ingest", nobody, False, "does not answer: its process is away, or cannot be reached"),
                ServiceRow("storage", where, True, "well"),
                ServiceRow("alarms", where, False, "7 events wait", 7),
            ]
            found: list[ServiceRow] = []

            async def asked() -> bool:
                """The console takes a process that does not answer within 3 s for away, and asks again."""
                found[:] = (await asyncio.to_thread(ask, SiteConfig(), running.console.url, tmp_path / "admin-password", ())).services
                return found == expected

            await until(asked, "the console has asked both")
        alone = await asyncio.to_thread(ask, site, f"http://{nobody}", None, ())  # without the console the processes are asked
        assert len(alone.problems) == 1
        assert [(row.name, row.where, row.ok) for row in alone.services] == [
            ("?", nobody, False), ("storage", where, True), ("alarms", where, False)
        ]  # fmt: skip


async def test_what_cannot_be_asked_is_told(tmp_path: Path) -> None:
    site = SiteConfig.model_validate({"data_dir": str(tmp_path), "console": {"port": free_port()}})
    (problem,) = (await asyncio.to_thread(ask, site, None, None, ())).problems
    assert "admin-password: the admin password cannot be read (No such file or directory); --password-file" in problem
    (tmp_path / "admin-password").write_text("wrong-password\n", encoding="utf-8")
    (problem,) = (await asyncio.to_thread(ask, site, None, None, ())).problems
    assert f"127.0.0.1:{site.console.port}: the console does not answer" in problem
    (tmp_path / "other").mkdir()
    async with stand.running(tmp_path / "other") as running:
        (problem,) = (await asyncio.to_thread(ask, site, running.console.url, None, ())).problems
        assert "the console refused the login (wrong name or password)" in problem
        good = await asyncio.to_thread(ask, site, running.console.url, tmp_path / "other" / "admin-password", ())
        assert good.ok


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8780"),
        ("::", "http://[::1]:8780"),
        ("192.0.2.7", "http://192.0.2.7:8780"),
        ("::1", "http://[::1]:8780"),
    ],
)
def test_the_page_is_found_where_it_listens(host: str, url: str) -> None:
    assert console_url(SiteConfig.model_validate({"console": {"host": host}})) == url
