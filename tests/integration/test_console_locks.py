"""Locks in a real browser: what was asked before one was changed, and comes after it, does not show how it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import PLAYING, browsing, late, needs_chromium, reaches

pytestmark = [pytest.mark.integration, needs_chromium]

S = 1_000_000_000
#: What the player asks, and what the time bar asks for what is locked.
FILES, LOCKS = r"/api/recordings\?channel=gate&from_ns=", r"/api/recordings\?channel=gate&locked=true"

#: Whether a track has a pixel of a lock: in the colour of locks.
_HAS_LOCK = """canvas => {
  const wanted = getComputedStyle(canvas).getPropertyValue('--bar-locked').trim();
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  const of = (at) => '#' + [...pixels.subarray(at, at + 3)].map((each) => each.toString(16).padStart(2, '0')).join('');
  for (let at = 0; at < pixels.length; at += 4) if (of(at) === wanted) return true;
  return false;
}"""


async def test_the_button_shows_a_lock_whatever_list_comes_after_it(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = s.clock.now_ns() - 60 * S
        s.answers.recordings.append(stand.recording("r0", "gate", start_ns, 3, open=True))
        s.answers.files["r0"] = stand.write_mp4(tmp_path / "short.mp4", 3)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 4 * S)
        async with browsing(s) as page:
            await page.locator("[data-alarm=a1] .thumb").click()
            await expect(page.locator(".screen-note")).to_contain_text("newest footage")  # it asks for more now and then
            before = await late(page, FILES, times=1)
            await before.under_way()
            grown = await late(page, FILES, times=1)
            s.answers.files["r0"] = stand.write_mp4(tmp_path / "long.mp4", 6)
            s.answers.recordings[0] |= {"end_ns": start_ns + 6 * S, "size_bytes": 240_000}
            await before.arrive()
            await grown.under_way()
            await page.get_by_role("button", name="Lock this recording", exact=True).click()
            unlock = page.get_by_role("button", name="Unlock this recording")
            await expect(unlock).to_be_visible()
            await grown.arrive()
            await reaches(page.locator(PLAYING), 3.2)
            assert await unlock.is_visible()
            assert s.answers.recordings[0]["locked"]


async def test_the_time_bar_shows_a_lock_also_while_an_older_answer_is_awaited(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = s.clock.now_ns() - 300 * S
        s.answers.recordings.append(stand.recording("r0", "gate", start_ns, 200))
        s.answers.files["r0"] = stand.write_mp4(tmp_path / "r0.mp4", 20)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 4 * S)
        async with browsing(s) as page:
            canvas = page.locator(".track[data-channel=gate] canvas")

            async def locked() -> bool:
                return bool(await canvas.evaluate(_HAS_LOCK))

            await page.locator("[data-alarm=a1] .thumb").click()
            await reaches(page.locator(PLAYING), 0.1)
            before = await late(page, LOCKS, times=1)
            await page.get_by_role("button", name="Now", exact=True).click()  # it asks anew
            await before.under_way()
            await page.get_by_role("button", name="Lock this recording", exact=True).click()
            await until(locked, "the time bar shows the lock")
            await before.arrive()
            assert await locked()
