"""`vedette run` as a process: what it prints, how it stops, and that it keeps its folder to itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.waiting import wait_for

VEDETTE = Path(sys.executable).with_name("vedette")
pytestmark = pytest.mark.integration


def site(folder: Path, extra: str = "") -> Path:
    """A site without cameras or detection, on any free port."""
    file = folder / "site.yml"
    file.write_text(f"data_dir: data\nconsole: {{port: 0}}\n{extra}", encoding="utf-8")
    return file


class Running:
    """A process of `vedette run`, its output read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, part: str) -> str:
        """The first line that holds `part`; reads on when there is none yet. Parts start side by side: some lines have no fixed order."""
        assert self.process.stdout is not None
        if known := [line for line in self.lines if part in line]:
            return known[0]
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if part in line:
                return self.lines[-1]
        raise AssertionError(f"it ended without saying {part!r}:\n" + "\n".join(self.lines))

    def rest(self) -> list[str]:
        """What it says from here to its end, also what has been there already."""
        assert self.process.stdout is not None
        said = [line.rstrip("\n") for line in self.process.stdout]  # `communicate` would pass over what `until` has read ahead
        self.process.wait(300)
        return said


@contextmanager
def running(file: Path) -> Iterator[Running]:
    command = [str(VEDETTE), "run", str(file)]
    env = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, stdin=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield Running(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_the_page_is_and_stops_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(site(tmp_path)) as vedette:
        url = vedette.until("Page:").split()[-1]
        assert vedette.until("Password:").endswith(str(tmp_path / "data" / "admin-password"))
        vedette.until("Ctrl-C stops")
        assert (tmp_path / "data" / "admin-password").stat().st_mode & 0o777 == 0o600
        assert httpx.get(f"{url}/healthz", timeout=120).status_code in (200, 503)
        vedette.process.send_signal(number)
        said = vedette.rest()
        assert vedette.process.returncode == 0
    assert said[-1] == "Stopped."
    assert [line for line in said if line.endswith(": stopping")] == [
        f"{name}: stopping" for name in ("ingest", "analytics", "alarms", "storage", "console")
    ]
    assert (tmp_path / "data" / "log" / "vedette.log").exists()


@pytest.mark.parametrize("said", ["Vedette", "ingest: started", "storage: started"])
def test_ctrl_c_while_it_starts_stops_what_has_started_and_nothing_fails(tmp_path: Path, said: str) -> None:
    with running(site(tmp_path)) as vedette:
        vedette.until(said)
        vedette.process.send_signal(signal.SIGINT)
        rest = vedette.rest()
        assert vedette.process.returncode in (0, 130)  # 130: before the first service was begun
    assert not [line for line in rest if "failed" in line or "Traceback" in line]
    with running(tmp_path / "site.yml") as again:  # the folder is free, and what had been begun in it does no harm
        again.until("storage: started")


@pytest.mark.parametrize("said", ["ingest: started", "Ctrl-C stops"])
def test_the_file_is_read_again_at_sighup_also_while_it_starts(tmp_path: Path, said: str) -> None:
    with running(site(tmp_path)) as vedette:
        vedette.until(said)
        site(tmp_path, "storage: {min_free_bytes: 0}\n")
        vedette.process.send_signal(signal.SIGHUP)
        vedette.until("Ctrl-C stops")
        log = tmp_path / "data" / "log" / "vedette.log"
        wait_for(lambda: "the configuration is in force" in log.read_text(encoding="utf-8"), what="the file is read again")
        vedette.process.send_signal(signal.SIGINT)
        assert vedette.rest()[-1] == "Stopped."
        assert vedette.process.returncode == 0


def test_a_camera_that_cannot_be_reached_is_told_once_on_the_terminal_and_in_the_log(tmp_path: Path) -> None:
    """Nobody listens on port 1; the camera is dialled again and again, and its status comes again and again."""
    camera = "ingest: {reconnect_min_s: 0.2, reconnect_max_s: 0.2, status_every_s: 1}\n"
    camera += "channels: [{id: gate, number: 1, main: {url: 'rtsp://127.0.0.1:1/1'}, analysis: {enabled: false}}]\n"
    with running(site(tmp_path, camera)) as vedette:
        line = vedette.until("  OFFLINE  ")
        assert "OFFLINE  gate  rtsp://127.0.0.1:1/1: the camera refused the connection" in line
        vedette.process.send_signal(signal.SIGINT)
        vedette.rest()
    assert not [line for line in vedette.lines if "the camera is offline" in line]
    logged = [json.loads(line) for line in (tmp_path / "data" / "log" / "vedette.log").read_text().splitlines()]
    (offline,) = (entry for entry in logged if entry["event"] == "the camera is offline")
    assert (offline["level"], offline["channel"], offline["stream"]) == ("warning", "gate", "main")
    assert "refused" in offline["reason"]


def test_a_second_one_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    file = site(tmp_path)
    with running(file) as first:
        first.until("Ctrl-C stops")
        for command in ("run", "check"):
            second = subprocess.run([VEDETTE, command, file], capture_output=True, text=True, timeout=300, check=False)
            assert second.returncode == 2
            assert f"another Vedette (process {first.process.pid}) is running on this data folder" in second.stderr


def test_after_a_kill_it_starts_again_and_the_store_is_in_order(tmp_path: Path) -> None:
    file = site(tmp_path)
    for _ in range(2):
        with running(file) as vedette:
            vedette.until("Ctrl-C stops")
            vedette.process.kill()
    done = subprocess.run([VEDETTE, "check", file, "--deep"], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "The store is in order.")


def test_a_port_in_use_stops_the_page_but_not_the_recorder(tmp_path: Path) -> None:
    with running(site(tmp_path)) as first:
        port = first.until("Page:").rpartition(":")[2]
        other = tmp_path / "other"
        other.mkdir()
        file = site(other)
        file.write_text(f"data_dir: data\nconsole: {{port: {port}}}\n", encoding="utf-8")
        with running(file) as second:
            assert "console: could not start: console.host, console.port" in second.until("console: could not start")
            second.until("Ctrl-C stops")
