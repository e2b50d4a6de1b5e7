"""Alarms, notices and counts in a real browser, in whatever order answers, messages and clicks come."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from services.console.pictures import to_jpeg
from shared.config.site import SiteConfig
from shared.domain.clock import ns_to_seconds
from shared.domain.media import Picture
from shared.messages import AlarmState, EventMessage
from shared.topics import ACTIONS, ALARMS, EVENTS
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import browsing, enter, late, needs_chromium, noted
from tests.unit.console.reconfigured import changed

pytestmark = [pytest.mark.integration, needs_chromium]

S = 1_000_000_000
LIST = r"/api/alarms\?limit="


async def test_an_alarm_shows_at_once_its_picture_follows_and_it_is_acknowledged(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#alarms")).to_contain_text("No alarms")
        notices = await noted(page)
        alarm = stand.alarm("a1", "gate", 1, s.clock.now_ns(), revision=1)
        s.answers.alarms["a1"] = alarm
        await s.bus.producer.publish(ALARMS, alarm)
        await s.bus.producer.publish(ACTIONS, stand.notice("n", "gate", 1, alarm.at_ns, "Someone crossed"))
        entry = page.locator("[data-alarm=a1]")
        await expect(entry).to_contain_text("Over the fence")
        await expect(entry).to_contain_text("picture is coming")
        await notices.told("Someone crossed")
        await expect(page.locator(".badge-open")).to_have_text("1")
        s.answers.snapshots["gate/a 1.jpg"] = to_jpeg(Picture(640, 360, stand.scene(10)))
        later = {"at_ns": alarm.at_ns + 1, "state": AlarmState.UPDATED, "revision": 2}
        stored = alarm.model_copy(update={"snapshot": "gate/a 1.jpg", "hits": 3, **later})
        s.answers.alarms["a1"] = stored
        await s.bus.producer.publish(ALARMS, stored)
        await expect(entry.locator("img")).to_be_visible()
        assert await entry.locator("img").evaluate("image => image.naturalWidth") == 640
        await expect(entry).to_contain_text("\N{MULTIPLICATION SIGN} 3")
        await entry.get_by_role("button", name="Acknowledge Over the fence").click()
        await expect(entry).to_have_class("entry acked")
        assert s.answers.alarms["a1"].acknowledged_by == "admin"


#: The notices and what they must not cover.
_NOTICES = """() => {
  const shown = (element) => element !== null && element.getClientRects().length > 0;
  const box = (element) => { const { x, y, width, height } = element.getBoundingClientRect(); return { x, y, width, height }; };
  const toasts = [...document.querySelectorAll('.toast')].filter(shown);
  const below = ['main', '.tabbar', '.top-right'].map((name) => document.querySelector(name)).filter(shown).map(box);
  return { newest: toasts.at(-1)?.innerText ?? '', toasts: toasts.map(box), below, width: document.documentElement.scrollWidth };
}"""


@pytest.mark.parametrize(("width", "height", "at_once"), [(1440, 900, 2), (390, 844, 1)])
async def test_notices_cover_no_picture_and_go(tmp_path: Path, width: int, height: int, at_once: int) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await page.set_viewport_size({"width": width, "height": height})
        await page.clock.install()
        in_a_minute = datetime.fromtimestamp(ns_to_seconds(s.clock.now_ns()) + 60, UTC)
        await page.clock.pause_at(in_a_minute)  # they stay until the test lets time go on
        for number in range(4):
            text = f"Gate: Over the fence (tripwire, a to b, motor vehicle), the whole long story of crossing {number}"
            await s.bus.producer.publish(ACTIONS, stand.notice(f"n{number}", "gate", 1, s.clock.now_ns(), text))

        async def told() -> Any:
            now = await page.evaluate(_NOTICES)
            return now if len(now["toasts"]) == at_once and "crossing 3" in now["newest"] else None

        seen = await until(told, "the newest notices are shown")
        assert seen["newest"].count("Gate") == 1
        assert seen["below"]
        for box in seen["toasts"]:
            assert box["height"] < 40
            for below in seen["below"]:
                assert not (
                    box["x"] < below["x"] + below["width"] and below["x"] < box["x"] + box["width"]
                    and box["y"] < below["y"] + below["height"] and below["y"] < box["y"] + box["height"]
                ), below  # fmt: skip
        assert seen["width"] <= width
        await page.clock.fast_forward(5_000)
        await expect(page.locator(".toast:visible")).to_have_count(0)


async def test_a_list_that_comes_late_takes_nothing_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        now_ns = s.clock.now_ns()
        alarm = stand.alarm("a1", "gate", 1, now_ns, revision=1, hits=2)
        ended = s.answers.alarms["a1"] = alarm.model_copy(update={"state": AlarmState.ENDED, "end_ns": now_ns, "revision": 2})
        s.answers.alarms["a2"] = stand.alarm("a2", "gate", 1, now_ns - S)
        lists = await late(page, LIST)
        await enter(s, page)
        await lists.under_way(2)  # at the start, and when the socket is open
        # It was taken for lost, and goes on; the recorder's clock was set back, and all versions carry the same time.
        resumed = ended.model_copy(update={"state": AlarmState.UPDATED, "end_ns": None, "revision": 3})
        await s.bus.producer.publish(ALARMS, resumed)
        entry = page.locator("[data-alarm=a1]")
        await expect(entry).to_contain_text("ongoing")
        await lists.arrive()
        await expect(page.locator("[data-alarm=a2]")).to_be_visible()
        await expect(entry).to_contain_text("ongoing")
        await s.bus.producer.publish(ALARMS, ended.model_copy(update={"revision": 4}))
        await expect(entry).not_to_contain_text("ongoing")


async def test_alarms_from_when_the_clock_was_ahead_hide_none_that_is_raised_now(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        now_ns = s.clock.now_ns()
        for n in range(1, 202):
            s.answers.alarms[f"ahead{n}"] = stand.alarm(f"ahead{n}", "gate", 1, now_ns + (86_400 + n) * S, sequence=n, revision=1)
        await enter(s, page)
        await expect(page.locator("[data-alarm]").first).to_have_attribute("data-alarm", "ahead201")
        await expect(page.locator("[data-alarm]")).to_have_count(200)
        await s.bus.producer.publish(ALARMS, stand.alarm("now", "gate", 1, now_ns, sequence=202, revision=1))
        await expect(page.locator("[data-alarm]").first).to_have_attribute("data-alarm", "now")
        await expect(page.locator("[data-alarm]")).to_have_count(200)


async def test_a_failure_that_comes_late_hides_no_answer(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        first = await late(page, LIST, times=1, lost=True)
        await enter(s, page)
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
        alarm = s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns(), revision=1)
        await s.bus.producer.publish(ALARMS, alarm)
        entry = page.locator("[data-alarm=a1]")
        button = entry.get_by_role("button", name="Acknowledge Over the fence")

        async def hit(hits: int) -> None:
            later = {"at_ns": alarm.at_ns + hits * S, "state": AlarmState.UPDATED, "revision": hits}
            s.answers.alarms["a1"] = alarm.model_copy(update={"hits": hits, **later})
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


def counted(at_ns: int, enter: int) -> EventMessage:
    return EventMessage(
        channel="gate", channel_number=1, event_id="e", kind="people_counting", source="door", phase="started",
        start_ns=at_ns, at_ns=at_ns, counts={"enter": enter, "leave": 1, "stay": enter - 1},
    )  # fmt: skip


async def test_counts_follow_the_rule(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.counts = [{"channel": "gate", "rule": "door", "enter": 4, "leave": 1, "stay": 3, "since_ns": s.clock.now_ns()}]
        async with browsing(s) as page:
            numbers = page.locator("#counts .number")
            await expect(numbers).to_have_text(["4", "1", "3"])
            event = EventMessage(
                channel="gate", channel_number=1, event_id="e", kind="people_counting", source="door", phase="started",
                start_ns=1, at_ns=1, counts={"enter": 5, "leave": 1, "stay": 4},
            )  # fmt: skip
            await s.bus.producer.publish(EVENTS, event)
            await expect(numbers).to_have_text(["5", "1", "4"])


async def test_counts_that_come_late_take_nothing_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        now_ns = s.clock.now_ns()
        s.answers.counts = [{"channel": "gate", "rule": "door", "enter": 4, "leave": 1, "stay": 3, "since_ns": now_ns, "as_of_ns": now_ns}]
        answers = await late(page, "/api/counts")
        await enter(s, page)
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
        await enter(s, page)
        await until(lambda: asked.count("alarms?limit=200") >= 2, "the page has read everything, and again when its socket was open")
        await until(lambda: asked.count("status") >= 2, "and once more")
        assert "counts" not in asked
