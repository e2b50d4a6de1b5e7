"""Playback of real MP4 files in a real browser, in whatever order answers come."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from playwright.async_api import Request, Route, expect

from services.storage.api import router as storage_routes
from shared.messages import AlarmState
from tests.support import storing
from tests.support.segments import Feed
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import PLAYING, browsing, fails, late, needs_chromium, noted, reaches
from tests.unit.console.films import begun, picture_of, record, two_files

pytestmark = [pytest.mark.integration, needs_chromium]

S = 1_000_000_000
#: What the player asks; the time bar asks the same path for what is locked, whenever it likes.
LISTS = r"/api/recordings\?channel=\w+&from_ns="


async def test_an_alarm_plays_at_its_moment_and_on_into_the_next_files(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = record(s, tmp_path)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 4 * S)
        async with browsing(s) as page:
            playing = page.locator(PLAYING)
            beginnings = await begun(page)
            notices = await noted(page)
            await page.get_by_role("button", name="Play back: Over the fence").click()
            await expect(page.locator(".stamp")).to_be_visible()
            await notices.told("20 s later")
            await beginnings.are("r0", "r1", "r2")
            assert 0.9 <= await beginnings.at("r0") <= 3, "3 s before the alarm is 1 s into the first file"
            await expect(playing).to_have_attribute("data-file", "r2")
            await page.get_by_role("button", name="Lock this recording").click()
            await expect(page.get_by_role("button", name="Unlock this recording")).to_be_visible()
            assert [recording["locked"] for recording in s.answers.recordings] == [False, False, True]
            await page.get_by_role("button", name="Back to the live pictures").click()
            await expect(page.locator(".wall")).to_be_visible()


async def test_the_alarm_that_plays_is_marked_and_escape_leaves(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = record(s, tmp_path)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 4 * S)
        s.answers.alarms["a2"] = stand.alarm("a2", "gate", 1, start_ns + S, state=AlarmState.ENDED, end_ns=start_ns + 3 * S)
        async with browsing(s) as page:
            entry = page.locator("[data-alarm=a1]")
            await expect(entry).to_contain_text("ongoing")
            await expect(page.locator("[data-alarm=a2]")).not_to_contain_text("ongoing")
            await entry.locator(".thumb").click()
            await expect(page.locator(".entry.chosen")).to_have_attribute("data-alarm", "a1")
            await page.keyboard.press("Escape")
            await expect(page.locator(".wall")).to_be_visible()
            await expect(page.locator(".entry.chosen")).to_have_count(0)


async def test_a_fresh_alarm_plays_on_as_its_file_grows_and_into_the_next(tmp_path: Path) -> None:
    config = storing.site("gate", storage={"file_s": 6})
    async with (
        storing.storing(tmp_path / "storage", config) as kept,
        stand.running(tmp_path, storage=storage_routes(kept.service)) as s,
    ):
        start_ns = s.clock.now_ns() - 20 * S
        feed = Feed(channel="gate", at_ns=start_ns)
        await kept.keep(*feed.take(2))
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 3 * S)
        async with browsing(s) as page:
            playing = page.locator(PLAYING)
            await page.get_by_role("button", name="Play back: Over the fence").click()
            first = await playing.get_attribute("data-file")
            await expect(page.locator(".screen-note")).to_contain_text("newest footage")
            await kept.keep(*feed.take(3))  # the file is 5 s long now, and still open
            await reaches(playing, 3.5)
            assert await playing.get_attribute("data-file") == first
            await kept.keep(*feed.take(5))  # closes it, begins another: 2 s more also than the first second of it
            await expect(playing).not_to_have_attribute("data-file", str(first))
            await reaches(playing, 1.5)


async def test_a_click_near_now_plays_the_newest_that_is_stored(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = s.clock.now_ns() - 10 * S
        s.answers.recordings.append(stand.recording("r0", "gate", start_ns, 6))
        s.answers.files["r0"] = stand.write_mp4(tmp_path / "r0.mp4", 6)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        s.answers.alarms["a2"] = stand.alarm("a2", "yard", 2, s.clock.now_ns(), source="yard", kind="intrusion")
        async with browsing(s) as page:
            await page.get_by_role("button", name="Play back: Over the fence").click()
            playing = page.locator(PLAYING)
            await expect(playing).to_have_attribute("data-file", "r0")
            await reaches(playing, 3.5)
            await page.get_by_role("button", name="Play back: Yard at night").click()
            await expect(page.locator(".screen-note")).to_contain_text("Not stored yet")


async def test_what_was_clicked_plays_also_when_the_file_before_it_ends_meanwhile(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        s.answers.recordings.append(stand.recording("yard", "yard", s.clock.now_ns() - 1000 * S, 3))
        s.answers.files["yard"] = s.answers.files["r0"]
        s.answers.alarms["yard"] = stand.alarm("yard", "yard", 2, s.clock.now_ns() - 997 * S, source="yard")
        async with browsing(s) as page:
            await picture_of(page, "first").click()
            await reaches(page.locator(PLAYING), 0.5)
            answer = await late(page, LISTS.replace(r"\w+", "yard"))
            await page.evaluate("window.ended = 0; document.addEventListener('ended', () => { window.ended += 1; }, true)")
            await page.evaluate("document.querySelector('video:not([hidden])').playbackRate = 4")
            await picture_of(page, "yard").click()
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
            questions = itertools.count(1)

            async def first_and_third(route: Route) -> None:  # where to begin, and what comes after the first file
                await (route.abort() if next(questions) in {1, 3} else route.continue_())

            await page.route(re.compile(LISTS), first_and_third)
            beginnings = await begun(page)
            await picture_of(page, "first").click()
            note = page.locator(".screen-note")
            await expect(note).to_contain_text("The recordings cannot be read")
            await expect(note).to_contain_text("Tried again by itself")
            await beginnings.are("r0", "r1")


async def test_a_file_that_could_not_be_fetched_is_fetched_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            await page.route(re.compile("/media"), lambda route: route.fulfill(status=503, json={"detail": "away"}), times=2)
            await picture_of(page, "second").click()
            await expect(page.locator(".screen-note")).to_contain_text("The recorder answered 503. Tried again by itself.")
            await reaches(page.locator(PLAYING), 1)


async def test_a_next_file_that_could_not_be_fetched_ahead_plays_all_the_same(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        two_files(s, tmp_path)
        async with browsing(s) as page:
            await fails(page, "/r1/media", times=1)
            beginnings = await begun(page)
            await picture_of(page, "first").click()
            await beginnings.are("r0", "r1")
            await reaches(page.locator(PLAYING), 1)


async def test_steps_back_add_up_while_their_recording_is_looked_for(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = two_files(s, tmp_path)
        async with browsing(s) as page:
            await picture_of(page, "second").click()
            await reaches(page.locator(PLAYING), 1)
            answers = await late(page, LISTS)
            asked: list[int] = []

            def note(request: Request) -> None:
                found = re.search(LISTS + r"(\d+)", request.url)
                if found is not None and int(found[1]) < start_ns + 600 * S:  # else the file has ended meanwhile, and asks for the next
                    asked.append(int(found[1]))

            page.on("request", note)
            for _ in range(3):
                await page.get_by_role("button", name="Back 10 seconds").click()
            await until(lambda: len(asked) == 3, "each step is asked for")
            assert [before - after for before, after in itertools.pairwise(asked)] == [10 * S, 10 * S]
            assert asked[-1] < start_ns + 580 * S
            await answers.arrive()
