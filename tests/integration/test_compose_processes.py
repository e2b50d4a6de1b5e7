"""The commands, environment and configuration of docker-compose.yml, as processes on loopback beside real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import deployment
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server


@pytest.mark.parametrize("name", ["ingest", "storage", "alarms", "console"])
def test_each_becomes_healthy_and_stops_in_order(name: str, tmp_path: Path, broker: KafkaServer, postgres: PostgresServer) -> None:
    """Also with no camera yet: `docker compose up` on a fresh site is green."""
    with deployment(tmp_path, {}, broker=broker, postgres=postgres, ingest=1) as site:
        site.start(name)
        site.wait_healthy(name)
        wait_for(
            lambda: site.command(name, "health", site.health_url(name)).returncode == 0, what="its health check says so, like Docker's"
        )
        assert site.stop(name) == 0, site.log(name)
        said = site.log(name)
        for secret in ("s3-secret-key", "database-url", "internal-token"):
            assert (site.site_file.parent / "secrets" / secret).read_text(encoding="utf-8").strip() not in said
