"""A camera's absence, judged status by status, against what obviously should be told; with restarts and statuses heard twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.alarms.core.handling import SeenEvent, is_news
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


class Ingest:
    """What ingest says of its camera; its clock may be set. How long a state has lasted it tells right all the same."""

    def __init__(self) -> None:
        self.real_s, self.since_s, self.ahead_s, self.state = 0, 0, 0, ChannelState.CONNECTING

    def say(self, state: ChannelState) -> ChannelStatus:
        if state is not self.state:
            self.state, self.since_s = state, self.real_s
        return status(state, 10**9 + self.since_s + self.ahead_s, 10**9 + self.real_s + self.ahead_s)


#: (state, how many statuses of it, by how much the clock is set before them in all).
SET = st.lists(
    st.tuples(st.sampled_from(list(ChannelState)), st.integers(1, 40), st.sampled_from([0, 0, 30, -30, 3600, -3600, 10**8, -(10**8)])),
    min_size=1,
    max_size=12,
)


@given(phases=SET, restarts=st.sets(st.integers(0, 100)))
def test_an_absence_is_told_once_and_goes_on_being_told_while_the_clock_is_set(
    phases: list[tuple[ChannelState, int, int]], restarts: set[int]
) -> None:
    ingest, book = Ingest(), dict[str, SeenEvent]()
    known: EventMessage | None = None
    said_ns: int | None = None
    told_s, begun, absences, count, away = 0, 0, 0, 0, False
    for state, statuses, set_s in phases:
        ingest.ahead_s += set_s
        for _ in range(statuses):
            said = ingest.say(state)
            said_ns = None if count in restarts else said_ns  # only the book is left
            event = judge(said, known, AFTER_S * NS_PER_S, said_ns)
            if event is not None:
                assert is_news(event, book.get(event.event_id)), "who keeps alarms takes it for more than a repetition"
                book[event.event_id] = SeenEvent(event.at_ns, event.phase is EventPhase.ENDED, None)
                known = None if event.phase is EventPhase.ENDED else event
                said_ns, told_s = said.at_ns, ingest.real_s
                begun += event.phase is EventPhase.STARTED
            if state is ChannelState.OFFLINE and not away and ingest.real_s - ingest.since_s >= AFTER_S:
                away, absences = True, absences + 1
            away = away and state not in (ChannelState.ONLINE, ChannelState.DISABLED)
            assert (known is not None) == away
            assert begun == absences
            if state is ChannelState.OFFLINE and away:  # long before it is taken for lost
                assert ingest.real_s - told_s <= 2 * REMIND_NS // NS_PER_S or ingest.since_s > told_s
            ingest.real_s, count = ingest.real_s + 5, count + 1


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
