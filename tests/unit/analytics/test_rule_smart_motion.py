"""Smart motion."""

from __future__ import annotations

from services.analytics.core.regions import MovingRegion, RegionPaths
from services.analytics.core.rules import RuleEvent, Scene
from services.analytics.core.rules.smd import Smd, travel_of
from shared.config.rules import SmdRule
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

STEP_NS = NS_PER_S // 5
START_NS = 1_700_000_000 * NS_PER_S


def rule(**settings: object) -> Smd:
    return Smd(SmdRule.model_validate({"id": "smd"} | settings))


def scene(index: int, x: float | None, *, target: TargetClass = TargetClass.HUMAN, moving: bool = True) -> Scene:
    if x is None:
        return Scene(START_NS + index * STEP_NS, 1.0)
    box = Box(x - 0.05, 0.3, x + 0.05, 0.6)
    regions = (MovingRegion(box, 0.0),) if moving else ()
    return Scene(START_NS + index * STEP_NS, 1.0, (TrackedObject(1, box, target, 0.9),), regions)


def play(machine: Smd, scenes: list[Scene]) -> list[RuleEvent]:
    return [event for one in scenes for event in machine.step(one)]


def test_a_person_who_walks_is_one_event_from_first_to_last_movement() -> None:
    walk = [scene(index, 0.2 + 0.03 * index) for index in range(20)] + [scene(index, None) for index in range(20, 40)]
    events = play(rule(), walk)
    assert events[0].phase is EventPhase.STARTED
    assert events[-1].phase is EventPhase.ENDED
    assert [event.phase for event in events[1:-1]] == [EventPhase.UPDATED] * (len(events) - 2)
    assert events[-1].end_ns is not None
    assert events[-1].end_ns <= START_NS + 19 * STEP_NS
    assert events[-1].at_ns - events[-1].end_ns >= 3 * NS_PER_S


def test_who_stands_or_trembles_is_no_motion() -> None:
    assert play(rule(), [scene(index, 0.5 + 0.005 * (index % 2)) for index in range(60)]) == []


def test_a_box_that_drifts_without_motion_in_it_is_no_motion() -> None:
    assert play(rule(), [scene(index, 0.2 + 0.03 * index, moving=False) for index in range(20)]) == []


def test_only_the_wanted_classes() -> None:
    walk = [scene(index, 0.2 + 0.03 * index, target=TargetClass.NON_MOTOR_VEHICLE) for index in range(20)]
    assert play(rule(), walk) == []
    assert play(rule(targets=["non_motor_vehicle"]), walk) != []


def test_sensitivity_is_how_far_it_must_go() -> None:
    walk = [scene(index, 0.3 + 0.004 * index) for index in range(12)]
    assert play(rule(sensitivity=20), walk) == []
    assert play(rule(sensitivity=90), walk) != []
    assert travel_of(0) > travel_of(50) > travel_of(100)


def regions(boxes: list[Box]) -> list[Scene]:
    paths = RegionPaths()
    return [
        Scene(START_NS + index * STEP_NS, 1.0, (), paths.step([box], START_NS + index * STEP_NS, 1.0)) for index, box in enumerate(boxes)
    ]  # fmt: skip


def test_what_no_detector_knows_is_motion_only_when_any_target_will_do() -> None:
    passing = regions([Box(0.1 + 0.03 * index, 0.4, 0.3 + 0.03 * index, 0.6) for index in range(20)])
    assert play(rule(), passing) == []
    first = play(rule(targets=[]), passing)[0]
    assert (first.phase, first.target) == (EventPhase.STARTED, None)


def test_a_region_that_only_grows_or_trembles_goes_nowhere() -> None:
    growing = regions([Box(0.4, 0.4, 0.5 + 0.02 * index, 0.6) for index in range(20)])
    assert play(rule(targets=[]), growing) == []
    leaves = regions([Box(0.4 + 0.02 * (index % 2), 0.4, 0.6 + 0.02 * (index % 2), 0.6) for index in range(60)])
    assert play(rule(targets=[]), leaves) == []


def test_motion_ends_after_a_restart_while_the_clock_was_ahead() -> None:
    machine, ahead_ns = rule(), START_NS + 3600 * NS_PER_S
    machine.resume(ahead_ns)
    machine.interrupt(ahead_ns)  # it is put right
    walk = [scene(index, 0.2 + 0.03 * index) for index in range(20)] + [scene(index, None) for index in range(20, 40)]
    assert [event.phase for event in play(machine, walk) if event.phase is not EventPhase.UPDATED] == [EventPhase.STARTED, EventPhase.ENDED]
    assert machine.export()["rests"] == {}
