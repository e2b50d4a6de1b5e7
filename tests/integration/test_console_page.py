"""The page in a real browser, on real frames from the bus and real MP4 files: what a person sees and does."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import expect

from services.console.pictures import to_jpeg
from services.storage.api import router as storage_routes
from shared.config.site import SiteConfig
from shared.domain.errors import CatalogueError
from shared.domain.media import Picture
from shared.messages import ActionMessage, AlarmState, ChannelState, EventMessage
from shared.service import Health
from shared.topics import ACTIONS, ALARMS, CHANNEL_STATUS, DETECTIONS, EVENTS, FRAMES
from tests.support import storing
from tests.support.segments import Feed
from tests.support.waiting import until
from tests.unit.console import stand
from tests.unit.console.browser import CHROMIUM, PLAYING, browsing, feeding, reaches

pytestmark = [pytest.mark.integration, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

S = 1_000_000_000


async def test_a_person_logs_in_and_out(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s, log_in=False) as page:
        await expect(page).to_have_url(s.console.url + "/login")
        await page.fill("input[name=password]", "wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not right")
        await page.fill("input[name=password]", s.password)
        await page.keyboard.press("Enter")
        await expect(page.locator("#site-name")).to_have_text("Harbour office")
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_url(s.console.url + "/login")


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
        seen: set[str] = set()
        while len(seen) < 6:  # the figure walks 8 px a picture: a box of the picture before would be 8 px off
            capture, boxes_capture, distance = await tile.evaluate(_BOX_FITS)
            if capture == boxes_capture:  # else they are late, on a busy machine, and those of the picture before are drawn
                seen.add(capture)
                assert distance is not None
                assert abs(distance) < 4
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
        await expect(attic.locator(".tag")).to_have_text("no analysis")
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


async def test_boxes_that_do_not_come_are_said(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page, AsyncExitStack() as stack:
        s.answers.health["ingest"] = Health(True, "reading")
        now_ns = s.clock.now_ns()
        await s.bus.producer.publish(CHANNEL_STATUS, stand.status("gate", 1, now_ns))
        await s.bus.producer.publish(FRAMES, stand.frame("gate", 1, 0, now_ns - 9 * S))
        await s.bus.producer.publish(DETECTIONS, stand.boxes("gate", 1, 0, now_ns - 9 * S))
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


async def test_an_alarm_shows_at_once_its_picture_follows_and_it_is_acknowledged(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#alarms")).to_contain_text("No alarms")
        alarm = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        s.answers.alarms["a1"] = alarm
        await s.bus.producer.publish(ALARMS, alarm)
        notice = ActionMessage(
            channel="gate",
            channel_number=1,
            action_id="n",
            alarm_id="a1",
            action="show_message",
            phase="requested",
            at_ns=alarm.at_ns,
            text="Someone crossed",
        )
        await s.bus.producer.publish(ACTIONS, notice)
        entry = page.locator("[data-alarm=a1]")
        await expect(entry).to_contain_text("Over the fence")
        await expect(entry).to_contain_text("picture is coming")
        await expect(page.locator("#toasts")).to_contain_text("Someone crossed")
        await expect(page.locator(".badge-open")).to_have_text("1")
        s.answers.snapshots["gate/a 1.jpg"] = to_jpeg(Picture(640, 360, stand.scene(10)))
        stored = alarm.model_copy(update={"snapshot": "gate/a 1.jpg", "hits": 3, "at_ns": alarm.at_ns + 1, "state": AlarmState.UPDATED})
        s.answers.alarms["a1"] = stored
        await s.bus.producer.publish(ALARMS, stored)
        await expect(entry.locator("img")).to_be_visible()
        assert await entry.locator("img").evaluate("image => image.naturalWidth") == 640
        await expect(entry).to_contain_text("\N{MULTIPLICATION SIGN} 3")
        await entry.get_by_role("button", name="Acknowledge Over the fence").click()
        await expect(entry).to_have_class("entry acked")
        assert s.answers.alarms["a1"].acknowledged_by == "admin"


#: The notices and what they must not cover, in one look: they go after 5 s.
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
        for number in range(4):
            text = f"Gate: Over the fence (tripwire, a to b, motor vehicle), the whole long story of crossing {number}"
            notice = ActionMessage(
                channel="gate", channel_number=1, action_id=f"n{number}", alarm_id="a", action="show_message", phase="requested",
                at_ns=s.clock.now_ns(), text=text,
            )  # fmt: skip
            await s.bus.producer.publish(ACTIONS, notice)

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
        await expect(page.locator(".toast:visible")).to_have_count(0)


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


def record(s: stand.Stand, tmp_path: Path) -> int:
    """Two files of 3 s end to end, then after a gap of 20 s one more. The start of the first, ns."""
    start_ns = s.clock.now_ns() - 120 * S
    for at, (offset_s, kind) in enumerate(((0, "general"), (3, "alarm"), (26, "general"))):
        s.answers.recordings.append(stand.recording(f"r{at}", "gate", start_ns + offset_s * S, 3, kind=kind))
        s.answers.files[f"r{at}"] = stand.write_mp4(tmp_path / f"r{at}.mp4", 3, first_step=30 * at)
    return start_ns


#: Keep for each file where it began to play, seconds.
_NOTE_BEGINNINGS = """() => {
  window.begun = {};
  document.addEventListener('playing', ({ target }) => { window.begun[target.dataset.file] ??= target.currentTime; }, true);
}"""


async def test_an_alarm_plays_at_its_moment_and_on_into_the_next_files(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        start_ns = record(s, tmp_path)
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, start_ns + 4 * S)
        async with browsing(s) as page:
            playing = page.locator(PLAYING)
            await page.evaluate(_NOTE_BEGINNINGS)
            await page.get_by_role("button", name="Play back: Over the fence").click()
            await expect(page.locator(".stamp")).to_be_visible()
            await expect(page.locator("#toasts")).to_contain_text("20 s later")  # it goes after 5 s
            await expect(playing).to_have_attribute("data-file", "r2")
            begun = await page.evaluate("window.begun")
            assert list(begun) == ["r0", "r1", "r2"]
            assert 0.9 <= begun["r0"] < 3, "3 s before the alarm is 1 s into the first file"
            await page.get_by_role("button", name="Lock this recording").click()
            await expect(page.get_by_role("button", name="Unlock this recording")).to_be_visible()
            assert [recording["locked"] for recording in s.answers.recordings] == [False, False, True]
            await page.get_by_role("button", name="Back to the live pictures").click()
            await expect(page.locator(".wall")).to_be_visible()


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
            await kept.keep(*feed.take(4))  # closes it, begins another
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


async def test_the_grid_fills_the_room_and_five_channels_fit_a_phone(tmp_path: Path) -> None:
    document = stand.site_of().model_dump(mode="json", exclude={"channels", "centres"})
    cameras = [{"id": f"c{number}", "number": number, "main": {"url": f"rtsp://10.77.0.{number}/"}} for number in range(1, 6)]
    two, five = (SiteConfig.model_validate(document | {"channels": cameras[:count]}) for count in (2, 5))
    async with stand.running(tmp_path, two) as s, browsing(s) as page:
        boxes = [await tile.bounding_box() for tile in await page.locator(".tile").all()]
        assert boxes[0] is not None
        assert boxes[1] is not None
        assert boxes[0]["y"] == boxes[1]["y"], "side by side"
    async with stand.running(tmp_path, five) as s, browsing(s) as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await page.locator(".stage .bar").evaluate("bar => bar.scrollWidth <= bar.clientWidth")
        assert await page.locator(".top").evaluate("bar => bar.scrollWidth <= bar.clientWidth")


#: Of a track: the x of its pixels by what they say.
_COLOURS = """canvas => {
  const pixels = canvas.getContext('2d').getImageData(0, canvas.height / 2, canvas.width, 1).data, found = {};
  for (let at = 0; at < pixels.length; at += 4) {
    const [r, g] = pixels.subarray(at, at + 2);
    (found[r > 200 && g < 120 ? 'alarm' : g > 130 && r < 90 ? 'general' : 'none'] ??= []).push(at / 4);
  }
  return found;
}"""


async def test_the_time_bar_shows_what_is_kept_and_a_click_plays_it(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        record(s, tmp_path)
        async with browsing(s) as page:
            await page.get_by_role("button", name="1 h").click()
            track = page.locator(".track[data-channel=gate]")

            async def colours() -> dict[str, list[int]] | None:
                seen: dict[str, list[int]] = await track.locator("canvas").evaluate(_COLOURS)
                return seen if "alarm" in seen else None

            found = await until(colours, "the time bar shows the alarm", deadline_s=60)
            assert found is not None
            assert found["general"]
            assert len(found["none"]) > 50 * len(found["alarm"])
            # A pixel is 4 s here, so that the alarm's file may hide the one before it: a click just before both plays the first.
            await track.click(position={"x": min(found["general"] + found["alarm"]) - 1, "y": 10})
            await expect(page.locator(PLAYING)).to_have_attribute("data-file", re.compile("r[01]"))
            await track.focus()
            await page.keyboard.press("Home")
            assert "no recording" in (await track.get_attribute("aria-valuetext") or "")


async def test_what_a_centre_did_not_take_is_sent_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.centres = [{"id": "station", "queued": 3, "disabled": ""}]
        s.answers.dead_letters = [{"centre": "station", "id": str(number), "error": "timed out"} for number in range(2)]
        s.answers.storage = {
            "used_bytes": 30_000_000_000,
            "free_bytes": 70_000_000_000,
            "limit_bytes": 100_000_000_000,
            "policy": "overwrite",
        }
        async with browsing(s) as page:
            system = page.locator("#system")
            await expect(system).to_contain_text("3 waiting, 2 not delivered")
            await expect(system).to_contain_text("30 GB of 100 GB")
            await expect(system.get_by_role("meter")).to_have_attribute("aria-valuenow", "30")
            await system.get_by_role("button", name="Send again").click()
            await expect(system).to_contain_text("3 waiting")
            await expect(system.get_by_role("button", name="Send again")).to_have_count(0)
            assert s.answers.dead_letters == []


async def test_on_a_phone_one_view_at_a_time_fits_the_width(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, feeding(s), browsing(s, has_touch=True) as page:
        await page.set_viewport_size({"width": 390, "height": 844})
        for view, shown in (("live", ".wall"), ("alarms", "#alarms"), ("recordings", "#dock"), ("system", "#system")):
            await page.locator(f"#tabbar [data-view={view}]").click()
            await expect(page.locator(shown)).to_be_visible()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390, view


async def test_what_cannot_be_read_is_said_in_a_banner_until_it_can(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        s.answers.failure = CatalogueError("the catalogue cannot be reached", hint="start the database")
        async with browsing(s) as page:
            banner = page.get_by_role("alert")
            await expect(banner).to_contain_text("The alarms")
            await expect(banner).to_contain_text("The recordings")
            await expect(banner).to_contain_text(
                "cannot be read: The catalogue cannot be reached (start the database). Tried again by itself."
            )
            assert await page.evaluate("document.documentElement.scrollHeight") <= 900
            s.answers.failure = None
            await expect(page.locator("[data-alarm=a1]")).to_be_visible(timeout=15_000)
            await expect(banner).to_be_hidden(timeout=20_000)


async def test_alarms_of_the_time_without_a_connection_are_fetched(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#alarms")).to_contain_text("No alarms")
        await page.context.set_offline(True)
        for viewer in list(s.console._hub._viewers):  # the network is cut from this side too
            viewer.close(1001)
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        await page.context.set_offline(False)
        await expect(page.locator("[data-alarm=a1]")).to_be_visible(timeout=20_000)


async def test_a_lost_connection_is_said_and_mended(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await expect(page.locator("#link")).to_be_hidden()
        await page.context.set_offline(True)
        for viewer in list(s.console._hub._viewers):  # the network is cut from this side too
            viewer.close(1001)
        await expect(page.locator("#link")).to_contain_text("Connection lost")
        await page.context.set_offline(False)
        await expect(page.locator("#link")).to_be_hidden(timeout=20_000)
