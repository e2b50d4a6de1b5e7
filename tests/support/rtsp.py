"""RTSP servers for tests: the camera simulator on a thread of its own, and GStreamer's server as an independent peer.

    with camera_simulator(CameraSpec("/cam1", clip, loop=False)) as simulator:
        read(simulator.url("/cam1")); simulator.stats("/cam1").video_frames_sent

    with gst_rtsp_server({"/cam1": clip}, user="admin", password="secret") as server:
        read(server.url("/cam1"))

Async tests can use `CameraSimulator` itself (`async with`), on their own loop.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from services.cli.demo.camera import CameraSimulator
from services.cli.demo.faults import Fault
from services.cli.demo.simulated import CameraSpec, CameraStats
from services.cli.demo.source import load_source
from shared.domain.clock import SystemClock

SYSTEM_PYTHON = Path("/usr/bin/python3")
GST_SERVER = Path(__file__).with_name("gst_rtsp_server.py")
T = TypeVar("T")


class SimulatorThread:
    """Thread-safe handle of a simulator that runs on its own event loop. Every call waits for its effect."""

    def __init__(self, loop: asyncio.AbstractEventLoop, simulator: CameraSimulator) -> None:
        self._loop, self._simulator = loop, simulator

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float = 180.0) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    @property
    def port(self) -> int:
        return self._simulator.port

    def url(self, path: str, *, with_credentials: bool = True) -> str:
        """Address of a camera for a client."""
        return self._simulator.url(path, with_credentials=with_credentials)

    def add(self, spec: CameraSpec) -> None:
        """Add a camera while running."""
        self._call(self._simulator.add(spec))

    def apply(self, path: str, fault: Fault) -> None:
        """Make a fault happen now."""
        self._call(self._simulator.apply(path, fault))

    def stats(self, path: str) -> CameraStats:
        """What a camera has sent."""

        async def read() -> CameraStats:
            return self._simulator.stats(path)

        return self._call(read())

    def wait_until(self, path: str, predicate: Callable[[CameraStats], bool], timeout_s: float = 120.0) -> CameraStats:
        """Wait for a camera's counters. Raises TimeoutError at the deadline."""
        return self._call(asyncio.wait_for(self._simulator.wait_until(path, predicate), timeout_s), timeout_s + 5)

    def stop_listening(self, *, cut: bool = True) -> None:
        """Close the port: clients see "connection refused"."""
        self._call(self._simulator.stop_listening(cut=cut))

    def listen(self) -> None:
        """Open the same port again."""
        self._call(self._simulator.listen())


@contextmanager
def camera_simulator(*specs: CameraSpec, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[SimulatorThread]:
    """A running simulator with these cameras, stopped at the end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="camera-simulator")
    thread.start()
    simulator = CameraSimulator(SystemClock(), tls=tls, port=port)
    handle = SimulatorThread(loop, simulator)
    try:
        for spec in specs:
            handle.add(spec)
        asyncio.run_coroutine_threadsafe(simulator.start(), loop).result(180)
        try:
            yield handle
        finally:
            asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result(180)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


@dataclass(frozen=True, slots=True)
class GstServer:
    """A running GStreamer RTSP server."""

    port: int
    user: str | None
    password: str | None
    tls: bool

    def url(self, path: str, *, with_credentials: bool = True) -> str:
        """Address of a mount for a client."""
        account = f"{quote(self.user, safe='')}:{quote(self.password or '', safe='')}@" if self.user and with_credentials else ""
        return f"rtsp{'s' if self.tls else ''}://{account}127.0.0.1:{self.port}{path}"


def _mount(path: str, file: Path) -> dict[str, str | None]:
    tracks = load_source(file).tracks
    video = next((str(track.codec) for track in tracks if track.codec.is_video), None)
    audio = next((str(track.codec) for track in tracks if not track.codec.is_video), None)
    return {"path": path, "file": str(file.resolve()), "video": video, "audio": audio}


@contextmanager
def gst_rtsp_server(
    mounts: Mapping[str, Path],
    *,
    user: str | None = None,
    password: str | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[GstServer]:
    """gst-rtsp-server as a process of its own over these files (path -> file); each client plays from the start, once.

    `certificate` is (certificate, key) in PEM files and makes it RTSPS. Raises RuntimeError that says what to install
    when Debian's GStreamer is missing.
    """
    cert, key = (str(certificate[0]), str(certificate[1])) if certificate else (None, None)
    config = {"mounts": [_mount(path, file) for path, file in mounts.items()], "user": user, "password": password, "cert": cert, "key": key}
    command = [str(SYSTEM_PYTHON), str(GST_SERVER), json.dumps(config)]
    if not SYSTEM_PYTHON.exists():
        raise RuntimeError(f"{SYSTEM_PYTHON} with python3-gi is needed: see {GST_SERVER.name}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                assert process.stderr is not None
                raise RuntimeError(process.stderr.read().strip() or "the GStreamer RTSP server did not start")
            yield GstServer(int(json.loads(line)["port"]), user, password, certificate is not None)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def self_signed_certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1 in PEM files, made by the openssl command."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), *subject]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def server_tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A server's TLS context of a (certificate, key) pair."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context
