"""The queue of one centre: in order per channel, channels side by side, a failing message holds back only its own channel."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog

from services.alarms import metrics
from services.alarms.adapters.book import Book
from services.alarms.adapters.page import Page
from services.alarms.adapters.rows import Delivery
from services.alarms.adapters.webhook import Answer, WebhookClient, parent_of
from services.alarms.core.retry import Backoff
from shared.config.services import WebhookCentre
from shared.domain.clock import NS_PER_S, Clock, ns_to_seconds
from shared.domain.tracing import trace_in
from shared.obs.trace import following
from shared.report import Reporter
from shared.supervise import Supervisor

log = structlog.get_logger(__name__)

#: Channels of one centre that are sent side by side.
CONNECTIONS = 8
#: At most one exception about dead letters of a centre in this time.
_TELL_EVERY_NS = 60 * NS_PER_S


@dataclass
class _Lane:
    """One channel's messages, oldest first. `pause_s`: to wait before the first of them."""

    queue: deque[int] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    pause_s: float = 0.0


class Destination:
    """Sends one centre's messages. What is in memory is in the book too, from where a restart takes it up.

    Full (`queue_max`): the oldest become dead letters. Disabled (it answered 410): all do, until it is enabled.
    """

    def __init__(
        self, centre: WebhookCentre, client: WebhookClient, book: Book, clock: Clock, reporter: Reporter, supervisor: Supervisor
    ) -> None:
        self._centre, self._client, self._book = centre, client, book
        self._clock, self._reporter, self._supervisor = clock, reporter, supervisor
        self._backoff = Backoff(centre.retry_min_s, max(centre.retry_min_s, centre.retry_max_s))
        self._waiting: dict[int, Delivery] = {}  # by sequence, oldest first
        self._until_ns: dict[int, int] = {}  # of those, when they become dead letters: monotonic, for the clock may be set
        self._sending: set[int] = set()
        self._lanes: dict[str, _Lane] = {}
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._refused: list[tuple[int, str]] = []  # to become dead letters, and why
        self._refuse = asyncio.Event()
        self._told_ns: int | None = None
        self.disabled = ""  # why; empty: it is not

    @property
    def _burial(self) -> str:
        return f"dead letters of centre {self._centre.id}"

    def _lane_name(self, channel: str) -> str:
        return f"webhooks of {channel} to {self._centre.id}"

    def start(self) -> None:
        """Begin to send."""
        self._supervisor.spawn(self._burial, self._bury_refused)

    async def stop(self) -> None:
        """End its loops, and drop the connections. What it had not sent is in the book; what was on its way may be sent again."""
        await self._supervisor.cancel(self._burial)
        for channel in list(self._lanes):
            await self._supervisor.cancel(self._lane_name(channel))
        await self.close()

    async def close(self) -> None:
        """Drop the connections, once the loops have been stopped."""
        await self._client.close()

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """Messages that can be queued before the oldest are given up."""
        return max(0, self._centre.queue_max - len(self._waiting))

    @property
    def deadline_s(self) -> float:
        return self._centre.deadline_s

    def put(self, delivery: Delivery) -> None:
        """Queue a message that the book has queued. What it has in hand already is not queued twice."""
        if delivery.sequence in self._waiting or delivery.sequence in (sequence for sequence, _ in self._refused):
            return
        if self.disabled:
            self._give_up(delivery.sequence, self.disabled)
            return
        self._waiting[delivery.sequence] = delivery
        self._until_ns[delivery.sequence] = self._clock.monotonic_ns() + delivery.deadline_ns - self._clock.now_ns()
        if len(self._waiting) > self._centre.queue_max:
            oldest = next((sequence for sequence in self._waiting if sequence not in self._sending), None)
            if oldest is not None:
                self._forget(oldest)
                self._give_up(oldest, f"more than {self._centre.queue_max} messages were waiting")
        lane = self._lane(delivery)
        lane.queue.append(delivery.sequence)
        lane.filled.set()
        self._gauge()

    def _lane(self, delivery: Delivery) -> _Lane:
        lane = self._lanes.get(delivery.channel)
        if lane is None:
            lane = self._lanes[delivery.channel] = _Lane()
            wait_s = ns_to_seconds(delivery.next_ns - self._clock.now_ns())
            lane.pause_s = min(max(0.0, wait_s), self._centre.retry_max_s)  # after a restart: no longer than ever, should a clock be wrong
            self._supervisor.spawn(self._lane_name(delivery.channel), lambda: self._send_lane(lane))
        return lane

    async def _send_lane(self, lane: _Lane) -> None:
        while True:
            if lane.pause_s > 0:
                await self._clock.sleep(lane.pause_s)
                lane.pause_s = 0.0
            if not lane.queue:
                lane.filled.clear()
                await lane.filled.wait()
                continue
            async with self._slots:
                delivery = self._waiting.get(lane.queue[0])
                if delivery is not None:
                    with following(trace_in(parent_of(delivery.body))):
                        await self._attempt(lane, delivery)
                    continue
            lane.queue.popleft()  # sent, or given up meanwhile

    async def _attempt(self, lane: _Lane, delivery: Delivery) -> None:
        self._sending.add(delivery.sequence)
        try:
            begun_ns = self._clock.monotonic_ns()
            answer = await self._client.post(delivery)
            metrics.POST.labels(self._centre.id).observe(ns_to_seconds(self._clock.monotonic_ns() - begun_ns))
            if answer.ok:
                await self._delivered(delivery)
            elif answer.gone:
                await self._gone(answer)
            else:
                lane.pause_s = await self._failed(delivery, answer)
        finally:
            self._sending.discard(delivery.sequence)

    async def _delivered(self, delivery: Delivery) -> None:
        now_ns = self._clock.now_ns()
        metrics.ALARM_TO_WEBHOOK.labels(self._centre.id).observe(max(0.0, ns_to_seconds(now_ns - delivery.queued_ns)))
        metrics.CAPTURE_TO_WEBHOOK.labels(self._centre.id).observe(max(0.0, ns_to_seconds(now_ns - delivery.capture_ns)))
        self._count("delivered")
        log.info("webhook delivered", centre=self._centre.id, channel=delivery.channel, alarm=delivery.alarm_id, change=delivery.change)
        await self._note(lambda page: page.delivered(delivery.sequence, delivery.attempts + 1, now_ns))
        self._settled(delivery.sequence)

    async def _failed(self, delivery: Delivery, answer: Answer) -> float:
        """Keep or give up a message after a failed attempt; seconds to wait before the next of its channel."""
        now_ns, monotonic_ns, attempts = self._clock.now_ns(), self._clock.monotonic_ns(), delivery.attempts + 1
        until_ns = self._until_ns.get(delivery.sequence, monotonic_ns + delivery.deadline_ns - now_ns)
        again_ns = self._backoff.next_attempt_ns(attempts, random.random(), monotonic_ns, until_ns, answer.retry_after_s)
        log.warning("webhook failed", centre=self._centre.id, channel=delivery.channel, attempts=attempts, error=answer.error)
        if again_ns is None:
            await self._note(lambda page: page.bury([delivery.sequence], now_ns, answer.error, attempts))
            self._settled(delivery.sequence)
            self._count("dead")
            await self._tell(answer.error)
            return 0.0
        wait_ns = again_ns - monotonic_ns
        next_ns = now_ns + wait_ns
        await self._note(lambda page: page.failed(delivery.sequence, attempts, next_ns, answer.error))
        if delivery.sequence in self._waiting:
            self._waiting[delivery.sequence] = replace(delivery, attempts=attempts, next_ns=next_ns)
        self._count("failed")
        return ns_to_seconds(wait_ns)

    async def _gone(self, answer: Answer) -> None:
        now_ns = self._clock.now_ns()
        await self._note(lambda page: page.disable(self._centre.id, now_ns, answer.error))
        self.disabled = answer.error
        self._count("dead", len(self._waiting))
        self._waiting.clear()
        self._until_ns.clear()
        self._gauge()
        text = (
            f"centre {self._centre.id} answered 410 Gone: it is told nothing more until someone enables it; its messages are dead letters"
        )
        await self._reporter.tell("webhook.gone", text)

    def _give_up(self, sequence: int, why: str) -> None:
        self._refused.append((sequence, why))
        self._refuse.set()

    async def _bury_refused(self) -> None:
        while True:
            self._refuse.clear()
            while self._refused:
                why = self._refused[0][1]
                sequences = {sequence for sequence, reason in self._refused if reason == why}
                await self._bury(list(sequences), why)
                # At once: now they can be sent again, and `put` passes over what is refused. To tell it may take long.
                self._refused = [refused for refused in self._refused if refused[0] not in sequences]
                self._count("dead", len(sequences))
                if why != self.disabled:  # `webhook.gone` has told that all are dead letters
                    await self._tell(why)
            await self._refuse.wait()

    async def _bury(self, sequences: list[int], why: str) -> None:
        now_ns = self._clock.now_ns()
        await self._note(lambda page: page.bury(sequences, now_ns, why))

    async def _note(self, work: Callable[[Page], Awaitable[None]]) -> None:
        """Write down what became of a message. While the book is away it waits: what was sent is not sent again."""

        async def write() -> None:
            async with self._book.write() as page:
                await work(page)

        await self._book.patiently(write)

    async def _tell(self, why: str) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._told_ns is None or now_ns - self._told_ns > _TELL_EVERY_NS:
            self._told_ns = now_ns
            text = f"messages for centre {self._centre.id} are given up: {why}. They are kept and can be sent again"
            await self._reporter.tell("webhook.dead_letters", text)

    def _settled(self, sequence: int) -> None:
        self._forget(sequence)
        self._gauge()

    def _forget(self, sequence: int) -> None:
        self._waiting.pop(sequence, None)
        self._until_ns.pop(sequence, None)

    def _gauge(self) -> None:
        metrics.QUEUE.labels(self._centre.id).set(len(self._waiting))

    def _count(self, result: str, count: int = 1) -> None:
        metrics.DELIVERIES.labels(self._centre.id, result).inc(count)
