"""Tripwire and the crossings under it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.analytics.core.rules import RuleEvent, Scene
from services.analytics.core.rules.tripwire import Tripwire
from shared.config.rules import Direction, SizeFilter, TripwireRule
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box, Point
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

VERTICAL = (Point(0.5, 0.0), Point(0.5, 1.0))
STEP_NS = NS_PER_S // 5
START_NS = 1_700_000_000 * NS_PER_S


def at(x: float, y: float = 0.5, *, track: int = 1, target: TargetClass = TargetClass.HUMAN, width: float = 0.1) -> TrackedObject:
    """A target whose foot is at (x, y)."""
    return TrackedObject(track, Box(x - width / 2, y - 0.3, x + width / 2, y), target, 0.9)


def wire(**settings: object) -> Tripwire:
    return Tripwire(TripwireRule.model_validate({"id": "line", "line": VERTICAL} | settings))


def walk(rule: Tripwire, frames: Iterable[Sequence[TrackedObject]], *, step_ns: int = STEP_NS, aspect: float = 16 / 9) -> list[RuleEvent]:
    return [
        event for index, tracks in enumerate(frames) for event in rule.step(Scene(START_NS + index * step_ns, aspect, tuple(tracks)))
    ]  # fmt: skip


def directions(events: Iterable[RuleEvent]) -> list[str]:
    return [event.direction for event in events if event.phase is EventPhase.STARTED]


def path(*xs: float, y: float = 0.5) -> list[list[TrackedObject]]:
    return [[at(x, y)] for x in xs]


def test_left_to_right_over_a_line_drawn_downwards_is_a_to_b() -> None:
    assert directions(walk(wire(), path(0.3, 0.4, 0.6, 0.7))) == ["a_to_b"]
    assert directions(walk(wire(), path(0.7, 0.6, 0.4, 0.3))) == ["b_to_a"]


def test_a_line_drawn_upwards_is_the_other_way_round() -> None:
    assert directions(walk(wire(line=VERTICAL[::-1]), path(0.3, 0.7))) == ["b_to_a"]


def test_a_crossing_is_started_and_ended_in_the_same_moment() -> None:
    started, ended = walk(wire(), path(0.3, 0.7))
    assert (started.phase, ended.phase) == (EventPhase.STARTED, EventPhase.ENDED)
    assert started.start_ns == ended.start_ns == ended.end_ns == START_NS + STEP_NS
    assert (started.track_id, started.target) == (1, TargetClass.HUMAN)


def test_only_the_direction_that_is_asked_for() -> None:
    there_and_back = path(0.3, 0.7, 0.3)
    assert directions(walk(wire(direction=Direction.A_TO_B), there_and_back)) == ["a_to_b"]
    assert directions(walk(wire(direction=Direction.B_TO_A), there_and_back)) == ["b_to_a"]
    assert directions(walk(wire(), there_and_back)) == ["a_to_b", "b_to_a"]


def test_jitter_on_the_line_counts_nothing_and_the_crossing_after_it_once() -> None:
    jitter = [0.5 + (0.008 if index % 2 else -0.008) for index in range(200)]
    assert directions(walk(wire(), path(0.3, *jitter))) == []
    assert directions(walk(wire(), path(0.3, *jitter, 0.3))) == []
    assert directions(walk(wire(), path(0.3, *jitter, 0.6))) == ["a_to_b"]


def test_a_foot_exactly_on_the_line_waits_for_the_next_step() -> None:
    assert directions(walk(wire(), path(0.3, 0.5, 0.5, 0.7))) == ["a_to_b"]
    assert directions(walk(wire(), path(0.3, 0.5, 0.5, 0.3))) == []


def test_a_slow_drift_is_one_crossing() -> None:
    assert directions(walk(wire(), path(*(0.4 + index * 0.0005 for index in range(400))))) == ["a_to_b"]


def test_who_first_appears_inside_the_band_has_no_side_yet() -> None:
    assert directions(walk(wire(), path(0.499, 0.51, 0.7))) == []
    assert directions(walk(wire(), path(0.499, 0.51, 0.7, 0.3))) == ["b_to_a"]


def test_round_the_end_of_the_line_is_no_crossing_but_back_through_it_is() -> None:
    short = wire(line=(Point(0.5, 0.4), Point(0.5, 0.8)))
    around = [[at(0.3, 0.6)], [at(0.4, 0.3)], [at(0.6, 0.3)], [at(0.7, 0.6)]]
    assert directions(walk(short, around)) == []
    fresh = wire(line=(Point(0.5, 0.4), Point(0.5, 0.8)))
    assert directions(walk(fresh, [*around, [at(0.3, 0.6)]])) == ["b_to_a"]


def test_the_prolongation_of_a_line_does_not_count() -> None:
    assert directions(walk(wire(line=(Point(0.5, 0.0), Point(0.5, 0.3))), path(0.3, 0.7, y=0.9))) == []


def test_a_foot_on_the_border_of_the_frame_crosses_a_line_drawn_to_the_border() -> None:
    assert directions(walk(wire(), path(0.3, 0.7, y=1.0))) == ["a_to_b"]


def test_corners_of_a_polyline_count_once() -> None:
    corner = (Point(0.2, 0.5), Point(0.5, 0.5), Point(0.5, 0.9))  # right, then down: B is above and to the right
    through_the_corner = [[at(0.45, 0.6)], [at(0.55, 0.4)]]
    assert directions(walk(wire(line=corner), through_the_corner, aspect=1.0)) == ["a_to_b"]
    assert directions(walk(wire(line=corner), through_the_corner[::-1], aspect=1.0)) == ["b_to_a"]
    past_the_corner = [[at(0.4, 0.4)], [at(0.6, 0.6)]]  # touches it from outside
    assert directions(walk(wire(line=corner), past_the_corner, aspect=1.0)) == []


def test_a_zigzag_crossed_along_its_axis_is_one_crossing() -> None:
    zigzag = (Point(0.5, 0.0), Point(0.4, 0.3), Point(0.6, 0.6), Point(0.5, 1.0))
    assert directions(walk(wire(line=zigzag), [[at(0.2, 0.45)], [at(0.8, 0.45)]])) == ["a_to_b"]


def test_a_track_that_is_lost_and_found_keeps_its_side_and_is_forgotten_later() -> None:
    lost_for_a_second: list[list[TrackedObject]] = [[at(0.3)], *[[]] * 5, [at(0.7)]]
    assert directions(walk(wire(), lost_for_a_second)) == ["a_to_b"]
    lost_for_long: list[list[TrackedObject]] = [[at(0.3)], *[[]] * 30, [at(0.7)]]
    assert directions(walk(wire(), lost_for_long)) == []


def test_two_who_cross_in_the_same_frame_are_two_events_in_order_from_left_to_right() -> None:
    frames = [[at(0.3, track=8), at(0.35, track=3)], [at(0.7, track=8), at(0.65, track=3)]]
    events = [event for event in walk(wire(), frames) if event.phase is EventPhase.STARTED]
    assert [(event.track_id, event.ordinal) for event in events] == [(3, 0), (8, 1)]


def test_class_and_size_are_filtered() -> None:
    car = [[at(0.3, target=TargetClass.MOTOR_VEHICLE)], [at(0.7, target=TargetClass.MOTOR_VEHICLE)]]
    assert directions(walk(wire(targets=(TargetClass.HUMAN,)), car)) == []
    assert directions(walk(wire(), car)) == ["a_to_b"]
    small = [[at(0.3, width=0.02)], [at(0.7, width=0.02)]]
    assert directions(walk(wire(size=SizeFilter(min_width=0.05)), small)) == []
    assert directions(walk(wire(size=SizeFilter(max_width=0.05)), small)) == ["a_to_b"]


def test_state_moves_to_another_worker_in_the_middle_of_a_crossing() -> None:
    here, there = wire(), wire()
    assert directions(walk(here, path(0.3, 0.501))) == []
    there.restore(here.export())
    assert directions(there.step(Scene(START_NS + 3 * STEP_NS, 16 / 9, (at(0.7),)))) == ["a_to_b"]
