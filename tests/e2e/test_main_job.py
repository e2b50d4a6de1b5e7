"""The main job on one machine: a real RTSP stream becomes recordings, alarms, snapshots and signed webhooks.

Footage with known truth: six people walk one after another through a door and leave to the right; the line at x = 560 px
of 768 is crossed six times that way, never back. The file is sent once, in real time, so this module takes its 140 seconds.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from services.cli.demo.faults import Refuse, ScriptedFault
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import NS_PER_S
from tests.support.footage import footage
from tests.support.recorder import Recorder, count_frames, recorder
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, Centre, monitoring_centre

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

LINE = [[560 / 768, 0.0], [560 / 768, 1.0]]  # top to bottom: A is left of it, B right of it
CROSSING_FRAMES = (187, 439, 689, 857, 1186, 1348)  # of 1394, at 10 frames/s
FPS = 10
FRAMES = 1394


def site(url: str, centre: str) -> dict[str, Any]:
    """One door, watched by rules that differ in arming and anti-dither only."""
    line = {"kind": "tripwire", "line": LINE, "targets": ["human"]}
    quiet = {"record": None, "snapshot": None}
    return {
        "site": {"name": "Test site", "time_zone": "Europe/Paris"},
        "schedules": {"never": {day: [] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}},
        "centres": [{"kind": "webhook", "id": "station", "url": centre, "secret": TEST_SECRET}],
        "channels": [
            {
                "id": "door",
                "number": 1,
                "main": {"url": url},
                "rules": [
                    {**line, "id": "line", "anti_dither_s": 5, "linkage": {"webhooks": ["station"]}},
                    {**line, "id": "unarmed", "arming": "never", "linkage": {"webhooks": ["station"]}},
                    {**line, "id": "merged", "anti_dither_s": 600, "linkage": quiet},
                    {"kind": "people_counting", "id": "count", "line": LINE, "linkage": quiet},
                ],
            }
        ],
    }


@dataclass
class Story:
    """The finished run: what was sent, and the recorder and the centre that saw it."""

    recorder: Recorder
    simulator: SimulatorThread
    centre: Centre
    folder: Path

    def frames_stored(self) -> int:
        return sum(recording["frames"] for recording in self.recorder.recordings("door"))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Send the footage once through everything. After the first client no other is let in, so that nothing is sent twice."""
    folder = tmp_path_factory.mktemp("main-job")
    only_once = ScriptedFault(at_s=1.0, fault=Refuse())
    camera = CameraSpec("/door", footage("one-by-one-person-detection.mp4"), loop=False, script=(only_once,))
    with (
        camera_simulator(camera) as simulator,
        monitoring_centre() as centre,
        recorder(folder, site(simulator.url("/door"), centre.url)) as vedette,
    ):
        simulator.wait_until("/door", lambda stats: stats.video_frames_sent >= FRAMES, timeout_s=400)
        story = Story(vedette, simulator, centre, folder)
        wait_for(lambda: story.frames_stored() >= FRAMES, what="all frames are stored", deadline_s=60)
        wait_for(lambda: len(vedette.alarms(channel="door", kind="tripwire")) >= 7, what="six alarms and the merged one")
        wait_for(lambda: all(alarm["snapshot"] for alarm in line_alarms(vedette)), what="snapshots are stored")
        yield story


def line_alarms(vedette: Recorder) -> list[dict[str, Any]]:
    return [alarm for alarm in vedette.alarms(channel="door", kind="tripwire") if alarm["source"] == "line"]


def test_exactly_six_alarms_one_way(story: Story) -> None:
    directions = [alarm["direction"] for alarm in line_alarms(story.recorder)]
    assert directions == ["a_to_b"] * 6
    assert all(alarm["target"] == "human" and alarm["hits"] == 1 for alarm in line_alarms(story.recorder))


def test_alarms_are_where_the_people_cross(story: Story) -> None:
    start_ns = story.recorder.recordings("door")[0]["start_ns"]
    seen = [(alarm["start_ns"] - start_ns) / NS_PER_S for alarm in line_alarms(story.recorder)]
    truth = [frame / FPS for frame in CROSSING_FRAMES]
    assert seen == pytest.approx(truth, abs=2.0)  # the truth is given as "near" these frames


def test_six_webhooks_with_right_signatures(story: Story) -> None:
    deliveries = wait_for(lambda: story.centre.accepted() if len(story.centre.accepted()) >= 6 else [], what="six webhooks")
    assert all(delivery.verified for delivery in deliveries)
    assert len(deliveries) == len({delivery.webhook_id for delivery in deliveries}) == 6
    assert {delivery.event["specversion"] for delivery in deliveries} == {"1.0"}
    assert {delivery.event["data"]["rule"]["id"] for delivery in deliveries} == {"line"}
    assert [delivery.event["data"]["direction"] for delivery in deliveries] == ["a_to_b"] * 6


def test_the_snapshot_of_a_webhook_is_where_it_says(story: Story) -> None:
    """The address was sent before there was a picture; whoever is logged in sees there the JPEG of that very alarm."""
    shown = {}
    for delivery in story.centre.accepted():
        address = urlsplit(delivery.event["data"]["snapshot_url"])
        answer = story.recorder.http.get(address.path)
        assert answer.status_code == 200, address.path
        assert answer.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(answer.content)).size == (768, 432)
        shown[delivery.event["data"]["alarm_id"]] = answer.content
    alarms = line_alarms(story.recorder)
    assert shown == {alarm["alarm_id"]: story.recorder.http.get(f"/api/snapshots/{alarm['snapshot']}").content for alarm in alarms}
    assert len(set(shown.values())) == len(alarms) == 6


def test_six_snapshots_show_a_person(story: Story) -> None:
    """A detector of another family than the recorder's own looks for a person in every snapshot."""
    people = story.folder  # keep the pictures beside the run for whoever looks into a failure
    for number, alarm in enumerate(line_alarms(story.recorder)):
        answer = story.recorder.http.get(f"/api/snapshots/{alarm['snapshot']}")
        assert answer.headers["content-type"] == "image/jpeg"
        (people / f"snapshot-{number}.jpg").write_bytes(answer.content)
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (768, 432)
        assert person_near(picture, alarm["box"]), f"no person in snapshot {number}"


def person_near(picture: Image.Image, box: dict[str, float]) -> bool:
    """Whether YOLOX (not the recorder's model) finds a person that overlaps the alarm's box."""
    from tests.support.people import find_people

    width, height = picture.size
    mine = (box["x1"] * width, box["y1"] * height, box["x2"] * width, box["y2"] * height)
    return any(min(mine[2], x2) > max(mine[0], x1) and min(mine[3], y2) > max(mine[1], y1) for x1, y1, x2, y2 in find_people(picture))


def test_recordings_hold_every_frame_that_was_sent(story: Story) -> None:
    recordings = story.recorder.recordings("door")
    counted = sum(count_frames(story.recorder.download(recording, story.folder)) for recording in recordings)
    assert counted == story.simulator.stats("/door").clients[0].video_frames_sent == FRAMES


def test_recordings_have_no_gap(story: Story) -> None:
    recordings = story.recorder.recordings("door")
    gaps = [after["start_ns"] - before["end_ns"] for before, after in pairwise(recordings)]
    assert all(abs(gap) < NS_PER_S / FPS for gap in gaps), gaps
    start_ns, end_ns = recordings[0]["start_ns"], recordings[-1]["end_ns"]
    spans = story.recorder.get("/api/timeline", channel="door", from_ns=start_ns, to_ns=end_ns)["spans"]
    assert all(after["from_ns"] - before["to_ns"] < NS_PER_S / FPS for before, after in pairwise(spans)), spans


def test_outside_its_schedule_a_rule_makes_events_but_no_alarm(story: Story) -> None:
    events = story.recorder.get("/api/events", channel="door", source="unarmed")["events"]
    assert len({view["event"]["event_id"] for view in events}) == 6
    assert {view["alarm_id"] for view in events} == {None}
    assert not [alarm for alarm in story.recorder.alarms(channel="door") if alarm["source"] == "unarmed"]


def test_inside_the_anti_dither_period_there_is_one_alarm_with_a_count(story: Story) -> None:
    merged = [alarm for alarm in story.recorder.alarms(channel="door") if alarm["source"] == "merged"]
    assert [alarm["hits"] for alarm in merged] == [6]


def test_people_are_counted(story: Story) -> None:
    counts = {row["rule"]: row for row in story.recorder.get("/api/counts")["counts"]}
    assert (counts["count"]["enter"], counts["count"]["leave"], counts["count"]["stay"]) == (6, 0, 6)


def test_the_store_is_consistent_and_the_end_is_orderly(story: Story) -> None:
    """Last in the module: it stops the recorder."""
    assert story.recorder.stop() == 0
    done = story.recorder.check("--deep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert TEST_SECRET not in story.recorder.log()
