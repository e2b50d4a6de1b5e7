"""A recorder whose terminal goes away, as `vedette run SITE.yml | head` does, goes on recording."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from services.cli.demo.faults import CloseConnections
from services.cli.demo.simulated import CameraSpec, CameraStats
from tests.support.clips import make_clip
from tests.support.rtsp import camera_simulator

pytestmark = pytest.mark.integration
VEDETTE = Path(sys.executable).with_name("vedette")


def connected(times: int, stats: CameraStats) -> bool:
    return len(stats.clients) >= times and stats.playing == 1


@pytest.mark.parametrize("options", [[], ["--verbose"], ["--json-log"]])
def test_a_broken_pipe_does_not_end_the_recording(tmp_path: Path, options: list[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2)
    with camera_simulator(CameraSpec("/cam", clip)) as camera:
        site = {
            "data_dir": "data",
            "console": {"port": 0},
            "ingest": {"segment_s": 1, "reconnect_min_s": 0.1, "reconnect_max_s": 0.2},
            "channels": [{"id": "cam", "number": 1, "main": {"url": camera.url("/cam", with_credentials=False)}}],
        }
        file = tmp_path / "site.yml"
        file.write_text(json.dumps(site), encoding="utf-8")  # JSON is YAML
        command = [str(VEDETTE), "run", str(file), *options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            process.stdout.close()
            for times in (1, 2, 3):  # each is a line on the terminal and one in the log
                camera.wait_until("/cam", partial(connected, times))
                camera.apply("/cam", CloseConnections())
            sent = camera.stats("/cam").video_frames_sent
            camera.wait_until("/cam", lambda stats: stats.video_frames_sent > sent + 30)
            assert process.poll() is None
            process.terminate()
            assert process.wait(300) == 0
        finally:
            process.kill()
            process.wait()
        assert list((tmp_path / "data").rglob("*.mp4"))
