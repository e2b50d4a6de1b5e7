"""Anti-dither and the life of alarms as state machines, against slow, obvious models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.alarms.adapters.rows import alarm_of, alarm_row
from services.alarms.core import anti_dither
from services.alarms.core.arming import Policy
from services.alarms.core.handling import SeenEvent, Step, first_step, is_news, later_step
from services.alarms.core.linkage import Change, consequences
from services.alarms.core.listening import Listening
from services.alarms.core.place import Place
from services.alarms.core.record import Alarm
from shared.config.rules import Linkage, RecordLinkage
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, AlarmState, EventKind, EventMessage, EventPhase

PLACE = Place("Site", "recorder", "https://nvr.example", {"cam": (1, "Cam")}, {}, {"station": frozenset(AlarmState)})
LOST_AFTER_S = 60
BACK_S = anti_dither.BACK_NS // NS_PER_S
#: How far a clock is set: about an alarm's length, or far.
JUMPS = st.sampled_from([20, 90, 600, 3600, 4 * 365 * 86400]).flatmap(lambda s: st.sampled_from([s, -s]))
LINKAGE = Linkage(record=RecordLinkage(pre_s=3, post_s=12), webhooks=("station",))


def message(event_id: str, phase: EventPhase, start_s: int, at_s: int) -> EventMessage:
    return EventMessage(
        channel="cam", channel_number=1, event_id=event_id, kind=EventKind.INTRUSION, source="zone", phase=phase,
        start_ns=start_s * NS_PER_S, at_ns=at_s * NS_PER_S, end_ns=at_s * NS_PER_S if phase is EventPhase.ENDED else None,
    )  # fmt: skip


@dataclass
class ModelAlarm:
    """A record as a plain list of what belongs to it.

    Attributes:
        news_s: when, by the machine's clock, something was heard last. `silent_since_s`: by the monotonic clock.
        last_s: capture time of the latest sign.
        lost: it has ended although its events had not.
    """

    spans: dict[str, tuple[int, int | None]]
    news_s: int
    silent_since_s: int
    last_s: int
    ended: bool = False
    lost: bool = False

    def heard(self, at_s: int, now_s: int, monotonic_s: int) -> None:
        self.news_s, self.silent_since_s, self.last_s = now_s, monotonic_s, max(self.last_s, at_s)

    @property
    def goes_on(self) -> bool:
        return any(end is None for _, end in self.spans.values())

    def takes(self, at_s: int) -> bool:
        """Not what comes from before its last sign when nothing of it goes on: time went back since."""
        return (self.goes_on and not self.ended) or at_s >= self.last_s - BACK_S

    def distance(self, at_s: int) -> int:
        first = min(start for start, _ in self.spans.values())
        if self.goes_on and not self.ended:
            return max(0, first - at_s)
        return max(0, first - at_s, at_s - self.last_s)


class AlarmLife(RuleBasedStateMachine):
    """One rule's events, messages heard twice, late handling, the passing of time, restarts, events whose end never comes, and clocks that
    are set: this machine's, the one that capture times come from, or both at once. Seconds; capture time runs `lag` behind its clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_s = self.capture_s = 10**9
        self.monotonic_s = 0
        self.heard_since_s = 0  # monotonic: when we began to listen
        self.listening_s = self.now_s
        self.listening = Listening()
        self.listening.begin(self.now_s * NS_PER_S, self.monotonic_s * NS_PER_S)
        self.period_s = 5
        self.alarms: dict[str, Alarm] = {}
        self.model: list[tuple[str, ModelAlarm]] = []
        self.seen: dict[str, SeenEvent] = {}
        self.live: dict[str, tuple[int, str]] = {}  # event -> (start, alarm)
        self.notices: list[str] = []
        self.reports: list[tuple[str, AlarmState, int]] = []
        self.spans: dict[str, list[tuple[int, int]]] = {}
        self.count = 0
        self.look()

    def apply(self, step: Step) -> None:
        done = consequences(step.alarm, LINKAGE, step.change, PLACE, self.now_s * NS_PER_S)
        before = self.alarms.get(done.alarm.alarm_id)
        assert before is None or done.alarm.at_ns >= before.at_ns, "who shows alarms takes the later version of two"
        self.alarms[done.alarm.alarm_id] = done.alarm
        for command in done.commands:
            if command.action is ActionKind.SHOW_MESSAGE:
                self.notices.append(command.alarm_id)
            if command.action is ActionKind.RECORD:
                assert command.from_ns is not None
                assert command.to_ns is not None
                self.spans.setdefault(command.alarm_id, []).append((command.from_ns, command.to_ns))
        self.reports += [(done.alarm.alarm_id, report.state, done.alarm.hits) for report in done.reports]

    def start(self, lag_s: int) -> str:
        self.count += 1
        event_id, at_s = f"event-{self.count}", self.capture_s - lag_s
        event = message(event_id, EventPhase.STARTED, at_s, at_s)
        assert is_news(event, None)
        step = first_step(event, Policy(self.period_s * NS_PER_S, LINKAGE), list(self.alarms.values()), self.now_s * NS_PER_S)
        assert step is not None
        near = [(model.distance(at_s), -index) for index, (_, model) in enumerate(self.model) if model.takes(at_s)]
        if near and min(near)[0] < self.period_s:
            assert step.change is Change.HIT
            model = dict(self.model)[step.alarm.alarm_id]
            assert model.distance(at_s) == min(near)[0]
            if model.ended:
                assert -BACK_S <= at_s - model.last_s < self.period_s, "nobody is swallowed by an alarm of another time"
            for name, (start_s, end_s) in model.spans.items():  # of what was lost, only the new one goes on
                model.spans[name] = (start_s, start_s if end_s is None and model.lost else end_s)
            model.spans[event_id], model.ended, model.lost = (at_s, None), False, False
        else:
            assert step.change is Change.RAISED
            model = ModelAlarm({event_id: (at_s, None)}, self.now_s, self.monotonic_s, at_s)
            self.model.append((step.alarm.alarm_id, model))
        model.heard(at_s, self.now_s, self.monotonic_s)
        self.apply(step)
        self.seen[event_id] = SeenEvent(event.at_ns, False, step.alarm.alarm_id)
        self.live[event_id] = (at_s, step.alarm.alarm_id)
        return event_id

    @rule(lag_s=st.integers(0, 12))
    def begins(self, lag_s: int) -> None:
        self.start(lag_s)

    @rule(lag_s=st.integers(0, 12))
    def momentary(self, lag_s: int) -> None:
        event_id = self.start(lag_s)
        self.end(event_id, self.live[event_id][0])

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.live)))
        self.end(event_id, max(self.live[event_id][0], self.capture_s))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def goes_on(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.live)))
        start_s, alarm_id = self.live[event_id]
        at_s = max(start_s, self.capture_s)
        event = message(event_id, EventPhase.UPDATED, start_s, at_s)
        if not is_news(event, self.seen[event_id]):
            return
        step, model = later_step(event, self.alarms[alarm_id], self.now_s * NS_PER_S), dict(self.model)[alarm_id]
        assert step.change is (Change.RESUMED if model.ended else Change.HEARD)
        if model.ended:  # of what was lost, or was over with it, only this one goes on
            for name, (start, end) in model.spans.items():
                model.spans[name] = (start, start if end is None else end)
        model.spans[event_id], model.ended, model.lost = (start_s, None), False, False
        model.heard(at_s, self.now_s, self.monotonic_s)
        self.apply(step)
        self.seen[event_id] = SeenEvent(event.at_ns, False, alarm_id)

    @rule(seconds=st.integers(0, 3 * LOST_AFTER_S))
    def restart(self, seconds: int) -> None:
        """All that is left is in the book, and while the service was off it heard nothing."""
        for name, alarm in self.alarms.items():
            row = json.loads(json.dumps(alarm_row(alarm)))
            self.alarms[name] = alarm_of(cast(Any, row | {"sequence": alarm.sequence, "revision": alarm.revision}))  # the book's own
        self.pass_time(seconds)
        self.listening = Listening()
        self.listening.begin(self.now_s * NS_PER_S, self.monotonic_s * NS_PER_S)
        self.listening_s, self.heard_since_s = self.now_s, self.monotonic_s
        self.look()

    def end(self, event_id: str, at_s: int) -> None:
        start_s, alarm_id = self.live.pop(event_id)
        event = message(event_id, EventPhase.ENDED, start_s, at_s)
        assert is_news(event, self.seen[event_id])
        self.apply(later_step(event, self.alarms[alarm_id], self.now_s * NS_PER_S))
        self.seen[event_id] = SeenEvent(event.at_ns, True, alarm_id)
        model = dict(self.model)[alarm_id]
        model.spans[event_id] = (start_s, at_s)
        model.heard(at_s, self.now_s, self.monotonic_s)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def heard_again(self, data: st.DataObject) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.seen)))
        seen = self.seen[event_id]
        at_s = seen.at_ns // NS_PER_S
        assert not is_news(message(event_id, EventPhase.STARTED, at_s, at_s), seen)
        assert not is_news(message(event_id, EventPhase.UPDATED, at_s, at_s), seen)
        if seen.ended:
            assert not is_news(message(event_id, EventPhase.ENDED, at_s, at_s), seen)

    @rule(seconds=st.integers(1, 20) | st.integers(LOST_AFTER_S - 1, LOST_AFTER_S + 1))
    def time_passes(self, seconds: int) -> None:
        self.pass_time(seconds)
        self.look()

    @rule(seconds=JUMPS)
    def the_clock_is_set(self, seconds: int) -> None:
        """Of a recorder in one machine: capture times jump with it."""
        self.now_s, self.capture_s = self.now_s + seconds, self.capture_s + seconds
        self.listening_s = self.now_s
        self.look()

    @rule(seconds=JUMPS)
    def our_clock_is_set(self, seconds: int) -> None:
        self.now_s += seconds
        self.listening_s = self.now_s
        self.look()

    @rule(seconds=JUMPS)
    def the_clock_of_capture_times_is_set(self, seconds: int) -> None:
        self.capture_s += seconds

    def pass_time(self, seconds: int) -> None:
        self.now_s, self.capture_s, self.monotonic_s = self.now_s + seconds, self.capture_s + seconds, self.monotonic_s + seconds

    def teardown(self) -> None:
        """Nothing lasts for ever: neither what nobody tells any more, nor for any clock."""
        self.time_passes(LOST_AFTER_S + self.period_s + 1)
        self.agrees_with_the_model()
        assert all(model.ended for _, model in self.model)

    def look(self) -> None:
        """What the timers do."""
        was_set = self.listening.look(self.now_s * NS_PER_S, self.monotonic_s * NS_PER_S)
        models = dict(self.model)
        for before in list(self.alarms.values()):
            if not anti_dither.is_open(before):
                continue
            alarm = self.alarms[before.alarm_id] = anti_dither.waited_from(before, self.now_s * NS_PER_S, was_set=was_set)
            due_ns = anti_dither.due_ns(alarm, LOST_AFTER_S * NS_PER_S, self.listening.since_ns)
            if due_ns <= self.now_s * NS_PER_S:
                if alarm.live:
                    silent_s = self.monotonic_s - max(models[alarm.alarm_id].silent_since_s, self.heard_since_s)
                    assert silent_s >= LOST_AFTER_S, "what goes on is not told as ended because a clock was set"
                self.apply(Step(Change.ENDED, anti_dither.ended(alarm, self.now_s * NS_PER_S)))
        for _, model in self.model:
            if not model.ended:
                model.news_s = self.now_s if was_set else min(model.news_s, self.now_s)
            if model.goes_on and not model.ended and self.now_s >= max(model.news_s, self.listening_s) + LOST_AFTER_S:
                model.ended = model.lost = True
            if not model.goes_on and self.now_s >= model.news_s + self.period_s + 1:
                model.ended = True

    @invariant()
    def agrees_with_the_model(self) -> None:
        assert set(self.alarms) == {alarm_id for alarm_id, _ in self.model}
        for alarm_id, model in self.model:
            alarm = self.alarms[alarm_id]
            assert alarm.hits == len(model.spans)
            assert alarm.live == {event_id for event_id, (_, end) in model.spans.items() if end is None and not model.ended}
            assert (alarm.message == anti_dither.LOST) == model.lost
            assert alarm.start_ns == min(start for start, _ in model.spans.values()) * NS_PER_S
            assert alarm.last_ns == model.last_s * NS_PER_S
            assert (alarm.state is AlarmState.ENDED) == model.ended
            assert alarm.end_ns == (alarm.last_ns if model.ended else None)

    @invariant()
    def every_event_is_accounted_once(self) -> None:
        assert sum(alarm.hits for alarm in self.alarms.values()) == len(self.seen)

    @invariant()
    def linkage_ran_once(self) -> None:
        assert sorted(self.notices) == sorted(self.alarms)
        assert [alarm_id for alarm_id, state, _ in self.reports if state is AlarmState.RAISED] == list(self.alarms)
        unended = [report for report in self.reports if report[1] is not AlarmState.ENDED]  # what was lost may end again
        assert len(set(unended)) == len(unended)

    @invariant()
    def footage_covers_the_alarm(self) -> None:
        for alarm_id, alarm in self.alarms.items():
            from_ns, to_ns = self.spans[alarm_id][-1]
            assert to_ns >= alarm.last_ns + 12 * NS_PER_S
            assert all(before <= after for (_, before), (_, after) in zip(self.spans[alarm_id], self.spans[alarm_id][1:], strict=False))
            assert from_ns <= self.spans[alarm_id][0][0]


AlarmLife.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestAlarmLife = AlarmLife.TestCase


@given(
    times=st.lists(st.integers(0, 300), min_size=1, max_size=40).map(sorted),
    period_s=st.integers(0, 30),
    delays=st.lists(st.integers(0, 100), min_size=40, max_size=40),
)
def test_records_depend_on_capture_times_alone(times: list[int], period_s: int, delays: list[int]) -> None:
    """A backlog, handled whenever, gives the same records as the obvious clustering of the times."""
    clusters: list[list[int]] = []
    for time_s in times:
        if clusters and time_s - clusters[-1][-1] < period_s:
            clusters[-1].append(time_s)
        else:
            clusters.append([time_s])
    alarms: dict[str, Alarm] = {}
    for number, (time_s, delay_s) in enumerate(zip(times, delays, strict=False)):
        now_ns = (time_s + delay_s) * NS_PER_S
        for alarm in list(alarms.values()):
            if anti_dither.is_open(alarm) and anti_dither.due_ns(alarm, LOST_AFTER_S * NS_PER_S, 0) <= now_ns:
                alarms[alarm.alarm_id] = anti_dither.ended(alarm, now_ns)
        step = first_step(
            message(f"e{number}", EventPhase.STARTED, time_s, time_s), Policy(period_s * NS_PER_S, LINKAGE), list(alarms.values()), now_ns
        )
        assert step is not None
        done = later_step(message(f"e{number}", EventPhase.ENDED, time_s, time_s), step.alarm, now_ns)
        alarms[done.alarm.alarm_id] = done.alarm
    assert [(alarm.hits, alarm.start_ns, alarm.last_ns) for alarm in alarms.values()] == [
        (len(cluster), cluster[0] * NS_PER_S, cluster[-1] * NS_PER_S) for cluster in clusters
    ]
