"""The alarm service: events to alarms, alarms to actions and webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.alarms.adapters.book import Book
from services.alarms.adapters.dispatcher import Dispatcher
from services.alarms.adapters.outbox import Outbox
from services.alarms.core.arming import Arming
from services.alarms.core.place import Place
from services.alarms.core.record import Alarm
from services.alarms.keeper import Keeper
from shared.config.services import EmbeddedBus
from shared.db.engine import create_engine, database_url
from shared.faust.worker import Outgoing, Worker
from shared.messages import ActionMessage, EventMessage
from shared.service import Health, Runtime
from shared.supervise import Supervisor
from shared.topics import ACTIONS, EVENTS

#: How often the timers look whether an alarm is due.
TICK_S = 0.5
PRUNE_EVERY_S = 3600.0


class AlarmService:
    """Runs the keeper: messages through a worker, time through a supervised loop, webhooks through the dispatcher."""

    name = "alarms"

    def __init__(self, runtime: Runtime, place: Place, book: Book, *, sources_end_with_us: bool) -> None:
        clock, reporter = runtime.clock, runtime.reporter
        self.book = book
        self.dispatcher = Dispatcher(runtime.site.centres, book, clock, reporter)
        self._outbox = Outbox(book, runtime.bus.producer)
        self.keeper = Keeper(Arming(runtime.site), place, book, self.dispatcher, self._outbox, clock)
        self._runtime, self._sources_end_with_us = runtime, sources_end_with_us
        self._supervisor = Supervisor(clock, reporter.loop_failed)
        self._worker = Worker(self.name, runtime)
        self._worker.handle(EVENTS, self._on_event)
        self._worker.handle(ACTIONS, self._on_action)
        self._started = False

    async def start(self) -> None:
        """Open the book, take up what was under way, then listen.

        Raises:
            CatalogueError: the book cannot be opened.
            BusUnavailable: the bus does not answer.
        """
        await self.book.open()
        self._started = True
        await self.dispatcher.start()
        if self._sources_end_with_us:
            await self.keeper.end_orphans()
        self._supervisor = Supervisor(self._runtime.clock, self._runtime.reporter.loop_failed)
        self._supervisor.spawn("alarm outbox", self._outbox.run)
        self._supervisor.spawn("alarm timers", self._tick)
        self._supervisor.spawn("alarm housekeeping", self._prune)
        await self._worker.start()

    async def stop(self) -> None:
        """Finish what is in hand. Webhooks that are not sent wait in the book for the next start."""
        await self._worker.stop()
        await self._supervisor.stop()
        await self.dispatcher.stop()
        await self.book.close()
        self._started = False

    def health(self) -> Health:
        """Progress of the worker and the loops. A dead centre is no fault of ours: it shows in the details."""
        worker = self._worker.health()
        loops = [*self._supervisor.loops, *self.dispatcher.supervisor.loops]
        dead = [loop.name for loop in loops if not loop.running]
        queued = {f"queued.{centre.id}": centre.queued for centre in self.dispatcher.centres()}
        details: dict[str, str | int | float | bool] = {
            **worker.details,
            **queued,
            "loop_failures": sum(loop.failures for loop in loops),
            "centres_disabled": sum(bool(centre.disabled) for centre in self.dispatcher.centres()),
        }
        return Health(self._started and worker.ok and not dead, f"stopped: {', '.join(dead)}" if dead else worker.summary, details)

    async def acknowledge(self, alarm_id: str, user: str, note: str) -> Alarm | None:
        """A user has seen an alarm; None: there is no such alarm."""
        return await self.keeper.acknowledge(alarm_id, user, note)

    async def _on_event(self, event: EventMessage) -> Sequence[Outgoing[Any]]:
        await self.keeper.on_event(event)
        return ()

    async def _on_action(self, action: ActionMessage) -> Sequence[Outgoing[Any]]:
        await self.keeper.on_action(action)
        return ()

    async def _tick(self) -> None:
        while True:
            await self.keeper.on_tick()
            await self._runtime.clock.sleep(TICK_S)

    async def _prune(self) -> None:
        while True:
            async with self.book.write() as page:
                await page.prune(self._runtime.clock.now_ns())
            await self._runtime.clock.sleep(PRUNE_EVERY_S)


def create(runtime: Runtime, public_url: str = "") -> AlarmService:
    """Wire the alarm service. Nothing connects before `start`.

    Args:
        public_url: how others reach the console, for links in webhooks; empty: as configured.
    """
    book = Book(create_engine(database_url(runtime.site.database, runtime.data_dir, "alarms")))
    # In one process analytics ends with us, and with it every event that was under way.
    one_process = isinstance(runtime.site.bus, EmbeddedBus)
    return AlarmService(runtime, Place.of(runtime.site, public_url), book, sources_end_with_us=one_process)
