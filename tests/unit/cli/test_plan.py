"""Plans: what they are made of, that more asks for more, and that limits are told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.plan_core import Demand, plan
from shared.config.services import BusRetention
from shared.topics import FRAMES, SEGMENTS


def test_recordings_and_cpu_of_sixteen_cameras() -> None:
    made = plan(Demand(16, mbit=4, fps=5, days=10))
    assert made.video_mb_s == pytest.approx(8)
    assert made.recordings_tb == pytest.approx(8e6 * 86_400 * 10 / 1e12)
    assert made.ingest_cores == pytest.approx(16 * (0.52 + 0.7) / 100)
    assert made.detector_cores == pytest.approx(80 / 33)
    assert made.workers == 1
    assert made.brokers == 1
    assert made.limits == ()


def test_the_gate_spares_detectors() -> None:
    assert plan(Demand(64, busy=0.25)).detector_cores == pytest.approx(plan(Demand(64)).detector_cores / 4)


def test_without_analysis_there_are_no_workers() -> None:
    made = plan(Demand(64, fps=0))
    assert (made.workers, made.frames_mb_s) == (0, 0)


def test_limits_of_a_large_site_are_told() -> None:
    told = " ".join(plan(Demand(1000)).limits)
    for words in ("24 partitions occupy no more", "--share"):
        assert words in told


def test_what_the_brokers_must_keep_is_said_and_is_enough() -> None:
    made = plan(Demand(1000))  # 42 of them in the fullest partition
    assert made.segments_bytes >= 42 * 0.5e6 * 600
    assert made.frames_bytes >= 42 * 5 * 30e3 * 120
    for bytes_ in (made.segments_bytes, made.frames_bytes):
        assert bytes_ % (256 * 1024**2) == 0
    assert made.video_kept_s >= 600
    assert made.frames_kept_s == 120
    BusRetention(segments_bytes=made.segments_bytes, frames_bytes=made.frames_bytes)


def test_a_small_site_keeps_what_topics_are_made_with() -> None:
    made = plan(Demand(16))
    assert (made.segments_bytes, made.frames_bytes) == (SEGMENTS.retention_bytes, FRAMES.retention_bytes)
    assert made.video_kept_s == SEGMENTS.retention_ns / 1e9


@given(st.integers(1, 3000), st.floats(0.1, 20), st.floats(0, 25))
def test_more_cameras_never_need_less(cameras: int, mbit: float, fps: float) -> None:
    small, large = plan(Demand(cameras, mbit, fps)), plan(Demand(cameras + 1, mbit, fps))
    for name in ("brokers", "workers", "disks", "network_mb_s", "recordings_tb", "bus_cores", "segments_bytes", "frames_bytes"):
        assert getattr(small, name) <= getattr(large, name), name
    assert large.video_kept_s >= 600
    assert large.frames_kept_s == pytest.approx(120)


def test_the_command_prints_a_plan_and_its_limits() -> None:
    done = CliRunner().invoke(app, ["plan", "--cameras", "256", "--mbit", "4", "--fps", "5"])
    assert done.exit_code == 0
    assert "analytics workers" in done.stdout
    assert "Limit:" in done.stdout
    for value in ("4294967296 (4 GiB)", "268435456 (256 MiB, the default)"):  # of bus.retention
        assert value in done.stdout


def test_a_demand_that_cannot_be_is_refused() -> None:
    assert CliRunner().invoke(app, ["plan", "--cameras", "0"]).exit_code == 2
