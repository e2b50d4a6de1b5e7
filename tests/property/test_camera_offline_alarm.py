"""A camera's absence, judged status by status, against what obviously should be told; with restarts and statuses heard twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.alarms.core.offline import REMIND_NS, judge
from shared.domain.clock import NS_PER_S
from shared.messages import ChannelStatus, EventMessage, EventPhase
from shared.messages.media import ChannelState

AFTER_S = 10
#: (state, how many statuses of it, 5 s apart). Two in a row of one state are ingest's restart: the state begins anew.
PHASES = st.lists(st.tuples(st.sampled_from(list(ChannelState)), st.integers(1, 40)), min_size=1, max_size=12)


def status(state: ChannelState, since_s: int, at_s: int) -> ChannelStatus:
    return ChannelStatus(
        channel="cam", channel_number=1, device="recorder", state=state, since_ns=since_s * NS_PER_S, at_ns=at_s * NS_PER_S
    )


@given(phases=PHASES, twice=st.booleans())
def test_each_absence_that_is_long_enough_is_one_event(phases: list[tuple[ChannelState, int]], twice: bool) -> None:
    told: list[EventMessage] = []
    known: EventMessage | None = None  # all that outlives a restart: what the book holds
    expected: list[int] = []  # when each absence began
    open_, at_s = False, 0
    for state, count in phases:
        since_s = at_s
        for _ in range(count):
            for _ in range(2 if twice else 1):
                event = judge(status(state, since_s, at_s), known, AFTER_S * NS_PER_S)
                if event is not None:
                    told.append(event)
                    known = None if event.phase is EventPhase.ENDED else event
            if state is ChannelState.OFFLINE and not open_ and at_s - since_s >= AFTER_S:
                open_ = True
                expected.append(since_s * NS_PER_S)
            if state in (ChannelState.ONLINE, ChannelState.DISABLED):
                open_ = False
            assert (known is not None) == open_
            if state is ChannelState.OFFLINE and known is not None:
                assert at_s * NS_PER_S - known.at_ns < REMIND_NS  # it is never silent for long
            at_s += 5
    assert [event.start_ns for event in told if event.phase is EventPhase.STARTED] == expected
    assert len({event.event_id for event in told}) == len(expected)
    for event in told:
        assert event.at_ns >= event.start_ns
        assert (event.end_ns is not None) == (event.phase is EventPhase.ENDED)
