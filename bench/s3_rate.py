"""Segments of many cameras into MinIO, by the storage service that the deployment runs, at the pace of the cameras; nothing may be lost.

    python -m bench.s3_rate [--seconds 300] [--cameras 64] [--mbit 4] [--bus kafka|embedded] [--folder FOLDER] [--deep] [--json FILE]

A real MinIO, a PostgreSQL that syncs as catalogue and alarm book, and by default a real Kafka with the settings of docker-compose.yml: what
the deployment has; on a small machine the broker, both servers, storage and the cameras share the cores. `--bus embedded` leaves the broker
out: cameras and storage are then one process. The segments are whole-GOP MP4s of about 4 s which ingest cut from a 1080p25 clip, a few made
once and published again under new ids and times, cameras out of step (bench/_segments.py).

Printed: MB/s and segments/s published and stored, storage's lag, CPU per MB (of broker and cameras until all is stored, of the others
until the last file is in MinIO) and memory by process; and the peer in the same run: the plain minio client (`fput_object`, one file of
60 s after the other) with as many bytes into the same MinIO, as fast as it goes. Then it is looked whether every acknowledged segment is
in the catalogue, every recording in the object store with its size, and `vedette check` is content (`--deep`: reads every byte): the exit
code is 1 when footage was lost. No time gates anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench._machine import Meter, metrics
from bench._s3_proof import waiting_files, what_is_lost
from bench._s3_tell import BEFORE_STORAGE, MB, Lag, Measured, Peer, tell
from bench._segments import Fed, make
from bench._site import distributed, postgres
from shared.config.services import S3Objects
from tests.support.minio import PASSWORD, USER, MinioServer
from tests.support.ports import free_port
from tests.support.waiting import wait_for

FILE_S, LOOK_S, IDLE_S = 60, 1.0, 10.0
UPLOADED_S, CHECK_S, STOP_S = 900.0, 3600.0, 120.0


@dataclass
class Running:
    """What is measured.

    Attributes:
        parts: process ids by name. `idle`: cores that they use while nothing comes.
        stop: ends storage. `servers`: ends the broker, and removes what it keeps.
    """

    parts: dict[str, list[int]]
    metrics_url: str
    feeder: subprocess.Popen[bytes]
    objects: S3Objects
    minio: MinioServer
    database: str
    stop: Callable[[], object]
    check: Callable[..., subprocess.CompletedProcess[str]]
    servers: Callable[[], object]
    idle: dict[str, float]


def own(cameras: int) -> dict[str, Any]:
    """What the site's file says: cameras of which storage hears by the bus alone."""
    channels = [{"id": f"cam{n}", "number": n + 1, "main": {"url": f"rtsp://127.0.0.1:9/{n}"}} for n in range(cameras)]
    return {"channels": channels, "storage": {"file_s": FILE_S}}


def feeder(folder: Path, options: argparse.Namespace, *where: object) -> subprocess.Popen[bytes]:
    """The cameras, a process of their own."""
    words = [folder, options.seconds, options.cameras, *where]
    with (folder / "feeder.log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-m", "bench._segments", *map(str, words)], stdin=subprocess.PIPE, stderr=log)


@contextmanager
def by_kafka(folder: Path, options: argparse.Namespace) -> Iterator[Running]:
    """The storage service of docker-compose.yml on a broker."""
    with distributed(folder / "site", own(options.cameras)) as site:
        site.start("storage")
        idle = Meter(site.parts(["storage"]))
        time.sleep(IDLE_S)  # what a start costs is over
        idle.begin()
        time.sleep(IDLE_S)
        idle.look()
        cameras = feeder(folder, options, site.broker.address)
        try:
            secret = site.deployed.site_file.parent / "secrets" / "database-url"
            yield Running(
                site.parts(["storage"]) | {"cameras": [cameras.pid]}, site.metrics_url("storage"), cameras, site.deployed.objects.config,
                site.deployed.objects, secret.read_text(encoding="utf-8"), lambda: site.deployed.stop("storage"), site.deployed.check,
                site.broker.stop, {name: idle.cores(name) for name in idle.parts},
            )  # fmt: skip
        finally:
            cameras.kill()
            cameras.wait()


@contextmanager
def embedded(folder: Path, options: argparse.Namespace) -> Iterator[Running]:
    """Storage and the cameras in one process."""
    with ExitStack() as stack:
        database = postgres(stack)
        (folder / "minio").mkdir()
        minio = MinioServer.start(folder / "minio")
        stack.callback(minio.stop)
        port, url, site = free_port(), database.database(), folder / "site.json"
        objects = {"kind": "s3", "endpoint": minio.config.endpoint, "access_key": USER, "secret_key": PASSWORD, "tls": False}
        document = own(options.cameras) | {"data_dir": str(folder / "data"), "objects": objects, "database": {"url": url}}
        site.write_text(json.dumps(document), encoding="utf-8")
        process = feeder(folder, options, port, site)
        stack.callback(process.kill)

        def check(*words: str) -> subprocess.CompletedProcess[str]:
            command = [str(Path(sys.executable).with_name("vedette")), "check", str(site), *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=CHECK_S, check=False)

        wait_for(lambda: answers(process, port), what="storage tells its metrics", deadline_s=120)
        parts = {"storage and cameras": [process.pid], "MinIO": [minio.process.pid], "PostgreSQL": [database.process.pid]}
        metrics_url = f"http://127.0.0.1:{port}/metrics"
        yield Running(parts, metrics_url, process, minio.config, minio, url, lambda: None, check, lambda: None, {})


def answers(process: subprocess.Popen[bytes], port: int) -> bool:
    import httpx

    assert process.poll() is None, "the process of storage ended by itself"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code in {200, 503}
    except httpx.HTTPError:
        return False


def watch(running: Running, folder: Path, meter: Meter) -> tuple[Fed, Lag, float]:
    """Until all that was published is stored: what was published, the lag, and how long until then."""
    lag, fed = Lag(), None
    began = time.monotonic()
    for look in range(10**9):
        found = metrics(running.metrics_url)
        lag.most = max(lag.most, found.get("vedette_reader_lag_messages/storage", 0.0))
        meter.look(memory=look % 5 == 0)
        if fed is None and (folder / "fed.json").exists():
            fed = Fed(**json.loads((folder / "fed.json").read_text(encoding="utf-8")))
            lag.end = found.get("vedette_reader_lag_messages/storage", 0.0)
        if fed is not None and found.get("vedette_storage_segments_total", 0.0) >= fed.segments:
            return fed, lag, time.monotonic() - began
        assert running.feeder.poll() is None, (folder / "feeder.log").read_text(encoding="utf-8", errors="replace")[-4000:]
        time.sleep(LOOK_S)
    raise AssertionError


def peer(running: Running, folder: Path, total: int) -> Peer:
    """As many bytes by the plain client, in files of a minute."""
    source = folder / "minute.mp4"
    with source.open("wb") as file:
        pool = [payload.read_bytes() for payload in sorted((folder / "segments").glob("*.mp4")) if payload.stem.isdigit()]
        file.writelines(pool[number % len(pool)] for number in range(FILE_S // 4))
    count = max(1, total // source.stat().st_size)
    meter = Meter({"MinIO": [running.minio.process.pid]})
    meter.begin()
    command = [sys.executable, "-m", "bench._s3_put", running.objects.endpoint, str(source), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    meter.look()
    seconds, client_s = json.loads(done.stdout.splitlines()[-1])
    mb = count * source.stat().st_size / MB
    return Peer(mb / seconds, client_s * 1000 / mb, meter.cpu["MinIO"] * 1000 / mb)


def require_room(folder: Path, options: argparse.Namespace) -> None:
    """The broker's log and the objects, later the objects and the peer's; and the files that are still open or on their way."""
    video = options.seconds * options.cameras * options.mbit / 8 * MB
    open_files = 2 * FILE_S * options.cameras * options.mbit / 8 * MB
    need, free = 2.1 * video + min(open_files, video) + 2e9, shutil.disk_usage(folder).free
    print(f"video {video / 1e9:.1f} GB; needs {need / 1e9:.1f} GB on the disk of {folder.parent}, free {free / 1e9:.1f} GB", flush=True)
    if free < need:
        raise SystemExit("too little room: fewer --seconds or --cameras, or TMPDIR (and --folder) on another disk")


def measure(folder: Path, options: argparse.Namespace) -> Measured:
    """The figures, and what is lost."""
    (folder / "segments").mkdir()
    asyncio.run(make(folder / "segments", options.mbit))
    with (by_kafka if options.bus == "kafka" else embedded)(folder, options) as running:
        meter = Meter(running.parts)
        meter.begin()
        fed, lag, stored_s = watch(running, folder, meter)
        print("all is stored; waiting until the last files are in MinIO", flush=True)
        wait_for(lambda: not waiting_files(running.database), what="all is in MinIO", deadline_s=UPLOADED_S, every_s=LOOK_S)
        meter.look(*(name for name in running.parts if name not in BEFORE_STORAGE))
        assert running.feeder.stdin is not None
        running.feeder.stdin.close()
        running.feeder.wait(STOP_S)
        running.stop()
        checked = running.check(*(["--deep"] if options.deep else []))
        lost = what_is_lost(running.database, running.objects, (folder / "acknowledged").read_text(encoding="ascii").split())
        running.servers()
        found = Measured(fed, lag, stored_s, meter.cpu, meter.memory, running.idle, peer(running, folder, fed.bytes), lost)
    print(f"vedette check{' --deep' if options.deep else ''}: {checked.stdout.strip() or checked.stderr.strip()}")
    if checked.returncode:
        lost.append("vedette check found problems")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--mbit", type=float, default=4)
    parser.add_argument("--bus", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--folder", type=Path, help="where MinIO and storage write; servers of their own folders: TMPDIR")
    parser.add_argument("--deep", action="store_true", help="check every byte afterwards")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vedette-s3-rate-", dir=options.folder) as name:
        folder = Path(name)
        require_room(folder, options)
        found = measure(folder, options)
    tell(found, f"{options.cameras} cameras x {options.mbit:g} Mbit/s, {options.seconds:g} s, bus: {options.bus}", FILE_S)
    if options.json:
        options.json.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    for what in found.lost:
        print(f"LOST: {what}")
    print(f"load: {os.getloadavg()[0]:.2f}")
    if found.lost:
        raise SystemExit(1)
    print("nothing is lost: every acknowledged segment is in the catalogue, every recording in MinIO")


if __name__ == "__main__":
    main()
