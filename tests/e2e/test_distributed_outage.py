"""Broker, object server and database of a running site go away for a minute each and come back; its cameras go on.

Nothing that was acknowledged is lost or doubled, recordings have no gap, health says who is away and that it is back, and every crossing
is an alarm, but for those whose frames were too old when the broker was back.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from shared.domain.clock import SystemClock
from tests.support.at_work import CAMERAS, SERVICES, TOO_BUSY, site_at_work
from tests.support.books import settle
from tests.support.deployment import Deployment
from tests.support.kafka import KafkaServer
from tests.support.minio import MinioServer
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_for

#: Seconds that each is away, and which of them.
OUTAGE_S = int(os.environ.get("VEDETTE_OUTAGE_S", "60"))
OUTAGES = os.environ.get("VEDETTE_OUTAGES", "broker,objects,database").split(",")
LIMIT_S = 2400 + 2 * OUTAGE_S * len(OUTAGES)
pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(LIMIT_S), TOO_BUSY]


@dataclass(frozen=True, slots=True)
class Outage:
    """One server, and what of it is told by the health of these services: all of them must be green again when it is back."""

    server: KafkaServer | MinioServer | PostgresServer
    told: dict[str, str]


def outages(site: Deployment) -> dict[str, Outage]:
    """By name."""
    kafka = f"kafka {site.kafka.address}: the broker does not answer"
    states = "the database of the channels' states"
    return {
        "broker": Outage(site.kafka, {name: "degraded" if name == "console" else kafka for name in SERVICES}),
        "objects": Outage(site.objects, {"storage": "finished recordings wait on this disk"}),
        "database": Outage(
            site.postgres,
            {
                "alarms": "the alarm book cannot be reached",
                "storage": "the catalogue cannot be reached",
                "analytics-1": states,
                "analytics-2": states,
            },
        ),
    }


def test_broker_object_server_and_database_away_and_back_cost_nothing(
    tmp_path: Path, own_broker: KafkaServer, postgres: PostgresServer
) -> None:
    with site_at_work(tmp_path, own_broker, postgres, file_s=10) as at_work:
        site, books = at_work.site, at_work.books
        calm_ns, dropped = 0, 0
        for name in OUTAGES:
            before = books.seen()
            go_through(site, outages(site)[name])
            at_work.wait_for_alarms(f"each camera makes alarms after the outage: {name}")
            assert not before.lost(books.seen()), name
            if name == "broker":  # frames that were too old by then are no crossings
                calm_ns, dropped = SystemClock().now_ns(), stale_frames(site)
        in_time = stale_frames(site) == dropped
        assert site.running() == set(SERVICES)
        gapless(site)
        at_work.cameras.stop_listening()
        settle(site, books, "at the end")
        books.assert_sound("at the end")
        books.assert_told(at_work.centre, "at the end")
        at_work.assert_nothing_missed("at the end", in_time=in_time, from_ns=calm_ns)
        at_work.assert_in_order("at the end")


def go_through(site: Deployment, outage: Outage) -> None:
    """Kill it, see that it is told, wait until the time is over, start it again, see that all is well."""
    outage.server.kill()
    try:
        over_s, pause = time.monotonic() + OUTAGE_S, threading.Event()
        for name, what in outage.told.items():
            wait_for(lambda name=name, what=what: what in said(site, name), what=f"{name} says: {what}", deadline_s=150)  # type: ignore[misc]  # the defaults bind the loop's values
        pause.wait(max(0.0, over_s - time.monotonic()))  # the length of the outage is the point of this test
    finally:
        outage.server.restart()
    site.wait_healthy()
    for name, what in outage.told.items():
        wait_for(lambda name=name, what=what: what not in said(site, name), what=f"{name} says no more: {what}")  # type: ignore[misc]  # as above


def said(site: Deployment, name: str) -> str:
    """All that a process tells of its health."""
    try:
        return httpx.get(site.health_url(name), timeout=60).text
    except httpx.HTTPError as error:
        return str(error)


def stale_frames(site: Deployment) -> int:
    """How many frames the workers have dropped because they came too late."""
    answers = [httpx.get(site.health_url(name), timeout=60).json() for name in SERVICES if name.startswith("analytics")]
    return sum(int(answer["services"]["analytics"]["details"]["dropped"]) for answer in answers)


def gapless(site: Deployment) -> None:
    """What is recorded of each camera is one piece, from one connection to it."""
    for number in range(1, CAMERAS + 1):
        files = site.recordings(f"door-{number}")
        assert len(files) > 1
        assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(files)), files
