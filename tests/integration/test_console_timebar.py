"""The time bar in a real browser: days, spans and moments, in whatever order answers come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, Route, expect

from shared.messages import RecordingMessage
from shared.topics import RECORDINGS
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import PLAYING, alongside, browsing, late, needs_chromium, reaches
from tests.unit.console.films import begun, picture_of, record, two_files

pytestmark = [pytest.mark.integration, needs_chromium]

S = 1_000_000_000


#: Of a track: the x of its pixels by what they say; also those that a line of the grid, which can be seen through, goes over.
_COLOURS = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, canvas.height / 2, canvas.width, 1).data, found = {};
  for (let at = 0; at < pixels.length; at += 4) {
    const [r, g] = pixels.subarray(at, at + 2);
    (found[r > 180 && g < 120 ? 'alarm' : g > 130 && r < 90 ? 'general' : 'none'] ??= []).push(at / 4);
  }
  return found;
}"""


async def test_the_time_bar_shows_what_is_kept_and_a_click_plays_it(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        record(s, tmp_path, ago_s=3600)
        async with browsing(s) as page:
            await page.get_by_role("button", name="1 h").click()
            await page.get_by_role("button", name="Earlier").click()  # a view that does not follow the present: what is clicked stays there
            track = page.locator(".track[data-channel=gate]")

            async def colours() -> dict[str, list[int]] | None:
                seen: dict[str, list[int]] = await track.locator("canvas").evaluate(_COLOURS)
                return seen if "alarm" in seen else None

            found = await until(colours, "the time bar shows the alarm", deadline_s=60)
            assert found is not None
            assert found["general"]
            assert len(found["none"]) > 50 * len(found["alarm"])
            # A pixel is 4 s here, so that the alarm's file may hide the one before it: a click just before both plays the first.
            beginnings = await begun(page)
            await track.click(position={"x": min(found["general"] + found["alarm"]) - 1, "y": 10})
            await beginnings.are("r0", "r1", "r2")
            await track.focus()
            await page.keyboard.press("Home")
            assert "no recording" in (await track.get_attribute("aria-valuetext") or "")


def days_ago(s: stand.Stand, days: int) -> int:
    """When a day of the stand's site began, ns."""
    zone = ZoneInfo("Europe/Lisbon")
    day = (datetime.fromtimestamp(s.clock.now_ns() // S, zone) - timedelta(days=days)).date()
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * S


async def at_its_beginning(page: Page) -> str:
    """What the gate's time bar says of the beginning of its view."""
    track = page.locator(".track[data-channel=gate]")
    await track.focus()
    await page.keyboard.press("Home")
    return await track.get_attribute("aria-valuetext") or ""


async def test_the_day_that_was_chosen_last_is_shown_whatever_answer_comes_last(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.recordings.append(stand.recording("r0", "gate", days_ago(s, 2), 3600))
        async with browsing(s) as page:
            await page.get_by_role("button", name="24 h").click()
            before = await late(page, f"/api/timeline.*channel=gate&from_ns={days_ago(s, 1)}")
            await page.get_by_role("button", name="Earlier").click()
            await before.under_way()
            await page.get_by_role("button", name="Earlier").click()

            async def recorded() -> bool:
                return "general recording" in await at_its_beginning(page)

            await until(recorded, "the day before yesterday is shown")
            await before.arrive()
            assert await recorded()


async def test_another_day_can_be_looked_at_while_a_recording_plays(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            day = page.get_by_label("Day")
            await page.get_by_role("button", name="24 h").click()
            await picture_of(page, "first").click()
            await reaches(page.locator(PLAYING), 0.2)
            today = await day.input_value()
            await page.get_by_role("button", name="Earlier").click()
            yesterday = await day.input_value()
            assert yesterday != today
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r1")
            await reaches(page.locator(PLAYING), 0.2)  # it has told where it is
            await expect(day).to_have_value(yesterday)
            await picture_of(page, "first").click()  # whoever asks for a moment is shown it
            await expect(day).to_have_value(today)


@asynccontextmanager
async def changing(s: stand.Stand) -> AsyncIterator[None]:
    """A recording is stored every tenth of a second, somewhere."""

    async def change() -> None:
        while True:
            now_ns = s.clock.now_ns()
            message = RecordingMessage(
                channel="gate", channel_number=1, recording_id="r", stream="main", change="stored", start_ns=now_ns, end_ns=now_ns,
                size_bytes=1, object_key="k", at_ns=now_ns,
            )  # fmt: skip
            await s.bus.producer.publish(RECORDINGS, message)
            await s.clock.sleep(0.1)

    async with alongside(change()):
        yield


async def test_what_changes_is_shown_also_where_something_changes_all_the_time(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page, changing(s):
        await page.get_by_role("button", name="24 h").click()
        await page.get_by_role("button", name="Earlier").click()  # a day that is over is not read again by itself
        assert "no recording" in await at_its_beginning(page)
        s.answers.recordings.append(stand.recording("r0", "gate", days_ago(s, 1), 3600))

        async def recorded() -> bool:
            return "general recording" in await at_its_beginning(page)

        await until(recorded, "what changed is shown")


async def undated(route: Route) -> None:
    answer = await route.fetch()
    await route.fulfill(response=answer, headers={name: value for name, value in answer.headers.items() if name != "date"})


async def test_at_midnight_the_bar_goes_on_to_the_new_day(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        evening_ms = (days_ago(s, 0) - 1200 * S) // 1_000_000  # twenty minutes before midnight
        await page.clock.install(time=evening_ms / 1000)
        await page.route("**/api/**", undated)  # the page goes by its computer's clock, which is the test's
        await page.goto(s.console.url)
        day = page.get_by_label("Day")
        yesterday = datetime.fromtimestamp(evening_ms / 1000, ZoneInfo("Europe/Lisbon")).date()
        await page.get_by_role("button", name="24 h").click()
        await expect(day).to_have_value(str(yesterday))
        await page.clock.fast_forward(1_800_000)
        await expect(day).to_have_value(str(yesterday + timedelta(days=1)))
        await page.clock.fast_forward(86_400_000)
        await page.get_by_role("button", name="1 h").click()
        await expect(day).to_have_value(str(yesterday + timedelta(days=2)))
