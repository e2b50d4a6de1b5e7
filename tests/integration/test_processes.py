"""Services in processes of their own on a real Kafka broker: the console in front of them shows and plays what the others have."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.demo.simulated import CameraSpec
from tests.support.clips import make_clip
from tests.support.kafka import KafkaServer
from tests.support.ports import free_port
from tests.support.recorder import VEDETTE, Recorder, count_frames
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers]

TOKEN = "0123456789abcdef0123"
FPS = 10
#: Lines of `vedette status`.
STATUS = (
    *(rf"│ {name} +│ \S+ +│ ok +│" for name in ("storage", "alarms", "console")),
    r"│ analytics +│ \S+ +│ not ok +│ .*does not answer",
    r"│ c1 +│ offline +│",
)
AWAY = "{} does not answer: its process is away, or cannot be reached"


class Site:
    """One site in four processes."""

    def __init__(self, folder: Path, broker: KafkaServer, stack: ExitStack) -> None:
        clip = make_clip(folder / "clip.mp4", seconds=10, fps=FPS, gop=FPS)
        self.cameras: SimulatorThread = stack.enter_context(camera_simulator(CameraSpec("/1", clip), CameraSpec("/2", clip)))
        self.document: dict[str, Any] = {
            "bus": {"kind": "kafka", "brokers": [broker.address]},
            "storage": {"file_s": 4},
            "alarms": {"offline_after_s": 0},
            "ingest": {"segment_s": 1, "reconnect_max_s": 1},
            "internal": {"token": TOKEN},
            "channels": [
                {"id": f"c{number}", "number": number, "main": {"url": self.cameras.url(f"/{number}")}, "analysis": {"enabled": False}}
                for number in (1, 2)
            ],
        }
        self.ingest = self._process(folder / "ingest", "ingest", options=["--share", "2/2"])
        self.storage = self._process(folder / "storage", "storage")
        self.alarms = self._process(folder / "alarms", "alarms")
        self.document["internal"] |= {
            "storage": f"http://127.0.0.1:{self.storage.port}",
            "alarms": f"http://127.0.0.1:{self.alarms.port}",
            "analytics": [f"http://127.0.0.1:{free_port()}"],  # where nobody is
        }
        self.console = self._process(folder / "console", "console")
        self.processes = (self.ingest, self.storage, self.alarms, self.console)
        for process in self.processes:
            stack.callback(process.kill)
            process.spawn()
        for process in self.processes:
            process.wait_ready()

    def _process(self, folder: Path, service: str, options: list[str] | None = None) -> Recorder:
        return Recorder(folder, self.document, [service], options or [])


@pytest.fixture
def site(tmp_path: Path, broker: KafkaServer) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, broker, stack)


def test_the_console_in_front_shows_and_plays_what_the_others_have(site: Site, tmp_path: Path) -> None:
    console = site.console
    done = wait_for(lambda: [one for one in console.recordings("c1") if not one["open"]], what="a recording is finished", deadline_s=180)[0]
    media = f"/api/recordings/{done['id']}/media"
    part = console.http.get(media, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["content-range"] == f"bytes 4-7/{done['size_bytes']}"
    assert count_frames(console.download(done, tmp_path)) == done["frames"] > 0
    assert console.recordings("c2") == []  # of the other share, which nobody took
    site.cameras.stop_listening()
    alarm = wait_for(lambda: console.alarms(channel="c1"), what="an alarm that the camera is away")[0]
    seen = console.http.post(f"/api/alarms/{alarm['alarm_id']}/acknowledge", json={"note": "seen"})
    assert seen.json()["acknowledged_by"] == "admin"

    _each_process_tells_its_health(site)
    _status_tells_of_all(console)
    assert _detail(console, "/api/counts") == AWAY.format("analytics")
    site.storage.kill()
    assert _detail(console, media) == AWAY.format("storage")
    assert console.http.get("/api/alarms").status_code == 200
    site.storage.start()
    wait_for(lambda: console.http.get(media).status_code == 200, what="storage is back")
    assert [process.stop() for process in site.processes] == [0, 0, 0, 0]


def _each_process_tells_its_health(site: Site) -> None:
    for name, process in (("ingest", site.ingest), ("storage", site.storage), ("alarms", site.alarms)):
        url = f"http://127.0.0.1:{process.port}"
        wait_for(lambda at=url, name=name: _health(at) == (200, [name]), what=f"{name} is well")  # type: ignore[misc]  # the defaults bind the loop's values
        assert "vedette_" in _ask(f"{url}/metrics").text
        assert _ask(f"{url}/api/recordings").status_code == 401


def _ask(url: str) -> httpx.Response:
    return httpx.get(url, timeout=120)


def _health(url: str) -> tuple[int, list[str]]:
    answer = _ask(f"{url}/healthz")
    return answer.status_code, list(answer.json()["services"])


def _status_tells_of_all(console: Recorder) -> None:
    """The analytics worker that the configuration names is not there: that is told, and the exit code says so."""
    command = [str(VEDETTE), "status", str(console.site_file)]
    wide = {**os.environ, "COLUMNS": "200"}

    def told() -> bool:
        """Once the console has asked all of them, and heard of the camera."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=wide)
        assert done.returncode == 1, done.stderr
        return all(re.search(line, done.stdout) for line in STATUS)

    wait_for(told, what="the status of all")


def _detail(console: Recorder, path: str) -> str:
    answer = console.http.get(path)
    assert answer.status_code == 503, answer.text
    return str(answer.json()["detail"])
