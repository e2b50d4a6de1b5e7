"""Webhooks to all centres. Each has a queue, connections and loops of its own: a slow or dead one delays no other."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.alarms.adapters.book import Book
from services.alarms.adapters.destination import CONNECTIONS, Destination
from services.alarms.adapters.page import Page
from services.alarms.adapters.rows import Delivery
from services.alarms.adapters.webhook import WebhookClient
from shared.config.services import WebhookCentre
from shared.domain.clock import Clock, seconds_to_ns
from shared.domain.errors import DestinationGone, VedetteError
from shared.report import Reporter
from shared.supervise import Supervisor


@dataclass(frozen=True, slots=True)
class CentreState:
    """A centre, for people. `disabled`: why it is told nothing; empty: it is told."""

    id: str
    queued: int
    disabled: str


class Dispatcher:
    """Owner of the destinations. `submit` only wakes: what waits is in the book before."""

    def __init__(self, centres: Sequence[WebhookCentre], book: Book, clock: Clock, reporter: Reporter) -> None:
        self._centres = {centre.id: centre for centre in centres if centre.enabled}
        self._book, self._clock, self._reporter = book, clock, reporter
        self._supervisor = Supervisor(clock, reporter.loop_failed)
        self._destinations: dict[str, Destination] = {}
        self._running = False

    @property
    def supervisor(self) -> Supervisor:
        return self._supervisor

    async def start(self) -> None:
        """Take up what waits in the book.

        Raises:
            CatalogueError: the book cannot be read; nothing has started.
        """
        async with self._book.write() as page:
            await page.bury_strangers(list(self._centres), self._clock.now_ns())
            waiting, disabled = await page.waiting(), await page.disabled()
        self._supervisor = Supervisor(self._clock, self._reporter.loop_failed)
        self._running = True
        self._begin(self._centres, disabled)
        self.submit(waiting)

    def _begin(self, names: Iterable[str], disabled: Mapping[str, str]) -> None:
        tls = ssl.create_default_context()
        for name in names:
            centre = self._centres[name]
            client = WebhookClient(centre, self._clock, tls, CONNECTIONS)
            destination = Destination(centre, client, self._book, self._clock, self._reporter, self._supervisor)
            self._destinations[name] = destination
            destination.disabled = disabled.get(name, "")
            destination.start()

    async def reconfigure(self, centres: Sequence[WebhookCentre], page: Page) -> None:
        """Tell these centres from here on, in the transaction of `page`: nothing is queued meanwhile. Those that are as before are not
        touched; what waits for one that changed is sent as it is now; what waits for one that is gone becomes dead letters.

        Raises:
            CatalogueError: the book refused.
        """
        wanted = {centre.id: centre for centre in centres if centre.enabled}
        if not self._running:
            self._centres = wanted
            return
        await page.bury_strangers(list(wanted), self._clock.now_ns())
        waiting, disabled = await page.waiting(), await page.disabled()
        left = [name for name, centre in self._centres.items() if wanted.get(name) != centre]
        begun = [name for name, centre in wanted.items() if self._centres.get(name) != centre]
        for name in left:
            await self._destinations.pop(name).stop()
        self._centres = wanted
        self._begin(begun, disabled)
        self.submit(delivery for delivery in waiting if delivery.centre in begun)

    async def stop(self) -> None:
        """Stop sending; what is unsent stays in the book. Idempotent."""
        self._running = False
        await self._supervisor.stop()
        for destination in self._destinations.values():
            await destination.close()
        self._destinations.clear()

    async def take_up(self) -> None:
        """Send also what the book has queued without our knowing: the end of a transaction was not heard of.

        Raises:
            CatalogueUnavailable: the book is away.
        """
        async with self._book.write() as page:  # no other transaction ends meanwhile: each has submitted what it queued
            self.submit(delivery for delivery in await page.waiting() if delivery.centre in self._destinations)

    def submit(self, deliveries: Iterable[Delivery]) -> None:
        """Send messages that the book has queued."""
        for delivery in deliveries:
            self._destinations[delivery.centre].put(delivery)

    def deadline_ns(self, centre: str, now_ns: int) -> int:
        """Until when a message queued now is tried."""
        return now_ns + seconds_to_ns(self._centres[centre].deadline_s)

    def centres(self) -> list[CentreState]:
        """Every centre that is enabled in the configuration."""
        return [CentreState(name, one.queued, one.disabled) for name, one in self._destinations.items()]

    async def enable(self, centre: str) -> None:
        """Tell a centre again that had answered 410.

        Raises:
            VedetteError: there is no such centre.
        """
        destination = self._destination(centre)
        async with self._book.write() as page:
            await page.enable(centre)
        destination.disabled = ""

    async def replay(self, centre: str, ids: Sequence[str] | None) -> int:
        """Send dead letters again (those of `ids`, or all), the oldest first, as many as the queue has room for; how many.

        Raises:
            DestinationGone: the centre is disabled.
            VedetteError: there is no such centre.
        """
        destination = self._destination(centre)
        if destination.disabled:
            raise DestinationGone("the centre is disabled", where=f"centre {centre}", hint="enable it first")
        now_ns = self._clock.now_ns()
        async with self._book.write() as page:
            again = await page.replay(centre, ids, destination.room, now_ns, self.deadline_ns(centre, now_ns))
        self.submit(again)
        return len(again)

    def _destination(self, centre: str) -> Destination:
        destination = self._destinations.get(centre)
        if destination is None:
            raise VedetteError(f"there is no centre {centre!r} that is enabled", where="centres")
        return destination
