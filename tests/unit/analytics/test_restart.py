"""A channel over a restart: what lasted goes on, nobody is counted twice, no total is lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.channel import RESUME_WITHIN_NS, ChannelAnalysis, Fired
from services.analytics.core.gate import Gate
from shared.config.rules import AnyRule, IntrusionRule, PeopleCountingRule, SmdRule, TripwireRule
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import Detection, TargetClass
from shared.messages import EventPhase

START_NS = 1_700_000_000 * NS_PER_S
STEP_NS = NS_PER_S // 5
EMPTY = np.full((96, 160), 90, dtype=np.uint8)
ZONE = IntrusionRule.model_validate({"id": "zone", "zone": [(0.2, 0.2), (0.8, 0.2), (0.8, 1), (0.2, 1)], "actions": ["appear"]})
GATE = IntrusionRule.model_validate({"id": "gate", "zone": [(0.2, 0.2), (0.8, 0.2), (0.8, 1), (0.2, 1)], "actions": ["cross"]})
DOOR = PeopleCountingRule.model_validate({"id": "door", "line": [(0.5, 0), (0.5, 1)], "stay_threshold": 2})
WIRE = TripwireRule.model_validate({"id": "wire", "line": [(0.5, 0), (0.5, 1)]})
SMART = SmdRule.model_validate({"id": "smart"})


def person(x: float) -> Detection:
    return Detection(Box(x - 0.06, 0.3, x + 0.06, 0.7), TargetClass.HUMAN, 0.9)


class Run:
    """One life of the process: a channel that goes on from the state of the life before."""

    def __init__(self, rules: Sequence[AnyRule], state: str | None = None) -> None:
        gate = Gate(threshold=0.002, recheck_s=2, enabled=False)
        self._analysis = ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=0.25, frame_rate=5))
        self._analysis.configure(rules, ZoneInfo("UTC"))
        if state is not None:
            self._analysis.restore(json.loads(state))
        self.fired: list[Fired] = []

    def show(self, time_ns: int, *people: float) -> int:
        """One frame; the time of the next."""
        _, fired = self._analysis.finish(self._analysis.look(EMPTY, time_ns), [person(x) for x in people])
        self.fired += fired
        return time_ns + STEP_NS

    def stop(self) -> str:
        return json.dumps(self._analysis.export())

    def phases(self, rule: str) -> list[EventPhase]:
        return [one.event.phase for one in self.fired if one.rule.id == rule and one.event.phase is not EventPhase.UPDATED]

    @property
    def entered(self) -> int:
        return self._analysis.counts()["door"].enter

    def cross(self, time_ns: int) -> int:
        """Someone walks from left to right, and away."""
        for x in np.linspace(0.3, 0.7, 12):
            time_ns = self.show(time_ns, float(x))
        for _ in range(20):
            time_ns = self.show(time_ns)
        return time_ns


def test_someone_who_stands_in_the_zone_over_a_restart_is_one_intrusion() -> None:
    before, now_ns = Run([ZONE]), START_NS
    for _ in range(10):
        now_ns = before.show(now_ns, 0.5)
    after, now_ns = Run([ZONE], before.stop()), now_ns + 30 * NS_PER_S
    for _ in range(10):
        now_ns = after.show(now_ns, 0.5)
    for _ in range(20):
        now_ns = after.show(now_ns)
    assert before.phases("zone") == [EventPhase.STARTED]
    assert after.phases("zone") == [EventPhase.ENDED]
    assert after.fired[-1].event.start_ns == before.fired[0].event.start_ns


def test_who_has_walked_on_inside_the_zone_meanwhile_is_the_same_intrusion() -> None:
    before, now_ns = Run([ZONE]), START_NS
    for _ in range(10):
        now_ns = before.show(now_ns, 0.3)
    after, now_ns = Run([ZONE], before.stop()), now_ns + 30 * NS_PER_S
    for _ in range(30):
        now_ns = after.show(now_ns, 0.7)
    assert after.phases("zone") == []
    assert {one.event.start_ns for one in after.fired} == {before.fired[0].event.start_ns}


def test_two_who_stand_there_are_still_two() -> None:
    before, now_ns = Run([ZONE]), START_NS
    for _ in range(10):
        now_ns = before.show(now_ns, 0.35, 0.65)
    after, now_ns = Run([ZONE], before.stop()), now_ns + 10 * NS_PER_S
    for _ in range(30):
        now_ns = after.show(now_ns, 0.35, 0.65)
    assert before.phases("zone") == [EventPhase.STARTED] * 2
    assert after.phases("zone") == []


def test_who_has_left_meanwhile_ends_the_intrusion_when_last_seen() -> None:
    before, now_ns = Run([ZONE]), START_NS
    for _ in range(10):
        now_ns = before.show(now_ns, 0.5)
    last_ns = now_ns - STEP_NS
    after, now_ns = Run([ZONE], before.stop()), now_ns + 30 * NS_PER_S
    for _ in range(20):
        now_ns = after.show(now_ns)
    assert after.phases("zone") == [EventPhase.ENDED]
    assert after.fired[-1].event.end_ns == last_ns


def test_after_a_long_time_it_has_ended_and_who_is_there_is_new() -> None:
    before, now_ns = Run([ZONE]), START_NS
    for _ in range(10):
        now_ns = before.show(now_ns, 0.5)
    after, now_ns = Run([ZONE], before.stop()), now_ns + RESUME_WITHIN_NS
    for _ in range(10):
        now_ns = after.show(now_ns, 0.5)
    assert after.phases("zone") == [EventPhase.ENDED, EventPhase.STARTED]


def test_five_counted_before_and_two_after_are_seven_and_the_threshold_is_told_once() -> None:
    before, now_ns = Run([DOOR]), START_NS
    for _ in range(5):
        now_ns = before.cross(now_ns)
    assert before.entered == 5
    for gap_ns in (30 * NS_PER_S, 3600 * NS_PER_S):
        after, later_ns = Run([DOOR], before.stop()), now_ns + gap_ns
        for _ in range(2):
            later_ns = after.cross(later_ns)
        assert after.entered == 7
        assert before.phases("door") == [EventPhase.STARTED]
        assert after.phases("door") == []
        assert after.fired[0].event.counts["enter"] == 5, "the totals are told at once"


def test_who_stands_before_the_line_and_crosses_after_the_restart_has_crossed_once() -> None:
    before, now_ns = Run([WIRE]), START_NS
    for x in (0.2, 0.25, 0.3, 0.35, 0.4, 0.42, 0.43):
        now_ns = before.show(now_ns, x)
    after, now_ns = Run([WIRE], before.stop()), now_ns + 8 * NS_PER_S
    for x in (0.45, 0.48, 0.51, 0.54, 0.57, 0.6):
        now_ns = after.show(now_ns, x)
    assert before.phases("wire") == []
    assert after.phases("wire") == [EventPhase.STARTED, EventPhase.ENDED]


def test_who_is_found_across_the_line_after_the_restart_was_not_seen_to_cross_it() -> None:
    """It may be another: somebody else walks the same way every few seconds."""
    before, now_ns = Run([WIRE, DOOR]), START_NS
    for x in (0.4, 0.43, 0.46, 0.49, 0.52, 0.55):
        now_ns = before.show(now_ns, x)
    after, now_ns = Run([WIRE, DOOR], before.stop()), now_ns + 7 * NS_PER_S
    for x in (0.43, 0.45, 0.48, 0.51, 0.54, 0.57, 0.6):
        now_ns = after.show(now_ns, x)
    assert before.phases("wire") == [EventPhase.STARTED, EventPhase.ENDED]
    assert [one.event.direction for one in after.fired if one.rule.id == "wire"] == ["a_to_b", "a_to_b"]
    assert after.entered == 2


def test_who_is_found_outside_the_zone_after_the_restart_was_not_seen_to_leave_it() -> None:
    before, now_ns = Run([GATE]), START_NS
    for x in (0.6, 0.63, 0.66, 0.69, 0.71, 0.73):
        now_ns = before.show(now_ns, x)
    after, now_ns = Run([GATE], before.stop()), now_ns + 7 * NS_PER_S
    for x in (0.86, 0.84, 0.8, 0.77, 0.74):
        now_ns = after.show(now_ns, x)
    assert before.phases("gate") == []
    assert [one.event.direction for one in after.fired] == ["enter", "enter"]


def test_while_nobody_looks_totals_stay() -> None:
    run, now_ns = Run([DOOR]), START_NS
    for _ in range(3):
        now_ns = run.cross(now_ns)
    assert run._analysis.interrupt() == []
    run.cross(now_ns + 60 * NS_PER_S)
    assert run.entered == 4
    assert run.phases("door") == [EventPhase.STARTED]


def test_a_threshold_that_is_reached_still_is_said_again_every_minute() -> None:
    run, now_ns = Run([DOOR]), START_NS
    for _ in range(2):
        now_ns = run.cross(now_ns)
    before = len(run.fired)
    for _ in range(130 * 5):
        now_ns = run.show(now_ns)
    assert [(one.event.direction, one.event.phase) for one in run.fired[before:]] == [("stay", EventPhase.UPDATED)] * 2


class AheadAndBack:
    """Taken up while the clock was ahead, which was then put right: whose walk, visit and rest it knows now is of after that."""

    def __init__(self, rule: AnyRule) -> None:
        before, now_ns = Run([rule]), START_NS
        for _ in range(5):
            now_ns = before.show(now_ns)
        self.run = Run([rule], before.stop())
        self.run.show(now_ns + 30 * NS_PER_S)
        self.run._analysis.interrupt()
        self.now_ns = START_NS - 3600 * NS_PER_S

    def show(self, *people: float, frames: int = 1) -> None:
        for _ in range(frames):
            self.now_ns = self.run.show(self.now_ns, *people)


def test_who_leaves_the_zone_after_the_clock_was_put_right_has_left_it() -> None:
    clock = AheadAndBack(ZONE)
    for _ in range(3):
        clock.show(0.5, frames=10)
        clock.show(frames=20)
    assert clock.run.phases("zone") == [EventPhase.STARTED, EventPhase.ENDED] * 3


@pytest.mark.parametrize("rule", [WIRE, DOOR])
def test_who_was_lost_before_the_line_after_the_clock_was_put_right_is_forgotten(rule: AnyRule) -> None:
    """Kept in memory for as long as the clock was set back by, and a long way round would be a crossing."""
    clock = AheadAndBack(rule)
    for x in (0.3, 0.4):
        clock.show(x, frames=10)
        clock.show(frames=20)
    (saved,) = json.loads(clock.run.stop())["rules"].values()
    assert saved["state"]["crossings"] == {}
