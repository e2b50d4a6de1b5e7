"""The main job, whatever it runs on: cameras whose footage has a known truth, a site that watches them, and what must come of it.

Six people walk one after another through a door and leave to the right; the line at x = 560 px of 768 is crossed six times that way,
never back. Each camera sends the file once, in real time: 140 seconds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from services.cli.demo.faults import Refuse, ScriptedFault
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import NS_PER_S
from tests.support.footage import footage
from tests.support.page import PageClient
from tests.support.people import find_people
from tests.support.recorder import count_frames
from tests.support.rtsp import SimulatorThread
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, Centre, Delivery

LINE = [[560 / 768, 0.0], [560 / 768, 1.0]]  # top to bottom: A is left of it, B right of it
CROSSING_FRAMES = (187, 439, 689, 857, 1186, 1348)  # of 1394, at 10 frames/s
FPS = 10
FRAMES = 1394
TIME_ZONE = "Europe/Paris"


def camera(channel: str) -> CameraSpec:
    """A camera that sends the footage once, to its first client. No other is let in, so that nothing is sent twice."""
    only_once = ScriptedFault(at_s=1.0, fault=Refuse())
    return CameraSpec(f"/{channel}", footage("one-by-one-person-detection.mp4"), loop=False, script=(only_once,))


def _half_a_day_from_now() -> datetime:
    return datetime.now(ZoneInfo(TIME_ZONE)) + timedelta(hours=12)


def site(cameras: SimulatorThread, channels: Sequence[str], centre: str) -> dict[str, Any]:
    """Doors, numbered from 1 on, each watched by rules that differ in arming and anti-dither only.

    The machine of a test may be small, or busy: what a monitoring room would call stale (2 s) is looked at here all the same.
    """
    line = {"kind": "tripwire", "line": LINE, "targets": ["human"]}
    quiet = {"record": None, "snapshot": None}
    rules = [
        {**line, "id": "line", "anti_dither_s": 5, "linkage": {"webhooks": ["station"]}},
        {**line, "id": "unarmed", "arming": "never", "linkage": {"webhooks": ["station"]}},
        {**line, "id": "merged", "anti_dither_s": 600, "linkage": quiet},
        # The day of the counts begins half a day from now, not while the test runs.
        {"kind": "people_counting", "id": "count", "line": LINE, "linkage": quiet, "reset_at": f"{_half_a_day_from_now():%H:%M}"},
    ]
    return {
        "site": {"name": "Test site", "time_zone": TIME_ZONE},
        "schedules": {"never": {day: [] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}},
        "analytics": {"stale_after_s": 60},
        "centres": [{"kind": "webhook", "id": "station", "url": centre, "secret": TEST_SECRET}],
        "channels": [
            {"id": channel, "number": number, "main": {"url": cameras.url(f"/{channel}")}, "rules": rules}
            for number, channel in enumerate(channels, 1)
        ],
    }


@dataclass
class Story:
    """A run: what was sent, and the page and the centre that saw it. `folder`: pictures and footage stay there for whoever looks."""

    page: PageClient
    simulator: SimulatorThread
    centre: Centre
    folder: Path
    channels: Sequence[str]

    def wait_sent(self, channel: str, frames: int = FRAMES) -> None:
        """Wait until a camera has sent so many frames."""
        self.simulator.wait_until(f"/{channel}", lambda stats: stats.video_frames_sent >= frames, timeout_s=400)

    def wait_finished(self, deadline_s: float = 60) -> None:
        """Wait until everything of it is stored and told."""
        for channel in self.channels:
            self.wait_sent(channel)
        for channel in self.channels:
            self._wait(lambda name=channel: self.frames_stored(name) >= FRAMES, "all frames are stored", deadline_s)
            # Six of "line", and the one of "merged" that has them all.
            self._wait(lambda name=channel: sum(alarm["hits"] for alarm in self.tripwires(name)) >= 12, "all alarms", deadline_s)
            self._wait(lambda name=channel: all(alarm["snapshot"] for alarm in self.alarms(name)), "snapshots are stored", deadline_s)
        self._wait(lambda: len(self.centre.accepted()) >= 6 * len(self.channels), "the webhooks", deadline_s)

    def _wait(self, condition: Any, what: str, deadline_s: float) -> None:
        wait_for(condition, what=what, deadline_s=deadline_s, every_s=0.5)

    def frames_stored(self, channel: str) -> int:
        return sum(recording["frames"] for recording in self.page.recordings(channel))

    def tripwires(self, channel: str) -> list[dict[str, Any]]:
        return self.page.alarms(channel=channel, kind="tripwire")

    def alarms(self, channel: str) -> list[dict[str, Any]]:
        """Those of the rule that alarms at each crossing."""
        return [alarm for alarm in self.tripwires(channel) if alarm["source"] == "line"]

    def deliveries(self, channel: str) -> list[Delivery]:
        return [delivery for delivery in self.centre.accepted() if delivery.event["data"]["channel"]["id"] == channel]


def six_alarms_one_way(story: Story, channel: str) -> None:
    alarms = story.alarms(channel)
    assert [alarm["direction"] for alarm in alarms] == ["a_to_b"] * 6
    assert all(alarm["target"] == "human" and alarm["hits"] == 1 for alarm in alarms)
    assert len({alarm["alarm_id"] for alarm in alarms}) == 6


def alarms_where_the_people_cross(story: Story, channel: str) -> None:
    start_ns = story.page.recordings(channel)[0]["start_ns"]
    seen = [(alarm["start_ns"] - start_ns) / NS_PER_S for alarm in story.alarms(channel)]
    truth = [frame / FPS for frame in CROSSING_FRAMES]
    assert seen == pytest.approx(truth, abs=2.0)  # the truth is given as "near" these frames


def six_webhooks_with_right_signatures(story: Story, channel: str) -> None:
    deliveries = story.deliveries(channel)
    assert all(delivery.verified for delivery in deliveries)
    assert len(deliveries) == len({delivery.webhook_id for delivery in deliveries}) == 6
    assert {delivery.event["specversion"] for delivery in deliveries} == {"1.0"}
    assert {delivery.event["data"]["rule"]["id"] for delivery in deliveries} == {"line"}
    assert [delivery.event["data"]["direction"] for delivery in deliveries] == ["a_to_b"] * 6
    told = {delivery.event["data"]["alarm_id"] for delivery in deliveries}
    assert told == {alarm["alarm_id"] for alarm in story.alarms(channel)}


def snapshots_where_webhooks_say(story: Story, channel: str) -> None:
    """The address was sent before there was a picture; whoever is logged in sees there the JPEG of that very alarm."""
    shown = {}
    for delivery in story.deliveries(channel):
        address = urlsplit(delivery.event["data"]["snapshot_url"])
        answer = story.page.http.get(address.path)
        assert answer.status_code == 200, address.path
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (768, 432)
        shown[delivery.event["data"]["alarm_id"]] = answer.content
    alarms = story.alarms(channel)
    assert shown == {alarm["alarm_id"]: story.page.http.get(f"/api/snapshots/{alarm['snapshot']}").content for alarm in alarms}
    assert len(set(shown.values())) == len(alarms) == 6


def six_snapshots_show_a_person(story: Story, channel: str) -> None:
    """A detector of another family than the recorder's own looks for a person in every snapshot."""
    for number, alarm in enumerate(story.alarms(channel)):
        answer = story.page.http.get(f"/api/snapshots/{alarm['snapshot']}")
        assert answer.headers["content-type"] == "image/jpeg"
        (story.folder / f"snapshot-{channel}-{number}.jpg").write_bytes(answer.content)
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (768, 432)
        assert _person_near(picture, alarm["box"]), f"no person in snapshot {number}"


def _person_near(picture: Image.Image, box: dict[str, float]) -> bool:
    """Whether YOLOX (not the recorder's model) finds a person that overlaps the alarm's box."""
    width, height = picture.size
    mine = (box["x1"] * width, box["y1"] * height, box["x2"] * width, box["y2"] * height)
    return any(min(mine[2], x2) > max(mine[0], x1) and min(mine[3], y2) > max(mine[1], y1) for x1, y1, x2, y2 in find_people(picture))


def recordings_hold_every_frame(story: Story, channel: str) -> None:
    recordings = story.page.recordings(channel)
    counted = sum(count_frames(story.page.download(recording, story.folder)) for recording in recordings)
    assert counted == story.simulator.stats(f"/{channel}").clients[0].video_frames_sent == FRAMES


def recordings_have_no_gap(story: Story, channel: str) -> None:
    recordings = story.page.recordings(channel)
    gaps = [after["start_ns"] - before["end_ns"] for before, after in pairwise(recordings)]
    assert all(abs(gap) < NS_PER_S / FPS for gap in gaps), gaps
    start_ns, end_ns = recordings[0]["start_ns"], recordings[-1]["end_ns"]
    spans = story.page.get("/api/timeline", channel=channel, from_ns=start_ns, to_ns=end_ns)["spans"]
    assert all(after["from_ns"] - before["to_ns"] < NS_PER_S / FPS for before, after in pairwise(spans)), spans


def unarmed_events_make_no_alarm(story: Story, channel: str) -> None:
    """Outside its schedule a rule makes events, and no alarm."""
    events = story.page.get("/api/events", channel=channel, source="unarmed")["events"]
    assert len({view["event"]["event_id"] for view in events}) == 6
    assert {view["alarm_id"] for view in events} == {None}
    assert not [alarm for alarm in story.page.alarms(channel=channel) if alarm["source"] == "unarmed"]


def one_merged_alarm_with_a_count(story: Story, channel: str) -> None:
    """Inside the anti-dither period there is one alarm, that counts its events."""
    merged = [alarm for alarm in story.page.alarms(channel=channel) if alarm["source"] == "merged"]
    assert [alarm["hits"] for alarm in merged] == [6]


def people_are_counted(story: Story, channel: str) -> None:
    counts = {(row["channel"], row["rule"]): row for row in story.page.get("/api/counts")["counts"]}
    mine = counts[(channel, "count")]
    assert (mine["enter"], mine["leave"], mine["stay"]) == (6, 0, 6)


#: All of it, in the order of the story. Each is asked of one channel.
EXPECTED = (
    six_alarms_one_way,
    alarms_where_the_people_cross,
    six_webhooks_with_right_signatures,
    snapshots_where_webhooks_say,
    six_snapshots_show_a_person,
    recordings_hold_every_frame,
    recordings_have_no_gap,
    unarmed_events_make_no_alarm,
    one_merged_alarm_with_a_count,
    people_are_counted,
)
