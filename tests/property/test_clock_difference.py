"""What is learned of the clock of a channel's recorder, against what it is."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.core.clock_difference import WINDOW_NS, ClockDifference
from shared.domain.clock import NS_PER_S

MS = 1_000_000
differences = st.integers(-3600 * NS_PER_S, 3600 * NS_PER_S)
#: What a frame's way takes, and how long after the one before it comes; milliseconds.
ways = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3000)), min_size=1, max_size=60)


def test_without_a_frame_the_clocks_are_taken_for_one() -> None:
    assert ClockDifference().ns == 0


@given(differences, ways, st.integers(0, 10**18))
def test_it_is_the_difference_and_no_more_than_the_way(difference_ns: int, frames: list[tuple[int, int]], start_ns: int) -> None:
    clocks, monotonic_ns = ClockDifference(), start_ns
    for way_ms, after_ms in frames:
        monotonic_ns += after_ms * MS
        clocks.learn(difference_ns + way_ms * MS, monotonic_ns)
        assert difference_ns <= clocks.ns <= difference_ns + way_ms * MS


@given(differences, differences, ways, ways)
def test_a_clock_that_is_set_is_followed(before_ns: int, after_ns: int, frames: list[tuple[int, int]], then: list[tuple[int, int]]) -> None:
    clocks, monotonic_ns = ClockDifference(), 0
    for way_ms, gap_ms in frames:
        monotonic_ns += gap_ms * MS
        clocks.learn(before_ns + way_ms * MS, monotonic_ns)
    set_ns = monotonic_ns
    for (way_ms, _), elapsed_ms in zip(then, accumulate(gap for _, gap in then), strict=True):
        now_ns = set_ns + elapsed_ms * MS
        clocks.learn(after_ns + way_ms * MS, now_ns)
        followed = after_ns <= clocks.ns <= after_ns + 40 * MS
        assert followed or now_ns - set_ns < 2 * WINDOW_NS + 3 * NS_PER_S
        assert min(before_ns, after_ns) <= clocks.ns <= max(before_ns, after_ns) + 40 * MS
