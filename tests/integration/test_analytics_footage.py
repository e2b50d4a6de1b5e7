"""Real footage with real weights against what is known to be true of it."""

from __future__ import annotations

from collections import Counter

import pytest

from services.analytics.core.motion import MotionDetector
from services.analytics.core.regions import RegionPaths
from services.analytics.core.rules import Scene
from services.analytics.core.rules.smd import Smd
from shared.config.rules import AnyRule, IntrusionRule, PeopleCountingRule, SmdRule, TripwireRule
from shared.domain.clock import NS_PER_S
from shared.domain.targets import TargetClass
from shared.media.pictures import luma
from shared.messages import EventPhase
from tests.support.analysis import START_NS, Analysed, analyse, detector, pictures
from tests.support.footage import footage

pytestmark = pytest.mark.integration

#: one-by-one-person-detection: line x = 560 of 768 px, frames at which the six cross it, and frames in which they are present.
LINE = ((560 / 768, 0.0), (560 / 768, 1.0))
CROSSED = (187, 439, 689, 857, 1186, 1348)
PRESENT = ((61, 195), (228, 448), (505, 697), (745, 866), (927, 1196), (1236, 1359))
#: The left part of the room, up to a little before the line.
ROOM = ((0.0, 0.0), (0.68, 0.0), (0.68, 1.0), (0.0, 1.0))
WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def rules() -> tuple[AnyRule, ...]:
    models = (
        (TripwireRule, {"id": "line", "line": LINE}),
        (IntrusionRule, {"id": "room", "zone": ROOM, "targets": ["human"]}),
        (IntrusionRule, {"id": "anywhere", "zone": WHOLE, "targets": ["human"], "actions": ["appear"]}),
        (PeopleCountingRule, {"id": "count", "line": LINE, "enter_threshold": 3, "stay_threshold": 5}),
        (SmdRule, {"id": "smd"}),
    )
    return tuple(model.model_validate(settings) for model, settings in models)


@pytest.fixture(scope="module", params=[1, 2], ids=["10 fps", "5 fps"])
def room(request: pytest.FixtureRequest) -> Analysed:
    path = footage("one-by-one-person-detection.mp4")
    return analyse(pictures(path, width=640, height=360, step=request.param), rules(), fps=10)


def test_exactly_six_cross_one_way_near_the_true_frames(room: Analysed) -> None:
    assert room.started("line", "b_to_a") == []
    crossed = room.started("line", "a_to_b")
    assert len(crossed) == 6
    assert all(abs(found - true) <= 4 for found, true in zip(crossed, CROSSED, strict=True))


def test_each_leaves_the_room_once_and_none_enters_it_from_outside(room: Analysed) -> None:
    assert room.started("room", "enter") == []
    left = room.started("room", "leave")
    assert len(left) == 6
    assert all(true - 8 <= found <= true + 4 for found, true in zip(left, CROSSED, strict=True))


def test_each_is_inside_as_long_as_truly_present(room: Analysed) -> None:
    stays = room.spans("anywhere")
    assert len(stays) == 6
    for (first, last), (true_first, true_last) in zip(stays, PRESENT, strict=True):
        assert true_first <= first <= true_first + 15  # half a second inside, and a track is seen twice
        assert true_last - 6 <= last <= true_last + 3


def test_people_are_counted_and_thresholds_told(room: Analysed) -> None:
    counts = room.counts["count"]
    assert (counts.enter, counts.leave, counts.stay) == (6, 0, 6)
    assert abs(room.started("count", "enter")[0] - CROSSED[2]) <= 4
    assert abs(room.started("count", "stay")[0] - CROSSED[4]) <= 4


def test_smart_motion_tells_every_coming_and_going(room: Analysed) -> None:
    spans = room.spans("smd")
    assert all(any(first - 3 <= last_true and true - 3 <= last for true, last_true in PRESENT) for first, last in spans)
    for first, last in PRESENT:
        assert any(first <= began <= first + 12 for began, _ in spans)
        assert any(last - 12 <= ended <= last + 3 for _, ended in spans)


def test_the_gate_spares_empty_scenes_and_nobody_who_stands_vanishes(room: Analysed) -> None:
    seen = sorted(room.tracks)
    quiet = [frame for frame in seen if 20 <= frame < 60]
    assert sum(frame in room.looked for frame in quiet) <= len(quiet) / 8
    assert len(room.looked) < len(seen)
    for (first, _), crossed in zip(PRESENT, CROSSED, strict=True):
        there = [frame for frame in seen if first + 15 <= frame <= crossed]
        assert sum(bool(room.tracks[frame]) for frame in there) >= 0.98 * len(there)


@pytest.mark.parametrize(("step", "within"), [(1, 1), (5, 2)], ids=["25 fps", "5 fps"])
def test_a_crowd_is_counted_within_two_of_the_truth(step: int, within: int) -> None:
    line = TripwireRule.model_validate({"id": "line", "line": ((240 / 640, 0.0), (240 / 640, 1.0)), "targets": ["human"]})
    found = analyse(pictures(footage("TUD-Campus.mp4"), width=480, height=360, step=step), [line], fps=25)
    counted = Counter(fired.event.direction for _, fired in found.events if fired.event.phase is EventPhase.STARTED)
    assert abs(counted["a_to_b"] - 4) <= within
    assert abs(counted["b_to_a"] - 1) <= within


@pytest.mark.parametrize("step", [1, 2], ids=["12.5 fps", "6 fps"])
def test_cars_from_above_are_told_by_motion_alone(step: int) -> None:
    """No detector here. Cars 2 and 3 pass each other: 4 cars are 3 spells of motion (frames 60-103, 180-238, 315-348)."""
    motion, paths = MotionDetector(), RegionPaths()
    rule = Smd(SmdRule.model_validate({"id": "any", "targets": [], "sensitivity": 30}))
    events, time_ns = [], START_NS
    for number, picture in pictures(footage("car-detection.mp4"), width=640, height=360, step=step):
        time_ns = START_NS + round(number * NS_PER_S / 12.5)
        regions = paths.step(motion.step(luma(picture), time_ns).regions, time_ns, 16 / 9)
        events += rule.step(Scene(time_ns, 16 / 9, (), regions))
    ended = [event for event in [*events, *rule.close(time_ns)] if event.phase is EventPhase.ENDED]
    spans = [tuple((moment - START_NS) * 12.5 / NS_PER_S for moment in (event.start_ns, event.end_ns or 0)) for event in ended]
    assert len(spans) == 3
    for (first, last), (true_first, true_last) in zip(spans, ((60, 103), (180, 238), (315, 348)), strict=True):
        assert true_first <= first < true_last
        assert last <= true_last + 8
    assert all(event.target is None for event in ended)


def test_a_small_coco_detector_finds_hardly_any_car_from_above() -> None:
    """Why the motion stage must stand on its own: what the product can and cannot do, as a test."""
    frames = [picture for number, picture in pictures(footage("car-detection.mp4"), width=640, height=360) if number % 4 == 0]
    cars = [one for found in detector().detect(frames) for one in found if one.target is TargetClass.MOTOR_VEHICLE and one.score >= 0.25]
    assert len(cars) < 0.25 * len(frames)
