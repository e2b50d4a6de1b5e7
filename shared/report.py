"""Telling people about exceptions of the device: an `exception` event on the events topic, which the alarm service handles."""

from __future__ import annotations

import structlog

from shared.bus.port import Producer
from shared.domain.clock import Clock
from shared.domain.errors import BusError
from shared.domain.ids import DEVICE_CHANNEL, DEVICE_CHANNEL_NUMBER, deterministic_id
from shared.domain.redact import redact
from shared.messages import EventKind, EventMessage, EventPhase
from shared.topics import EVENTS

log = structlog.get_logger(__name__)


class Reporter:
    """Publishes exceptions: `raise_` when one begins, `clear` when it is over, `tell` for a momentary one.

    Sources in use: loop.failed, clock.jump, camera.timestamp_jump, spool.full, storage.full, storage.error, storage.low,
    recording.stalled, retention.stalled, webhook.gone, webhook.dead_letters, queue.full.
    """

    def __init__(self, producer: Producer, clock: Clock, device: str) -> None:
        self._producer, self._clock, self._device = producer, clock, device
        self._open: dict[tuple[str, str], int] = {}

    async def raise_(self, source: str, message: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """An exception begins. Raised again while open, it is not published again."""
        if (channel, source) in self._open:
            return
        now_ns = self._clock.now_ns()
        self._open[(channel, source)] = now_ns
        await self._publish(source, message, channel, number, now_ns, EventPhase.STARTED)

    async def clear(self, source: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """An exception is over. Nothing happens when it was not raised."""
        start_ns = self._open.pop((channel, source), None)
        if start_ns is not None:
            await self._publish(source, "", channel, number, start_ns, EventPhase.ENDED)

    async def tell(self, source: str, message: str, *, channel: str = DEVICE_CHANNEL, number: int = DEVICE_CHANNEL_NUMBER) -> None:
        """Something happened at this moment."""
        now_ns = self._clock.now_ns()
        await self._publish(source, message, channel, number, now_ns, EventPhase.STARTED)
        await self._publish(source, message, channel, number, now_ns, EventPhase.ENDED)

    async def loop_failed(self, name: str, error: BaseException) -> None:
        """`Supervisor`'s on_failure."""
        await self.tell("loop.failed", f"{name} failed and is started again: {type(error).__name__}: {error}")

    async def _publish(self, source: str, message: str, channel: str, number: int, start_ns: int, phase: EventPhase) -> None:
        now_ns = self._clock.now_ns()
        event = EventMessage(
            channel=channel,
            channel_number=number,
            event_id=deterministic_id(self._device, channel, source, start_ns),
            kind=EventKind.EXCEPTION,
            source=source,
            phase=phase,
            start_ns=start_ns,
            at_ns=now_ns,
            end_ns=now_ns if phase is EventPhase.ENDED else None,
            message=redact(message),
        )
        log.warning("exception", source=source, phase=phase.value, channel=channel, message=event.message)
        try:
            await self._producer.publish(EVENTS, event)
        except BusError as error:  # the log line above is then all there is; a report must never stop what it reports on
            log.error("an exception could not be published", source=source, error=str(error))
