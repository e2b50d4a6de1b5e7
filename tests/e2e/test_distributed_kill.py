"""Kill -9 of any service of a distributed site, again and again: nothing acknowledged is lost, nothing happens twice.

Each round kills one or two of the seven processes at a random moment, in start-up and recovery as well, and starts them again; the next
round does not wait for them. What the database has at any moment stays there; at the end it has all that the broker ever acknowledged, and
an alarm of every crossing that a worker whom nobody killed sees in the same frames.
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from shared.config.load import load_site
from shared.domain.clock import NS_PER_S
from tests.support.books import Books, Seen, settle, wait_for_alarms
from tests.support.deployment import Deployment, deployment
from tests.support.doors import STALE_NS, doors, watched_by
from tests.support.kafka import KafkaServer
from tests.support.onlooker import onlooker
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for
from tests.support.webhooks import monitoring_centre

pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(1500)]

ROUNDS = int(os.environ.get("VEDETTE_KILL_ROUNDS", "30"))
SEED = int(os.environ.get("VEDETTE_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
SERVICES = ("ingest", "ingest-2", "storage", "alarms", "analytics-1", "analytics-2", "console")
CAMERAS = 4
LONGEST_S, LONGEST_AWAY_S = 6.0, 2.0  # between two kills, and before it is started again; a process needs 3 to 5 s to be ready


def test_thirty_kills_of_any_service_lose_nothing_and_double_nothing(
    tmp_path: Path, own_broker: KafkaServer, postgres: PostgresServer
) -> None:
    with doors(tmp_path / "cameras", CAMERAS) as cameras, monitoring_centre() as centre:
        own = watched_by(cameras, CAMERAS, centre.url, tmp_path, file_s=4)
        with (
            deployment(tmp_path / "site", own, broker=own_broker, postgres=postgres) as site,
            onlooker(own_broker.address) as watching,
        ):
            books = Books.of(site)
            for name in SERVICES:
                site.start(name)
            site.wait_healthy()
            wait_for(books.alarms, what=f"seed {SEED}: the first alarm", deadline_s=120)
            acknowledged = kill_at_random(site, books)
            site.wait_healthy()
            wait_for_alarms(books, CAMERAS, f"seed {SEED}: each camera makes alarms again")
            cameras.stop_listening()  # only what was promised is still to come
            settle(site, books, f"seed {SEED}")
            books.assert_sound(f"seed {SEED}")
            books.assert_told(centre, f"seed {SEED}")
            assert not acknowledged.lost(books.seen()), f"seed {SEED}"
            if books.latest_s() < STALE_NS / NS_PER_S * 0.75:  # else this machine was too busy to look at every frame
                books.assert_has(watching.beginnings(load_site(site.site_file)), f"seed {SEED}")
            for options in ([], ["--deep"]):
                check = site.check(*options)
                assert check.returncode == 0, f"seed {SEED}: {check.stdout}{check.stderr}"
                assert "The store is in order." in check.stdout, f"seed {SEED}: {check.stdout}"


def kill_at_random(site: Deployment, books: Books) -> Seen:
    """The rounds; what was there after the last."""
    chance, pause = random.Random(SEED), threading.Event()
    before = books.seen()
    for round_ in range(ROUNDS):
        pause.wait(chance.uniform(0.1, LONGEST_S))  # the random moment is the point of this test
        victims = chance.sample(SERVICES, chance.choice((1, 1, 1, 2)))
        for name in victims:
            site.kill(name)
        pause.wait(chance.uniform(0.0, LONGEST_AWAY_S))
        for name in victims:
            site.start(name)
        now = books.seen()
        assert not before.lost(now), f"seed {SEED}, round {round_}, after {victims}: {before.lost(now)} are gone"
        before = now
    return before
