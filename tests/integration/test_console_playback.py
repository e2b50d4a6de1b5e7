"""Playback and the time bar in a real browser, in whatever order answers come."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page, Request, expect

from shared.messages import RecordingMessage
from shared.topics import RECORDINGS
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import CHROMIUM, PLAYING, alongside, browsing, fails, late, reaches

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

S = 1_000_000_000
LISTS = r"/api/recordings\?channel="


def two_files(s: stand.Stand, tmp_path: Path) -> int:
    """Ten minutes apart, of 3 s each, and an alarm 1 s into the second. The start of the first, ns."""
    start_ns = s.clock.now_ns() - 1800 * S
    for at, offset_s in enumerate((0, 600)):
        s.answers.recordings.append(stand.recording(f"r{at}", "gate", start_ns + offset_s * S, 3))
        s.answers.files[f"r{at}"] = stand.write_mp4(tmp_path / f"r{at}.mp4", 3, first_step=30 * at)
    for name, moment_ns in (("first", start_ns + 3 * S), ("second", start_ns + 604 * S)):
        s.answers.alarms[name] = stand.alarm(name, "gate", 1, moment_ns)
    return start_ns


def alarm(page: Page, name: str) -> str:
    return f"[data-alarm={name}] .thumb"


async def test_what_was_clicked_plays_also_when_the_file_before_it_ends_meanwhile(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        s.answers.recordings.append(stand.recording("yard", "yard", s.clock.now_ns() - 1000 * S, 3))
        s.answers.files["yard"] = s.answers.files["r0"]
        s.answers.alarms["yard"] = stand.alarm("yard", "yard", 2, s.clock.now_ns() - 997 * S, source="yard")
        async with browsing(s) as page:
            await page.locator(alarm(page, "first")).click()
            await reaches(page.locator(PLAYING), 0.5)
            answer = await late(page, LISTS + "yard")
            await page.evaluate("window.ended = 0; document.addEventListener('ended', () => { window.ended += 1; }, true)")
            await page.evaluate("document.querySelector('video:not([hidden])').playbackRate = 4")
            await page.locator(alarm(page, "yard")).click()
            await answer.under_way()
            await expect(page.locator(".stage.playing h2")).to_have_text("Yard")
            await expect(page.locator(PLAYING)).to_have_count(0)  # the gate's picture is not shown under the yard's name
            await expect(page.locator(".screen-note")).to_contain_text("Looking for the recording")
            assert await page.evaluate("[...document.querySelectorAll('video')].every((video) => video.paused)")
            await answer.arrive()
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "yard")


async def test_playback_goes_on_after_answers_that_failed(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            await fails(page, LISTS, times=1)
            await page.locator(alarm(page, "first")).click()
            note = page.locator(".screen-note")
            await expect(note).to_contain_text("The recordings cannot be read")
            await expect(note).to_contain_text("Tried again by itself")
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r0")
            await fails(page, LISTS, times=1)  # the question for what comes after the first file
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r1")


async def test_a_file_that_could_not_be_fetched_is_fetched_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            await page.route(re.compile("/media"), lambda route: route.fulfill(status=503, json={"detail": "away"}), times=2)
            await page.locator(alarm(page, "second")).click()
            await expect(page.locator(".screen-note")).to_contain_text("The recorder answered 503. Tried again by itself.")
            await reaches(page.locator(PLAYING), 1)


async def test_a_next_file_that_could_not_be_fetched_ahead_plays_all_the_same(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            await fails(page, "/r1/media", times=1)
            await page.locator(alarm(page, "first")).click()
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r0")
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r1")
            await reaches(page.locator(PLAYING), 1)


async def test_steps_back_add_up_while_their_recording_is_looked_for(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = two_files(s, tmp_path)
        async with browsing(s) as page:
            await page.locator(alarm(page, "second")).click()
            await reaches(page.locator(PLAYING), 1)
            answers = await late(page, LISTS)
            asked: list[int] = []

            def note(request: Request) -> None:
                if (found := re.search(r"/api/recordings\?channel=gate&from_ns=(\d+)&to_ns=\d+&limit=1000$", request.url)) is not None:
                    asked.append(int(found[1]))

            page.on("request", note)
            for _ in range(3):
                await page.get_by_role("button", name="Back 10 seconds").click()
            await until(lambda: len(asked) == 3, "each step is asked for")
            assert [before - after for before, after in itertools.pairwise(asked)] == [10 * S, 10 * S]
            assert asked[-1] < start_ns + 580 * S
            await answers.arrive()


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
            await page.locator(alarm(page, "first")).click()
            await reaches(page.locator(PLAYING), 0.2)
            today = await day.input_value()
            await page.get_by_role("button", name="Earlier").click()
            yesterday = await day.input_value()
            assert yesterday != today
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", "r1")
            await expect(day).to_have_value(yesterday)
            await page.locator(alarm(page, "first")).click()  # whoever asks for a moment is shown it
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


async def test_at_midnight_the_bar_goes_on_to_the_new_day(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        evening_ms = (days_ago(s, 0) - 60 * S) // 1_000_000  # a minute before midnight
        await page.clock.install(time=evening_ms / 1000)
        await page.goto(s.console.url)
        day = page.get_by_label("Day")
        yesterday = datetime.fromtimestamp(evening_ms / 1000, ZoneInfo("Europe/Lisbon")).date()
        await page.get_by_role("button", name="24 h").click()
        await expect(day).to_have_value(str(yesterday))
        await page.clock.fast_forward(120_000)
        await expect(day).to_have_value(str(yesterday + timedelta(days=1)))
        await page.clock.fast_forward(86_400_000)
        await page.get_by_role("button", name="1 h").click()
        await expect(day).to_have_value(str(yesterday + timedelta(days=2)))
