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

from shared.domain.clock import NS_PER_S
from tests.support.at_work import SERVICES, TOO_BUSY, site_at_work
from tests.support.books import Books, Seen, settle
from tests.support.deployment import Deployment
from tests.support.doors import STALE_NS
from tests.support.kafka import KafkaServer
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(3000), TOO_BUSY]

ROUNDS = int(os.environ.get("VEDETTE_KILL_ROUNDS", "30"))
SEED = int(os.environ.get("VEDETTE_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
LONGEST_S, LONGEST_AWAY_S = 6.0, 2.0  # between two kills, and before it is started again; a process needs 3 to 5 s to be ready


def test_thirty_kills_of_any_service_lose_nothing_and_double_nothing(
    tmp_path: Path, own_broker: KafkaServer, postgres: PostgresServer
) -> None:
    why = f"seed {SEED}"
    with site_at_work(tmp_path, own_broker, postgres, file_s=4) as at_work:
        site, books = at_work.site, at_work.books
        acknowledged = kill_at_random(site, books)
        site.wait_healthy()
        at_work.wait_for_alarms(f"{why}: each camera makes alarms again")
        at_work.cameras.stop_listening()  # only what was promised is still to come
        settle(site, books, why)
        books.assert_sound(why)
        books.assert_told(at_work.centre, why)
        assert not acknowledged.lost(books.seen()), why
        at_work.assert_nothing_missed(why, in_time=at_work.watching.latest_s() < STALE_NS / NS_PER_S * 0.75)
        at_work.assert_in_order(why)


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
