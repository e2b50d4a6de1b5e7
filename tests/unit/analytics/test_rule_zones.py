"""Intrusion."""

from __future__ import annotations

import json

from services.analytics.core.rules import RuleEvent, Scene
from services.analytics.core.rules.intrusion import Intrusion
from shared.config.rules import IntrusionRule
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box, Point
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

STEP_NS = NS_PER_S // 5
START_NS = 1_700_000_000 * NS_PER_S
SQUARE = (Point(0.4, 0.4), Point(0.6, 0.4), Point(0.6, 0.8), Point(0.4, 0.8))
STARTED, UPDATED, ENDED = EventPhase.STARTED, EventPhase.UPDATED, EventPhase.ENDED


def rule(**settings: object) -> Intrusion:
    return Intrusion(IntrusionRule.model_validate({"id": "zone", "zone": SQUARE} | settings))


def scene(index: int, *feet: tuple[float, float]) -> Scene:
    tracks = tuple(
        TrackedObject(number, Box(x - 0.05, y - 0.3, x + 0.05, y), TargetClass.HUMAN, 0.9) for number, (x, y) in enumerate(feet, start=1)
    )
    return Scene(START_NS + index * STEP_NS, 1.0, tracks)


def play(machine: Intrusion, *xs: float | None, y: float = 0.6) -> list[RuleEvent]:
    return [event for index, x in enumerate(xs) for event in machine.step(scene(index, *([] if x is None else [(x, y)])))]


def told(events: list[RuleEvent]) -> list[tuple[str, EventPhase]]:
    return [(event.direction, event.phase) for event in events]


def test_crossing_the_edge_gives_enter_and_leave() -> None:
    events = play(rule(actions=["cross"]), 0.2, 0.5, 0.8)
    assert told(events) == [("enter", STARTED), ("enter", ENDED), ("leave", STARTED), ("leave", ENDED)]


def test_only_the_direction_that_is_asked_for() -> None:
    assert told(play(rule(actions=["cross"], direction="leave"), 0.2, 0.5, 0.8)) == [("leave", STARTED), ("leave", ENDED)]


def test_jitter_on_the_edge_counts_nothing() -> None:
    jitter = [0.4 + (0.015 if index % 2 else -0.015) for index in range(100)]
    assert told(play(rule(actions=["cross"]), 0.2, *jitter)) == []


def test_who_is_there_from_the_start_appears_but_has_not_entered() -> None:
    events = play(rule(), *[0.5] * 6)
    assert told(events) == [("appear", STARTED)]
    assert events[0].start_ns == START_NS + 3 * STEP_NS  # after half a second inside


def test_a_short_visit_is_no_appearance() -> None:
    assert told(play(rule(actions=["appear"], min_stay_s=1), 0.2, 0.5, 0.5, 0.5, 0.2, 0.2)) == []


def test_staying_is_told_once_a_second_and_ends_on_leaving() -> None:
    events = play(rule(actions=["appear"], min_stay_s=0), *[0.5] * 15, 0.8)
    assert told(events) == [("appear", STARTED), ("appear", UPDATED), ("appear", UPDATED), ("appear", ENDED)]
    assert len({event.start_ns for event in events}) == 1
    assert events[-1].end_ns == START_NS + 15 * STEP_NS


def test_who_vanishes_inside_ends_at_the_time_last_seen() -> None:
    events = play(rule(actions=["appear"], min_stay_s=0), 0.5, 0.5, *[None] * 20)
    assert told(events) == [("appear", STARTED), ("appear", ENDED)]
    assert events[-1].end_ns == START_NS + STEP_NS


def test_lost_and_found_within_a_moment_stays() -> None:
    assert told(play(rule(actions=["appear"], min_stay_s=0), 0.5, None, None, None, 0.5)) == [("appear", STARTED)]


def test_a_zone_to_the_border_of_the_frame_has_no_band_there() -> None:
    bottom = rule(zone=[(0, 0.5), (1, 0.5), (1, 1), (0, 1)], actions=["appear"], min_stay_s=0)
    assert told(play(bottom, 0.5, y=1.0)) == [("appear", STARTED)]
    everywhere = rule(zone=[(0, 0), (1, 0), (1, 1), (0, 1)], actions=["appear"], min_stay_s=0)
    assert told(play(everywhere, 0.001, y=0.002)) == [("appear", STARTED)]


def test_a_hollow_in_the_zone_is_outside() -> None:
    horseshoe = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.7, 0.9), (0.7, 0.4), (0.3, 0.4), (0.3, 0.9), (0.1, 0.9)]
    assert told(play(rule(zone=horseshoe, actions=["appear"], min_stay_s=0), 0.5, y=0.7)) == []
    assert told(play(rule(zone=horseshoe, actions=["appear"], min_stay_s=0), 0.2, y=0.7)) == [("appear", STARTED)]


def test_two_who_appear_at_once_differ_in_their_ordinal() -> None:
    machine = rule(actions=["appear"], min_stay_s=0)
    events = machine.step(scene(0, (0.55, 0.6), (0.45, 0.6)))
    assert [(event.track_id, event.ordinal) for event in events] == [(2, 0), (1, 1)]


def test_an_open_stay_goes_on_elsewhere_under_its_own_identity() -> None:
    here, there = rule(actions=["appear"], min_stay_s=0), rule(actions=["appear"], min_stay_s=0)
    (started,) = play(here, 0.5)
    there.restore(json.loads(json.dumps(here.export())))
    (ended,) = there.step(scene(8, (0.9, 0.6)))
    assert (ended.phase, ended.start_ns, ended.ordinal) == (ENDED, started.start_ns, started.ordinal)


def test_closing_ends_what_lasts_once() -> None:
    machine = rule(actions=["appear"], min_stay_s=0)
    play(machine, 0.5)
    assert told(machine.close(START_NS + NS_PER_S)) == [("appear", ENDED)]
    assert machine.close(START_NS + NS_PER_S) == []
