"""The capture clock against a simulated camera and network."""

from __future__ import annotations

import random

import pytest

from services.ingest.core.timeline import CaptureClock, Source

S = 1_000_000_000
WALL = 1_700_000_000 * S  # wall - monotonic


def play(
    clock: CaptureClock, seconds: int, *, delay_ns: int = 0, jitter_ns: int = 0, drift: float = 0.0, sender_ns: int | None = None,
    first: int = 0,
) -> None:  # fmt: skip
    """25 frames/s; media 0 is captured at monotonic 0. `sender_ns`: how far the camera's own clock is from the truth."""
    rng = random.Random(1)
    for number in range(first * 25, (first + seconds) * 25):
        true_ns = number * S // 25
        media_ns = int(true_ns * (1 + drift))
        arrival_ns = true_ns + delay_ns + int(rng.random() * jitter_ns)
        clock.observe(media_ns, arrival_ns)
        if number % 100 == 0:
            clock.check_clock(arrival_ns, arrival_ns + WALL)
            clock.steer(media_ns, None if sender_ns is None else true_ns + WALL + sender_ns)


def test_sender_reports_give_the_moment_of_capture() -> None:
    clock = CaptureClock()
    play(clock, 20, delay_ns=S // 4, jitter_ns=S // 10, sender_ns=0)
    assert clock.source is Source.SENDER
    assert clock.at(20 * S) == WALL + 20 * S


@pytest.mark.parametrize("wrong_ns", [3600 * S, -3 * S])
def test_a_wrong_camera_clock_is_not_believed(wrong_ns: int) -> None:
    clock = CaptureClock()
    play(clock, 20, delay_ns=S // 20, sender_ns=wrong_ns)
    assert clock.source is Source.ARRIVAL
    assert clock.at(20 * S) == pytest.approx(WALL + 20 * S, abs=S // 10)


def test_jitter_does_not_move_capture_times() -> None:
    clock = CaptureClock()
    play(clock, 60, delay_ns=S // 50, jitter_ns=S // 2)
    assert clock.at(60 * S) - (WALL + 60 * S) == pytest.approx(S // 50, abs=S // 25)


def test_drift_is_followed() -> None:
    """A camera 100 ppm fast for half an hour: 180 ms if nobody steered."""
    clock = CaptureClock()
    play(clock, 1800, drift=100e-6)
    media_ns = int(1800 * S * (1 + 100e-6))
    assert clock.at(media_ns) == pytest.approx(WALL + 1800 * S, abs=15_000_000)


def test_the_offset_never_steps() -> None:
    """A first report that differs by 1 s is reached at 1 % of the time gone by."""
    clock = CaptureClock()
    play(clock, 8, delay_ns=S)
    before_ns = clock.at(8 * S)
    play(clock, 4, delay_ns=S, sender_ns=0, first=8)
    assert 0 < before_ns - clock.at(8 * S) <= 4 * S // 100


def test_setting_our_clock_is_seen_and_moves_the_offset_at_once() -> None:
    clock = CaptureClock()
    play(clock, 8)
    assert clock.check_clock(8 * S, 8 * S + WALL - 3600 * S) == -3600 * S
    assert clock.at(8 * S) == pytest.approx(WALL + 8 * S - 3600 * S, abs=1000)
    assert clock.check_clock(9 * S, 9 * S + WALL - 3600 * S) == 0


def test_network_time_slewing_our_clock_is_no_jump() -> None:
    clock = CaptureClock()
    play(clock, 8)
    assert clock.check_clock(8 * S, 8 * S + WALL + 400_000_000) == 0
