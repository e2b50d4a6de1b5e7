"""Sampler, back-off, connection states, parameter sets."""

from __future__ import annotations

import pytest

from services.ingest.core.backoff import Backoff
from services.ingest.core.parameter_sets import complete, digest, is_foreign, parameter_sets
from services.ingest.core.sampler import FrameSampler, fit
from services.ingest.core.status import Connection, Happening
from shared.domain.media import VideoCodec
from shared.messages.media import ChannelState


@pytest.mark.parametrize(
    ("stream_fps", "wanted", "expected"), [(25, 5, 50), (30, 5, 50), (10, 5, 50), (12.5, 5, 50), (4, 5, 40), (25, 25, 250)]
)
def test_the_sampler_keeps_the_wanted_rate(stream_fps: float, wanted: float, expected: int) -> None:
    sampler = FrameSampler(wanted)
    taken = sum(sampler.due(round(number * 1e9 / stream_fps)) for number in range(round(10 * stream_fps)))
    assert taken == pytest.approx(expected, abs=max(1, expected * 0.02))


def test_the_sampler_begins_anew_after_a_jump() -> None:
    sampler = FrameSampler(5)
    assert sampler.due(0)
    assert not sampler.due(10_000_000)
    assert sampler.due(86_400 * 10**9)
    assert sampler.due(0)


@pytest.mark.parametrize(("source", "expected"), [
    ((1920, 1080), (640, 360)), ((2592, 1944), (480, 360)), ((320, 180), (320, 180)), ((1080, 1920), (202, 360)),
])  # fmt: skip
def test_pictures_fit_and_keep_their_shape(source: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit(*source, 640, 360) == expected


def test_waits_double_within_their_bounds_and_spread() -> None:
    backoff = Backoff(1, 10)
    assert [backoff.next(1.0) for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    assert backoff.next(0.0) == 5
    backoff.reset()
    assert backoff.next(1.0) == 1


def test_a_dead_camera_does_not_flicker() -> None:
    connection = Connection(since_ns=1)
    assert connection.apply(Happening.FAILED, 5, reason="refused", error="CameraUnreachable")
    assert not connection.apply(Happening.DIALLING, 6)
    assert not connection.apply(Happening.FAILED, 7, reason="refused", error="CameraUnreachable")
    assert (connection.state, connection.since_ns, connection.reconnects) == (ChannelState.OFFLINE, 5, 0)
    assert connection.apply(Happening.FAILED, 8, reason="no route", error="CameraUnreachable")
    assert connection.since_ns == 5
    assert connection.apply(Happening.FIRST_PACKET, 9)
    assert (connection.state, connection.reason, connection.error) == (ChannelState.ONLINE, "", "")
    assert connection.apply(Happening.FAILED, 10, reason="reset")
    assert connection.reconnects == 1


def test_how_long_a_state_lasts_is_the_same_when_the_clock_is_set() -> None:
    connection, second = Connection(since_ns=0), 10**9
    connection.follow(100 * second)
    connection.apply(Happening.FAILED, 1000 * second)
    for set_by_s in (3600, 3600, -3600, -3601, -3600):  # steering of a second is none
        connection.follow((100 + set_by_s) * second)
        assert connection.since_ns == (1000 + (-3600 if set_by_s < 0 else 3600)) * second
    connection.apply(Happening.FIRST_PACKET, 7)
    connection.follow((100 - 3600) * second)
    assert connection.since_ns == 7


SPS, PPS, IDR = b"\x67\x42\x00\x1e\xab", b"\x68\xce\x38\x80\x11", b"\x65\x88\x84"


def test_parameter_sets_before_the_picture_are_found() -> None:
    unit = b"\x00\x00\x00\x01\x09\x10" + b"".join(b"\x00\x00\x00\x01" + part for part in (SPS, PPS, IDR)) + b"\x00\x00\x01" + SPS
    found = parameter_sets(VideoCodec.H264, unit)
    assert found == (SPS, PPS)
    assert complete(VideoCodec.H264, found)
    assert not complete(VideoCodec.H264, (SPS,))


H264, H265 = VideoCodec.H264, VideoCodec.H265


@pytest.mark.parametrize(("codec", "unit", "foreign"), [
    (H264, b"\x41", False), (H264, b"\x65", False), (H264, b"\x06", False), (H264, b"\x09", False), (H264, b"\x02\x01", True),
    (H264, b"\x40\x01", True), (H265, b"\x02\x01", False), (H265, b"\x26\x01", False), (H265, b"\x40\x01", False), (H265, b"\x65", True),
])  # fmt: skip
def test_units_of_another_codec_are_told_apart(codec: VideoCodec, unit: bytes, foreign: bool) -> None:
    assert is_foreign(codec, b"\x00\x00\x00\x01" + unit + b"\xaa") is foreign


def test_digests_differ_where_parts_differ() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert digest("a", None) == digest("a", None)
