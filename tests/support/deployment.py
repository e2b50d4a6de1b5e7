"""A whole distributed site as processes on loopback, beside a real Kafka, MinIO and PostgreSQL.

Commands, environment and configuration are those of docker-compose.yml and deploy/site.distributed.yml, which stand here for nothing
but addresses, folders and the site's own parts (cameras, rules, centres).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import platformdirs
from ruamel.yaml import YAML

from tests.support.compose import ComposeService, make_site, services
from tests.support.kafka import KafkaServer
from tests.support.minio import PASSWORD, USER, MinioServer
from tests.support.page import PageClient
from tests.support.ports import free_ports
from tests.support.postgres import PostgresServer
from tests.support.program import Program
from tests.support.waiting import wait_for

BIN = Path(sys.executable).parent
WORKERS = ("analytics-1", "analytics-2", "analytics-3")
#: A service has 75 s for its orderly end (stop_grace_period).
STOP_S = 75


class Deployment(PageClient):
    """The services of one site, each startable, stoppable and killable on its own, by name.

    Names are those of docker-compose.yml; of analytics workers there are three, `WORKERS`, which share one cache of models as there. Each
    process has a folder of its own below `folder`, and in it `data` and `NAME.log`. The page is the console's, when that runs.
    """

    def __init__(
        self, folder: Path, own: Mapping[str, Any], kafka: KafkaServer, objects: MinioServer, postgres: PostgresServer, ingest: int
    ) -> None:
        self.folder, self.kafka, self.objects, self.postgres = folder, kafka, objects, postgres
        profiles = {f"ingest-{number}" for number in range(2, ingest + 1)}
        composed = services({"INGEST_PROCESSES": str(ingest)}, profiles=profiles)
        self.names = (*(name for name in ("ingest", "ingest-2") if name in composed), "storage", "alarms", *WORKERS, "console")
        page, *ports = free_ports(1 + len(self.names))
        super().__init__(page, folder / "console" / "data")
        self._ports = dict(zip(self.names, ports, strict=True))
        self.site_file = make_site(folder / "site", user=os.geteuid())
        self._fill_in(own)
        self._services = {name: composed["analytics" if name in WORKERS else name] for name in self.names}
        self._programs = {name: self._program(name, service) for name, service in self._services.items()}

    def start(self, name: str) -> None:
        """Start a process, without waiting. It must not run."""
        self._programs[name].start()

    def wait_healthy(self, *names: str, deadline_s: float = 300) -> None:
        """Wait until each is healthy: every one that runs when none is named. AssertionError with its log when one ends instead."""
        for name in names or self.running():
            wait_for(lambda name=name: self.healthy(name), what=f"{name} is healthy", deadline_s=deadline_s)  # type: ignore[misc]  # the default binds the loop's value

    def healthy(self, name: str) -> bool:
        """What its container's health check would say now. AssertionError when the process does not run."""
        self._programs[name].require()
        try:
            return httpx.get(self.health_url(name), timeout=30).status_code == 200
        except httpx.HTTPError:
            return False

    def health_url(self, name: str) -> str:
        """The address that its container's health check asks."""
        url = str(self._services[name].raw["healthcheck"]["test"][-1])
        return re.sub(r":8790\b", f":{self._ports[name]}", re.sub(r":8780\b", f":{self.port}", url))

    def stop(self, name: str) -> int:
        """SIGTERM, and the orderly end; the exit code."""
        if name == "console":
            self.log_out()
        return self._programs[name].stop(signal.SIGTERM, STOP_S)

    def kill(self, name: str) -> None:
        """SIGKILL. Nothing happens when it does not run."""
        if name == "console":
            self.log_out()
        self._programs[name].kill()

    def running(self) -> set[str]:
        return {name for name, program in self._programs.items() if program.runs}

    def pid(self, name: str) -> int:
        return self._programs[name].pid

    def log(self, name: str) -> str:
        """All that it has printed so far."""
        return self._programs[name].log()

    def check(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`vedette check` in the place of storage, which must not run."""
        return self.command("storage", "check", str(self.site_file), *options)

    def command(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A `vedette` command in the place of a service: its environment and its data folder."""
        program = [str(BIN / "vedette"), *words]
        environment = self._programs[name].environment
        return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)

    def _fill_in(self, own: Mapping[str, Any]) -> None:
        """What the operator enters: the site's own parts, secrets of the servers, and the processes that no common name stands for."""
        secrets = self.site_file.parent / "secrets"
        given = {"s3-access-key": USER, "s3-secret-key": PASSWORD, "database-url": self.postgres.database()}
        for name, text in given.items():
            (secrets / name).write_text(text, encoding="utf-8")
        yaml = YAML()
        document = yaml.load(self.site_file)
        _merge(document, own)
        document["internal"]["ingest"] += [f"http://127.0.0.1:{self._ports[name]}" for name in self.names if name == "ingest-2"]
        document["internal"]["analytics"] += [f"http://127.0.0.1:{self._ports[worker]}" for worker in WORKERS[1:]]
        with self.site_file.open("w", encoding="utf-8") as file:
            yaml.dump(document, file)

    def _program(self, name: str, service: ComposeService) -> Program:
        place = self.folder / name
        for part in ("data", "tmp"):
            (place / part).mkdir(parents=True, exist_ok=True)
        cache = platformdirs.user_cache_path()  # each test would fetch and export the detector anew
        folders = {
            "/etc/vedette": self.site_file.parent,
            "/var/lib/vedette": place / "data",
            "/var/cache/vedette": cache,
            "/tmp": place / "tmp",
        }
        addresses = {
            "kafka:9092": self.kafka.address,
            "s3:9000": self.objects.config.endpoint,
            "0.0.0.0:8790": f"127.0.0.1:{self._ports[name]}",
            "ingest:8790": f"127.0.0.1:{self._ports['ingest']}",
            "storage:8790": f"127.0.0.1:{self._ports['storage']}",
            "alarms:8790": f"127.0.0.1:{self._ports['alarms']}",
            "analytics:8790": f"127.0.0.1:{self._ports[WORKERS[0]]}",
        }
        command, environment = service.on_loopback(folders, addresses)
        environment |= {"VEDETTE_CONSOLE_HOST": "127.0.0.1", "VEDETTE_CONSOLE_PORT": str(self.port)}
        environment |= {"PATH": os.environ["PATH"], "HOME": str(place / "tmp"), "XDG_CACHE_HOME": str(cache)}  # as the image says
        return Program([str(BIN / command[0]), *command[1:]], environment, place / f"{name}.log")


@contextmanager
def deployment(
    folder: Path, own: Mapping[str, Any], *, broker: KafkaServer, postgres: PostgresServer, ingest: int = 2
) -> Iterator[Deployment]:
    """A site whose servers are up, and whose services are not started yet; at the end all are stopped, at the latest by SIGKILL.

    Args:
        own: what differs from deploy/site.distributed.yml: channels, schedules, centres, settings of services.
        ingest: processes that share the cameras, 1 or 2.
    """
    place = folder / "objects"
    place.mkdir(parents=True)
    objects = MinioServer.start(place)
    with ExitStack() as stack:
        stack.callback(objects.stop)
        site = Deployment(folder, own, broker, objects, postgres, ingest)
        stack.callback(site.log_out)
        for name in site.names:
            stack.callback(site.kill, name)
        yield site


def _merge(document: Any, own: Mapping[str, Any]) -> None:
    for key, value in own.items():
        if isinstance(value, Mapping) and isinstance(document.get(key), Mapping):
            _merge(document[key], value)
        else:
            document[key] = value
