"""The motion stage and the gate."""

from __future__ import annotations

import numpy as np
import pytest

from services.analytics.core.gate import Gate
from services.analytics.core.motion import Motion, MotionDetector
from services.analytics.core.regions import RegionPaths
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.media import Pixels
from shared.domain.targets import TargetClass, TrackedObject

STEP_NS = NS_PER_S // 5
START_NS = 1_700_000_000 * NS_PER_S
RANDOM = np.random.default_rng(7)
SCENE = RANDOM.integers(60, 160, (360, 640)).astype(np.uint8)


def with_square(x: int, *, brighter: int = 0) -> Pixels:
    picture = np.clip(SCENE.astype(np.int16) + brighter, 0, 255).astype(np.uint8)
    if x >= 0:
        picture[120:240, x : x + 80] = 250
    return picture


def play(pictures: list[Pixels]) -> list[Motion]:
    detector = MotionDetector()
    return [detector.step(picture, START_NS + index * STEP_NS) for index, picture in enumerate(pictures)]


def test_a_still_picture_does_not_move_noise_neither() -> None:
    noisy = [np.clip(SCENE + RANDOM.normal(0, 4, SCENE.shape), 0, 255).astype(np.uint8) for _ in range(20)]
    motions = play(noisy)
    assert motions[0].light  # nothing is known before the first
    assert all(motion == Motion(0.0) for motion in motions[1:])


def test_what_moves_is_found_where_it_is() -> None:
    motions = play([with_square(-1)] * 5 + [with_square(100 + 20 * index) for index in range(10)])
    last = motions[-1]
    assert last.share > 0.01
    assert last.regions[0].iou(Box(280 / 640, 120 / 360, 360 / 640, 240 / 360)) > 0.3


def test_who_stands_is_no_motion_soon_but_stays_a_region() -> None:
    motions = play([with_square(-1)] * 5 + [with_square(200)] * 25)
    assert motions[6].share > 0.01
    assert motions[-1].share == 0.0
    assert motions[-10].regions


def test_a_change_of_exposure_is_no_motion() -> None:
    motions = play([with_square(-1)] * 5 + [with_square(-1, brighter=30)] * 5)
    assert all(motion.share == 0.0 and not motion.light for motion in motions[1:])


def test_a_cut_to_another_picture_is_light_once() -> None:
    other = RANDOM.integers(0, 255, (360, 640)).astype(np.uint8)
    motions = play([SCENE] * 3 + [other] * 3)
    assert [motion.light for motion in motions] == [True, False, False, True, False, False]


def test_another_size_begins_anew() -> None:
    detector = MotionDetector()
    detector.step(SCENE, START_NS)
    assert detector.step(SCENE[:240, :320], START_NS + STEP_NS).light


def opened(gate: Gate, shares: list[float], *, missing: bool = False) -> list[bool]:
    return [gate.open(Motion(share), START_NS + index * STEP_NS, missing=missing) for index, share in enumerate(shares)]


def gate(**settings: float) -> Gate:
    return Gate(
        threshold=settings.get("threshold", 0.002), recheck_s=settings.get("recheck_s", 2.0), enabled=bool(settings.get("enabled", 1))
    )


def test_the_gate_opens_on_motion_lingers_and_looks_again_now_and_then() -> None:
    looks = opened(gate(), [0.0] * 11 + [0.01] + [0.0] * 18)
    assert [index for index, look in enumerate(looks) if look] == [0, 10, 11, 12, 13, 14, 15, 16, 26]


def test_below_the_threshold_is_no_motion() -> None:
    assert sum(opened(gate(recheck_s=60), [0.001] * 30)) == 1


def test_without_gate_every_frame_is_looked_at() -> None:
    assert all(opened(gate(enabled=0), [0.0] * 20))


def test_someone_missing_keeps_it_open() -> None:
    assert all(opened(gate(), [0.0] * 20, missing=True))


def test_light_opens_it_once() -> None:
    one = gate(recheck_s=60)
    opened(one, [0.0] * 20)
    assert one.open(Motion(0.0, light=True), START_NS + 20 * STEP_NS, missing=False)


def test_a_small_track_that_moves_keeps_it_open() -> None:
    far_away, still = gate(recheck_s=2.0), gate(recheck_s=2.0)
    looks = {"moving": 0, "still": 0}
    for index in range(50):
        time_ns = START_NS + index * STEP_NS
        for name, one, speed in (("moving", far_away, 0.004), ("still", still, 0.0)):
            if one.open(Motion(0.0), time_ns, missing=False):
                looks[name] += 1
                x = 0.1 + speed * index
                one.tracked([TrackedObject(1, Box(x, 0.5, x + 0.01, 0.53), TargetClass.HUMAN, 0.9)], time_ns, 16 / 9)
    assert looks["still"] == 5
    assert looks["moving"] > 40


@pytest.mark.parametrize("back_s", [2, 3600, 365 * 24 * 3600])
def test_after_a_clock_was_set_back_the_gate_spares_as_before(back_s: int) -> None:
    one = gate()
    moved_ns = START_NS + back_s * NS_PER_S
    assert one.open(Motion(0.5), moved_ns, missing=False)
    looks = opened(one, [0.0] * 100)
    assert [index for index, look in enumerate(looks) if look] == list(range(0, 100, 10))


def test_after_a_clock_was_set_back_a_track_that_stands_does_not_keep_the_gate_open() -> None:
    """Trembling adds up to no way, since it is measured over a second."""
    one, looks = gate(recheck_s=600), 0
    assert one.open(Motion(0.0), START_NS + 3600 * NS_PER_S, missing=False)
    one.tracked([person_at(0.5)], START_NS + 3600 * NS_PER_S, 16 / 9)
    for index in range(500):
        looks += one.open(Motion(0.0), START_NS + index * STEP_NS, missing=False)
        one.tracked([person_at(0.5 + 0.00002 * index)], START_NS + index * STEP_NS, 16 / 9)
    assert looks == 1


@pytest.mark.parametrize("back_s", [2, 3600, 365 * 24 * 3600])
def test_after_a_clock_was_set_back_what_creeps_travels_nowhere(back_s: int) -> None:
    """A shadow, two pixels a second: its way is that of the last two seconds, not of all since then."""
    paths = RegionPaths()
    paths.step([creeping(0)], START_NS + back_s * NS_PER_S, 16 / 9)
    ways = [paths.step([creeping(index)], START_NS + index * STEP_NS, 16 / 9)[0].travelled for index in range(1, 300)]
    assert max(ways) < 0.01


def person_at(x: float) -> TrackedObject:
    return TrackedObject(1, Box(x, 0.5, x + 0.1, 0.8), TargetClass.HUMAN, 0.9)


def creeping(index: int) -> Box:
    x = 0.3 + 0.0004 * index
    return Box(x, 0.4, x + 0.2, 0.8)
