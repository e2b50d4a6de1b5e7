"""Carrying out what alarms ask for: protecting footage, taking pictures (docs: the snapshot flow in `README.md`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from services.storage.adapters.actions import Actions
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.picture import NEAR_NS, NoPicture, Pictures
from services.storage.adapters.snapshots import Snapshot, Snapshots
from services.storage.core.model import Span, snapshot_key
from shared.bus.port import Bus
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import ObjectStoreError, StorageFull
from shared.domain.media import StreamKind
from shared.messages import ActionKind, ActionMessage, ActionPhase
from shared.topics import ACTIONS

log = structlog.get_logger(__name__)

GROUP = "storage-actions"
#: How long footage may be under way (spool, outage of the bus) before a command fails.
PATIENCE_NS = 300 * NS_PER_S
#: A camera that is away sends nothing more: with newer footage missing for this long, what there is must do.
SETTLED_NS = 20 * NS_PER_S
_RETRY_S = 2.0


class Linkage:
    """Three supervised loops: commands in, work, results out."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        catalogue: Catalogue,
        actions: Actions,
        pictures: Pictures,
        snapshots: Snapshots,
        *,
        device: str,
        claimed: Callable[[Span], None],
    ) -> None:
        """`claimed`: told of spans of footage that alarms want."""
        self._bus, self._clock, self._catalogue, self._actions = bus, clock, catalogue, actions
        self._pictures, self._snapshots, self._device, self._claimed = pictures, snapshots, device, claimed
        self._work, self._results = asyncio.Event(), asyncio.Event()
        self._waiting = True  # whether commands may be waiting: the catalogue is not asked after each segment

    def footage_stored(self) -> None:
        """There is new footage: something that waits may be possible now."""
        if self._waiting:
            self._work.set()

    async def commands_loop(self) -> None:
        consumer = await self._bus.consumer([ACTIONS], group=GROUP)
        try:
            while True:
                records = await consumer.poll()
                for record in records:
                    if isinstance(record.message, ActionMessage):
                        await self.accept(record.message)
                if records:
                    await consumer.commit([record.position for record in records])
        finally:
            await consumer.close()

    async def accept(self, action: ActionMessage) -> None:
        """Keep a command; results (our own) and actions of others are passed over."""
        if action.phase is not ActionPhase.REQUESTED or action.action not in (ActionKind.RECORD, ActionKind.SNAPSHOT):
            return
        span = await self._actions.accept(action, self._clock.now_ns())
        if span is not None:
            self._claimed(span)
        self._waiting = True
        self._work.set()

    async def work_loop(self) -> None:
        """Try what waits, whenever there is new footage, a new command, or time has gone by."""
        while True:
            self._work.clear()
            self._waiting = False
            pending = await self._actions.pending()
            self._waiting = self._waiting or bool(pending)
            for action, received_ns in pending:
                await self._try(action, received_ns)
            if pending:
                self._results.set()
                await self._either(self._work, _RETRY_S)
            else:
                await self._work.wait()

    async def _either(self, event: asyncio.Event, seconds: float) -> None:
        """Until the event, or the time has gone by."""
        tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._clock.sleep(seconds))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _try(self, action: ActionMessage, received_ns: int) -> None:
        until_ns = action.at_ns if action.action is ActionKind.SNAPSHOT else (action.to_ns or action.at_ns)
        newest_ns = await self._catalogue.newest_end_ns(action.channel, StreamKind.MAIN.value)
        now_ns = self._clock.now_ns()
        waited_ns = now_ns - max(received_ns, until_ns)
        if (newest_ns is None or newest_ns <= until_ns) and waited_ns < (SETTLED_NS if newest_ns else PATIENCE_NS):
            return  # its footage is under way
        if action.action is ActionKind.SNAPSHOT:
            await self._picture(action, late=waited_ns > PATIENCE_NS)
        else:
            await self._protected(action, late=waited_ns > PATIENCE_NS)

    async def _protected(self, action: ActionMessage, *, late: bool) -> None:
        """The catalogue marks footage when it is stored; what is left is to say whether there is any."""
        found = await self._catalogue.between(action.channel, action.from_ns or action.at_ns, action.to_ns or action.at_ns, limit=1)
        if found:
            await self._actions.settle(action, ActionPhase.DONE, object_key=found[0].object_key)
        elif late:
            await self._actions.settle(action, ActionPhase.FAILED, text="there is no footage of that time")

    async def _picture(self, action: ActionMessage, *, late: bool) -> None:
        key = snapshot_key(self._device, action.channel, action.at_ns, action.action_id)
        try:
            jpeg = await self._pictures.take(action.channel, action.at_ns)
            await self._snapshots.add(Snapshot(key, action.channel, action.at_ns, len(jpeg)), jpeg)
        except NoPicture as error:
            newest_ns = await self._catalogue.newest_end_ns(action.channel, StreamKind.MAIN.value)
            if late or (newest_ns is not None and newest_ns > action.at_ns + NEAR_NS):
                await self._actions.settle(action, ActionPhase.FAILED, text=error.what)
        except (ObjectStoreError, StorageFull) as error:
            log.warning("a snapshot must wait", channel=action.channel, error=str(error))
            if late:
                await self._actions.settle(action, ActionPhase.FAILED, text=error.what)
        else:
            await self._actions.settle(action, ActionPhase.DONE, object_key=key)

    async def results_loop(self) -> None:
        """Publish results; those of before a restart first."""
        while True:
            self._results.clear()
            while results := await self._actions.unreported():
                for result in results:
                    await self._bus.producer.publish(ACTIONS, result)
                    await self._actions.reported(result)
            await self._results.wait()
