"""Bad cameras beside a good one: each says clearly what is wrong, and none of them costs the good one a frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from services.cli.demo.faults import PacketLoss, ScriptedFault, Silence, SwitchSource, TimestampJump
from services.cli.demo.rtsp_auth import Credentials
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import NS_PER_S
from tests.support.clips import make_clip
from tests.support.ports import free_port
from tests.support.recorder import Recorder, count_frames, recorder
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FPS = 10
GOOD_S = 40
PASSWORD = "right-password-77"
WRONG = "wrong-password-88"
#: Cameras that cannot be recorded: the error, and a word of the reason.
BAD = {
    "wrong-password": ("CameraAuthError", "password"),
    "wrong-path": ("CameraNotFound", "path"),
    "no-route": ("CameraUnreachable", "refused"),
    "silent": ("CameraUnreachable", "nothing came for 5 s"),
    "zero-bytes": ("CameraStreamError", "empty"),
}


@dataclass
class Story:
    recorder: Recorder
    folder: Path
    good_frames_sent: int
    states: dict[str, set[tuple[str, str, str]]]

    def reasons(self, channel: str) -> str:
        """Every reason that the channel gave when it went offline."""
        return " | ".join(sorted(entry["reason"] for entry in self._offline(channel)))

    def errors(self, channel: str) -> set[str]:
        return {entry["error"] for entry in self._offline(channel)}

    def told(self, channel: str) -> bool:
        """Whether the page has said, with a reason, that it is offline."""
        return any(state == "offline" and reason for state, _, reason in self.states[channel])

    def _offline(self, channel: str) -> list[dict[str, Any]]:
        """By the log: a state that lasts for a second or two may come and go between two questions to the page."""
        whole, _, _ = (self.recorder.data_dir / "log" / "vedette.log").read_text(encoding="utf-8").rpartition("\n")
        entries = [json.loads(line) for line in whole.splitlines() if "the camera is offline" in line]
        return [entry for entry in entries if entry["event"] == "the camera is offline" and entry["channel"] == channel]


def channel(number: int, name: str, url: str, **stream: Any) -> dict[str, Any]:
    return {"id": name, "number": number, "main": {"url": url, **stream}, "analysis": {"enabled": False}}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("bad-input")
    good = make_clip(folder / "good.mp4", seconds=GOOD_S, fps=FPS, gop=FPS)
    other = make_clip(folder / "other.mp4", video="h265", seconds=20, fps=FPS, gop=FPS)
    (folder / "empty.mp4").touch()
    secured = Credentials("viewer", PASSWORD)
    cameras = [
        CameraSpec("/good", good, loop=False),
        CameraSpec("/secured", good, credentials=secured),
        CameraSpec("/silent", good, script=(ScriptedFault(5, Silence()),)),
        CameraSpec("/corrupt", good, seed=7, script=(ScriptedFault(5, PacketLoss(drop_share=0.02, corrupt_share=0.05, seed=7)),)),
        CameraSpec("/switching", good, script=(ScriptedFault(8, SwitchSource(other)),)),
        CameraSpec("/jumping", good, script=(ScriptedFault(8, TimestampJump(86_400)),)),
    ]
    with camera_simulator(*cameras) as simulator:
        base = simulator.url("/good").removesuffix("/good")
        site: dict[str, Any] = {
            "ingest": {"read_timeout_s": 5, "connect_timeout_s": 5, "reconnect_max_s": 5, "status_every_s": 1},
            "channels": [
                channel(1, "good", f"{base}/good"),
                channel(2, "wrong-password", f"{base}/secured", user="viewer", password=WRONG),
                channel(3, "wrong-path", f"{base}/nowhere"),
                channel(4, "no-route", f"rtsp://127.0.0.1:{free_port()}/cam"),
                channel(5, "silent", f"{base}/silent"),
                channel(6, "corrupt", f"{base}/corrupt"),
                channel(7, "switching", f"{base}/switching"),
                channel(8, "jumping", f"{base}/jumping"),
                channel(9, "zero-bytes", (folder / "empty.mp4").as_uri()),
            ],
        }
        with recorder(folder, site) as vedette:
            states: dict[str, set[tuple[str, str, str]]] = {c["id"]: set() for c in site["channels"]}

            def watched() -> int:
                for status in vedette.get("/api/status")["channels"]:
                    states[status["channel"]].add((status["state"], status.get("error", ""), status["reason"]))
                return sum(recording["frames"] for recording in vedette.recordings("good"))

            wait_for(lambda: watched() >= GOOD_S * FPS, what="the good camera's frames are stored", deadline_s=180, every_s=0.3)
            sent = simulator.stats("/good").clients[0].video_frames_sent
            story = Story(vedette, folder, sent, states)
            wait_for(lambda: watched() and all(map(story.told, BAD)), what="the page has told of every bad camera")
            wait_for(lambda: "nothing came" in story.reasons("silent"), what="the silence is noticed")
            yield story


def test_the_good_camera_loses_nothing(story: Story) -> None:
    recordings = story.recorder.recordings("good")
    first_pass: list[dict[str, Any]] = []
    for recording in recordings:
        first_pass.append(recording)
        if sum(r["frames"] for r in first_pass) >= story.good_frames_sent:
            break
    counted = sum(count_frames(story.recorder.download(recording, story.folder)) for recording in first_pass)
    assert counted == story.good_frames_sent == GOOD_S * FPS
    assert all(abs(b["start_ns"] - a["end_ns"]) < NS_PER_S / FPS for a, b in pairwise(first_pass))


@pytest.mark.parametrize(("name", "error", "says"), [(name, *what) for name, what in BAD.items()])
def test_each_bad_camera_says_what_is_wrong(story: Story, name: str, error: str, says: str) -> None:
    assert error in story.errors(name), story.reasons(name)
    assert says in story.reasons(name).lower(), story.reasons(name)


@pytest.mark.parametrize("name", ["corrupt", "switching", "jumping"])
def test_a_disturbed_stream_is_recorded_before_and_after(story: Story, name: str) -> None:
    recordings = story.recorder.recordings(name)
    assert sum(recording["frames"] for recording in recordings) > 15 * FPS
    for recording in recordings:
        length_s = (recording["end_ns"] - recording["start_ns"]) / NS_PER_S
        assert 0 < length_s < 75, recording  # never a file of the wrong length


def test_a_codec_switch_begins_a_new_file(story: Story) -> None:
    assert {recording["codec"] for recording in story.recorder.recordings("switching")} == {"h264", "hevc"}


def test_no_password_is_shown_anywhere(story: Story) -> None:
    shown = story.recorder.log() + repr(story.states) + repr(story.recorder.get("/api/status")) + repr(story.recorder.get("/api/site"))
    assert WRONG not in shown
    assert PASSWORD not in shown
