"""The page and its recorder in a real browser: logins, connections that break, answers that come late, twice, or never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, WebSocket, expect

from services.console.auth import COOKIE
from shared.config.site import SiteConfig
from shared.topics import CHANNEL_STATUS
from tests.support.silent_line import silent_line
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import browsing, enter, fails, late, needs_chromium
from tests.unit.console.reconfigured import changed

pytestmark = [pytest.mark.integration, needs_chromium]


async def enter_and_read(s: stand.Stand, page: Page, path: str) -> None:
    """Log in; the page has read this at its start, and again when its socket was open: by itself it reads it no more."""
    read: list[str] = []
    page.on("requestfinished", lambda request: read.append(request.url) if path in request.url else None)
    await enter(s, page)
    await until(lambda: len(read) >= 2, f"{path} was read twice")


async def test_a_person_logs_in_and_out(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        await expect(page).to_have_url(s.console.url + "/login")
        await page.fill("input[name=password]", "wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not right")
        await page.fill("input[name=password]", s.password)
        await page.keyboard.press("Enter")
        await expect(page.locator("#site-name")).to_have_text("Harbour office")
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(s.console.url + "/login")


async def test_a_login_typed_before_its_script_is_there_is_not_lost(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        script = await late(page, "/public/login.js")
        await page.goto(s.console.url + "/login?channel=gate&at_ns=1700000000000000000", wait_until="commit")
        await page.fill("input[name=password]", s.password)
        await script.under_way()
        await page.keyboard.press("Enter")
        await script.arrive()
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator(".stage.playing h2")).to_have_text("Gate")


async def test_a_session_that_ended_leads_to_the_login(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await page.context.clear_cookies(name=COOKIE)
        for viewer in list(s.console._hub._viewers):
            viewer.close(4401)
        await expect(page.get_by_label("Password")).to_be_visible()


async def test_a_lost_connection_is_said_and_mended(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#link")).to_be_hidden()
        await page.context.set_offline(True)
        for viewer in list(s.console._hub._viewers):  # the network is cut from this side too
            viewer.close(1001)
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        await page.context.set_offline(False)
        await expect(page.locator("#link")).to_be_hidden()


async def test_alarms_of_the_time_without_a_connection_are_fetched(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        await enter_and_read(s, page, "/api/alarms")
        await page.context.set_offline(True)
        for viewer in list(s.console._hub._viewers):  # the network is cut from this side too
            viewer.close(1001)
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        await page.context.set_offline(False)
        await expect(page.locator("[data-alarm=a1]")).to_be_visible()


async def test_a_line_that_goes_silent_is_said_and_left_for_another(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, silent_line(s.console.url) as line, browsing(s, url=line.url) as page:
        await expect(page.locator("#health-text")).to_have_text("All well")
        line.go_silent()
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        await expect(page.locator("#health-text")).to_have_text("No answer")
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        line.mend()
        await expect(page.locator("#link")).to_be_hidden()
        await expect(page.locator("[data-alarm=a1]")).to_be_visible()
        await expect(page.locator("#health-text")).to_have_text("All well")


async def test_a_page_that_was_not_run_for_long_has_not_lost_its_recorder(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        sockets: list[WebSocket] = []

        def opened(socket: WebSocket) -> None:
            sockets.append(socket)

        page.on("websocket", opened)
        await page.clock.install()
        await enter(s, page)
        await expect(page.locator("#link")).to_be_hidden()
        await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))  # from here on time passes there as the test says
        for _ in range(8):
            async with sockets[0].expect_event("framereceived", timeout=60_000):
                await page.clock.fast_forward(600_000)  # as in a tab that is not seen, or on a computer that slept
        assert len(sockets) == 1
        await expect(page.locator("#link")).to_be_hidden()


async def test_the_connection_waits_for_no_answer(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        answers = await late(page, "/api/(site|session)$")
        async with page.expect_websocket() as another:
            for viewer in list(s.console._hub._viewers):
                viewer.close(4401)  # as when the session ends; the page asks whether it has
        await (await another.value).wait_for_event("framereceived", timeout=60_000)
        await expect(page.locator("#link")).to_be_hidden()
        await answers.under_way(2)
        assert answers.arrived == 0


async def test_a_page_that_lost_something_reads_everything_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        await enter_and_read(s, page, "/api/counts")
        s.answers.counts = [{"channel": "gate", "rule": "door", "enter": 7, "leave": 1, "stay": 6, "since_ns": s.clock.now_ns()}]
        for viewer in s.console._hub._viewers:
            viewer.read_again()
        await expect(page.locator("#counts .number")).to_have_text(["7", "1", "6"])


async def test_another_site_is_shown_also_when_its_first_answer_fails(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#link")).to_be_hidden()
        await fails(page, "/api/site$", times=1)
        await s.console.reconfigure(changed(stand.site_of()))
        await expect(page.locator("#site-name")).to_have_text("Harbour and docks")


async def test_of_two_sites_the_later_is_shown_whatever_answer_comes_last(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#link")).to_be_hidden()
        first = await late(page, "/api/site$", times=1)
        await s.console.reconfigure(changed(stand.site_of()))
        await first.under_way()
        await s.console.reconfigure(SiteConfig.model_validate(changed(stand.site_of()).model_dump() | {"site": {"name": "Docks"}}))
        await expect(page.locator("#site-name")).to_have_text("Docks")
        await first.arrive()
        assert await page.locator("#site-name").inner_text() == "Docks"


async def test_what_a_new_camera_says_before_the_page_knows_it_is_shown(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await late(page, "/api/status$")
        site = await late(page, "/api/site$")
        await s.console.reconfigure(changed(stand.site_of()))
        await site.under_way()
        for name, number in (("shed", 5), ("yard", 2)):  # in this order they come to the page
            await s.bus.producer.publish(CHANNEL_STATUS, stand.status(name, number, s.clock.now_ns(), fps=12.0))
        await expect(page.locator(".tile[data-channel=yard]")).to_contain_text("12 fps")
        await site.arrive()
        await expect(page.locator(".tile[data-channel=shed]")).to_contain_text("12 fps")
