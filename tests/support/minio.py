"""A real MinIO server for tests, on loopback, on a folder of its own. Built once with Go into the user's cache (minutes)."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.config.services import S3Objects
from tests.support.cache import go_command
from tests.support.ports import free_port

USER, PASSWORD = "vedette-tests", "vedette-tests-secret"
_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
_START_S, _STOP_S = 240, 60


def binary() -> Path:
    """The server's binary: of the PATH, of the cache, or built now. Skips the test where there is neither it nor Go."""
    found = shutil.which("minio")
    if found is not None:
        return Path(found)
    return go_command("minio", "github.com/minio/minio", _VERSION)


def objects_at(port: int) -> S3Objects:
    """The configuration of a server on that port, whether it runs or not."""
    return S3Objects.model_validate({"endpoint": f"127.0.0.1:{port}", "access_key": USER, "secret_key": PASSWORD, "tls": False})


@dataclass
class MinioServer:
    """A server on a folder, that can be killed and started again on the same port."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, folder: Path, port: int = 0) -> MinioServer:
        """Start one and wait until it answers. `port` 0: any free one."""
        port = port or free_port()
        server = cls(folder, port, _launch(folder, port))
        try:
            server._wait()
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def config(self) -> S3Objects:
        """How to reach it."""
        return objects_at(self.port)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(timeout=_STOP_S)

    def restart(self) -> None:
        """After `kill`."""
        self.process = _launch(self.folder, self.port)
        self._wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=_STOP_S)

    def _wait(self) -> None:
        _wait_until_ready(f"http://127.0.0.1:{self.port}/", self.process, self.folder / "minio.log")


@contextmanager
def minio_server(folder: Path, port: int = 0) -> Iterator[S3Objects]:
    """A running server; how to reach it. `port` 0: any free one."""
    server = MinioServer.start(folder, port)
    try:
        yield server.config
    finally:
        server.stop()


def _launch(folder: Path, port: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": PASSWORD, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
    command = [str(binary()), "server", str(folder / "data"), "--address", f"127.0.0.1:{port}"]
    with (folder / "minio.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            # "ready" is said before S3 calls are answered: a stranger's list of buckets is refused (403) only by a server at work.
            if httpx.get(url, timeout=10).status_code == 403:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"MinIO is not ready: {log.read_text(errors='replace')}")
