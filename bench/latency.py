"""From a frame's capture to the webhook's arrival: 4 cameras, 5 frames/s, the whole recorder as its user runs it.

    python -m bench.latency [--cameras 4] [--seconds 120] [--json FILE]

The cameras are the demo's gate scene over real RTSP on loopback, started out of step; their sender reports carry this machine's clock,
so capture time and arrival are of one clock. The receiver verifies every signature. Printed: p50, p95 and the largest, in milliseconds,
and their ratio to the floor of the same run: the time that one sampled frame waits for the next at that rate (1000 / fps / 2), which no
recorder that looks at `fps` frames a second can beat on average when the crossing falls between two frames. A demo of a noisy machine:
quote medians of several runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from services.cli.demo.scene import GATE, build_scenes
from services.cli.demo.simulated import CameraSpec
from tests.support.recorder import Recorder, recorder
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, Centre, monitoring_centre

NS_PER_MS = 1_000_000


def site(simulator: SimulatorThread, centre: Centre, cameras: int, fps: float) -> dict[str, Any]:
    """`cameras` gates that report every crossing to one centre."""
    rule = {
        "kind": "tripwire",
        "id": "line",
        "line": [list(point) for point in GATE.lines[0].points],
        "targets": ["human"],
        "anti_dither_s": 0,
        "linkage": {"webhooks": ["station"]},
    }
    return {
        "centres": [{"kind": "webhook", "id": "station", "url": centre.url, "secret": TEST_SECRET}],
        "channels": [
            {
                "id": f"gate{n}",
                "number": n + 1,
                "main": {"url": simulator.url(f"/gate{n}")},
                "sub": {"url": simulator.url(f"/gate{n}/sub")},
                "analysis": {"fps": fps},
                "rules": [rule],
            }
            for n in range(cameras)
        ],
    }


def measure(folder: Path, cameras: int, fps: float, seconds: float) -> list[float]:
    """Milliseconds from capture to arrival, one per webhook."""
    scene = next(built for built in build_scenes(folder / "scenes") if built.truth.name == GATE.name)
    specs = [CameraSpec(f"/gate{n}", scene.files.main) for n in range(cameras)]
    specs += [CameraSpec(f"/gate{n}/sub", scene.files.sub) for n in range(cameras)]
    with camera_simulator(*specs) as simulator, monitoring_centre() as centre:
        with recorder(folder, site(simulator, centre, cameras, fps)) as vedette:
            expected = sum(1 for c in GATE.crossings_before(seconds)) * cameras
            wait_for(lambda: len(centre.accepted()) >= expected, what=f"{expected} webhooks", deadline_s=seconds * 3, every_s=0.5)
            _assert_sound(vedette, centre)
        return [(delivery.arrived_ns - delivery.event["data"]["start_ns"]) / NS_PER_MS for delivery in centre.accepted()]


def _assert_sound(vedette: Recorder, centre: Centre) -> None:
    assert all(delivery.verified for delivery in centre.accepted()), "a signature was wrong"
    assert vedette.get("/api/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--seconds", type=float, default=92, help="media seconds to watch; the scene is 46 s long")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vedette-latency-") as folder:
        latencies = sorted(measure(Path(folder), options.cameras, options.fps, options.seconds))
    floor_ms = 1000 / options.fps / 2
    p50, p95 = statistics.median(latencies), latencies[min(len(latencies) - 1, round(0.95 * len(latencies)))]
    figures = {"webhooks": len(latencies), "p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "max_ms": round(latencies[-1], 1)}
    print(f"{options.cameras} cameras at {options.fps:g} fps, {len(latencies)} webhooks: capture to arrival", flush=True)
    print(f"  p50 {p50:7.1f} ms   {p50 / floor_ms:5.2f} x half a sampling interval ({floor_ms:.0f} ms)")
    print(f"  p95 {p95:7.1f} ms   {p95 / floor_ms:5.2f} x   (aimed at: 500 ms)")
    print(f"  max {latencies[-1]:7.1f} ms")
    if options.json:
        options.json.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
