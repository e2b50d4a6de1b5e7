"""What recording costs: CPU and memory per 1080p25 4 Mbit/s camera, against `ffmpeg -c copy -f segment` in the same run.

    python bench/record_cost.py [--cameras 1 8 16] [--seconds 25]

The camera simulator serves RTSP over TCP from a process of its own. Peer: one ffmpeg per camera. Ours, analysis off, one process each:
"ingest" is ingest with its durable spool and the embedded bus, whose reader acknowledges; "+ storage" also has the storage service,
which writes everything a second time (recording files, fsynced, checksums verified, catalogue). CPU is utime + stime of /proc over the
same window, as a share of one core; memory is PSS (what processes share counts in part). Prints ratios; gates nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.bus.port import Bus

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench._machine import cpu_s, pss_mib  # noqa: E402  # this file is run by its path as well

WARM_UP_S = 6.0
MBIT, FPS, GOP, CLIP_S = 4.0, 25, 50, 12


@dataclass(frozen=True)
class Cost:
    """Per camera: CPU in percent of one core, memory in MiB."""

    cpu: float
    mib: float


def make_clip(file: Path, mbit: float = MBIT) -> None:
    """A 1080p25 H.264 clip of `mbit` Mbit/s constant bit rate with a GOP of 2 s and no B-frames, as cameras send it."""
    source = f"testsrc2=size=1920x1080:rate={FPS}:duration={CLIP_S},noise=alls=12:allf=t"
    codec = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", str(GOP), "-keyint_min", str(GOP), "-sc_threshold", "0"]
    bit_rate = f"{mbit:g}M"
    rate = ["-b:v", bit_rate, "-maxrate", bit_rate, "-bufsize", bit_rate, "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *codec, *rate, str(file)], check=True)


async def serve(file: Path, count: int) -> None:
    """The cameras' process: prints the port and serves until it is killed."""
    from services.cli.demo.camera import CameraSimulator
    from services.cli.demo.simulated import CameraSpec
    from shared.domain.clock import SystemClock

    async with CameraSimulator(SystemClock()) as simulator:
        for number in range(count):
            await simulator.add(CameraSpec(f"/cam{number}", file))
        print(simulator.port, flush=True)
        await asyncio.Event().wait()


async def record(folder: Path, urls: list[str], *, storage: bool) -> None:
    """Our process: ingest, spool, bus, and storage or a reader in its place, until it is told to stop."""
    from services.ingest.app import create as create_ingest
    from services.storage.app import create as create_storage
    from shared.bus.embedded import EmbeddedBus
    from shared.config.site import SiteConfig
    from shared.domain.clock import SystemClock
    from shared.report import Reporter
    from shared.service import Runtime, Service

    clock = SystemClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    channels = [
        {"id": f"cam{number}", "number": number + 1, "main": {"url": url}, "analysis": {"enabled": False}}
        for number, url in enumerate(urls)
    ]
    # The peer decodes nothing, so neither do we: no live pictures.
    site = SiteConfig.model_validate({"data_dir": str(folder), "channels": channels, "ingest": {"live_fps": 0}})
    runtime = Runtime(site, bus, clock, folder, Reporter(bus.producer, clock, "bench"))
    services: list[Service] = [create_storage(runtime)] if storage else []
    services.append(create_ingest(runtime))
    reader = None if storage else asyncio.create_task(acknowledge(bus))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    for service in services:
        await service.start()
    print("recording", flush=True)
    await stop.wait()
    for service in reversed(services):
        await service.stop()
    if reader is not None:
        reader.cancel()
    await bus.stop()


async def acknowledge(bus: Bus) -> None:
    """In storage's place: commit what comes."""
    from shared.topics import SEGMENTS

    consumer = await bus.consumer([SEGMENTS], group="storage")
    while True:
        await consumer.commit([record.position for record in await consumer.poll()])


def watch(pids: list[int], seconds: float, cameras: int) -> Cost:
    """Measure processes over a window after the warm-up."""
    time.sleep(WARM_UP_S)
    begun, cpu = time.monotonic(), sum(map(cpu_s, pids))
    time.sleep(seconds)
    took, cpu = time.monotonic() - begun, sum(map(cpu_s, pids)) - cpu
    return Cost(cpu / took / cameras * 100, sum(map(pss_mib, pids)) / cameras)


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A part of this benchmark as a process of its own, ready when it printed a line."""
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()


def measure_ffmpeg(urls: list[str], seconds: float) -> Cost:
    """One ffmpeg per camera."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        children = []
        try:
            for number, url in enumerate(urls):
                output = ["-c", "copy", "-f", "segment", "-segment_time", "4", "-reset_timestamps", "1", f"{folder}/{number}-%05d.mp4"]
                command = ["ffmpeg", "-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", url, *output]
                children.append(subprocess.Popen(command))
            return watch([child.pid for child in children], seconds, len(urls))
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(15)


def measure_ours(urls: list[str], seconds: float, mode: str) -> Cost:
    """Everything of ours in one process."""
    with tempfile.TemporaryDirectory() as name, process(mode, name, *urls) as child:
        assert child.stdout is not None
        child.stdout.readline()
        return watch([child.pid], seconds, len(urls))


def compare(file: Path, cameras: int, seconds: float) -> None:
    """One step of the benchmark."""
    with process("--serve", str(file), str(cameras)) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        urls = [f"rtsp://127.0.0.1:{port}/cam{number}" for number in range(cameras)]
        costs = {"ffmpeg": measure_ffmpeg(urls, seconds)}
        costs["ingest"] = measure_ours(urls, seconds, "--record")
        costs["+ storage"] = measure_ours(urls, seconds, "--record-and-store")
    peer = costs["ffmpeg"]
    for name, cost in costs.items():
        figures = f"{cost.cpu:5.2f} % of a core {cost.mib:6.1f} MiB per camera"
        print(f"{cameras:3d} cameras  {name:10s} {figures}   {cost.cpu / peer.cpu:5.2f} x CPU {cost.mib - peer.mib:+6.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--record", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--record-and-store", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(Path(arguments.serve[0]), int(arguments.serve[1])))
    elif arguments.record or arguments.record_and_store:
        folder, *urls = arguments.record or arguments.record_and_store
        asyncio.run(record(Path(folder), urls, storage=bool(arguments.record_and_store)))
    else:
        if shutil.which("ffmpeg") is None:
            raise SystemExit("the peer is missing: install ffmpeg")
        with tempfile.TemporaryDirectory() as scratch:
            clip = Path(scratch) / "clip.mp4"
            make_clip(clip)
            for cameras in arguments.cameras:
                compare(clip, cameras, arguments.seconds)


if __name__ == "__main__":
    main()
