"""A real broker with the very settings of docker-compose.yml, and the health check that asks it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient  # type: ignore[import-untyped]  # aiokafka is untyped
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType  # type: ignore[import-untyped]  # aiokafka is untyped

from tests.support.compose import PLACES, ROOT, kafka_properties, services
from tests.support.kafka import KafkaServer, running_broker
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers]


@pytest.fixture(scope="module")
def as_composed() -> Iterator[KafkaServer]:
    with running_broker(composed=True) as server:
        yield server


async def test_the_broker_has_every_setting(as_composed: KafkaServer) -> None:
    """A misspelt one would be passed over in silence."""
    admin = AIOKafkaAdminClient(bootstrap_servers=as_composed.address)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    finally:
        await admin.close()
    found = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    for name, value in kafka_properties(services()["kafka"]).items():
        if name not in PLACES:
            assert found.get(name) == value, f"{name}: the broker has {found.get(name)!r}, the file says {value!r}"


def healthy(address: str) -> bool:
    command = ["bash", str(ROOT / "deploy" / "kafka-health"), *address.rsplit(":", 1)]
    return subprocess.run(command, capture_output=True, timeout=300, check=False).returncode == 0


def test_the_health_check_knows_a_broker_that_answers(as_composed: KafkaServer) -> None:
    wait_for(lambda: healthy(as_composed.address), what="it answers")  # its port is open a little sooner
    as_composed.kill()
    assert not healthy(as_composed.address)
    as_composed.restart()
    wait_for(lambda: healthy(as_composed.address), what="it answers again")


def test_the_health_check_is_not_content_with_an_open_port() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert not healthy(f"127.0.0.1:{silent.getsockname()[1]}")
