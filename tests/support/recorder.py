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

from tests.support.page import PageClient
from tests.support.ports import free_port
from tests.support.program import Program
from tests.support.waiting import wait_for

VEDETTE = Path(sys.executable).with_name("vedette")


class Recorder(PageClient):
    """One `vedette run` on a site in a folder of its own. It can be killed and started again on the same folder.

    `services`: those of this process, all when empty; without the console among them health is told on `port`.
    """

    def __init__(self, folder: Path, site: dict[str, Any], services: Sequence[str] = (), options: Sequence[str] = ()) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(free_port(), folder / "data")
        self.folder = folder
        words = [*(f"--service={name}" for name in services), *options]
        if services and "console" not in services:
            words.append(f"--listen=127.0.0.1:{self.port}")
        self.site_file, self.log_file = folder / "site.yml", folder / "vedette.log"
        document = {"data_dir": str(self.data_dir), **site, "console": {"port": self.port, **site.get("console", {})}}
        self.site_file.write_text(json.dumps(document, indent=1), encoding="utf-8")  # JSON is YAML
        # Users have Python's cache of compiled modules; without it every start would compile everything again.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._program = Program([str(VEDETTE), "run", str(self.site_file), *words], environment, self.log_file)

    @property
    def pid(self) -> int:
        return self._program.pid

    def log(self) -> str:
        """All that it has printed so far."""
        return self._program.log()

    def start(self) -> None:
        """Start it and wait until its page answers."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the process, without waiting."""
        self._program.start()

    def wait_ready(self, deadline_s: float = 300.0) -> None:
        """Wait until the page answers."""

        def answers() -> bool:
            self._program.require()
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=30).status_code in {200, 503}
            except httpx.HTTPError:
                return False

        wait_for(answers, what="vedette answers on its port", deadline_s=deadline_s)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.log_out()
        self._program.kill()

    def stop(self, deadline_s: float = 300.0) -> int:
        """Ctrl-C, and wait for the orderly end; its exit code."""
        self.log_out()
        return self._program.stop(signal.SIGINT, deadline_s)

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`vedette check` on the site."""
        return subprocess.run(
            [str(VEDETTE), "check", str(self.site_file), *options], capture_output=True, text=True, timeout=300, check=False
        )


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
    done = subprocess.run([*command, "-of", "csv=p=0", str(file)], capture_output=True, text=True, timeout=300, check=True)
    assert not done.stderr.strip(), f"ffprobe on {file.name}: {done.stderr}"
    return int(done.stdout.strip().strip(","))
