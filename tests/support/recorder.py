"""A whole Vedette as its user has it: `vedette run` as a process, and an HTTP client that is logged in to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port
from tests.support.waiting import wait_for

VEDETTE = Path(sys.executable).with_name("vedette")


class Recorder:
    """One `vedette run` on a site in a folder of its own. It can be killed and started again on the same folder.

    `services`: those of this process, all when empty; without the console among them health is told on `port`.
    """

    def __init__(self, folder: Path, site: dict[str, Any], services: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.port = folder, free_port()
        self._options = [*(f"--service={name}" for name in services), *options]
        if services and "console" not in services:
            self._options.append(f"--listen=127.0.0.1:{self.port}")
        self.site_file, self.log_file, self.data_dir = folder / "site.yml", folder / "vedette.log", folder / "data"
        document = {"data_dir": str(self.data_dir), **site, "console": {"port": self.port, **site.get("console", {})}}
        self.site_file.write_text(json.dumps(document, indent=1), encoding="utf-8")  # JSON is YAML
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """All that it has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Start it and wait until its page answers."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the process, without waiting."""
        # Users have Python's cache of compiled modules; without it every start would compile everything again.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [str(VEDETTE), "run", str(self.site_file), *self._options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
            )

    def wait_ready(self, deadline_s: float = 60.0) -> None:
        """Wait until the page answers."""

        def answers() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"vedette ended by itself:\n{self.log()[-4000:]}"
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=5).status_code in {200, 503}
            except httpx.HTTPError:
                return False

        wait_for(answers, what="vedette answers on its port", deadline_s=deadline_s)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close_client()

    def stop(self, deadline_s: float = 60.0) -> int:
        """Ctrl-C, and wait for the orderly end; its exit code."""
        assert self._process is not None
        self._close_client()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"vedette did not stop within {deadline_s} s:\n{self.log()[-4000:]}") from None

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`vedette check` on the site."""
        return subprocess.run(
            [str(VEDETTE), "check", str(self.site_file), *options], capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def http(self) -> httpx.Client:
        """A client with an administrator's session."""
        if self._client is None:
            self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
            password = (self.data_dir / "admin-password").read_text(encoding="utf-8").strip()
            origin = {"origin": f"http://127.0.0.1:{self.port}"}
            answer = self._client.post("/api/session", json={"user": "admin", "password": password}, headers=origin)
            assert answer.is_success, answer.text
            self._client.headers.update(origin)
        return self._client

    def get(self, path: str, **params: object) -> Any:
        """JSON of a GET."""
        answer = self.http.get(path, params={k: str(v) for k, v in params.items()})
        assert answer.is_success, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def alarms(self, **params: object) -> list[dict[str, Any]]:
        """Alarms, oldest first."""
        found: list[dict[str, Any]] = self.get("/api/alarms", limit=1000, **params)["alarms"]
        return sorted(found, key=lambda alarm: alarm["start_ns"])

    def recordings(self, channel: str) -> list[dict[str, Any]]:
        """Main-stream recordings of a channel, oldest first."""
        found: list[dict[str, Any]] = self.get("/api/recordings", channel=channel, limit=10000)["recordings"]
        return sorted((r for r in found if r["stream"] == "main"), key=lambda recording: recording["start_ns"])

    def download(self, recording: dict[str, Any], folder: Path) -> Path:
        """A recording's file, as a browser would get it."""
        answer = self.http.get(f"/api/recordings/{recording['id']}/media")
        assert answer.is_success, answer.text
        file = folder / f"{recording['channel']}-{recording['start_ns']}.mp4"
        file.write_bytes(answer.content)
        return file

    def _close_client(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


@contextmanager
def recorder(folder: Path, site: dict[str, Any]) -> Iterator[Recorder]:
    """A running Vedette, stopped (or, failing that, killed) at the end."""
    running = Recorder(folder, site)
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.kill()


def count_frames(file: Path) -> int:
    """Video frames of a file, by ffprobe's reading of every packet; AssertionError when ffprobe complains of anything."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets", "-show_entries", "stream=nb_read_packets"]
    done = subprocess.run([*command, "-of", "csv=p=0", str(file)], capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr.strip(), f"ffprobe on {file.name}: {done.stderr}"
    return int(done.stdout.strip().strip(","))
