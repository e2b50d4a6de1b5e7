"""Any walk through a zone: entering and leaving alternate, and stays are well formed."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.core.rules import RuleEvent, Scene
from services.analytics.core.rules.intrusion import Intrusion
from shared.config.rules import IntrusionRule
from shared.domain.geometry import Box
from shared.domain.targets import TargetClass, TrackedObject
from shared.messages import EventPhase

STEP_NS = 200_000_000
START_NS = 1_700_000_000_000_000_000
ZONE = [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)]

#: A foot point, or None: not seen in that frame.
steps = st.lists(st.one_of(st.none(), st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8))), min_size=1, max_size=80)


def play(walk: list[tuple[float, float] | None], **settings: object) -> list[RuleEvent]:
    rule = Intrusion(IntrusionRule.model_validate({"id": "zone", "zone": ZONE} | settings))
    events = []
    for index, step in enumerate(walk):
        tracks = (
            () if step is None else (TrackedObject(1, Box(step[0] - 0.02, step[1] - 0.1, step[0] + 0.02, step[1]), TargetClass.HUMAN, 0.9),)
        )
        events += rule.step(Scene(START_NS + index * STEP_NS, 1.0, tracks))
    return events + rule.close(START_NS + len(walk) * STEP_NS)


@given(steps)
def test_entering_and_leaving_alternate(walk: list[tuple[float, float] | None]) -> None:
    seen: list[tuple[float, float] | None] = [step for step in walk if step is not None]
    found = [event.direction for event in play(seen, actions=["cross"]) if event.phase is EventPhase.STARTED]
    assert all(sooner != later for sooner, later in pairwise(found))


@given(steps)
def test_every_stay_is_started_once_updated_in_between_and_ended_once(walk: list[tuple[float, float] | None]) -> None:
    stays: dict[tuple[int, int], list[RuleEvent]] = {}
    for event in play(walk, actions=["appear"], min_stay_s=0.2):
        stays.setdefault((event.start_ns, event.ordinal), []).append(event)
    for events in stays.values():
        assert events[0].phase is EventPhase.STARTED
        assert events[-1].phase is EventPhase.ENDED
        assert all(event.phase is EventPhase.UPDATED for event in events[1:-1])
        assert all(later.at_ns - sooner.at_ns >= 1_000_000_000 for sooner, later in pairwise(events[:-1]))
        assert events[-1].end_ns is not None
        assert events[0].start_ns <= events[-1].end_ns <= events[-1].at_ns


@given(steps, st.integers(0, 80), st.floats(0.2, 120.0))
def test_a_restart_anywhere_makes_no_second_event_of_a_stay(walk: list[tuple[float, float] | None], cut: int, gap_s: float) -> None:
    """The state goes on elsewhere after a while in which nobody looked: stays go on, and each that began still ends, once."""
    calm = play(walk, actions=["appear"], min_stay_s=0)
    settings: dict[str, object] = {"id": "zone", "zone": ZONE, "actions": ["appear"], "min_stay_s": 0}
    rule, events, shift_ns = Intrusion(IntrusionRule.model_validate(settings)), [], 0
    for index, step in enumerate(walk):
        if index == cut:
            state, rule = json.loads(json.dumps(rule.export())), Intrusion(IntrusionRule.model_validate(settings))
            rule.restore(state)
            shift_ns = round(gap_s * 1e9)
            events += rule.resume(START_NS + index * STEP_NS + shift_ns)
        tracks = (
            () if step is None else (TrackedObject(1, Box(step[0] - 0.02, step[1] - 0.1, step[0] + 0.02, step[1]), TargetClass.HUMAN, 0.9),)
        )
        events += rule.step(Scene(START_NS + index * STEP_NS + shift_ns, 1.0, tracks))
    events += rule.close(START_NS + len(walk) * STEP_NS + shift_ns)
    starts, ends = ([event for event in events if event.phase is phase] for phase in (EventPhase.STARTED, EventPhase.ENDED))
    assert len(starts) <= sum(event.phase is EventPhase.STARTED for event in calm)
    assert sorted((event.start_ns, event.ordinal) for event in starts) == sorted((event.start_ns, event.ordinal) for event in ends)
