"""Our own disk that stalls: what it takes is no silence of the camera."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from services.cli.demo.simulated import CameraSpec
from shared.messages.media import ChannelState
from shared.obs.metrics import REGISTRY
from tests.support.clips import make_clip
from tests.support.clocks import SetClock
from tests.support.ingest import channel, ingest
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.stalling_disk import StallingDisk, stalling_disk
from tests.support.waiting import wait_for

pytestmark = pytest.mark.integration

FPS = 10
READ_TIMEOUT_S = 60


def taken() -> float:
    return REGISTRY.get_sample_value("vedette_ingest_video_frames_total", {"channel": "cam", "stream": "main"}) or 0


def waits_for_a_disk(name: str) -> bool:
    """Whether the kernel has a thread of this process wait uninterruptibly."""
    (thread,) = [thread for thread in threading.enumerate() if thread.name == name]
    state = Path(f"/proc/self/task/{thread.native_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return state == "D"


def stall(disk: StallingDisk, camera: SimulatorThread, clock: SetClock) -> None:
    """Until the camera's thread hangs in the disk, and for twice the time-out from then on. Not on the event loop: it may hang too."""

    def hangs() -> bool:
        before = taken()
        if not waits_for_a_disk("ingest-cam-main"):
            return False
        sent = camera.stats("/cam").video_frames_sent
        camera.wait_until("/cam", lambda stats: stats.video_frames_sent >= sent + FPS, 60)
        return waits_for_a_disk("ingest-cam-main") and taken() == before

    with disk.stalled():
        wait_for(hangs, what="the camera's thread waits for the disk while pictures come")
        clock.advance(2 * READ_TIMEOUT_S)


async def test_a_disk_that_stalls_for_longer_than_the_read_time_out_is_no_silent_camera(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS)
    clock = SetClock()
    with camera_simulator(CameraSpec("/cam", clip)) as camera, stalling_disk(tmp_path / "disk") as disk:
        setup = channel("cam", 1, camera.url("/cam"))
        async with ingest(setup, data_dir=disk.folder, clock=clock, read_timeout_s=READ_TIMEOUT_S) as received:
            await received.until(lambda r: len(r.segments) >= 1, 60)
            await asyncio.to_thread(stall, disk, camera, clock)
            count = len(received.segments)
            await received.until(lambda r: len(r.segments) >= count + 3, 60)
            assert ChannelState.OFFLINE not in {status.state for status in received.statuses}
            assert len({segment.session for segment in received.segments}) == 1
            assert [segment.sequence for segment in received.segments] == list(range(len(received.segments)))
