"""A recorder that is killed: what was taken of its cameras is on the disk, but for what every camera has open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import IO

import pytest

from services.ingest.adapters.spool import Spool
from shared.domain.clock import NS_PER_S
from shared.messages import SegmentMessage
from tests.support.clips import make_clip
from tests.support.ingest import channel, ingest, play

pytestmark = pytest.mark.integration

FPS, GOP = 10, 10
FRAME_NS = NS_PER_S // FPS
CAMERAS = ("cam1", "cam2")
CRASHING = """
import asyncio, sys
from pathlib import Path
from tests.integration.test_ingest_kill import record
asyncio.run(record(Path(sys.argv[1]), sys.argv[2]))
"""


async def record(folder: Path, url: str) -> None:
    """In a process of its own: say of each picture that came out of a camera when it was captured. It was recorded before that."""
    setups = [channel(name, number, url) for number, name in enumerate(CAMERAS, 1)]
    async with ingest(*setups, data_dir=folder, take=False, segment_s=2) as received:
        while True:
            said = len(received.frames)
            await received.until(lambda r, said=said: len(r.frames) > said)  # type: ignore[misc]  # mypy infers no lambda with a default
            for frame in received.frames[said:]:
                print("captured", frame.channel, frame.capture_ns, flush=True)  # noqa: T201  # it is read by the test


class Captured:
    """What the process has said, by camera, ns. `until_each` is for another thread than `read`'s."""

    def __init__(self) -> None:
        self.at_ns: dict[str, list[int]] = {name: [] for name in CAMERAS}
        self._news = threading.Condition()

    def read(self, lines: IO[str] | None) -> None:
        """To the end, so that the process never waits for its pipe; its log may come in between."""
        assert lines is not None
        for line in lines:
            match line.split():
                case ["captured", name, at_ns] if line.endswith("\n"):
                    with self._news:
                        self.at_ns[name].append(int(at_ns))
                        self._news.notify_all()

    def until(self, enough: Callable[[], bool]) -> bool:
        with self._news:
            return self._news.wait_for(enough, 300)


@pytest.mark.parametrize("pictures", [2, 6, 8, 12])
def test_kill_9_loses_at_most_the_open_group_of_pictures(tmp_path: Path, pictures: int) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=2, fps=FPS, gop=GOP)
    arguments = [sys.executable, "-c", CRASHING, str(tmp_path), clip.as_uri()]
    captured = Captured()
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2], env=os.environ) as process:
        reader = threading.Thread(target=captured.read, args=(process.stdout,))
        reader.start()
        began = captured.until(lambda: all(len(times) >= pictures for times in captured.at_ns.values()))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        reader.join(60)
    assert began
    spool = Spool(tmp_path / "spool", 1 << 30)
    spool.open()
    assert not list((tmp_path / "spool").rglob("*.part"))
    for name in CAMERAS:
        segments = read_all(spool, name)
        for segment in segments:
            assert play(segment.payload, tmp_path).pictures == segment.frames
        assert all(a.end_ns == b.start_ns for a, b in pairwise(segments))
        first_ns, last_ns = captured.at_ns[name][0], captured.at_ns[name][-1]
        # Not on the disk: the group that the last picture is of; also the one before, when it is the first of its group.
        recorded_ns = segments[-1].end_ns if segments else first_ns
        assert last_ns - recorded_ns <= GOP * FRAME_NS + FRAME_NS // 2


def read_all(spool: Spool, name: str) -> list[SegmentMessage]:
    found, number = list[SegmentMessage](), -1
    while (entry := spool.next_after(name, number)) is not None:
        found.append(spool.load(entry))
        number = entry.number
    return found
