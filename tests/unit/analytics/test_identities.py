"""Identities over the tracker's, and the tracker itself."""

from __future__ import annotations

import json

from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.identity import Identities
from services.analytics.core.rules import Scene
from services.analytics.core.rules.tripwire import Tripwire
from shared.config.rules import TripwireRule
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import Detection, TargetClass
from shared.messages import EventPhase

STEP_NS = NS_PER_S // 5
START_NS = 1_700_000_000 * NS_PER_S


def seen(x: float, y: float = 0.6, *, height: float = 0.4, target: TargetClass = TargetClass.HUMAN, score: float = 0.9) -> Detection:
    return Detection(Box(x - height / 6, y - height, x + height / 6, y), target, score)


def test_a_track_lost_and_found_near_by_under_another_number_is_the_same() -> None:
    identities = Identities()
    (first,) = identities.step([(7, seen(0.4))], STEP_NS, 1.0)
    assert identities.step([], 2 * STEP_NS, 1.0) == ()
    assert identities.missing(2 * STEP_NS)
    (again,) = identities.step([(9, seen(0.45))], 3 * STEP_NS, 1.0)
    assert again.track_id == first.track_id
    assert not identities.missing(3 * STEP_NS)


def test_neither_far_away_nor_later_nor_of_another_class_or_size() -> None:
    for other, frames in ((seen(0.9), 2), (seen(0.4), 12), (seen(0.4, target=TargetClass.MOTOR_VEHICLE), 2), (seen(0.4, height=0.2), 2)):
        identities = Identities()
        (first,) = identities.step([(7, seen(0.4))], STEP_NS, 1.0)
        (second,) = identities.step([(9, other)], STEP_NS + frames * STEP_NS, 1.0)
        assert second.track_id != first.track_id


def test_who_is_still_there_is_not_taken_over() -> None:
    identities = Identities()
    identities.step([(7, seen(0.4))], STEP_NS, 1.0)
    tracks = identities.step([(7, seen(0.4)), (9, seen(0.42))], 2 * STEP_NS, 1.0)
    assert [track.track_id for track in tracks] == [1, 2]


def test_the_class_is_decided_by_vote() -> None:
    identities = Identities()
    for index, target in enumerate([TargetClass.HUMAN, TargetClass.HUMAN, TargetClass.NON_MOTOR_VEHICLE]):
        (track,) = identities.step([(1, seen(0.4, target=target))], (index + 1) * STEP_NS, 1.0)
    assert track.target is TargetClass.HUMAN


def test_a_switch_of_identity_on_the_line_is_still_one_crossing() -> None:
    identities, wire = Identities(), Tripwire(TripwireRule.model_validate({"id": "line", "line": [(0.5, 0), (0.5, 1)]}))
    started = []
    for index, (source, x) in enumerate([(1, 0.40), (1, 0.45), (1, 0.495), (2, 0.505), (2, 0.55), (2, 0.6)]):
        tracks = identities.step([(source, seen(x))], (index + 1) * STEP_NS, 1.0)
        started += [e.direction for e in wire.step(Scene(START_NS + index * STEP_NS, 1.0, tracks)) if e.phase is EventPhase.STARTED]
    assert started == ["a_to_b"]


def tracker() -> CBIoUTracker:
    return CBIoUTracker(confidence=0.25, frame_rate=5)


def test_two_who_walk_towards_each_other_keep_their_numbers() -> None:
    one = tracker()
    for index in range(15):
        tracks = one.update([seen(0.1 + 0.03 * index, 0.5), seen(0.8 - 0.03 * index, 0.95)], START_NS + index * STEP_NS, 16 / 9)
    assert [(track.track_id, round(track.box.centre.x, 2)) for track in tracks] == [(1, 0.52), (2, 0.38)]


def test_weak_boxes_begin_no_track_but_continue_one() -> None:
    one = tracker()
    one.update([], START_NS, 1.0)
    for index in range(1, 5):
        assert one.update([seen(0.4, score=0.3)], START_NS + index * STEP_NS, 1.0) == ()
    for index in range(5, 8):
        strong = one.update([seen(0.4, score=0.8)], START_NS + index * STEP_NS, 1.0)
    weak = one.update([seen(0.4, score=0.15)], START_NS + 8 * STEP_NS, 1.0)
    assert [track.track_id for track in weak] == [track.track_id for track in strong] == [1]


def test_someone_who_stood_while_the_detector_was_spared_is_the_same() -> None:
    one = tracker()
    for index in range(5):
        (before,) = one.update([seen(0.4)], START_NS + index * STEP_NS, 1.0)
    (after,) = one.update([seen(0.4)], START_NS + 30 * NS_PER_S, 1.0)
    assert after.track_id == before.track_id


def test_a_tracker_goes_on_elsewhere_with_the_same_numbers() -> None:
    here, there = tracker(), tracker()
    for index in range(5):
        before = here.update([seen(0.2 + 0.02 * index), seen(0.7)], START_NS + index * STEP_NS, 1.0)
    there.restore(json.loads(json.dumps(here.export())))
    after = there.update([seen(0.7), seen(0.3)], START_NS + 5 * STEP_NS, 1.0)
    newcomer = [there.update([seen(0.7), seen(0.3), seen(0.95, 0.5)], START_NS + n * STEP_NS, 1.0) for n in (6, 7)][-1]
    assert [track.track_id for track in after] == [track.track_id for track in before] == [1, 2]
    assert {track.track_id for track in newcomer} == {1, 2, 3}


def test_an_empty_tracker_moves_too() -> None:
    there = tracker()
    there.restore(json.loads(json.dumps(tracker().export())))
    assert [t.track_id for n in range(3) for t in there.update([seen(0.5)], START_NS + n * STEP_NS, 1.0)][-1:] == [1]
