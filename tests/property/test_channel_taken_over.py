"""Whoever takes a channel over handles the frames behind its state and no others, wherever it reads again and whatever the clock did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.channel_work import CATCH_UP_NS, ChannelWork
from services.analytics.core.channel import ChannelAnalysis
from services.analytics.core.gate import Gate
from shared.domain.clock import NS_PER_S
from shared.messages import FrameMessage
from tests.support.analysis import plain_picture

START_NS = 1_700_000_000 * NS_PER_S
LIMIT_NS = 2 * NS_PER_S
YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True)
class Came:
    """A frame on the bus. `set_s`: by how much the clock was set before it. `stale`: nobody got to it in time."""

    session: int
    set_s: int
    stale: bool


#: Sessions of a few frames each.
logs = st.lists(
    st.lists(st.tuples(st.one_of(st.just(0), st.integers(-YEAR_S, YEAR_S), st.integers(-90, 90)), st.booleans()), min_size=1, max_size=4),
    min_size=1,
    max_size=6,
).map(lambda sessions: [Came(number, *frame) for number, frames in enumerate(sessions) for frame in frames])


def channel() -> ChannelWork:
    gate = Gate(threshold=0.002, recheck_s=2)
    work = ChannelWork("a", 1, ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=0.25, frame_rate=5)), 0)
    work.configure((), ZoneInfo("UTC"))
    return work


def messages(log: Sequence[Came]) -> list[FrameMessage]:
    picture, now_ns, made = plain_picture(40), START_NS, []
    for number, came in enumerate(log):
        now_ns += NS_PER_S // 5 + came.set_s * NS_PER_S
        made.append(
            FrameMessage(
                channel="a", channel_number=1, session=f"session {came.session}", sequence=number, published_ns=now_ns, capture_ns=now_ns,
                source_width=160, source_height=96, picture=picture,
            )
        )  # fmt: skip
    return made


def handled(work: ChannelWork, frame: FrameMessage, monotonic_ns: int, age_ns: int) -> bool:
    """As the service does with a frame of that age."""
    if work.known(frame, monotonic_ns) is not None or work.too_old(frame, frame.published_ns + age_ns, monotonic_ns, LIMIT_NS):
        return False
    work.finish(frame, work.look(frame), None)
    return True


@settings(deadline=None)  # pictures
@given(logs, st.data())
def test_frames_behind_the_state_are_handled_and_no_others(log: list[Came], data: st.DataObject) -> None:
    frames = messages(log)
    cut = data.draw(st.integers(0, len(frames)), "frames that came before")
    before = channel()
    last = -1
    for number, frame in enumerate(frames[:cut]):
        if handled(before, frame, 0, 2 * LIMIT_NS if log[number].stale else 0):
            last = number
    after = channel()
    after.restore(json.loads(json.dumps(before.export())))
    after.catches_up_until_ns = CATCH_UP_NS
    first = data.draw(st.integers(0, max(last, 0)), "where it reads again")
    again = [number for number in range(first, len(frames)) if handled(after, frames[number], 0, 2 * LIMIT_NS)]
    assert again == list(range(last + 1, len(frames)))


@settings(deadline=None)  # pictures
@given(st.integers(-YEAR_S, YEAR_S))
def test_a_channel_whose_sessions_were_all_there_before_is_not_left_alone(set_s: int) -> None:
    """Two recorders that read one camera, by mistake, and the one whose frame came last ends."""
    log = [Came(0, 0, stale=False), Came(1, set_s, stale=False)]
    first, second = messages(log)
    work = channel()
    assert handled(work, first, 0, 0)
    assert handled(work, second, 0, 0)
    work.catches_up_until_ns = CATCH_UP_NS
    goes_on = first.model_copy(update={"sequence": 2, "published_ns": second.published_ns + NS_PER_S})
    assert not handled(work, goes_on, 0, 0), "it may have been read again"
    assert handled(work, goes_on, CATCH_UP_NS, 0)
