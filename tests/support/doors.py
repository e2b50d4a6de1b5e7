"""A site of cheap cameras that make alarms steadily: a figure crosses a line every eleven seconds, and a small network sees it.

The pictures are small and few, and the detector costs next to nothing: a whole site in processes of its own runs on two cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import NS_PER_S
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.walker import HEIGHT, WIDTH, floor, walker_model
from tests.support.webhooks import TEST_SECRET

FPS = 5
#: Where the figure is, frame by frame: it crosses the middle, and then nobody is there for long enough that the next one is another.
PLACES: tuple[float | None, ...] = (*(0.2 + 0.6 * step / 32 for step in range(33)), *[None] * 22)
#: Between two crossings.
PERIOD_NS = len(PLACES) * NS_PER_S // FPS
#: Frames may be so late, which is the most that can be set: a machine that is busy with killing and starting is late, not wrong.
STALE_NS = 60 * NS_PER_S
CENTRE = "station"
RULE = "line"


def walk(file: Path, begin: int) -> Path:
    """A loop of `PLACES` that begins at one of them: a segment and a key frame each second."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency", "threads": "1"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = WIDTH, HEIGHT, "yuv420p", FPS
        for number, place in enumerate((*PLACES[begin:], *PLACES[:begin])):
            pixels = floor(place).i420
            assert pixels is not None
            frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


@contextmanager
def doors(folder: Path, count: int) -> Iterator[SimulatorThread]:
    """Cameras at `/1`, `/2`, ..., each at another point of the loop, all on one clock: who connects again misses what it missed."""
    folder.mkdir(exist_ok=True)
    clips = [walk(folder / f"{number}.mp4", 5 * ((number - 1) * len(PLACES) // count // 5)) for number in range(1, count + 1)]
    with camera_simulator(*(CameraSpec(f"/{number}", clip, live=True) for number, clip in enumerate(clips, start=1))) as cameras:
        yield cameras


def watched_by(cameras: SimulatorThread, count: int, centre: str, folder: Path, *, file_s: int) -> dict[str, Any]:
    """The cameras' part of a site file. `centre`: where alarms are reported; `folder`: of the detector."""
    rule = {"kind": "tripwire", "id": RULE, "line": [[0.5, 0.0], [0.5, 1.0]], "anti_dither_s": 0, "linkage": {"webhooks": [CENTRE]}}
    return {
        "centres": [{"id": CENTRE, "url": centre, "secret": TEST_SECRET, "retry_max_s": 5}],
        "channels": [
            {
                "id": f"door-{number}",
                "number": number,
                "main": {"url": cameras.url(f"/{number}")},
                "analysis": {"fps": FPS, "width": WIDTH, "height": HEIGHT},
                "rules": [rule],
            }
            for number in range(1, count + 1)
        ],
        "ingest": {"segment_s": 1, "reconnect_max_s": 1, "status_every_s": 1},
        "storage": {"file_s": file_s, "min_free_bytes": 0, "sweep_every_s": 1},
        "analytics": {
            "model": str(walker_model(folder / "walker.onnx")),
            "engine": "onnx",
            "input_width": WIDTH,
            "input_height": HEIGHT,
            "stale_after_s": STALE_NS // NS_PER_S,
        },
    }
