"""The demo scenes through the whole recorder: every crossing and every zone passage that the generator made, and none else.

Both scenes loop, so that the seam between two passes is watched as well; main and sub streams are cameras' as in the field: they
show the same moment, whenever the recorder connects to which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.scene import GATE, SCENES, YARD, build_scenes
from services.cli.demo.scene_truth import Direction, Passage, SceneTruth
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import NS_PER_S, SystemClock, seconds_to_ns
from tests.support.recorder import Recorder, recorder
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PASSES = 2
GRACE_S = 6.0  # after the last pass, for what is still on its way


def channel(number: int, truth: SceneTruth, simulator: SimulatorThread, rules: list[dict[str, Any]]) -> dict[str, Any]:
    main, sub = simulator.url(f"/{truth.name}"), simulator.url(f"/{truth.name}/sub")
    return {"id": truth.name, "number": number, "main": {"url": main}, "sub": {"url": sub}, "rules": rules}


def site(simulator: SimulatorThread) -> dict[str, Any]:
    linkage = {"record": None, "snapshot": None}
    line = {"kind": "tripwire", "id": "line", "line": [list(p) for p in GATE.lines[0].points], "targets": ["human"], "anti_dither_s": 0}
    zone = {"kind": "intrusion", "id": "zone", "zone": [list(p) for p in YARD.zones[0].polygon], "targets": ["human"], "anti_dither_s": 0}
    return {
        "analytics": {"stale_after_s": 60},  # what a busy machine looks at late is looked at
        "channels": [
            channel(1, GATE, simulator, [{**line, "linkage": linkage}]),
            channel(2, YARD, simulator, [{**zone, "actions": ["cross"], "linkage": linkage}]),
        ],
    }


@dataclass
class Story:
    """Alarms of whole passes, with the seconds since these began."""

    crossings: list[tuple[float, str]]
    passages: list[tuple[float, str]]


def seen(vedette: Recorder, truth: SceneTruth, kind: str, begin_ns: int) -> list[tuple[float, str]]:
    alarms = [((a["start_ns"] - begin_ns) / NS_PER_S, a["direction"]) for a in vedette.alarms(channel=truth.name, kind=kind)]
    return [(time_s, direction) for time_s, direction in alarms if 0 <= time_s < PASSES * truth.duration_s]


def looked_at_ns(vedette: Recorder, truth: SceneTruth) -> int:
    """Until when footage is stored and looked at, however late a busy machine is with that."""
    recordings = vedette.recordings(truth.name)
    (channel,) = (one for one in vedette.get("/api/status")["channels"] if one["channel"] == truth.name)
    return int(recordings[-1]["end_ns"]) - seconds_to_ns(channel["analysis_late_s"]) if recordings else 0


def nothing_waits(vedette: Recorder) -> bool:
    """Whether what was seen has become alarms."""
    (alarms,) = (one["details"] for one in vedette.get("/api/status")["services"] if one["name"] == "alarms")
    return bool(alarms["lag"] == alarms["in_flight"] == 0)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    built = {scene.truth.name: scene for scene in build_scenes(tmp_path_factory.mktemp("scenes"), scenes=SCENES)}
    origins: set[int] = set()  # when both films began, by the cameras' clock, UTC ns
    cameras = [
        CameraSpec(path, file, live=True, on_frame=lambda frame: origins.add(frame.capture_ns - frame.media_ns))
        for name, scene in built.items()
        for path, file in ((f"/{name}", scene.files.main), (f"/{name}/sub", scene.files.sub))
    ]
    folder: Path = tmp_path_factory.mktemp("demo-scene")
    with camera_simulator(*cameras) as simulator, recorder(folder, site(simulator)) as vedette:
        wait_for(vedette.detects, what="the detector is ready", deadline_s=600)
        for camera in cameras:
            simulator.wait_until(camera.path, lambda stats: stats.playing == 1)
        (origin_ns,) = origins
        yield whole_passes(vedette, origin_ns)


def whole_passes(vedette: Recorder, origin_ns: int) -> Story:
    """Wait for them; what was seen."""
    now_ns = SystemClock().now_ns()
    begin_ns = {truth.name: next_pass_ns(truth, origin_ns, now_ns) for truth in SCENES}

    def over(truth: SceneTruth) -> bool:
        end_ns = begin_ns[truth.name] + seconds_to_ns(PASSES * truth.duration_s + GRACE_S)
        return looked_at_ns(vedette, truth) >= end_ns and nothing_waits(vedette)

    for truth in SCENES:  # one after the other: the second has mostly passed by then
        wait_for(partial(over, truth), what=f"{PASSES} passes of {truth.name}", deadline_s=400, every_s=1)
    return Story(seen(vedette, GATE, "tripwire", begin_ns[GATE.name]), seen(vedette, YARD, "intrusion", begin_ns[YARD.name]))


def next_pass_ns(truth: SceneTruth, origin_ns: int, now_ns: int) -> int:
    """When the film begins again."""
    duration_ns = seconds_to_ns(truth.duration_s)
    return now_ns + (origin_ns - now_ns) % duration_ns


def test_every_crossing_of_the_gate_and_no_other(story: Story) -> None:
    names = {Direction.LEFT_TO_RIGHT: "a_to_b", Direction.RIGHT_TO_LEFT: "b_to_a"}
    expected = [(p * GATE.duration_s + c.time_s, names[c.direction]) for p in range(PASSES) for c in GATE.crossings]
    assert [direction for _, direction in story.crossings] == [direction for _, direction in expected]
    assert [time_s for time_s, _ in story.crossings] == pytest.approx([time_s for time_s, _ in expected], abs=2.5)


def test_every_passage_of_the_yards_zone_and_no_other(story: Story) -> None:
    names = {Passage.ENTER: "enter", Passage.LEAVE: "leave"}
    expected = [(p * YARD.duration_s + c.time_s, names[c.passage]) for p in range(PASSES) for c in YARD.passages]
    assert [direction for _, direction in story.passages] == [direction for _, direction in expected]
    assert [time_s for time_s, _ in story.passages] == pytest.approx([time_s for time_s, _ in expected], abs=2.5)
