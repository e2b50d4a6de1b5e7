"""The console's page in a real browser."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Error, Locator, Page, Route, async_playwright, expect

from shared.topics import CHANNEL_STATUS, DETECTIONS, FRAMES
from tests.support.waiting import until
from tests.unit.console import stand

_LATE_MS = 60_000  # a busy machine is late, not wrong
expect.set_options(timeout=_LATE_MS)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]

#: The video that is shown.
PLAYING = "video:not([hidden])"


@asynccontextmanager
async def browsing(s: stand.Stand, *, log_in: bool = True, path: str = "/", url: str | None = None, **context: Any) -> AsyncIterator[Page]:
    """A page of the console; anything loaded from elsewhere and any error in its scripts fails the test.

    `url`: of the console as the browser reaches it, where that is another than its own.
    """
    problems: list[str] = []
    url = url or s.console.url
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, timeout=2 * _LATE_MS)
        page = await (await browser.new_context(viewport={"width": 1440, "height": 900}, **context)).new_page()
        page.set_default_timeout(_LATE_MS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if "Content Security Policy" in message.text else None)
        page.on("request", lambda request: None if request.url.startswith((url, "blob:", "data:")) else problems.append(request.url))
        try:
            await page.goto(url + path)
            if log_in:
                await enter(s, page)
            yield page
        finally:
            await browser.close()
    assert problems == []


async def enter(s: stand.Stand, page: Page) -> None:
    """Log in on the login page."""
    await page.fill("input[name=password]", s.password)
    await page.click("button[type=submit]")
    await page.wait_for_selector("#site-name:not(:empty)")
    await until(lambda: s.console.health().details["pages"], "the page's socket is open")  # what is published before does not reach it


@asynccontextmanager
async def feeding(s: stand.Stand, *, boxes: bool = True) -> AsyncIterator[None]:
    """Gate online, with pictures and, if wanted, their boxes at 10 a second; the boxes come 50 ms after the picture."""

    async def feed() -> None:
        step = 0
        while True:
            now_ns = s.clock.now_ns()
            await s.bus.producer.publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns))
            await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, step, now_ns))
            await s.clock.sleep(0.05)
            if boxes:
                await s.bus.producer.publish(DETECTIONS, stand.boxes("gate", 1, step, now_ns))
            await s.clock.sleep(0.05)
            step += 1

    async with alongside(feed()):
        yield


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on until the block ends; where it fails, the test does."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def reaches(playing: Locator, seconds: float) -> None:
    """Wait until playback is beyond that point of its file."""

    async def there() -> bool:
        return float(await playing.evaluate("video => video.currentTime")) > seconds

    await until(there, f"playback reaches {seconds} s of its file")


@dataclass
class Notices:
    """What the page has said in notices, which go after some seconds."""

    page: Page

    async def told(self, text: str) -> None:
        async def so() -> bool:
            return any(text in notice for notice in await self.page.evaluate("window.noted"))

        await until(so, f"the page says {text!r}")


_NOTING = """(() => {
  window.noted = [];
  const note = (added) => { if (added.matches?.(".toast")) window.noted.push(added.innerText); };
  const watch = new MutationObserver((changes) => changes.forEach(({ addedNodes }) => addedNodes.forEach(note)));
  watch.observe(document, { childList: true, subtree: true });
})()"""


async def noted(page: Page) -> Notices:
    """Note every notice that the page shows from now on, and the pages that it loads after it."""
    await page.evaluate(_NOTING)
    await page.add_init_script(_NOTING)
    return Notices(page)


@dataclass
class Late:
    """Answers that are on their way to the page: as of when they were asked for, there when the test says so."""

    page: Page
    lost: bool = False
    asked: int = 0
    answered: int = 0
    arrived: int = 0
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self, route: Route) -> None:
        self.asked += 1
        with suppress(Error):  # the page went elsewhere meanwhile, and takes no answer
            answer = await route.fetch()
            self.answered += 1
            await self._go.wait()
            await (route.abort() if self.lost else route.fulfill(response=answer))
        self.arrived += 1

    async def under_way(self, count: int = 1) -> None:
        """Wait until so many answers are held back."""
        await until(lambda: self.answered >= count, f"{count} answers are held back")

    async def arrive(self) -> None:
        """The page has them, and has done with them what it does."""
        self._go.set()
        await until(lambda: self.arrived == self.asked, "the answers have arrived")
        await self.page.evaluate("fetch('/healthz').then((answer) => answer.text())")  # one more after them


async def late(page: Page, address: str, *, times: int | None = None, lost: bool = False) -> Late:
    """Hold back what the page asks for at addresses with this pattern from now on, or the first `times` of it.

    `lost`: it fails in the end.
    """
    held = Late(page, lost)
    await page.route(re.compile(address), held.hold, times=times)
    return held


async def fails(page: Page, address: str, *, times: int | None = None) -> None:
    """What the page asks for at addresses with this pattern is answered by nobody from now on, or the first `times` of it."""
    await page.route(re.compile(address), lambda route: route.abort(), times=times)
