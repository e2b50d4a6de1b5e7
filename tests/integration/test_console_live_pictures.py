"""Live pictures in a real browser, on real frames from the bus: what a person sees and does."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Route, expect

from shared.config.site import SiteConfig
from shared.messages import ChannelState
from shared.service import Health
from shared.topics import CHANNEL_STATUS, DETECTIONS, FRAMES
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import browsing, feeding, needs_chromium

pytestmark = [pytest.mark.integration, needs_chromium]

S = 1_000_000_000


#: Which pictures, of 60 at 5 a second, are drawn with boxes of their own moment when these come `lag` ms behind.
_DRAWN_WITH_BOXES = """async lag => {
  const { FrameSync } = await import('/static/js/sync.js');
  const sync = new FrameSync(), drawn = [];
  for (let now = 0; now < 12000; now += 20) {
    if (now % 200 === 0) sync.picture({ captureNs: (now + 1) * 1e6, bitmap: { close() {} } }, now);
    if (now >= lag && (now - lag) % 200 === 0) sync.boxes({ capture_ns: (now - lag + 1) * 1e6 }, now);
    const next = sync.take(now);
    if (next) drawn.push(next.detections?.capture_ns === next.picture.captureNs);
  }
  return drawn;
}"""


@pytest.mark.parametrize("lag_ms", [40, 300, 500, 800])
async def test_pictures_wait_as_long_as_analysis_takes(tmp_path: Path, lag_ms: int) -> None:
    """Also when it takes longer than at first: boxes that always came too late would never be drawn."""
    async with stand.running(tmp_path) as s, browsing(s) as page:
        drawn = await page.evaluate(_DRAWN_WITH_BOXES, lag_ms)
    assert len(drawn) > 50
    assert all(drawn[15:]), drawn


#: Of a tile: which picture it shows, of which its boxes are, and how far, in px, the box that was drawn is from the figure below it.
_BOX_FITS = """tile => {
  const canvas = tile.querySelector('canvas'), { width, height } = canvas;
  const pixels = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const scale = Math.min(width / 640, height / 360), left = (width - 640 * scale) / 2, top = (height - 360 * scale) / 2;
  const at = (x, y) => pixels.subarray(4 * (Math.round(y) * width + Math.round(x)), 4 * (Math.round(y) * width + Math.round(x)) + 3);
  const y = top + 225 * scale;
  let box = null, figure = null;
  for (let x = 0; x < width && (box === null || figure === null); x += 1) {
    const [r, g, b] = at(x, y);
    if (box === null && g > 180 && r < 130 && b > 150) box = x;
    if (figure === null && r > 190 && g > 190 && b > 190) figure = x;
  }
  return [tile.dataset.capture, tile.dataset.boxesCapture, box === null || figure === null ? null : (figure - box) / scale];
}"""


async def test_pictures_move_and_each_box_sits_on_its_own_picture(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, feeding(s), browsing(s) as page:
        tile = page.locator(".tile[data-channel=gate]")
        await expect(tile).to_have_attribute("data-boxes", "1")
        await page.get_by_role("button", name="Rules", exact=True).click()  # whose lines look like the box's own edge
        shown = await tile.get_attribute("data-capture")
        await expect(tile).not_to_have_attribute("data-capture", shown or "")  # drawn anew since, without them
        distances: dict[str, float | None] = {}

        async def several() -> bool:
            capture, boxes_capture, distance = await tile.evaluate(_BOX_FITS)
            if capture == boxes_capture:  # else they are late, on a busy machine, and those of the picture before are drawn
                distances[capture] = distance
            return len(distances) >= 6

        await until(several, "six pictures with their own boxes")
        # The figure walks 8 px a picture: a box of the picture before would be 8 px off.
        assert all(distance is not None and abs(distance) < 4 for distance in distances.values()), distances
        await expect(tile).to_contain_text("25 fps")
        await expect(tile).to_contain_text("4.1 Mbit/s")


#: The brightest pixel of the middle row of a canvas.
_BRIGHT = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, Math.round(canvas.height * 0.6), canvas.width, 1).data;
  return Math.max(...pixels.filter((_, at) => at % 4 < 3));
}"""


def _clock(at_ns: int) -> str:
    """As the page shows a moment of today (in the zone of the stand's site); it has the day before it around midnight."""
    return rf"(\w+ \d+ \w+ )?{datetime.fromtimestamp(at_ns // S, ZoneInfo('Europe/Lisbon')):%H:%M:%S}"


async def test_channels_without_a_picture_say_why_and_names_are_never_markup(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        odd = "rtsp://[...]:554/x is no address, set `channels[1].main.url`"
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("yard", 2, s.clock.now_ns(), ChannelState.OFFLINE, reason=odd))
        await expect(page.locator(".tile[data-channel=yard] p").first).to_have_text(odd.replace("`", ""))
        reason = "the camera refused the password <script>alert(1)</script>"
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("quay", 3, s.clock.now_ns(), ChannelState.OFFLINE, reason=reason))
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("attic", 4, s.clock.now_ns()))
        await expect(page.locator(".tile[data-channel=quay]")).to_contain_text("he camera refused the password <script>alert(1)</script>")
        attic = page.locator(".tile[data-channel=attic]")
        await expect(attic).to_contain_text("Waiting for the first picture")
        await expect(attic).to_contain_text("Analysis is off for this channel")
        await expect(page.locator(".tile[data-channel=attic] .title")).to_have_text("Attic <b>&amp;</b>")
        await expect(page.locator("#health-text")).to_have_text("2 channels offline")


async def test_a_channel_that_is_not_analysed_shows_its_pictures_and_says_so(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        now_ns = s.clock.now_ns()
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("attic", 4, now_ns))
        await s.bus.producer.publish(FRAMES, stand.frame("attic", 4, 7, now_ns))
        attic = page.locator(".tile[data-channel=attic]")
        await expect(attic).to_have_attribute("data-capture", re.compile(r"^\d+$"))
        assert await attic.locator("canvas").evaluate(_BRIGHT) > 190, "the figure is drawn"
        await expect(attic.locator(".tag")).to_have_text(re.compile(r"^(picture \d+ s old; )?no analysis$"))
        await expect(attic.locator(".tile-note")).to_have_text("")


async def test_where_live_pictures_are_switched_off_the_tile_says_so(tmp_path: Path) -> None:
    site = stand.site_of()
    without = site.model_copy(update={"ingest": site.ingest.model_copy(update={"live_fps": 0})})
    async with stand.running(tmp_path, without) as s, browsing(s) as page:
        for name, number in (("gate", 1), ("attic", 4)):
            await s.bus.producer.publish(CHANNEL_STATUS, stand.status(name, number, s.clock.now_ns()))
        await expect(page.locator(".tile[data-channel=attic]")).to_contain_text("ingest.live_fps is 0")
        await expect(page.locator(".tile[data-channel=gate]")).to_contain_text("Waiting for the first picture")


async def test_a_camera_that_is_away_says_why_since_when_and_when_it_was_last_seen(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        now_ns = s.clock.now_ns() // S * S
        s.answers.recordings.append(stand.recording("r0", "yard", now_ns - 600 * S, 60))
        publish = s.bus.producer.publish
        await publish(FRAMES, stand.frame("gate", 1, 7, now_ns - 90 * S))
        away = {"reason": "no answer from 10.77.0.1", "since_ns": now_ns - 80 * S}
        for name, number in (("gate", 1), ("yard", 2), ("quay", 3)):
            await publish(CHANNEL_STATUS, stand.status(name, number, now_ns, ChannelState.OFFLINE, **away))
        async with browsing(s) as page:  # opened after the camera went away
            gate, yard, quay = (page.locator(f".tile[data-channel={name}]") for name in ("gate", "yard", "quay"))
            for text in ("Offline", "No answer from", f"since {_clock(now_ns - 80 * S)}", f"Last picture {_clock(now_ns - 90 * S)}"):
                await expect(gate).to_contain_text(re.compile(text))
            await expect(gate).to_have_class(re.compile("dim"))
            await expect(gate).to_have_attribute("aria-label", re.compile("Gate, offline: no answer .* Last picture"))
            await expect(yard).to_contain_text(
                re.compile(f"No picture since the recorder started, last recorded {_clock(now_ns - 540 * S)}")
            )
            await expect(quay).to_contain_text("No picture since the recorder started")
            away = {"reason": "trying again", "since_ns": now_ns}
            await publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns, ChannelState.CONNECTING, **away))
            await expect(gate).to_contain_text("Connecting")
            await expect(gate).to_contain_text("Trying again")


async def test_when_a_camera_was_last_recorded_is_asked_again_where_the_answer_fails(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        s.answers.recordings.append(stand.recording("r0", "quay", s.clock.now_ns() - 600 * S, 60))
        refused: list[str] = []

        async def refuse_once(route: Route) -> None:
            """What the time bar asks of the same channel, whenever it likes, is of a shorter time."""
            asked = {name: int(value) for name, value in parse_qsl(urlsplit(route.request.url).query) if name.endswith("_ns")}
            if refused or asked["to_ns"] - asked["from_ns"] < 86_400 * S:
                await route.continue_()
                return
            refused.append(route.request.url)
            await route.abort()

        await page.route(re.compile(r"/api/timeline\?channel=quay"), refuse_once)
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("quay", 3, s.clock.now_ns(), ChannelState.OFFLINE, reason="no answer"))
        await expect(page.locator(".tile[data-channel=quay]")).to_contain_text(
            re.compile(r"No picture since the recorder started, last recorded [^,]+$", re.MULTILINE)
        )
        assert refused


async def test_boxes_that_do_not_come_are_said(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page, AsyncExitStack() as stack:
        s.answers.health["ingest"] = Health(True, "reading")
        now_ns = s.clock.now_ns()
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns))
        await s.bus.producer.publish(DETECTIONS, stand.boxes("gate", 1, 0, now_ns - 9 * S))  # before their picture: no other is drawn
        await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, 0, now_ns - 9 * S))
        tile = page.locator(".tile[data-channel=gate]")
        await expect(tile).to_have_attribute("data-boxes", "1")
        await stack.enter_async_context(feeding(s, boxes=False))
        await expect(tile.locator(".tag")).to_have_text(re.compile(r"^analysis late, \d+ s$"))
        await expect(page.locator("#health-text")).to_have_text("Analysis late")
        ingest = page.locator("#system .lines li", has_text="ingest")
        await expect(ingest).to_contain_text("1 of 4 online")
        await expect(ingest.locator(".dot")).to_have_class("dot warn")
        sub = stand.status("gate", 1, now_ns, ChannelState.OFFLINE, stream="sub", reason="no answer", height=360)
        await s.bus.producer.publish(CHANNEL_STATUS, sub)
        await expect(tile.locator(".tag")).to_contain_text("sub stream: no answer")
        await expect(tile).to_contain_text("1080p")


#: Red and blue pixels along a line that a tripwire in alarm and a counting rule share, and the names that were written where.
_SHARED_LINE = """async () => {
  const { drawRules } = await import("/static/js/overlay.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: 400, height: 300 });
  const context = canvas.getContext("2d"), names = {}, write = context.fillText;
  context.fillText = (text, x, y) => { names[text] = [x, y]; write.call(context, text, x, y); };
  const line = [[0.5, 0.1], [0.5, 0.9]];
  const rule = (id, direction) => ({ id, name: id, enabled: true, line, zone: [], direction });
  drawRules(context, { x: 0, y: 0, width: 400, height: 300 }, [rule("fence", "a_to_b"), rule("count", "both")], new Map([["fence", 1]]));
  const pixels = context.getImageData(0, 120, 400, 60).data;
  let red = 0, blue = 0;
  for (let at = 0; at < pixels.length; at += 4) {
    if (pixels[at + 3] < 200) continue;
    if (pixels[at] > 200 && pixels[at + 1] < 130) red += 1;
    if (pixels[at + 2] > 200 && pixels[at] < 150) blue += 1;
  }
  return { red, blue, names };
}"""


async def test_of_rules_on_one_line_the_alarm_is_seen_and_both_names(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        seen = await page.evaluate(_SHARED_LINE)
        assert seen["red"] > 100
        assert seen["blue"] == 0
        assert abs(seen["names"]["fence"][1] - seen["names"]["count"][1]) >= 15


async def test_the_grid_fills_the_room_and_five_channels_fit_a_phone(tmp_path: Path) -> None:
    document = stand.site_of().model_dump(mode="json", exclude={"channels", "centres"})
    cameras = [{"id": f"c{number}", "number": number, "main": {"url": f"rtsp://10.77.0.{number}/"}} for number in range(1, 6)]
    two, five = (SiteConfig.model_validate(document | {"channels": cameras[:count]}) for count in (2, 5))
    async with stand.running(tmp_path, two) as s, browsing(s) as page:

        async def side_by_side() -> bool:
            boxes = [await tile.bounding_box() for tile in await page.locator(".tile").all()]
            return len({box["y"] for box in boxes if box}) == 1 and len({box["x"] for box in boxes if box}) == 2

        await until(side_by_side, "two channels are side by side")
    async with stand.running(tmp_path, five) as s, browsing(s) as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        await expect(page.locator(".tile")).to_have_count(5)
        await expect(page.locator("#health-text")).to_have_text("All well")  # in the bar at the top too all is there
        assert await page.locator(".stage .bar").evaluate("bar => bar.scrollWidth <= bar.clientWidth")
        assert await page.locator(".top").evaluate("bar => bar.scrollWidth <= bar.clientWidth")


async def test_on_a_phone_one_view_at_a_time_fits_the_width(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, feeding(s), browsing(s, has_touch=True) as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        await expect(page.locator(".tile[data-channel=gate]")).to_contain_text("25 fps")
        await expect(page.locator("#health-text")).to_have_text("All well")
        for view, shown in (("live", ".wall"), ("alarms", "#alarms"), ("recordings", "#dock"), ("system", "#system")):
            await page.locator(f"#tabbar [data-view={view}]").click()
            await expect(page.locator(shown)).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, view
