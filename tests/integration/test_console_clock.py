"""The page on a computer whose clock is not the recorder's, and what a recorder's clock that was set back leaves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Request, expect

from shared.domain.clock import NS_PER_S
from tests.unit.console import stand
from tests.unit.console.browser import PLAYING, browsing, needs_chromium, reaches

pytestmark = [pytest.mark.integration, needs_chromium]


def shifted(seconds: int) -> str:
    """A script that sets the computer's clock."""
    return f"(() => {{ const now = Date.now; Date.now = () => now() + {seconds * 1000}; }})()"


@pytest.mark.parametrize("ahead_s", [1200, -1200, 40 * 86_400], ids=["twenty minutes ahead", "twenty minutes behind", "forty days ahead"])
async def test_it_goes_by_the_recorders_clock(tmp_path: Path, ahead_s: int) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = s.clock.now_ns() - 90 * NS_PER_S
        s.answers.recordings.append(stand.recording("r", "gate", start_ns, 400))
        s.answers.files["r"] = stand.write_mp4(tmp_path / "r.mp4", 400, fps=2)
        async with browsing(s) as page:
            await page.add_init_script(shifted(ahead_s))
            await page.goto(s.console.url)
            await expect(page.locator("#site-name")).not_to_be_empty()
            shown = await page.evaluate("Date.parse(document.querySelector('#clock').dateTime)")
            assert abs(shown - s.clock.now_ns() / 1e6) < 120_000
            await page.get_by_role("button", name="Play back Gate from a minute ago").click()
            await expect(page.locator(".stage.playing h2")).to_have_text("Gate")
            await reaches(page.locator(PLAYING), 0.5)
            assert await page.locator(PLAYING).evaluate("video => video.currentTime") >= 29, "a minute ago is 30 s into it, or later"


async def test_what_was_recorded_twice_is_played_once_through(tmp_path: Path) -> None:
    """The clock was set back: the files of the second time begin within those of the first."""
    async with stand.running(tmp_path) as s:
        start_ns = s.clock.now_ns() // NS_PER_S * NS_PER_S - 600 * NS_PER_S
        for name, at_s in (("first0", 0), ("first1", 3), ("second0", 1.5), ("second1", 4.5)):
            s.answers.recordings.append(stand.recording(name, "gate", start_ns + round(at_s * NS_PER_S), 3))
            s.answers.files[name] = stand.write_mp4(tmp_path / f"{name}.mp4", 3)
        played: list[str] = []

        def asked(request: Request) -> None:
            found = re.search(r"/api/recordings/(\w+)/media", request.url)
            if found and found[1] not in played:
                played.append(found[1])

        async with browsing(s) as page:
            page.on("request", asked)
            await page.goto(f"{s.console.url}/?channel=gate&at_ns={start_ns}")
            await expect(page.locator(".screen-note")).to_contain_text("This is the newest footage")
        assert played == ["first0", "first1", "second1"], "the rest of the second time begins where the first ends"
