"""A real PostgreSQL server for tests, of Debian's `postgresql` package: on a free port of loopback, in a folder of its own.

PostgreSQL refuses to run as root: started by root it runs as `postgres`, the user that the package makes.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port

USER, PASSWORD = "vedette", "vedette-tests-secret"
_DEBIAN = Path("/usr/lib/postgresql")
_START_S, _STOP_S = 240.0, 60.0

#: Small.
_SETTINGS = {
    "shared_buffers": "16MB",
    "max_connections": "100",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "warning",
}


class PostgresMissing(Exception):
    """This machine has no PostgreSQL server; the text says why."""


@dataclass
class PostgresServer:
    """A running server. `port`: on loopback, the same after `restart`. `durable`: what it commits survives a power cut."""

    port: int
    folder: Path
    programs: Path
    process: subprocess.Popen[bytes]
    durable: bool
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def start(cls, *, durable: bool = False) -> PostgresServer:
        """Quick to write unless `durable`: tests stop the server, never the machine.

        Raises:
            PostgresMissing.
        """
        programs = _programs()
        folder = Path(tempfile.mkdtemp(prefix="vedette-postgres-"))
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        _give_away(folder, secret)
        subprocess.run(
            [programs / "initdb", "-D", folder / "data", "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync",
             "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, timeout=_START_S, cwd=folder, **_unprivileged(),
        )  # fmt: skip
        port = free_port()
        server = cls(port, folder, programs, _launch(programs, folder, port, durable), durable)
        server._wait()
        return server

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        subprocess.run(
            [self.programs / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, name],
            check=True, capture_output=True, timeout=_START_S, env={**os.environ, "PGPASSWORD": PASSWORD},
        )  # fmt: skip
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{name}"

    def kill(self) -> None:
        """As a crash would: connections break, nothing is written any more. From now on the port refuses."""
        self.process.send_signal(signal.SIGQUIT)  # the server ends its children too, which SIGKILL would leave behind
        self.process.wait(_STOP_S)

    def restart(self) -> None:
        """After `kill`: the same data, the same port. Nothing happens when it runs."""
        if self.process.poll() is not None:
            self.process = _launch(self.programs, self.folder, self.port, self.durable)
            self._wait()

    def stop(self) -> None:
        """End it, and remove its data."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # a fast shutdown, which waits for no client
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_S
        ready: list[str | Path] = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while time.monotonic() < deadline and self.process.poll() is None:
            if subprocess.run(ready, check=False, timeout=_START_S).returncode == 0:
                return
            time.sleep(0.05)  # the condition is watched, not the time
        log = (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise RuntimeError(f"PostgreSQL did not start:\n{log}")


def _launch(programs: Path, folder: Path, port: int, durable: bool) -> subprocess.Popen[bytes]:
    wanted = _SETTINGS | {"fsync": "on" if durable else "off"}
    settings = [text for name, value in wanted.items() for text in ("-c", f"{name}={value}")]
    command: list[str | Path] = [programs / "postgres", "-D", folder / "data", "-p", str(port), *settings]
    with (folder / "server.log").open("ab") as log:
        process: subprocess.Popen[bytes] = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **_unprivileged())
    return process


def _programs() -> Path:
    """The folder of the newest server's programs: of the PATH, else where Debian keeps them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    if not versions:
        raise PostgresMissing("no PostgreSQL server here (Debian: apt-get install postgresql)")
    return max(versions, key=lambda path: float(path.parent.name))


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as; None: as who runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _unprivileged() -> dict[str, Any]:
    account = _account()
    return {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _give_away(*paths: Path) -> None:
    account = _account()
    if account is not None:
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests. A test that kills it starts it again. Skips where there is none."""
    try:
        server = PostgresServer.start()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    yield server
    server.stop()
