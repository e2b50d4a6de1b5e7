"""Frames/s of analytics with one worker and with two, each on a core of its own: what another worker brings.

    python -m bench.workers [--seconds 30] [--channels 24] [--json FILE]

The workers are the analytics service that docker-compose.yml runs, pinned to one core each with all their threads; a real Kafka with the
settings of docker-compose.yml and a PostgreSQL that syncs are not pinned and share the two cores, and what they take meanwhile is printed.
Frames are real footage of people, 640x360 as JPEG, on channels that spread evenly over the partitions, with a line across each picture. The
motion gate is off: the detector looks at every frame. Workers start first and share the partitions; then a backlog is published at once
(too many frames for the time; frames as old as 60 s are taken, so that none is stale while it is measured), and frames/s are counted by
the workers' own metrics, after a few seconds of warm-up, while every worker has frames left. In turns: one worker on core 0, two, one on
core 1.

The peer in the same run: the same engine alone on one core and on both, pictures in memory (what the machine has to give; its own ratio
says what the second core is worth), and plain Ultralytics `predict` on one core. The exit code is 1 when a frame was dropped while it was
measured. No time gates anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from bench._frames import people, preload
from bench._machine import Meter, metrics, pinned
from bench._site import SERVERS, Site, distributed
from tests.support.waiting import wait_for

WORKERS, CORES = ("analytics-1", "analytics-2"), (0, 1)
STALE_S, SETTLE_S, JOINED_S = 60.0, 5.0, 300.0
#: More than a core of today can look at.
MOST_PER_S = 60


@dataclass(frozen=True)
class Counted:
    """Of one phase. `each`: frames/s by worker; `cores`: in use, by part; `dropped`: frames."""

    each: list[float]
    cores: dict[str, float]
    dropped: float

    @property
    def rate(self) -> float:
        return sum(self.each)

    @property
    def per_cpu_s(self) -> float:
        """Frames per second of the workers' CPU: what is left of the figure when others use the machine too."""
        return self.rate / sum(cores for part, cores in self.cores.items() if part in WORKERS)


@dataclass(frozen=True)
class Alone:
    """Of a detector without a worker: frames/s of all its processes, frames per second of CPU."""

    rate: float
    per_cpu_s: float


def own(channels: int) -> dict[str, Any]:
    """Channels with a line across the picture; the detector looks at every frame."""
    rule = {"kind": "tripwire", "id": "line", "line": [[0.0, 0.6], [1.0, 0.6]], "targets": ["human"]}
    cameras = [
        {"id": f"cam{n}", "number": n + 1, "main": {"url": f"rtsp://127.0.0.1:9/{n}"}, "analysis": {"fps": 5}, "rules": [rule]}
        for n in range(channels)
    ]
    return {"channels": cameras, "analytics": {"stale_after_s": STALE_S, "motion_gate": False}}


def held(site: Site, worker: str) -> int:
    """Channels that a worker has; -1: it has frames left of before, or is not ready."""
    site.deployed.healthy(worker)  # it runs
    try:
        told = httpx.get(site.deployed.health_url(worker), timeout=10).json()["services"]["analytics"]["details"]
    except (httpx.HTTPError, KeyError):
        return -1
    return int(told["channels"]) if "detector" in told and not told["lag"] and not told["in_flight"] else -1


def phase(site: Site, cores: Sequence[int], jpegs: Sequence[bytes], options: argparse.Namespace) -> Counted:
    """Workers on these cores, one each, from their start to their end."""
    names = WORKERS[: len(cores)]
    with ExitStack() as stack:
        for name, core in zip(names, cores, strict=True):
            with pinned(core):
                site.deployed.start(name)
            stack.callback(site.deployed.stop, name)
        share = {options.channels // len(names), -(-options.channels // len(names))}
        wait_for(
            lambda: {held(site, name) for name in names} <= share, what="the workers share the channels", deadline_s=JOINED_S, every_s=0.5
        )
        each = round((options.seconds + 2 * SETTLE_S) * MOST_PER_S * len(names) / options.channels)
        asyncio.run(preload(site.broker.address, jpegs, options.channels, each))
        return count(site, names, options.seconds)


def count(site: Site, names: Sequence[str], seconds: float) -> Counted:
    """Frames/s while every worker has more than it can do."""
    time.sleep(SETTLE_S)
    meter = Meter(site.parts(names))
    meter.begin()
    before = [(metrics(site.metrics_url(name)), time.monotonic()) for name in names]
    time.sleep(seconds)
    after = [(metrics(site.metrics_url(name)), time.monotonic()) for name in names]
    meter.look()
    rates, dropped = [], 0.0
    for (old, began), (new, ended) in zip(before, after, strict=True):
        if not new["vedette_reader_lag_messages/analytics"]:
            raise SystemExit("a worker had nothing left to do: MOST_PER_S is too small for this machine")
        looked = "vedette_analytics_frames_detected_total"
        rates.append((new[looked] - old.get(looked, 0.0)) / (ended - began))
        dropped += new.get("vedette_analytics_frames_dropped_total", 0.0) - old.get("vedette_analytics_frames_dropped_total", 0.0)
    return Counted(rates, {name: meter.cores(name) for name in meter.parts}, dropped)


def alone(kind: str, cores: Sequence[int], seconds: float) -> Alone:
    """The detector alone, one process on each core."""
    running = []
    for core in cores:
        with pinned(core):
            command = [sys.executable, "-m", "bench._detector", kind, str(seconds)]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
    said = [process.communicate()[0] for process in running]
    assert not any(process.returncode for process in running), f"the detector alone ({kind}) failed"
    rates, per_cpu_s = zip(*([float(word) for word in text.split()[-2:]] for text in said), strict=True)
    return Alone(sum(rates), sum(per_cpu_s) / len(cores))


def row(name: str, found: Counted | Alone, extra: str = "") -> None:
    print(f"| {name:<27} | {found.rate:6.1f} | {found.per_cpu_s:6.1f} | {extra} |", flush=True)


def tell(phases: dict[str, Counted], raw: dict[str, Alone]) -> dict[str, Any]:
    """The table and the ratios; all of it as values."""
    print("\n| on one core each            | frames/s | frames per CPU-second | cores in use |\n|---|---|---|---|")
    for name, found in phases.items():
        cores = ", ".join(f"{part} {found.cores[part]:.2f}" for part in found.cores if part in (*WORKERS, *SERVERS) and part != "MinIO")
        row(name, found, cores)
    for name, rates in raw.items():
        row(name, rates)
    one = (phases["one worker, core 0"].rate + phases["one worker, core 1"].rate) / 2
    two, engine = phases["two workers"].rate, (raw["OpenVINO alone, core 0"].rate + raw["OpenVINO alone, core 1"].rate) / 2
    predict, both = raw["Ultralytics predict, core 0"].rate, raw["OpenVINO alone, both cores"].rate
    print(f"\ntwo workers: {two / one:.2f} x one (mean of both cores; aimed at: 1.8); the engine alone: {both / engine:.2f} x")
    print(f"of the engine alone: one worker reaches {one / engine:.2f}, two {two / both:.2f}")
    print(f"one worker: {one / predict:.2f} x Ultralytics predict alone")
    return {
        "phases": {name: asdict(found) for name, found in phases.items()},
        "alone": {name: asdict(rates) for name, rates in raw.items()},
        "two_to_one": two / one,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--channels", type=int, default=24)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not os.sched_getaffinity(0) >= set(CORES):
        raise SystemExit("two cores are needed: 0 and 1")
    if options.seconds + 2 * SETTLE_S > STALE_S:
        raise SystemExit(f"frames may be {STALE_S:.0f} s old at most: at most {STALE_S - 2 * SETTLE_S:.0f} --seconds")
    jpegs = people()
    raw = {
        "OpenVINO alone, core 0": alone("openvino", [0], options.seconds / 2),
        "OpenVINO alone, both cores": alone("openvino", CORES, options.seconds / 2),
        "OpenVINO alone, core 1": alone("openvino", [1], options.seconds / 2),
        "Ultralytics predict, core 0": alone("predict", [0], options.seconds / 2),
    }
    with (
        tempfile.TemporaryDirectory(prefix="vedette-workers-") as folder,
        distributed(Path(folder) / "site", own(options.channels)) as site,
    ):
        phases = {
            "one worker, core 0": phase(site, [0], jpegs, options),
            "two workers": phase(site, CORES, jpegs, options),
            "one worker, core 1": phase(site, [1], jpegs, options),
        }
    figures = tell(phases, raw)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"load: {os.getloadavg()[0]:.2f}")
    if dropped := sum(found.dropped for found in phases.values()):
        raise SystemExit(f"{dropped:.0f} frames were dropped")


if __name__ == "__main__":
    main()
