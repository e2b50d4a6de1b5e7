"""Telling people about exceptions of the device: an `exception` event on the events topic, which the alarm service handles."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import structlog

from shared.bus.port import Producer
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import BusError, BusUnavailable
from shared.domain.ids import DEVICE_CHANNEL, DEVICE_CHANNEL_NUMBER, deterministic_id
from shared.domain.redact import redact
from shared.messages import EventKind, EventMessage, EventPhase
from shared.supervise import Supervisor
from shared.topics import EVENTS

log = structlog.get_logger(__name__)

#: Reports that wait for a bus that is away; more than that, and the oldest give way (what lasts is said again anyway).
MAX_WAITING = 256
RETRY_S = 2.0
#: An exception that lasts is said again this often: whoever hears nothing for long takes it for lost.
REMIND_NS = 60 * NS_PER_S


@dataclass(slots=True)
class _Open:
    """An exception that lasts, as last told. `told_ns`: monotonic."""

    event: EventMessage
    told_ns: int


class Reporter:
    """Publishes exceptions: `raise_` when one begins, `clear` when it is over, `tell` for a momentary one.

    While the bus is away reports wait, in order and bounded, and are published when it is back. Nothing of it raises, so that a report
    never stops what it reports on.

    Sources in use: loop.failed, clock.jump, login.locked; camera.timestamp_jump (alarms makes camera.offline); spool.full, spool.error,
    spool.unreadable; storage.full, storage.low, storage.error, storage.error.objects, recording.stalled, retention.stalled;
    analytics.model, analytics.detector; webhook.gone, webhook.dead_letters; dead_letters.dropped; config.refused.
    """

    def __init__(self, producer: Producer, clock: Clock, device: str) -> None:
        self._producer, self._clock, self._device = producer, clock, device
        self._open: dict[tuple[str, str], _Open] = {}
        self._waiting: deque[EventMessage] = deque()
        self._sending = self._stopped = False
        self._supervisor = Supervisor(clock)

    async def raise_(self, source: str, message: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """An exception begins. Raised again while open, it is not told again."""
        if (channel, source) in self._open:
            return
        event = self._event(source, message, channel, number)
        self._open[(channel, source)] = _Open(event, self._clock.monotonic_ns())
        await self._publish(event)

    async def clear(self, source: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """An exception is over. Nothing happens when it was not raised."""
        lasting = self._open.pop((channel, source), None)
        if lasting is not None:
            await self._publish(self._after(lasting.event, EventPhase.ENDED))

    async def tell(self, source: str, message: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """Something happened at this moment."""
        event = self._event(source, message, channel, number)
        await self._publish(event, event.model_copy(update={"phase": EventPhase.ENDED, "end_ns": event.at_ns}))

    async def loop_failed(self, name: str, error: BaseException) -> None:
        """`Supervisor`'s on_failure."""
        await self.tell("loop.failed", f"{name} failed and is started again: {type(error).__name__}: {error}")

    async def stop(self) -> None:
        """Say nothing more by itself. What waits is given up: the log has it."""
        self._stopped = True
        await self._supervisor.stop()

    def _event(self, source: str, message: str, channel: str, number: int) -> EventMessage:
        now_ns = self._clock.now_ns()
        return EventMessage(
            channel=channel,
            channel_number=number,
            event_id=deterministic_id(self._device, channel, source, now_ns),
            kind=EventKind.EXCEPTION,
            source=source,
            phase=EventPhase.STARTED,
            start_ns=now_ns,
            at_ns=now_ns,
            message=redact(message),
        )

    def _after(self, event: EventMessage, phase: EventPhase) -> EventMessage:
        now_ns = max(self._clock.now_ns(), event.at_ns + 1)  # also when the clock was set back: what is no later is taken for a repetition
        ended = phase is EventPhase.ENDED
        return event.model_copy(
            update={"phase": phase, "at_ns": now_ns, "end_ns": now_ns if ended else None, "message": "" if ended else event.message}
        )

    async def _publish(self, *events: EventMessage) -> None:
        for event in events:
            log.warning("exception", source=event.source, phase=event.phase.value, channel=event.channel, message=event.message)
        self._wait(*events)
        await self._send()
        if (self._waiting or self._open) and not self._stopped and not any(loop.running for loop in self._supervisor.loops):
            self._supervisor.spawn("reports", self._keep_telling)

    def _wait(self, *events: EventMessage) -> None:
        self._waiting.extend(events)
        while len(self._waiting) > MAX_WAITING:
            gone = self._waiting.popleft()
            log.error("too many reports wait for the bus, one is only logged", source=gone.source, phase=gone.phase.value)

    async def _send(self) -> None:
        """Publish what waits, in order, until the bus refuses. One at a time does: who comes meanwhile leaves its own to it."""
        if self._sending:
            return
        self._sending = True
        try:
            while self._waiting:
                event = self._waiting[0]
                try:
                    await self._producer.publish(EVENTS, event)
                except BusUnavailable:
                    return
                except BusError as error:  # it will never be taken
                    log.error("an exception could not be published", source=event.source, error=str(error))
                if self._waiting and self._waiting[0] is event:
                    self._waiting.popleft()
        finally:
            self._sending = False

    async def _keep_telling(self) -> None:
        """While anything waits or lasts: try again, and remind."""
        while self._waiting or self._open:
            await self._clock.sleep(RETRY_S)
            now_ns = self._clock.monotonic_ns()
            due = [] if self._waiting else [one for one in self._open.values() if now_ns - one.told_ns >= REMIND_NS]
            for lasting in due:
                lasting.event, lasting.told_ns = self._after(lasting.event, EventPhase.UPDATED), now_ns
                self._wait(lasting.event)
            await self._send()
