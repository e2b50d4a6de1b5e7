"""The alarm service: events to alarms, alarms to actions and webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from services.alarms.adapters.address import ConsoleAddress, console_address, told_far_away
from services.alarms.adapters.book import Book
from services.alarms.adapters.dispatcher import Dispatcher
from services.alarms.adapters.outbox import Outbox
from services.alarms.cameras import Cameras
from services.alarms.core.arming import Arming
from services.alarms.core.place import Place
from services.alarms.core.record import Alarm
from services.alarms.keeper import Keeper
from shared.config.site import SiteConfig
from shared.db.engine import create_engine, database_url
from shared.domain.clock import seconds_to_ns
from shared.domain.errors import CatalogueUnavailable
from shared.faust.worker import Outgoing, Worker
from shared.messages import ActionMessage, ChannelStatus, EventMessage
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import ACTIONS, CHANNEL_STATUS, EVENTS

log = structlog.get_logger(__name__)

#: How often the timers look whether an alarm is due.
TICK_S = 0.5
PRUNE_EVERY_S = 3600.0
PING_EVERY_S = 10.0


class AlarmService:
    """Runs the keeper: messages through a worker, time through a supervised loop, webhooks through the dispatcher."""

    name = "alarms"

    def __init__(self, runtime: Runtime, place: Place, book: Book) -> None:
        clock, reporter = runtime.clock, runtime.reporter
        self.book = book
        self.dispatcher = Dispatcher(runtime.site.centres, book, clock, reporter)
        self._outbox = Outbox(book, runtime.bus.producer)
        self.keeper = Keeper(Arming(runtime.site), place, book, self.dispatcher, self._outbox, clock, runtime.site.alarms)
        self._cameras = Cameras(book, seconds_to_ns(runtime.site.alarms.offline_after_s))
        book.on_return = self._take_up
        self._runtime, self._public_url = runtime, place.public_url
        self._supervisor = Supervisor(clock, reporter.loop_failed)
        self._worker = Worker(self.name, runtime)
        self._worker.handle(EVENTS, self._on_event)
        self._worker.handle(ACTIONS, self._on_action)
        self._worker.handle(CHANNEL_STATUS, self._on_status)
        self._opened = asyncio.Event()
        self._started = False

    async def start(self) -> None:
        """Open the book, take up what was under way, then listen. While the book is away what comes waits until it is there.

        Raises:
            CatalogueError: the book cannot be used.
            BusUnavailable: the bus does not answer.
        """
        self._started = True
        self._supervisor = Supervisor(self._runtime.clock, self._runtime.reporter.loop_failed)
        try:
            await self._open()
        except CatalogueUnavailable as error:
            log.error("the alarm book is away; events wait", error=str(error))
            self._supervisor.spawn("alarm book", partial(self.book.patiently, self._open))
        await self._worker.start()

    async def _open(self) -> None:
        await self.book.open()
        await self.dispatcher.start()
        self.keeper.listen()
        self._supervisor.spawn("alarm outbox", self._outbox.run)
        self._supervisor.spawn("alarm timers", self._tick)
        self._supervisor.spawn("alarm housekeeping", self._prune)
        self._supervisor.spawn("alarm book's watch", self._watch)
        self._opened.set()

    async def _take_up(self) -> None:
        """The book is back: what it holds that we have not heard of."""
        if self._opened.is_set():
            await self.dispatcher.take_up()
            self._outbox.wake()
            self.keeper.listen()

    async def reconfigure(self, site: SiteConfig) -> None:
        """Run by `site` from here on: rules' arming and linkage, schedules, centres. Between two transactions of the book, for which it
        waits while the book is away. What is queued for a centre stays queued, or becomes dead letters with the centre.

        Raises:
            CatalogueError: the book refused; the configuration before goes on.
        """
        await self.book.patiently(partial(self._reconfigure, site))

    async def _reconfigure(self, site: SiteConfig) -> None:
        arming, place = Arming(site), Place.of(site, self._public_url)
        async with self.book.write() as page:
            await self.dispatcher.reconfigure(site.centres, page)
            self.keeper.reconfigure(arming, place, site.alarms)
            self._cameras.reconfigure(seconds_to_ns(site.alarms.offline_after_s))
            self._runtime = replace(self._runtime, site=site)

    async def stop(self) -> None:
        """Finish what is in hand. Webhooks that are not sent wait in the book for the next start."""
        await self._worker.stop()
        await self._supervisor.stop()
        await self.dispatcher.stop()
        await self.book.close()
        self._opened.clear()
        self._started = False

    def health(self) -> Health:
        """Progress of the worker and the loops, and whether the book is there. A dead centre is no fault of ours: only a detail."""
        worker = self._worker.health()
        loops = [*self._supervisor.loops, *self.dispatcher.supervisor.loops]
        dead = [loop.name for loop in loops if not loop.running and loop.name != "alarm book"]
        queued = {f"queued.{centre.id}": centre.queued for centre in self.dispatcher.centres()}
        details: dict[str, str | int | float | bool] = {
            **worker.details,
            **queued,
            "loop_failures": sum(loop.failures for loop in loops),
            "centres_disabled": sum(bool(centre.disabled) for centre in self.dispatcher.centres()),
        }
        summary = worker.summary
        if dead:
            summary = f"stopped: {', '.join(dead)}"
        if self.book.trouble:
            summary = f"{self.book.trouble}; events wait"
        return Health(self._started and worker.ok and not dead and not self.book.trouble, summary, details)

    async def acknowledge(self, alarm_id: str, user: str, note: str) -> Alarm | None:
        """A user has seen an alarm; None: there is no such alarm."""
        return await self.keeper.acknowledge(alarm_id, user, note)

    async def _on_event(self, event: EventMessage) -> Sequence[Outgoing[Any]]:
        await self._opened.wait()
        await self.keeper.on_event(event)
        self._cameras.heard(event)
        return ()

    async def _on_action(self, action: ActionMessage) -> Sequence[Outgoing[Any]]:
        await self._opened.wait()
        await self.keeper.on_action(action)
        return ()

    async def _on_status(self, status: ChannelStatus) -> Sequence[Outgoing[Any]]:
        await self._opened.wait()
        event = await self._cameras.on_status(status)
        return () if event is None else (Outgoing(EVENTS, event),)

    async def _tick(self) -> None:
        while True:
            await self.book.patiently(self.keeper.on_tick)
            await self._runtime.clock.sleep(TICK_S)

    async def _prune(self) -> None:
        while True:
            await self.book.patiently(self.keeper.forget_old)
            await self._runtime.clock.sleep(PRUNE_EVERY_S)

    async def _watch(self) -> None:
        """Learn that the book is away, or back, also while nothing happens."""
        while True:
            with suppress(CatalogueUnavailable):
                await self.book.ping()
            await self._runtime.clock.sleep(PING_EVERY_S)


def create(runtime: Runtime, public_url: str = "") -> AlarmService:
    """Wire the alarm service. Nothing connects before `start`.

    Args:
        public_url: how others reach the console, for links in webhooks; empty: as configured.
    """
    address = ConsoleAddress(public_url) if public_url else console_address(runtime.site.console)
    if address.doubt and told_far_away(runtime.site.centres):
        log.warning(f"links in webhooks begin with {address.url}, which others cannot reach: {address.doubt}; set console.public_url")
    book = Book(create_engine(database_url(runtime.site.database, runtime.data_dir, "alarms")), runtime.clock)
    return AlarmService(runtime, Place.of(runtime.site, address.url), book)
