"""The list of alarms in a real browser, in whatever order answers, messages and clicks come."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from shared.messages import AlarmState
from shared.topics import ALARMS
from tests.unit.console import stand
from tests.unit.console.browser import CHROMIUM, browsing, late
from tests.unit.console.reconfigured import changed

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

LIST = r"/api/alarms\?limit="


async def test_a_list_that_comes_late_takes_nothing_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        alarm = s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        lists = await late(page, LIST)
        await page.goto(s.console.url)
        await lists.under_way(2)  # at the start, and when the socket is open
        # Acknowledged when the recorder's clock is behind: both versions carry the same time.
        await s.bus.producer.publish(ALARMS, alarm.model_copy(update={"acknowledged_by": "admin", "acknowledged_ns": alarm.at_ns}))
        entry = page.locator("[data-alarm=a1]")
        await expect(entry).to_have_class("entry acked new")
        await lists.arrive()
        await expect(entry).to_contain_text("Over the fence")
        assert "acked" in (await entry.get_attribute("class") or "")


async def test_a_failure_that_comes_late_hides_no_answer(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        first = await late(page, LIST, times=1, lost=True)
        await page.goto(s.console.url)
        await expect(page.locator("#alarms")).to_contain_text("No alarms")
        await first.arrive()
        assert "No alarms" in await page.locator("#alarms").inner_text()


async def test_an_alarm_of_a_camera_that_the_page_does_not_know_yet_plays_when_it_does(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        site = await late(page, "/api/site$")
        await s.console.reconfigure(changed(stand.site_of()))
        await site.under_way()
        await s.bus.producer.publish(ALARMS, stand.alarm("a1", "shed", 5, s.clock.now_ns() - 600 * 10**9, source="way"))
        entry = page.locator("[data-alarm=a1]")
        await expect(entry).to_contain_text("shed")
        await site.arrive()
        await expect(entry).to_contain_text("Shed")
        await entry.locator(".thumb").click()
        await expect(page.locator(".stage.playing h2")).to_have_text("Shed")


async def test_what_is_focused_and_pressed_stays_while_an_alarm_goes_on(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        alarm = s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        await s.bus.producer.publish(ALARMS, alarm)
        entry = page.locator("[data-alarm=a1]")
        button = entry.get_by_role("button", name="Acknowledge Over the fence")

        async def hit(hits: int) -> None:
            at_ns = alarm.at_ns + hits * 10**9
            s.answers.alarms["a1"] = alarm.model_copy(update={"hits": hits, "at_ns": at_ns, "state": AlarmState.UPDATED})
            await s.bus.producer.publish(ALARMS, s.answers.alarms["a1"])
            await expect(entry).to_contain_text(f"\N{MULTIPLICATION SIGN} {hits}")

        await button.focus()
        await hit(2)
        await expect(button).to_be_focused()
        await button.hover()
        await page.mouse.down()
        await hit(3)
        await page.mouse.up()
        await expect(entry).to_have_class("entry acked")
