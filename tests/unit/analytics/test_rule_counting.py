"""People counting: totals, thresholds, and days in the site's time zone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.core.channel import STATE_VERSION, ChannelAnalysis
from services.analytics.core.counts import counts_of
from services.analytics.core.gate import Gate
from services.analytics.core.rules import RuleEvent, Scene
from services.analytics.core.rules.counting import Counts, PeopleCounting, day_start_ns
from shared.config.rules import PeopleCountingRule
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

PARIS = ZoneInfo("Europe/Paris")
NOON_NS = int(datetime(2026, 6, 10, 12, 0, tzinfo=PARIS).timestamp()) * NS_PER_S


def rule(**settings: object) -> PeopleCounting:
    return PeopleCounting(PeopleCountingRule.model_validate({"id": "door", "line": [(0.5, 0), (0.5, 1)]} | settings), PARIS)


class Door:
    """People who walk through, each with a number of its own."""

    def __init__(self, machine: PeopleCounting, time_ns: int = NOON_NS) -> None:
        self.machine, self.time_ns, self.track = machine, time_ns, 0
        self.totals: list[RuleEvent] = []

    def step(self, scene: Scene) -> list[RuleEvent]:
        """The thresholds' events; the totals are put aside."""
        events = self.machine.step(scene)
        self.totals += [event for event in events if not event.direction]
        return [event for event in events if event.direction]

    def through(self, *, inwards: bool, target: TargetClass = TargetClass.HUMAN) -> list[RuleEvent]:
        self.track += 1
        events = []
        for x in (0.3, 0.7) if inwards else (0.7, 0.3):
            self.time_ns += NS_PER_S // 5
            track = TrackedObject(self.track, Box(x - 0.05, 0.2, x + 0.05, 0.6), target, 0.8)
            events += self.step(Scene(self.time_ns, 16 / 9, (track,)))
        return events


def utc_ns(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * NS_PER_S  # type: ignore[arg-type, misc]  # positional date parts


def test_totals_and_no_events_without_thresholds() -> None:
    door = Door(rule())
    events = [event for inwards in (True, True, False, True) for event in door.through(inwards=inwards)]
    assert events == []
    counts = door.machine.counts
    assert (counts.enter, counts.leave, counts.stay) == (3, 1, 2)


def test_every_change_of_the_totals_is_an_update_of_one_event_a_day() -> None:
    door = Door(rule())
    for inwards in (True, True, False):
        door.through(inwards=inwards)
    assert [event.counts for event in door.totals] == [
        {"enter": 0, "leave": 0, "stay": 0},  # the day begins
        {"enter": 1, "leave": 0, "stay": 1},
        {"enter": 2, "leave": 0, "stay": 2},
        {"enter": 2, "leave": 1, "stay": 1},
    ]
    assert {event.phase for event in door.totals} == {EventPhase.UPDATED}
    assert {event.start_ns for event in door.totals} == {utc_ns(2026, 6, 9, 22)}  # midnight in Paris


def test_the_other_way_in() -> None:
    door = Door(rule(enter="b_to_a"))
    door.through(inwards=True)
    assert (door.machine.counts.enter, door.machine.counts.leave) == (0, 1)


def test_stay_is_never_below_none() -> None:
    assert Counts(enter=1, leave=3).stay == 0


def test_vehicles_are_no_people() -> None:
    door = Door(rule())
    door.through(inwards=True, target=TargetClass.MOTOR_VEHICLE)
    assert door.machine.counts.enter == 0


def test_enter_and_leave_thresholds_are_told_once_when_reached() -> None:
    door = Door(rule(enter_threshold=2, leave_threshold=1))
    events = [event for inwards in (True, True, True, False, False) for event in door.through(inwards=inwards)]
    assert [(event.direction, event.phase, event.counts) for event in events] == [
        ("enter", EventPhase.STARTED, {"enter": 2, "leave": 0, "stay": 2}),
        ("enter", EventPhase.ENDED, {"enter": 2, "leave": 0, "stay": 2}),
        ("leave", EventPhase.STARTED, {"enter": 3, "leave": 1, "stay": 2}),
        ("leave", EventPhase.ENDED, {"enter": 3, "leave": 1, "stay": 2}),
    ]


def test_the_stay_threshold_lasts_while_it_is_reached() -> None:
    door = Door(rule(stay_threshold=2))
    events = [event for inwards in (True, True, False, True) for event in door.through(inwards=inwards)]
    assert [event.phase for event in events] == [EventPhase.STARTED, EventPhase.ENDED, EventPhase.STARTED]
    assert events[0].start_ns == events[1].start_ns != events[2].start_ns


def test_the_day_begins_anew_at_the_reset_time_and_ends_what_lasts() -> None:
    door = Door(rule(stay_threshold=1, reset_at="03:00"))
    door.through(inwards=True)
    before, after = utc_ns(2026, 6, 11, 0, 59, 59), utc_ns(2026, 6, 11, 1, 0, 0)  # 03:00 in Paris in summer
    assert [event.phase for event in door.step(Scene(before, 1.0))] == [EventPhase.UPDATED]  # it is reached still
    assert door.machine.counts.enter == 1
    (ended,) = door.step(Scene(after, 1.0))
    assert ended.phase is EventPhase.ENDED
    assert door.machine.counts == Counts(since_ns=after)
    assert door.totals[-1].counts == {"enter": 0, "leave": 0, "stay": 0}


@pytest.mark.parametrize("ahead_days", [1, 40, 3650])
def test_a_clock_that_was_days_ahead_for_a_moment_costs_no_total_and_no_reset(ahead_days: int) -> None:
    door, day_ns = Door(rule(stay_threshold=2)), 24 * 3600 * NS_PER_S
    for _ in range(3):
        door.through(inwards=True)
    now_ns = door.time_ns
    door.machine.interrupt(door.time_ns)
    (ended,) = door.step(Scene(now_ns + ahead_days * day_ns, 1.0))
    door.machine.interrupt(now_ns + ahead_days * day_ns)
    (again,) = door.step(Scene(now_ns + NS_PER_S, 1.0))
    assert (ended.phase, again.phase) == (EventPhase.ENDED, EventPhase.STARTED)
    assert door.machine.counts == Counts(enter=3, since_ns=utc_ns(2026, 6, 9, 22))
    for day in (1, 2):
        door.time_ns = now_ns + day * day_ns
        door.through(inwards=True)
        assert door.machine.counts == Counts(enter=1, since_ns=utc_ns(2026, 6, 9 + day, 22))


@pytest.mark.parametrize("ahead_days", [1, 3650])
@pytest.mark.parametrize("restarted", [False, True])
def test_a_threshold_was_not_reached_for_longer_than_somebody_looked(ahead_days: int, restarted: bool) -> None:
    """Footage is kept for as long as it was: not for the years by which a clock leapt, or for which nobody looked."""
    door = Door(rule(stay_threshold=1))
    (started,) = door.through(inwards=True)
    for _ in range(10):
        door.time_ns += NS_PER_S
        door.step(Scene(door.time_ns, 1.0))
    seen_ns, leapt_ns = door.time_ns, door.time_ns + ahead_days * 24 * 3600 * NS_PER_S
    told = []
    if restarted:
        state = json.loads(json.dumps(door.machine.export()))
        door.machine = rule(stay_threshold=1)
        door.machine.restore(state)
        told += [event for event in door.machine.resume(leapt_ns) if event.direction]
    told += door.step(Scene(leapt_ns, 1.0))
    (ended,) = told
    assert (ended.phase, ended.start_ns, ended.at_ns) == (EventPhase.ENDED, started.start_ns, leapt_ns)
    assert ended.end_ns is not None
    assert seen_ns - 60 * NS_PER_S <= ended.end_ns <= seen_ns
    assert door.machine.counts.enter == 0


@given(st.lists(st.tuples(st.integers(0, 47), st.booleans()), min_size=1, max_size=30))
def test_of_two_days_that_the_clock_goes_back_and_forth_between_each_has_its_own_total(walks: list[tuple[int, bool]]) -> None:
    door, midnight_ns = Door(rule()), utc_ns(2026, 6, 9, 22)
    for number, (hour, moves) in enumerate(walks):
        door.machine.interrupt(door.time_ns)
        door.time_ns = midnight_ns + hour * 3600 * NS_PER_S
        door.through(inwards=True)
        if moves:
            state = json.loads(json.dumps(door.machine.export()))
            door.machine = rule()
            door.machine.restore(state)
        here = [other for other, _ in walks[: number + 1] if other // 24 == hour // 24]
        assert door.machine.counts == Counts(enter=len(here), since_ns=midnight_ns + hour // 24 * 24 * 3600 * NS_PER_S)


@pytest.mark.parametrize("back_s", [2, 3600, 11 * 3600])
def test_a_threshold_that_is_reached_still_is_said_every_minute_after_the_clock_was_set_back(back_s: int) -> None:
    """By times that rise: whoever was told of a later one takes an earlier one for old."""
    door = Door(rule(stay_threshold=2))
    told = [event for _ in range(2) for event in door.through(inwards=True)]
    door.machine.interrupt(door.time_ns)
    door.time_ns -= back_s * NS_PER_S
    for _ in range(10 * 60 * 5):
        door.time_ns += NS_PER_S // 5
        told += door.step(Scene(door.time_ns, 1.0))
    assert [event.phase for event in told] == [EventPhase.STARTED] + [EventPhase.UPDATED] * 10
    assert {event.start_ns for event in told} == {told[0].start_ns}
    times = [event.at_ns for event in told]
    assert times == sorted(set(times))


def test_who_comes_after_the_clock_was_set_back_is_in_the_words_about_the_threshold() -> None:
    door = Door(rule(stay_threshold=1))
    (started,) = door.through(inwards=True)
    door.machine.interrupt(door.time_ns)
    door.time_ns -= 3600 * NS_PER_S
    *_, last = door.through(inwards=True)
    assert (last.phase, last.message) == (EventPhase.UPDATED, "2 are inside")
    assert last.at_ns > started.at_ns


@pytest.mark.parametrize(
    ("reset_at", "now", "start"),
    [
        ("00:00", (2026, 3, 29, 12, 0), (2026, 3, 28, 23, 0)),  # the day the clock goes forward: midnight was in winter time
        ("00:00", (2026, 3, 30, 12, 0), (2026, 3, 29, 22, 0)),
        ("02:30", (2026, 3, 29, 0, 45), (2026, 3, 28, 1, 30)),  # 01:45: still yesterday's
        ("02:30", (2026, 3, 29, 1, 15), (2026, 3, 28, 1, 30)),  # 03:15: 02:30 never was, and is not taken to be yet
        ("02:30", (2026, 3, 29, 1, 45), (2026, 3, 29, 1, 30)),  # 03:45
        ("02:30", (2026, 10, 25, 0, 45), (2026, 10, 25, 0, 30)),  # the first 02:45
        ("02:30", (2026, 10, 25, 1, 45), (2026, 10, 25, 0, 30)),  # the second 02:45: the same day
        ("02:30", (2026, 10, 25, 1, 15), (2026, 10, 25, 0, 30)),  # the second 02:15, which is before 02:30 on the clock
    ],
)
def test_days_over_changes_of_the_clock(reset_at: str, now: tuple[int, ...], start: tuple[int, ...]) -> None:
    assert day_start_ns(utc_ns(*now), time.fromisoformat(reset_at), PARIS) == utc_ns(*start)


def test_every_hour_of_a_year_belongs_to_a_day_that_never_goes_back() -> None:
    starts = [day_start_ns(utc_ns(2026, 1, 1) + hour * 1800 * NS_PER_S, time(2, 30), PARIS) for hour in range(365 * 48)]
    assert starts == sorted(starts)
    assert len(set(starts)) == 366  # 365 days and the rest of the one before


def test_counts_go_on_elsewhere() -> None:
    door = Door(rule(stay_threshold=1))
    door.through(inwards=True)
    other = rule(stay_threshold=1)
    other.restore(json.loads(json.dumps(door.machine.export())))
    assert other.counts == door.machine.counts
    (ended,) = Door(other, door.time_ns).through(inwards=False)
    assert ended.phase is EventPhase.ENDED


def test_another_time_zone_over_a_restart_keeps_what_was_counted_today() -> None:
    config = PeopleCountingRule.model_validate({"id": "door", "line": [(0.5, 0), (0.5, 1)]})
    door = Door(PeopleCounting(config, ZoneInfo("UTC")))
    door.through(inwards=True)
    there = rule()
    there.restore(json.loads(json.dumps(door.machine.export())))
    there.step(Scene(door.time_ns + NS_PER_S, 1.0))
    assert there.counts == door.machine.counts


@pytest.mark.parametrize(("now_ns", "enter"), [(NOON_NS, 2), (NOON_NS + 24 * 3600 * NS_PER_S, 0), (NOON_NS - 40 * 24 * 3600 * NS_PER_S, 0)])
def test_a_day_that_is_over_or_was_never_yet_counts_nothing_although_no_frame_came(now_ns: int, enter: int) -> None:
    rules = [{"kind": "people_counting", "id": "door", "line": [(0.5, 0), (0.5, 1)]}]
    hall = {"id": "hall", "number": 1, "main": {"url": "rtsp://camera/hall"}, "rules": rules}
    site = SiteConfig.model_validate({"site": {"time_zone": "Europe/Paris"}, "channels": [hall]})
    analysis = ChannelAnalysis(Gate(threshold=0.002, recheck_s=2), lambda: CBIoUTracker(confidence=0.25, frame_rate=5))
    analysis.configure(site.channels[0].rules, PARIS)
    door = Door(rule())
    for _ in range(2):
        door.through(inwards=True)
    state = {"door": {"kind": "people_counting", "state": door.machine.export()}}
    analysis.restore({"version": STATE_VERSION, "time_ns": door.time_ns, "tracker": None, "rules": state})
    (counts,) = counts_of(site, {"hall": analysis}, now_ns)
    assert counts.enter == enter
    assert counts.since_ns == day_start_ns(now_ns, time(), PARIS)
