"""Any stream, however bad: the segmenter's invariants hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.core.segmenter import HEADER_BYTES, PACKET_BYTES, TICKS_PER_S, Limits, Segmenter, Verdict
from shared.messages.media import Discontinuity

MAX_BYTES = 256 * 1024

PACKETS = st.lists(
    st.tuples(
        st.one_of(st.just(3600), st.integers(-200_000, 200_000), st.sampled_from([86_400 * 90_000, -86_400 * 90_000, 0])),  # step of dts
        st.integers(1, MAX_BYTES + 1000),  # bytes
        st.booleans(),  # key frame
        st.integers(0, 3_000_000_000),  # step of arrival
        st.sampled_from([False] * 9 + [True]),  # broken
        st.sampled_from([None] * 9 + [Discontinuity.CLOCK_JUMP]),
    ),
    max_size=200,
)


@settings(max_examples=300, deadline=None)
@given(PACKETS, st.floats(1, 60))
def test_invariants(packets: list[tuple[int, int, bool, int, bool, Discontinuity | None]], target_s: float) -> None:
    segmenter = Segmenter(Limits(target_s, MAX_BYTES))
    dts = at_ns = 0
    open_bytes, open_since, last_ticks = 0, 0, -1
    is_open = False
    marked = False
    for step, size, key, arrival_step, broken, mark in packets:
        dts, at_ns = dts + step, at_ns + arrival_step
        if mark is not None:
            segmenter.mark(mark)
            marked = True
        verdict = segmenter.feed(dts, size, key=key, arrival_ns=at_ns, broken=broken)
        # Timestamps rise strictly, and by no more than really went by, and a little.
        assert segmenter.ticks == dts + segmenter.shift
        assert segmenter.ticks > last_ticks or last_ticks == -1
        if last_ticks >= 0:
            assert (segmenter.ticks - last_ticks) / TICKS_PER_S <= arrival_step / 1e9 + 2.1 or segmenter.ticks - last_ticks <= TICKS_PER_S
        if verdict in (Verdict.START, Verdict.FINISH) and is_open:
            assert last_ticks < segmenter.end_ticks <= segmenter.ticks
        match verdict:
            case Verdict.START:
                assert not broken
                assert key or segmenter.continues
                if segmenter.continues:
                    assert is_open  # it continues something
                    assert segmenter.cut
                    assert segmenter.discontinuity is Discontinuity.NONE
                elif marked:
                    assert segmenter.discontinuity is not Discontinuity.NONE
                    marked = False
                is_open, open_bytes, open_since = True, size, segmenter.ticks
            case Verdict.APPEND:
                assert is_open
                assert not broken
                open_bytes += size
                assert segmenter.ticks - open_since <= target_s * 3 * TICKS_PER_S + 1
            case Verdict.FINISH:
                assert is_open
                is_open = False
            case Verdict.DROP:
                assert not is_open or broken or not key
        assert segmenter.is_open == is_open
        assert open_bytes + HEADER_BYTES + PACKET_BYTES <= MAX_BYTES or not is_open
        last_ticks = segmenter.ticks


@given(st.integers(1, 120), st.integers(1, 60), st.floats(1, 10), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_clean_stream_loses_nothing_and_touches(gop: int, fps: int, target_s: float, first: int) -> None:
    segmenter = Segmenter(Limits(target_s, 8 << 20))
    step = TICKS_PER_S // fps
    frames, ends = 0, []
    for number in range(gop * 4):
        verdict = segmenter.feed(first + number * step, 5000, key=number % gop == 0, arrival_ns=number * 10**9 // fps)
        assert verdict in (Verdict.START, Verdict.APPEND)
        frames += 1
        if verdict is Verdict.START and number:
            assert segmenter.end_ticks == segmenter.ticks == number * step
            ends.append(number)
    assert frames == gop * 4
    assert all(number % gop == 0 for number in ends) or gop / fps > target_s
