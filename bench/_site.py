"""The servers and processes that a bench with real servers measures, by the names of what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.deployment import Deployment, deployment
from tests.support.kafka import KafkaMissing, KafkaServer
from tests.support.postgres import PostgresMissing, PostgresServer

SERVERS = ("broker", "MinIO", "PostgreSQL")


def postgres(stack: ExitStack) -> PostgresServer:
    """A server whose commits are durable, until the stack ends; SystemExit where none can run."""
    try:
        server = PostgresServer.start(durable=True)
    except PostgresMissing as missing:
        raise SystemExit(str(missing)) from missing
    stack.callback(server.stop)
    return server


@dataclass
class Site:
    """A distributed site, its services not started yet."""

    deployed: Deployment
    broker: KafkaServer
    postgres: PostgresServer

    def parts(self, services: Sequence[str]) -> dict[str, list[int]]:
        """Process ids by part: the services named, which run, and the three servers."""
        servers = (self.broker.process.pid, self.deployed.objects.process.pid, self.postgres.process.pid)
        return {name: [self.deployed.pid(name)] for name in services} | {name: [pid] for name, pid in zip(SERVERS, servers, strict=True)}

    def start(self, *services: str) -> None:
        """Start them, and wait until they are healthy."""
        for name in services:
            self.deployed.start(name)
        self.deployed.wait_healthy(*services)

    def metrics_url(self, service: str) -> str:
        return self.deployed.health_url(service).replace("/healthz", "/metrics")


@contextmanager
def distributed(folder: Path, own: Mapping[str, Any]) -> Iterator[Site]:
    """Broker (with the settings of docker-compose.yml), MinIO and PostgreSQL, and the services of docker-compose.yml on them."""
    with ExitStack() as stack:
        try:
            broker = KafkaServer.start(composed=True)
        except KafkaMissing as missing:
            raise SystemExit(str(missing)) from missing
        stack.callback(broker.stop)
        database = postgres(stack)
        deployed = stack.enter_context(deployment(folder, own, broker=broker, postgres=database, ingest=1))
        yield Site(deployed, broker, database)
