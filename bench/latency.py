"""From a frame's capture to the webhook's arrival: 4 cameras, 5 frames/s, the whole recorder as its user runs it.

    python -m bench.latency [--cameras 4] [--seconds 92] [--deployment embedded|kafka] [--json FILE]

The cameras are the demo's gate scene over real RTSP on loopback, started out of step; their sender reports carry this machine's clock,
so capture time and arrival are of one clock. The receiver verifies every signature. `--deployment kafka` measures the same cameras twice in
one run: with everything in one process, and with ingest, storage, alarms, analytics and console in processes of their own as
docker-compose.yml starts them, on a real Kafka, MinIO and PostgreSQL.

Printed: p50, p95 and the largest, in milliseconds; their ratio to the floor of the same run: the time that one sampled frame waits for
the next at that rate (1000 / fps / 2), which no recorder that looks at `fps` frames a second can beat on average when the crossing falls
between two frames; the cores in use from the first webhook to the last, by Vedette's processes together and by each server; and the ratio
of both deployments. A demo of a noisy machine: quote medians of several runs. The exit code is 1 when a signature was wrong or `vedette
check` finds that anything is lost. No time gates anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench._machine import Meter
from bench._site import SERVERS, distributed
from services.cli.demo.scene import GATE, build_scenes
from services.cli.demo.simulated import CameraSpec
from tests.support.recorder import Recorder
from tests.support.rtsp import SimulatorThread, camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, Centre, monitoring_centre

NS_PER_MS = 1_000_000
#: As they are started: who makes the footage last.
SERVICES = ("storage", "alarms", "analytics-1", "console", "ingest")
STOPPED = ("ingest", "analytics-1", "alarms", "storage", "console")


@dataclass(frozen=True)
class Measured:
    """Milliseconds from capture to arrival, one per webhook, in order; cores in use, by part."""

    latencies: list[float]
    cores: dict[str, float]

    @property
    def p50(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p95(self) -> float:
        return self.latencies[min(len(self.latencies) - 1, round(0.95 * len(self.latencies)))]

    @property
    def vedette(self) -> float:
        """Cores in use by all of Vedette's processes."""
        return sum(cores for part, cores in self.cores.items() if part not in SERVERS)


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


def in_one_process(folder: Path, own: Mapping[str, Any], watch: Watch) -> Measured:
    """`vedette run`."""
    vedette = Recorder(folder, dict(own))
    try:
        vedette.start()
        found = watch({"vedette": [vedette.pid]})
        assert vedette.get("/api/status")
        vedette.stop()
        _require_whole(vedette.check())
        return found
    finally:
        vedette.kill()


def in_processes(folder: Path, own: Mapping[str, Any], watch: Watch) -> Measured:
    """The services of docker-compose.yml."""
    with distributed(folder, own) as site:
        site.start(*(name for name in SERVICES if name != "ingest"))
        site.start("ingest")  # whoever crosses before there is a worker is told late, not lost: that is no latency of a site at work
        found = watch(site.parts(SERVICES))
        assert site.deployed.get("/api/status")
        for name in STOPPED:
            site.deployed.stop(name)
        _require_whole(site.deployed.check())
        return found


Watch = Callable[[Mapping[str, Sequence[int]]], Measured]
DEPLOYMENTS: dict[str, Callable[[Path, Mapping[str, Any], Watch], Measured]] = {"embedded": in_one_process, "kafka": in_processes}


def measure(deployment: str, folder: Path, options: argparse.Namespace) -> Measured:
    """One deployment."""
    scene = next(built for built in build_scenes(folder / "scenes") if built.truth.name == GATE.name)
    specs = [CameraSpec(f"/gate{n}", scene.files.main) for n in range(options.cameras)]
    specs += [CameraSpec(f"/gate{n}/sub", scene.files.sub) for n in range(options.cameras)]
    expected = sum(1 for _ in GATE.crossings_before(options.seconds)) * options.cameras
    deadline_s = 120 + options.seconds * 3
    with camera_simulator(*specs) as simulator, monitoring_centre() as centre:

        def watch(parts: Mapping[str, Sequence[int]]) -> Measured:
            meter = Meter(parts)
            wait_for(centre.accepted, what="the first webhook", deadline_s=deadline_s)
            meter.begin()
            wait_for(lambda: len(centre.accepted()) >= expected, what=f"{expected} webhooks", deadline_s=deadline_s, every_s=0.5)
            meter.look()
            accepted = centre.accepted()
            assert all(delivery.verified for delivery in accepted), "a signature was wrong"
            latencies = sorted((delivery.arrived_ns - delivery.event["data"]["start_ns"]) / NS_PER_MS for delivery in accepted)
            return Measured(latencies, {part: meter.cores(part) for part in parts})

        return DEPLOYMENTS[deployment](folder / deployment, site(simulator, centre, options.cameras, options.fps), watch)


def _require_whole(checked: subprocess.CompletedProcess[str]) -> None:
    if checked.returncode:
        raise SystemExit(f"LOST: {checked.stdout}{checked.stderr}")


def tell(deployment: str, found: Measured, options: argparse.Namespace) -> None:
    """One deployment's figures."""
    floor_ms = 1000 / options.fps / 2
    print(
        f"{deployment}: {options.cameras} cameras at {options.fps:g} fps, {len(found.latencies)} webhooks: capture to arrival", flush=True
    )
    print(f"  p50 {found.p50:7.1f} ms   {found.p50 / floor_ms:5.2f} x half a sampling interval ({floor_ms:.0f} ms)")
    print(f"  p95 {found.p95:7.1f} ms   {found.p95 / floor_ms:5.2f} x   (aimed at: 500 ms)")
    print(f"  max {found.latencies[-1]:7.1f} ms")
    servers = "".join(f", {part} {cores:.2f}" for part, cores in found.cores.items() if part in SERVERS)
    print(f"  cores in use: Vedette {found.vedette:.2f}{servers}", flush=True)
    if servers:
        print("  of Vedette's: " + ", ".join(f"{part} {cores:.2f}" for part, cores in found.cores.items() if part not in SERVERS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--seconds", type=float, default=92, help="media seconds to watch; the scene is 46 s long")
    parser.add_argument("--deployment", choices=tuple(DEPLOYMENTS), default="embedded", help="kafka: embedded as well, in the same run")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Measured] = {}
    for deployment in ("embedded", "kafka")[: 1 + (options.deployment == "kafka")]:
        with tempfile.TemporaryDirectory(prefix="vedette-latency-") as folder:
            found[deployment] = measure(deployment, Path(folder), options)
        tell(deployment, found[deployment], options)
    if "kafka" in found:
        apart, inside = found["kafka"], found["embedded"]
        latency = f"p50 {apart.p50 / inside.p50:.2f} x ({apart.p50 - inside.p50:+.1f} ms), p95 {apart.p95 / inside.p95:.2f} x"
        cpu = f"{apart.vedette / inside.vedette:.2f} x, servers included {sum(apart.cores.values()) / inside.vedette:.2f} x"
        print(f"kafka against embedded: {latency}; CPU of Vedette's processes {cpu}")
    if options.json:
        options.json.write_text(json.dumps({name: asdict(one) for name, one in found.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
