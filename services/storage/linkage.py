"""Carrying out what alarms ask for: protecting footage, taking pictures (docs: the snapshot flow in `README.md`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.storage.adapters.actions import Actions
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.picture import NEAR_NS, NoPicture, Pictures
from services.storage.adapters.snapshots import Snapshot, Snapshots
from services.storage.core.model import Span, snapshot_key
from services.storage.core.waiting import Head, Verdict, verdict
from shared.bus.port import Bus
from shared.domain.clock import Clock
from shared.domain.errors import CatalogueError, ObjectStoreError, StorageFull, VedetteError
from shared.domain.media import StreamKind
from shared.messages import ActionKind, ActionMessage, ActionPhase
from shared.objects.port import check_key
from shared.obs.trace import following
from shared.topics import ACTIONS

log = structlog.get_logger(__name__)

GROUP = "storage-actions"
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
        snapshots_to: Callable[[str], str],
        claimed: Callable[[Span], None],
        stored_last: Callable[[str], Head | None],
        ready: asyncio.Event,
    ) -> None:
        """Wired.

        Args:
            snapshots_to: the bucket of a channel's snapshots, as `Snapshot.bucket`.
            claimed: told of spans of footage that alarms want.
            stored_last: the footage of a channel that was stored last.
            ready: set when commands may be taken.
        """
        self._bus, self._clock, self._catalogue, self._actions = bus, clock, catalogue, actions
        self._pictures, self._snapshots, self._device, self._snapshots_to = pictures, snapshots, device, snapshots_to
        self._claimed, self._stored_last, self._ready = claimed, stored_last, ready
        self._seen_ns: dict[str, int] = {}  # monotonic: since when a command is waited for
        self._work, self._results = asyncio.Event(), asyncio.Event()
        self._waiting = True  # whether commands may be waiting: the catalogue is not asked after each segment

    def footage_stored(self) -> None:
        """There is new footage: something that waits may be possible now."""
        if self._waiting:
            self._work.set()

    async def commands_loop(self) -> None:
        consumer = await self._bus.consumer([ACTIONS], group=GROUP)
        try:
            await self._ready.wait()
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
            await self._pass(pending)
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

    async def _pass(self, pending: Sequence[tuple[ActionMessage, int]]) -> None:
        """Try each command once; one that cannot be carried out costs the others nothing. Protecting footage first: it takes no time."""
        seen_ns = self._clock.monotonic_ns()
        self._seen_ns = {action.action_id: self._seen_ns.get(action.action_id, seen_ns) for action, _ in pending}
        for action, received_ns in sorted(pending, key=lambda item: item[0].action is ActionKind.SNAPSHOT):
            with following(action.trace):
                await self._try_or_fail(action, received_ns)

    async def _try_or_fail(self, action: ActionMessage, received_ns: int) -> None:
        try:
            await self._try(action, received_ns)
        except CatalogueError:
            raise  # it is away: all of them wait
        except Exception as error:  # the boundary of one command: whatever is wrong with it, the others must not wait for it
            log.exception("a command cannot be carried out", channel=action.channel, action=action.action_id)
            await self._actions.settle(action, ActionPhase.FAILED, text=_reason(error))

    async def _try(self, action: ActionMessage, received_ns: int) -> None:
        until_ns = action.at_ns if action.action is ActionKind.SNAPSHOT else (action.to_ns or action.at_ns)
        # What a snapshot shows had been filmed when it was asked for. Does it lie ahead, the clock was set back since: nothing is to come.
        to_come_ns = max(0, until_ns - received_ns) if action.action is ActionKind.RECORD else 0
        waited_ns = self._clock.monotonic_ns() - self._seen_ns[action.action_id] - to_come_ns
        head = await self._head(action.channel)
        found = verdict(head, until_ns, self._clock.now_ns(), waited_ns)
        if found is Verdict.WAIT:
            return
        if action.action is ActionKind.RECORD:
            await self._protected(action, late=found is Verdict.LATE)
            return
        beyond = verdict(head, until_ns + NEAR_NS, self._clock.now_ns(), waited_ns)
        await self._picture(action, session=head.session if head else "", passed=beyond is Verdict.PASSED, late=found is Verdict.LATE)

    async def _head(self, channel: str) -> Head | None:
        """What was stored last; before anything was since the start: what has the latest time."""
        head = self._stored_last(channel)
        if head is not None:
            return head
        newest_ns = await self._catalogue.newest_end_ns(channel, StreamKind.MAIN.value)
        return None if newest_ns is None else Head(newest_ns)

    async def _protected(self, action: ActionMessage, *, late: bool) -> None:
        """The catalogue marks footage when it is stored; what is left is to say whether there is any."""
        found = await self._catalogue.between(action.channel, action.from_ns or action.at_ns, action.to_ns or action.at_ns, limit=1)
        if found:
            await self._actions.settle(action, ActionPhase.DONE, object_key=found[0].object_key)
        elif late:
            await self._actions.settle(action, ActionPhase.FAILED, text="there is no footage of that time")

    async def _picture(self, action: ActionMessage, *, session: str, passed: bool, late: bool) -> None:
        """Args: `passed`: footage well after the moment is stored."""
        key = self._key(action)
        if key is None:
            await self._actions.settle(
                action, ActionPhase.FAILED, text=f"not a key of a snapshot of this channel: {action.object_key!r:.200}"
            )
            return
        try:
            jpeg = await self._pictures.take(action.channel, action.at_ns, session)
            bucket = self._snapshots_to(action.channel)
            await self._snapshots.add(Snapshot(key, action.channel, action.at_ns, len(jpeg), bucket), jpeg)
        except NoPicture as error:
            if late or passed:
                await self._actions.settle(action, ActionPhase.FAILED, text=error.what)
        except (ObjectStoreError, StorageFull) as error:
            log.warning("a snapshot must wait", channel=action.channel, error=str(error))
            if late:
                await self._actions.settle(action, ActionPhase.FAILED, text=error.what)
        else:
            await self._actions.settle(action, ActionPhase.DONE, object_key=key)

    def _key(self, action: ActionMessage) -> str | None:
        """Where the command wants its snapshot, and has told others it will be; None: no snapshot of its channel may be there."""
        key = action.object_key
        if not key:
            return snapshot_key(self._device, action.channel, action.at_ns, action.action_id)
        try:
            check_key(key)
        except ObjectStoreError:
            return None
        return key if key.startswith(f"{self._device}/{action.channel}/") and key.endswith(".jpg") else None

    async def results_loop(self) -> None:
        """Publish results; those of before a restart first."""
        while True:
            self._results.clear()
            while results := await self._actions.unreported():
                for result in results:
                    await self._bus.producer.publish(ACTIONS, result)
                    log.info(
                        "an action is settled", action=result.action.value, phase=result.phase.value, channel=result.channel,
                        alarm=result.alarm_id, trace=result.trace,
                    )  # fmt: skip
                    await self._actions.reported(result)
            await self._results.wait()


def _reason(error: Exception) -> str:
    """Why a command failed, for people: neither paths nor addresses."""
    if isinstance(error, VedetteError):
        return error.what
    if isinstance(error, OSError):
        return f"the footage cannot be read: {error.strerror}"
    return f"{type(error).__name__} while it was carried out"
