"""Recordings play in a real browser: the stored file and the one that is being written, with ranges, seeking, and a known duration."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import async_playwright

from services.storage.api import router
from tests.support.segments import Feed, level
from tests.support.storing import Storing, site, storing, until
from tests.unit.console.browser import CHROMIUM, needs_chromium

pytestmark = [pytest.mark.integration, needs_chromium]

_PLAY = """
async ([url, at, wanted]) => {
  const video = document.createElement('video');
  video.muted = true; video.preload = 'auto'; video.src = url;
  document.body.append(video);
  const once = (name) => new Promise((done, fail) => {
    video.addEventListener(name, done, {once: true});
    video.addEventListener('error', () => fail(new Error(video.error.message)), {once: true});
  });
  await once('loadeddata');
  const duration = video.duration;
  video.currentTime = at;
  await once('seeked');
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  const shown = () => { context.drawImage(video, 0, 0); return context.getImageData(20, 5, 1, 1).data[0]; };
  const begun = performance.now();  // a picture may be painted after 'seeked'
  while (Math.abs(shown() - wanted) > 5 && performance.now() - begun < 60000) await new Promise((next) => setTimeout(next, 20));
  const pixel = shown();
  const end = video.seekable.length ? video.seekable.end(0) : 0;
  video.currentTime = Math.max(0, at - 0.5);
  await once('seeked');
  await video.play();
  await once('ended');
  return {duration, end, pixel, width: video.videoWidth, played: video.currentTime};
}
"""


@asynccontextmanager
async def served(store: Storing) -> AsyncIterator[str]:
    """The storage API on a loopback port."""
    app = FastAPI()
    app.include_router(router(store.service))

    @app.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return "<!doctype html><title>test</title>"

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # whoever comes before the server takes calls waits
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def play(base: str, path: str, at_s: float, pixel: float) -> dict[str, Any]:
    """Play it from just before `at_s` to its end; `pixel` is what should be seen there."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"], timeout=120_000
        )
        try:
            page = await browser.new_page()
            page.set_default_timeout(60_000)
            await page.goto(base)
            result: dict[str, Any] = await page.evaluate(_PLAY, [base + path, at_s, pixel])
            return result
        finally:
            await browser.close()


@pytest.mark.parametrize("audio", [False, True])
async def test_stored_and_open_files_play_in_chromium(tmp_path: Path, audio: bool) -> None:
    async with storing(tmp_path, site("door", storage={"file_s": 10})) as store:
        feed = Feed(audio=audio)
        await store.keep(*feed.take(14))

        async def closed() -> bool:
            return [r["open"] for r in await store.recordings()] == [False, True]

        await until(closed, what="the first file is closed")
        async with served(store) as base:
            stored, open_ = await store.recordings()
            # What is shown is where it was looked for: frame 20 of the second file is frame 0 again, the feed repeats after 12 s.
            dark, darkest = _full(level(80)), _full(level(0))
            seen = await play(base, f"/api/recordings/{stored['id']}/media", 8.05, dark)
            assert seen["duration"] == pytest.approx(10.0, abs=0.15)
            assert seen["end"] == pytest.approx(10.0, abs=0.15)
            assert seen["played"] == pytest.approx(10.0, abs=0.15)
            assert seen["pixel"] == pytest.approx(dark, abs=5)
            seen = await play(base, f"/api/recordings/{open_['id']}/media?bytes={open_['size_bytes']}", 2.05, darkest)
            assert seen["duration"] == pytest.approx(4.0, abs=0.15)
            assert seen["played"] == pytest.approx(4.0, abs=0.15)
            assert seen["pixel"] == pytest.approx(darkest, abs=5)


def _full(luma: int) -> float:
    """Limited range to full."""
    return (luma - 16) * 255 / 219
