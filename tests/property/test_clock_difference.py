"""What is learned of the clock of a channel's recorder, against what it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.core.clock_difference import ClockDifference
from shared.domain.clock import NS_PER_S

MS = 1_000_000
START_NS = 1_700_000_000 * NS_PER_S
differences = st.integers(-3600 * NS_PER_S, 3600 * NS_PER_S)
#: What a frame's way takes, and how long after the one before it comes; milliseconds.
ways = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3000)), min_size=1, max_size=60)


def came(clocks: ClockDifference, delay_ns: int, monotonic_ns: int, set_by_ns: int = 0) -> None:
    """A frame, by a clock of ours that began at `START_NS` and was set by so much."""
    now_ns = START_NS + monotonic_ns + set_by_ns
    clocks.learn(now_ns - delay_ns, now_ns, monotonic_ns)


def test_without_a_frame_the_clocks_are_taken_for_one() -> None:
    assert ClockDifference().ns == 0


@given(differences, ways, st.integers(0, 10**18))
def test_it_is_the_difference_and_no_more_than_the_way(difference_ns: int, frames: list[tuple[int, int]], start_ns: int) -> None:
    clocks, monotonic_ns = ClockDifference(), start_ns
    for way_ms, after_ms in frames:
        monotonic_ns += after_ms * MS
        came(clocks, difference_ns + way_ms * MS, monotonic_ns)
        assert difference_ns <= clocks.ns <= difference_ns + way_ms * MS


@given(differences, ways, st.integers(-3600 * NS_PER_S, 3600 * NS_PER_S), st.booleans(), ways)
def test_a_clock_that_is_set_is_followed_at_once(
    difference_ns: int, frames: list[tuple[int, int]], by_ns: int, ours: bool, then: list[tuple[int, int]]
) -> None:
    """Ours, when the machine's other clock shows it; theirs, when what they stamp shows it: set by more than lies between two frames."""
    clocks, monotonic_ns = ClockDifference(), 0
    for way_ms, gap_ms in frames:
        monotonic_ns += gap_ms * MS
        came(clocks, difference_ns + way_ms * MS, monotonic_ns)
    ours_ns = by_ns if ours else 0
    after_ns = difference_ns + (by_ns if ours else -by_ns)
    for way_ms, gap_ms in then:
        monotonic_ns += gap_ms * MS
        came(clocks, after_ns + way_ms * MS, monotonic_ns, ours_ns)
        ahead_ns = clocks.ns - after_ns
        assert ahead_ns <= 40 * MS, "nothing is taken for younger than it is by more than the way"
        assert ahead_ns >= 0 or abs(by_ns) < 4 * NS_PER_S, "nor for older"
