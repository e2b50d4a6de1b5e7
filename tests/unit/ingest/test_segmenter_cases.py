"""The segmenter on streams written by hand: 25 frames/s, a key frame every 50, 1 kB a frame."""

from __future__ import annotations

import pytest

from services.ingest.core.segmenter import HEADER_BYTES, Limits, Segmenter, Verdict, ticks_to_ns
from shared.messages.media import Discontinuity

STEP, GOP = 3600, 50
STEP_NS = 40_000_000


def feed(segmenter: Segmenter, number: int, *, dts: int | None = None, at_ns: int | None = None, broken: bool = False) -> Verdict:
    dts = number * STEP if dts is None else dts
    at_ns = number * STEP_NS if at_ns is None else at_ns
    return segmenter.feed(dts, 1000, key=number % GOP == 0, arrival_ns=at_ns, broken=broken)


def run(segmenter: Segmenter, first: int, last: int) -> list[int]:
    """Feed frames first..last-1 as they should be; the numbers of those that started a segment."""
    return [number for number in range(first, last) if feed(segmenter, number) is Verdict.START]


def test_segments_begin_at_the_key_frame_after_the_aimed_length() -> None:
    segmenter = Segmenter(Limits(4, 8 << 20))
    assert run(segmenter, 0, 401) == [0, 100, 200, 300, 400]
    assert segmenter.end_ticks == 400 * STEP
    assert segmenter.discontinuity is Discontinuity.NONE


def test_the_first_segment_waits_for_a_key_frame_and_says_why_it_is_the_first() -> None:
    segmenter = Segmenter(Limits(4, 8 << 20), Discontinuity.RECONNECT)
    assert [feed(segmenter, number) for number in (48, 49, 50)] == [Verdict.DROP, Verdict.DROP, Verdict.START]
    assert segmenter.discontinuity is Discontinuity.RECONNECT


def test_a_group_that_would_burst_the_limit_begins_the_next_segment() -> None:
    segmenter = Segmenter(Limits(60, HEADER_BYTES + 110_000))
    assert run(segmenter, 0, 201) == [0, 100, 200]


def test_a_group_longer_than_the_limit_is_cut_and_flagged() -> None:
    segmenter = Segmenter(Limits(60, HEADER_BYTES + 20_800))
    assert run(segmenter, 0, 21) == [0, 20]
    assert (segmenter.cut, segmenter.continues) == (True, True)
    assert run(segmenter, 21, 51) == [40]
    assert (segmenter.cut, segmenter.continues) == (True, True)


@pytest.mark.parametrize("jump", [86_400 * 90_000, -86_400 * 90_000, 3 * 90_000])
def test_a_jump_is_repaired_and_flagged_at_the_next_key_frame(jump: int) -> None:
    segmenter = Segmenter(Limits(4, 8 << 20))
    run(segmenter, 0, 20)
    assert feed(segmenter, 20, dts=20 * STEP + jump) is Verdict.APPEND
    assert segmenter.jumped
    assert segmenter.ticks == pytest.approx(20 * STEP, abs=2)
    for number in range(21, 50):
        assert feed(segmenter, number, dts=number * STEP + jump) is Verdict.APPEND
        assert not segmenter.jumped
    assert feed(segmenter, 50, dts=50 * STEP + jump) is Verdict.START
    assert segmenter.discontinuity is Discontinuity.TIMESTAMP_JUMP
    assert segmenter.end_ticks == pytest.approx(50 * STEP, abs=2)


def test_a_hole_ends_the_segment_at_its_last_frame() -> None:
    segmenter = Segmenter(Limits(4, 8 << 20))
    run(segmenter, 0, 20)
    assert feed(segmenter, 170) is Verdict.FINISH
    assert segmenter.end_ticks == pytest.approx(20 * STEP, abs=2)
    assert [feed(segmenter, number) for number in (171, 199)] == [Verdict.DROP, Verdict.DROP]
    assert feed(segmenter, 200) is Verdict.START
    assert segmenter.discontinuity is Discontinuity.LOSS


def test_a_network_stall_is_no_hole() -> None:
    """TCP delivers late, not less: 8 s of silence, then everything at once."""
    segmenter = Segmenter(Limits(4, 8 << 20))
    run(segmenter, 0, 20)
    assert [feed(segmenter, number, at_ns=number * STEP_NS + 8_000_000_000) for number in range(20, 50)] == [Verdict.APPEND] * 30
    assert not segmenter.jumped


def test_broken_packets_are_dropped_to_the_next_key_frame() -> None:
    segmenter = Segmenter(Limits(4, 8 << 20))
    run(segmenter, 0, 20)
    assert feed(segmenter, 20, broken=True) is Verdict.FINISH
    assert segmenter.end_ticks == 20 * STEP
    assert feed(segmenter, 21) is Verdict.DROP
    assert feed(segmenter, 50, broken=True) is Verdict.DROP
    assert feed(segmenter, 100) is Verdict.START
    assert segmenter.discontinuity is Discontinuity.LOSS


def test_small_steps_back_are_mended_silently() -> None:
    segmenter = Segmenter(Limits(4, 8 << 20))
    run(segmenter, 0, 20)
    assert feed(segmenter, 20, dts=19 * STEP) is Verdict.APPEND
    assert segmenter.ticks == 19 * STEP + 1
    assert not segmenter.jumped


def test_slow_cameras_have_no_holes() -> None:
    """One frame in two seconds, each a key frame."""
    segmenter = Segmenter(Limits(4, 8 << 20))
    verdicts = [segmenter.feed(n * 180_000, 1000, key=True, arrival_ns=n * 2_000_000_000) for n in range(20)]
    assert Verdict.FINISH not in verdicts
    assert Verdict.DROP not in verdicts


def test_ticks() -> None:
    assert ticks_to_ns(90_000) == 1_000_000_000
    assert ticks_to_ns(1) == 11_111
