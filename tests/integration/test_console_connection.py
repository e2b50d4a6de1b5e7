"""The page and its recorder in a real browser: connections that break, answers that come late, twice, or never."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from services.console.auth import COOKIE
from shared.config.site import SiteConfig
from shared.messages import ChannelState, EventMessage
from shared.topics import CHANNEL_STATUS, EVENTS
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import CHROMIUM, browsing, fails, late
from tests.unit.console.reconfigured import changed

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

S = 1_000_000_000


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


async def test_the_connection_waits_for_no_answer(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#link")).to_be_hidden()
        await late(page, "/api/(site|session)$")
        for viewer in list(s.console._hub._viewers):
            viewer.close(4401)  # as when the session ends; the page asks whether it has
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        await expect(page.locator("#link")).to_be_hidden()


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


def counted(at_ns: int, enter: int) -> EventMessage:
    return EventMessage(
        channel="gate", channel_number=1, event_id="e", kind="people_counting", source="door", phase="started",
        start_ns=at_ns, at_ns=at_ns, counts={"enter": enter, "leave": 1, "stay": enter - 1},
    )  # fmt: skip


async def test_counts_that_come_late_take_nothing_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        now_ns = s.clock.now_ns()
        s.answers.counts = [{"channel": "gate", "rule": "door", "enter": 4, "leave": 1, "stay": 3, "since_ns": now_ns, "as_of_ns": now_ns}]
        answers = await late(page, "/api/counts")
        await page.goto(s.console.url)
        await answers.under_way(2)
        await s.bus.producer.publish(EVENTS, counted(now_ns + S, 5))
        numbers = page.locator("#counts .number")
        await expect(numbers).to_have_text(["5", "1", "4"])
        await answers.arrive()
        assert await numbers.all_inner_texts() == ["5", "1", "4"]
        s.answers.counts[0] |= {"enter": 0, "leave": 0, "stay": 0, "as_of_ns": now_ns + 2 * S}  # a new day
        await page.get_by_role("button", name="Read the counts again").click()
        await expect(numbers).to_have_text(["0", "0", "0"])


async def test_a_site_that_counts_nothing_asks_for_no_counts(tmp_path: Path) -> None:
    values = stand.site_of().model_dump(mode="json", exclude={"channels", "centres"})
    async with stand.running(tmp_path, SiteConfig.model_validate(values)) as s, browsing(s, log_in=False) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        await page.fill("input[name=password]", s.password)
        await page.get_by_role("button", name="Log in").click()
        await until(lambda: asked.count("alarms?limit=200") == 2, "the page has read everything, and again when its socket was open")
        await until(lambda: asked.count("status") >= 2, "and once more")
        assert "counts" not in asked


async def test_a_page_that_lost_something_reads_everything_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#counts .number")).to_have_count(3)
        await until(lambda: s.console.health().details["pages"], "its socket is open")
        s.answers.counts = [{"channel": "gate", "rule": "door", "enter": 7, "leave": 1, "stay": 6, "since_ns": s.clock.now_ns()}]
        for viewer in s.console._hub._viewers:
            viewer.read_again()
        await expect(page.locator("#counts .number")).to_have_text(["7", "1", "6"])


async def system_of(page: Page, s: stand.Stand) -> None:
    s.answers.centres = [{"id": "station", "queued": 3, "disabled": ""}]
    s.answers.dead_letters = [{"centre": "station", "id": "1", "error": "timed out"}]
    await page.goto(s.console.url)


async def test_an_answer_that_takes_long_keeps_no_other_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await late(page, "/api/storage$")
        await system_of(page, s)
        await expect(page.locator("#health-text")).to_have_text("All well")
        s.answers.centres = [{"id": "station", "queued": 4, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("4 waiting, 1 not delivered")


async def test_what_is_focused_stays_while_the_recorder_is_asked_how_it_is(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await system_of(page, s)
        button = page.get_by_role("button", name="Send again")
        await button.focus()
        s.answers.centres = [{"id": "station", "queued": 4, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("4 waiting")
        await expect(button).to_be_focused()


async def test_what_is_not_delivered_is_not_hidden_by_an_answer_that_fails(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await fails(page, "/api/dead-letters")
        await system_of(page, s)
        await expect(page.locator("#system")).to_contain_text("3 waiting")
        s.answers.centres = [{"id": "station", "queued": 0, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("cannot be read")
        await expect(page.locator("#system .lines li", has_text="station").locator(".dot")).to_have_class("dot warn")


async def test_when_a_camera_was_last_recorded_is_asked_again_where_the_answer_fails(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        s.answers.recordings.append(stand.recording("r0", "quay", s.clock.now_ns() - 600 * S, 60))
        await fails(page, r"/api/timeline\?channel=quay", times=1)
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("quay", 3, s.clock.now_ns(), ChannelState.OFFLINE, reason="no answer"))
        await expect(page.locator(".tile[data-channel=quay]")).to_contain_text(
            re.compile(r"No picture since the recorder started, last recorded [^,]+$", re.MULTILINE)
        )


async def test_a_session_that_ended_leads_to_the_login(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await page.context.clear_cookies(name=COOKIE)
        for viewer in list(s.console._hub._viewers):
            viewer.close(4401)
        await expect(page.get_by_label("Password")).to_be_visible()
