"""The link that a webhook carries (`playback_url`): it leads to the recording of its moment, over the login, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Error, Page, expect

from services.alarms.core.place import Place
from services.storage.api import router as storage_routes
from shared.domain.clock import NS_PER_S
from shared.messages import AlarmState
from shared.topics import ACTIONS, ALARMS
from tests.support import storing
from tests.support.segments import Feed
from tests.unit.console import stand
from tests.unit.console.browser import PLAYING, browsing, enter, fails, late, needs_chromium, noted, reaches

pytestmark = [pytest.mark.integration, needs_chromium]

#: The list of alarms is asked for by its length alone, the alarm of a link by its moment.
LIST, OF_A_MOMENT = r"/api/alarms\?limit=", r"/api/alarms\?channel="

#: What browsers do on a page that nobody has touched yet; without a screen they do not.
_SILENT_ONLY = """(() => {
  const { play } = HTMLMediaElement.prototype;
  HTMLMediaElement.prototype.play = function () {
    return this.muted ? play.call(this) : Promise.reject(new DOMException("untouched", "NotAllowedError"));
  };
})()"""


def link(s: stand.Stand, channel: str, at_ns: int) -> str:
    """As the alarm service writes it, without the address of the page."""
    return Place.of(stand.site_of(), s.console.url).playback_url(channel, at_ns).removeprefix(s.console.url)


@asynccontextmanager
async def recorded(tmp_path: Path) -> AsyncIterator[tuple[stand.Stand, int]]:
    """A console over a real store with 12 s of the gate, an hour ago; when they begin."""
    config = storing.site("gate", storage={"file_s": 6})
    async with (
        storing.storing(tmp_path / "storage", config) as kept,
        stand.running(tmp_path, storage=storage_routes(kept.service)) as s,
    ):
        start_ns = (s.clock.now_ns() - 3600 * NS_PER_S) // NS_PER_S * NS_PER_S
        await kept.keep(*Feed(channel="gate", at_ns=start_ns, audio=True).take(12))
        yield s, start_ns


async def test_the_link_of_a_webhook_plays_its_moment_after_the_login(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns):
        at_ns = start_ns + 8 * NS_PER_S
        for name, moment_ns in (("earlier", start_ns + 2 * NS_PER_S), ("meant", at_ns), ("later", at_ns + 20 * NS_PER_S)):
            ended = {"state": AlarmState.ENDED, "end_ns": moment_ns + NS_PER_S}
            s.answers.alarms[name] = stand.alarm(name, "gate", 1, moment_ns, **ended)
        async with browsing(s, path=link(s, "gate", at_ns)) as page:
            playing = page.locator(PLAYING)
            await expect(page.locator(".stage.playing h2")).to_have_text("Gate")
            await expect(page.locator(".entry.chosen")).to_have_attribute("data-alarm", "meant")
            await expect(page.locator(".stamp")).to_be_visible()
            assert float(await playing.evaluate("video => video.currentTime")) >= 2, "8 s is 2 s into the second file"
            await reaches(playing, 3.5)
            assert "at_ns" in page.url
            await page.keyboard.press("Escape")
            await expect(page.locator(".wall")).to_be_visible()
            await expect(page, "what is no longer shown is not in the address").to_have_url(s.console.url + "/")


async def test_a_link_followed_from_another_site_needs_no_second_login(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns), browsing(s) as page:
        visited: list[str] = []
        page.on("framenavigated", lambda frame: visited.append(frame.url.removeprefix(s.console.url)))
        await page.goto("about:blank")
        await page.set_content(f"<a href='{s.console.url}{link(s, 'gate', start_ns + 4 * NS_PER_S)}'>go</a>")
        await page.click("a")
        await expect(page.locator(".stage.playing h2")).to_have_text("Gate")
        await reaches(page.locator(PLAYING), 4)
        assert any(path.startswith("/login?") for path in visited), "the browser held the cookie back, as it should"


async def test_a_browser_that_plays_nothing_aloud_by_itself_plays_without_sound(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns), browsing(s) as page:
        await page.add_init_script(_SILENT_ONLY)
        await page.goto(s.console.url + link(s, "gate", start_ns + 4 * NS_PER_S))
        await reaches(page.locator(PLAYING), 4)
        await page.get_by_role("button", name="Sound is off").click()
        assert not await page.locator(PLAYING).evaluate("video => video.muted")


@pytest.mark.parametrize("first", ["the list", "the alarm"])
async def test_an_old_alarm_that_the_list_has_not_is_fetched_and_marked(tmp_path: Path, first: str) -> None:
    async with recorded(tmp_path) as (s, start_ns):
        for number in range(205):
            moment_ns = start_ns + (20 + number) * NS_PER_S
            s.answers.alarms[f"n{number}"] = stand.alarm(f"n{number}", "gate", 1, moment_ns, state=AlarmState.ENDED, end_ns=moment_ns)
        s.answers.alarms["old"] = stand.alarm("old", "gate", 1, start_ns, state=AlarmState.ENDED, end_ns=start_ns + NS_PER_S)
        async with browsing(s, log_in=False, path=link(s, "gate", start_ns)) as page:
            chosen, entries = page.locator(".entry.chosen"), page.locator(".entry")
            other = await late(page, LIST if first == "the alarm" else OF_A_MOMENT)
            await enter(s, page)
            await expect(entries).to_have_count(1 if first == "the alarm" else 200)
            await other.arrive()
            await expect(entries).to_have_count(201)
            await expect(chosen).to_have_attribute("data-alarm", "old")
            await expect(chosen).to_be_in_viewport()

            # Whoever looks elsewhere then is left there, also when more alarms come.
            await page.locator(".alarm-list").hover()
            await page.mouse.wheel(0, -100_000)
            await expect(chosen).not_to_be_in_viewport()
            await s.bus.producer.publish(ALARMS, stand.alarm("new", "gate", 1, s.clock.now_ns()))
            await expect(entries.first).to_have_attribute("data-alarm", "new")
            await expect(chosen).not_to_be_in_viewport()


async def test_the_alarm_of_a_link_is_found_also_when_the_first_answer_fails(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns), browsing(s) as page:
        s.answers.alarms["meant"] = stand.alarm("meant", "gate", 1, start_ns, state=AlarmState.ENDED, end_ns=start_ns + NS_PER_S)
        await fails(page, OF_A_MOMENT, times=1)
        await page.goto(s.console.url + link(s, "gate", start_ns))
        await expect(page.locator(".entry.chosen")).to_have_attribute("data-alarm", "meant")


async def test_a_link_to_the_recorder_itself_does_not_mark_its_alarm_once_another_plays(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns), browsing(s) as page:
        s.answers.alarms["disk"] = stand.alarm("disk", "@device", 0, start_ns, kind="exception", source="storage.low")
        s.answers.alarms["gate"] = stand.alarm("gate", "gate", 1, start_ns + 4 * NS_PER_S)
        answer = await late(page, OF_A_MOMENT)
        await page.goto(s.console.url + f"/?channel=@device&at_ns={start_ns}")
        await answer.under_way()
        await page.locator("[data-alarm=gate] .thumb").click()
        await expect(page.locator(".entry.chosen")).to_have_attribute("data-alarm", "gate")
        await answer.arrive()
        await expect(page.locator(".entry.chosen")).to_have_attribute("data-alarm", "gate")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("channel=nowhere&at_ns=1700000000000000000", "no channel “nowhere”"),
        ("channel=gate&at_ns=soon", "no moment"),
        ("channel=gate&at_ns=99999999999999999999999", "no moment"),
        ("channel=gate", "no moment"),
    ],
)
async def test_a_link_that_leads_nowhere_says_so(tmp_path: Path, query: str, said: str) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False, path=f"/?{query}") as page:
        notices = await noted(page)
        await enter(s, page)
        await notices.told(said)


async def looked_at_later(s: stand.Stand, page: Page) -> None:
    """Log in where a link leads, and come back to the page after a while in which the recorder had much to say."""
    await page.clock.install()
    await enter(s, page)
    await expect(page.locator(".toast")).to_contain_text("leads nowhere")
    await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))  # from here on time passes there as the test says
    for number in range(3):
        await s.bus.producer.publish(ACTIONS, stand.notice(f"n{number}", "gate", 1, s.clock.now_ns(), f"notice {number}"))
        await expect(page.locator(".toast").last).to_contain_text(f"notice {number}")
    await page.clock.fast_forward(60_000)
    await expect(page.locator(".toast")).to_have_count(1)


NOWHERE = ["/?channel=nowhere&at_ns=1700000000000000000", "/?channel=@device&at_ns=1700000000000000000"]


@pytest.mark.parametrize("path", NOWHERE)
async def test_that_a_link_leads_nowhere_is_said_until_it_is_dismissed(tmp_path: Path, path: str) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False, path=path) as page:
        await looked_at_later(s, page)
        await expect(page.locator(".toast")).to_contain_text("leads nowhere")
        await page.get_by_role("button", name="Dismiss").click()
        await expect(page.locator(".toast")).to_have_count(0)


async def test_that_a_link_leads_nowhere_is_said_until_something_else_is_opened(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False, path=NOWHERE[0]) as page:
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns() - 60 * NS_PER_S)
        await looked_at_later(s, page)
        await expect(page.locator(".toast")).to_contain_text("leads nowhere")
        await page.locator("[data-alarm=a1] .thumb").click()
        await expect(page.locator(".toast")).to_have_count(0)


async def test_a_link_to_what_is_not_recorded_says_so(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, path="/?channel=gate&at_ns=1700000000000000000") as page:
        await expect(page.locator(".stage.playing")).to_contain_text("Nothing recorded here")


async def test_the_session_that_ends_keeps_the_link(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (s, start_ns), browsing(s, path=link(s, "gate", start_ns + 2 * NS_PER_S)) as page:
        await reaches(page.locator(PLAYING), 2)
        await page.context.clear_cookies()
        with suppress(Error):  # what the page asks by itself may be refused before, and leads to the login too
            await page.get_by_role("button", name="Lock this recording").click(timeout=5_000)
        await expect(page.get_by_label("Password")).to_be_visible()
        await page.wait_for_load_state()  # its script runs
        await enter(s, page)
        await expect(page.locator(".stage.playing h2")).to_have_text("Gate")
        await reaches(page.locator(PLAYING), 2)
