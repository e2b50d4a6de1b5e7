"""The main job in processes of their own, as docker-compose.yml starts them, on Kafka, MinIO and PostgreSQL: two ingest, two analytics,
one storage, one alarms, one console.

Two doors, so that each ingest process and each worker has one. Once undisturbed; and once more, while in mid-run, a person half way to
the line, a worker is killed, and later another is added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.deployment import WORKERS, Deployment, deployment
from tests.support.kafka import running_broker
from tests.support.main_job import CROSSING_FRAMES, EXPECTED, Story, camera, site
from tests.support.postgres import PostgresServer
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, monitoring_centre

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.servers, pytest.mark.timeout(3000)]

CHANNELS = ("front", "back")
INGEST = ("ingest", "ingest-2")
#: Four seconds of footage before a person who is in the room is on the line: time for a busy machine to look and to kill.
KILL_AT = CROSSING_FRAMES[2] - 40
ADD_AT = CROSSING_FRAMES[3] + 20


@contextmanager
def whole(folder: Path, postgres: PostgresServer) -> Iterator[Story]:
    """Everything runs, and the cameras have begun to send."""
    with (
        running_broker(composed=True) as broker,
        camera_simulator(*map(camera, CHANNELS)) as simulator,
        monitoring_centre() as centre,
        deployment(folder / "site", site(simulator, CHANNELS, centre.url), broker=broker, postgres=postgres) as vedette,
    ):
        first = ("storage", "alarms", *WORKERS[:2], "console")
        for name in first:
            vedette.start(name)
        vedette.wait_healthy(*first)
        wait_for(lambda: all(analytics(vedette, name)["summary"] == "running" for name in WORKERS[:2]), what="the workers have joined")
        for name in INGEST:  # last: the footage is sent once
            vedette.start(name)
        yield Story(vedette, simulator, centre, folder, CHANNELS)


@pytest.fixture(scope="module", params=["undisturbed", "worker-killed-and-another-added"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Story]:
    with whole(tmp_path_factory.mktemp("distributed"), postgres) as story:
        vedette = deployed(story)
        if request.param != "undisturbed":
            kill_one_and_add_another(story)
        story.wait_finished(deadline_s=180)
        working = sorted(vedette.running() & set(WORKERS))
        wait_for(lambda: all(analytics(vedette, name)["details"]["lag"] == 0 for name in working), what="every frame was looked at")
        assert [analytics(vedette, name)["details"]["channels"] for name in working] == [1, 1]
        yield story


def kill_one_and_add_another(story: Story) -> None:
    vedette, (victim, _, added) = deployed(story), WORKERS
    story.wait_sent(CHANNELS[0], KILL_AT)
    assert analytics(vedette, victim)["details"]["channels"] == 1
    vedette.kill(victim)
    assert 2 in {len(story.alarms(channel)) for channel in CHANNELS}  # the third comes from who takes over
    story.wait_sent(CHANNELS[0], ADD_AT)
    vedette.start(added)
    vedette.wait_healthy(added)


def deployed(story: Story) -> Deployment:
    assert isinstance(story.page, Deployment)
    return story.page


def analytics(vedette: Deployment, worker: str) -> dict[str, Any]:
    """What a worker tells of itself."""
    told: dict[str, Any] = httpx.get(vedette.health_url(worker), timeout=120).json()["services"]["analytics"]
    return told


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("expected", EXPECTED)
def test_the_main_job(story: Story, expected: Callable[[Story, str], None], channel: str) -> None:
    expected(story, channel)


def test_nothing_is_told_twice(story: Story) -> None:
    alarms = [alarm["alarm_id"] for channel in CHANNELS for alarm in story.tripwires(channel)]
    webhooks = [delivery.webhook_id for delivery in story.centre.accepted()]
    assert (len(alarms), len(set(alarms))) == (14, 14)
    assert (len(webhooks), len(set(webhooks))) == (12, 12)


def test_the_store_is_consistent_and_the_end_is_orderly(story: Story) -> None:
    """Last in the module: it stops the site."""
    vedette = deployed(story)
    for name in sorted(vedette.running()):
        assert vedette.stop(name) == 0, vedette.log(name)
    done = vedette.check("--deep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [name for name in vedette.names if TEST_SECRET in vedette.log(name)]
