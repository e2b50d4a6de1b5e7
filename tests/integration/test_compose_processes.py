"""The commands, environment and configuration of docker-compose.yml, as processes on loopback beside real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.compose import make_site, services
from tests.support.kafka import KafkaServer
from tests.support.minio import PASSWORD, USER, minio_server
from tests.support.ports import free_ports
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server

BIN = Path(sys.executable).parent
NAMES = ("ingest", "storage", "alarms", "console")
HEALTHY_S, STOP_S = 120, 75


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen([BIN / command[0], *command[1:]], env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_each_becomes_healthy_and_stops_in_order(name: str, tmp_path: Path, broker: KafkaServer, postgres: PostgresServer) -> None:
    """Also with no camera yet: `docker compose up` on a fresh site is green."""
    service = services()[name]
    site_file = make_site(tmp_path / "site", user=os.geteuid())
    secrets = site_file.parent / "secrets"
    (secrets / "s3-access-key").write_text(USER, encoding="utf-8")
    (secrets / "s3-secret-key").write_text(PASSWORD, encoding="utf-8")
    (secrets / "database-url").write_text(postgres.database(), encoding="utf-8")
    folders = {"/etc/vedette": site_file.parent, "/var/lib/vedette": tmp_path / "data", "/tmp": tmp_path}
    inside, page = free_ports(2)
    with minio_server(tmp_path) as objects:
        addresses = {"kafka:9092": broker.address, "s3:9000": objects.endpoint, "0.0.0.0:8790": f"127.0.0.1:{inside}"}
        command, environment = service.on_loopback(folders, addresses)
        environment |= {"VEDETTE_CONSOLE_HOST": "127.0.0.1", "VEDETTE_CONSOLE_PORT": str(page)}
        url = service.raw["healthcheck"]["test"][-1].replace(":8790/", f":{inside}/").replace(":8780/", f":{page}/")
        log = tmp_path / f"{name}.log"
        whole = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment}
        with running(command, whole, log) as process:
            wait_for(lambda: healthy(url) or process.poll() is not None, what=f"{name} is healthy", deadline_s=HEALTHY_S)
            said = log.read_text(encoding="utf-8", errors="replace")
            assert process.poll() is None, said
            check = [BIN / "vedette", "health", url]
            assert subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0, said
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_S) == 0, log.read_text(encoding="utf-8", errors="replace")
        said = log.read_text(encoding="utf-8", errors="replace")
        for secret in ("s3-secret-key", "database-url", "internal-token"):
            assert (secrets / secret).read_text(encoding="utf-8").strip() not in said
