"""Commands that wait for footage: none waits for ever, none is given up while its footage is under way, whatever the clock does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.storage.core.model import StoredSegment
from services.storage.core.waiting import AHEAD_NS, PATIENCE_NS, SETTLED_NS, Head, Verdict, overtaken, verdict
from shared.domain.clock import NS_PER_S

times = st.integers(0, 10_000).map(lambda seconds: seconds * NS_PER_S)
waits = st.integers(-10_000, 10_000).map(lambda seconds: seconds * NS_PER_S)
heads = st.none() | times.map(Head)


def segment(session: str, sequence: int, start_s: float, length_s: float = 4.0) -> StoredSegment:
    start_ns, end_ns = int(start_s * NS_PER_S), int((start_s + length_s) * NS_PER_S)
    return StoredSegment(f"{session}-{sequence}", "r", sequence, 0, 1, start_ns, end_ns, 1, 1, 0, 1, session, sequence)


@given(heads, times, times)
def test_no_command_waits_for_longer_than_patience(head: Head | None, until_ns: int, now_ns: int) -> None:
    assert verdict(head, until_ns, now_ns, PATIENCE_NS + 1) is Verdict.LATE


@given(heads, times, times, waits)
def test_footage_that_is_under_way_is_waited_for(head: Head | None, until_ns: int, now_ns: int, waited_ns: int) -> None:
    """What is stored last is older than what is wanted, or of a time that has not come: of before the clock was set back."""
    found = verdict(head, until_ns, now_ns, waited_ns)
    comparable = head is not None and until_ns < head.end_ns <= now_ns + AHEAD_NS
    assert (found is Verdict.PASSED) == (comparable and waited_ns <= PATIENCE_NS)
    if waited_ns <= SETTLED_NS and not comparable:
        assert found is Verdict.WAIT


@given(st.integers(2, 20), st.floats(-0.04, 0.04), st.sampled_from(["a", "b", ""]))
def test_footage_in_order_is_never_overtaken(count: int, steered_s: float, session: str) -> None:
    """Not by its followers in its session, and not by another session that begins when it has ended."""
    first = [segment("a", number, number * (4 + steered_s)) for number in range(count)]
    after_s = first[-1].end_ns / NS_PER_S
    every = first + [segment("b", number, after_s + number * 4) for number in range(count)]
    assert not any(overtaken(one, every, session) for one in every)


@given(st.floats(0.0, 3.0), st.booleans())
def test_footage_from_before_the_clock_was_set_back_is_overtaken(shift_s: float, same_session: bool) -> None:
    old = [segment("a", number, number * 4.0) for number in range(5)]
    name = "a" if same_session else "b"
    new = [segment(name, 100 + number, 8 + shift_s + number * 4.0) for number in range(5)]
    assert not any(overtaken(one, old + new, name) for one in new)
    late = [one for one in old if one.start_ns >= new[0].start_ns]
    assert late
    assert all(overtaken(one, old + new, name) for one in late)
