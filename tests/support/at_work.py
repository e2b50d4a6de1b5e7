"""A distributed site at work: seven processes on real servers, four cameras with crossings all the time, a centre that is told of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.config.load import load_site
from tests.support.books import Books, wait_for_alarms
from tests.support.deployment import Deployment, deployment
from tests.support.doors import doors, watched_by
from tests.support.kafka import KafkaServer
from tests.support.onlooker import Onlooker, onlooker
from tests.support.postgres import PostgresServer
from tests.support.rtsp import SimulatorThread
from tests.support.webhooks import Centre, monitoring_centre

SERVICES = ("ingest", "ingest-2", "storage", "alarms", "analytics-1", "analytics-2", "console")
CAMERAS = 4
#: A mark of the tests that compare crossings: on a machine that is too busy for that they warn, and do not fail.
TOO_BUSY = pytest.mark.filterwarnings("default:.*this machine was too busy")


@dataclass(frozen=True, slots=True)
class AtWork:
    """The site, what it watches and reports to, what it has written down, and who looks at the same frames undisturbed."""

    site: Deployment
    cameras: SimulatorThread
    centre: Centre
    books: Books
    watching: Onlooker

    def wait_for_alarms(self, what: str) -> None:
        """Until each camera has an alarm of a crossing from now on."""
        wait_for_alarms(self.books, CAMERAS, what)

    def assert_nothing_missed(self, why: str, *, in_time: bool, from_ns: int = 0) -> None:
        """Each crossing since then is an alarm, where the machine was fast enough (`in_time`) for a look at every frame.

        Else a warning says that this was not compared (`TOO_BUSY` lets it be one).
        """
        if not in_time:
            warnings.warn(f"{why}: this machine was too busy to look at every frame; crossings were not compared", stacklevel=2)
            return
        crossings = self.watching.beginnings(load_site(self.site.site_file))
        self.books.assert_has((crossing for crossing in crossings if crossing.start_ns > from_ns), why)

    def assert_in_order(self, why: str) -> None:
        """`vedette check`, quick and deep. Storage must not run."""
        for options in ([], ["--deep"]):
            check = self.site.check(*options)
            assert check.returncode == 0, f"{why}: {check.stdout}{check.stderr}"
            assert "The store is in order." in check.stdout, f"{why}: {check.stdout}"


@contextmanager
def site_at_work(folder: Path, broker: KafkaServer, postgres: PostgresServer, *, file_s: int) -> Iterator[AtWork]:
    """All of it, healthy, and with an alarm of each camera."""
    with doors(folder / "cameras", CAMERAS) as cameras, monitoring_centre() as centre:
        own = watched_by(cameras, CAMERAS, centre.url, folder, file_s=file_s)
        with deployment(folder / "site", own, broker=broker, postgres=postgres) as site, onlooker(broker.address) as watching:
            for name in SERVICES:
                site.start(name)
            site.wait_healthy()
            at_work = AtWork(site, cameras, centre, Books.of(site), watching)
            at_work.wait_for_alarms("each camera makes alarms")
            yield at_work
