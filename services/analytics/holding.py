"""The channels that this worker holds: claimed with their state, saved, and forgotten when another has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from services.analytics.channel_work import CATCH_UP_NS, ChannelWork
from services.analytics.state import Claim, StateMoved, StateStore, StateUnavailable
from shared.domain.clock import Clock

log = structlog.get_logger(__name__)

#: How soon a claim is tried again while the store is away. Frames wait on the broker meanwhile.
CLAIM_AGAIN_S = 1.0

T = TypeVar("T")


class Holding:
    """Channels by id.

    Args:
        make: a channel without a past, configured.
    """

    def __init__(self, store: StateStore, clock: Clock, make: Callable[[str], ChannelWork]) -> None:
        self._store, self._clock, self._make = store, clock, make
        self._held: dict[str, ChannelWork] = {}
        self._lost: set[str] = set()
        self._claiming = asyncio.Lock()
        self._kept = True  # whether the store took what it was given last
        #: Whether partitions are on the move: then nothing may change a channel.
        self.away = False

    def __iter__(self) -> Iterator[ChannelWork]:
        return iter(list(self._held.values()))

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, channel: str) -> ChannelWork:
        return self._held[channel]

    async def enter(self, channels: Sequence[str], *, last: Callable[[ChannelWork], bool] = lambda _: False) -> list[ChannelWork]:
        """Hold exactly these. Waits while the store is away. What no other has claimed meanwhile goes on as it is in memory.

        Args:
            last: whether nobody will have a channel any more; it stays until what it has to tell is told.

        Returns:
            The channels that were taken over from the store.
        """
        async with self._claiming:
            claims = await self._claim(channels)
            for gone in [work for work in self if work.id not in channels and not (work.waits and last(work))]:
                del self._held[gone.id]
            self._lost.clear()
            taken = [work for channel, claim in claims.items() if (work := await self._take(channel, claim)) is not None]
            self.away = False
            return taken

    async def of(self, channel: str) -> ChannelWork:
        """A channel that has a frame; claimed when it is new.

        Raises:
            StateMoved: another worker has it.
        """
        if channel not in self._held:
            async with self._claiming:
                if channel in self._lost:
                    raise StateMoved(f"channel {channel} has another owner now")
                if channel not in self._held:
                    await self._take(channel, (await self._claim([channel]))[channel])
        return self._held[channel]

    async def save(self, channel: ChannelWork) -> None:
        """Durable when it returns, unless the store is away: then it is tried again later.

        Raises:
            StateMoved: another worker has the channel; it is forgotten.
        """
        channel.dirty = channel.urgent = channel.unsaved = False
        channel.saved_ns = self._clock.monotonic_ns()
        try:
            await to_its_end(asyncio.ensure_future(self._store.save(channel.id, channel.generation, channel.export())))
        except StateMoved:
            self._lost.add(channel.id)
            self._held.pop(channel.id, None)
            raise
        except StateUnavailable as error:
            channel.dirty = True
            self._note(error)
        else:
            self._note(None)

    async def save_all(self) -> None:
        """All that has changed. What has another owner is that one's."""
        for channel in self:
            async with channel.lock:
                if channel.dirty or channel.unsaved:
                    with suppress(StateMoved):
                        await self.save(channel)

    async def load(self, channels: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What is kept of channels that others hold; nothing while the store is away."""
        wanted = [channel for channel in channels if channel not in self._held]
        try:
            return await self._store.load(wanted) if wanted else {}
        except StateUnavailable:
            return {}

    async def _claim(self, channels: Sequence[str]) -> dict[str, Claim]:
        while True:
            try:
                claims = await self._store.claim(channels)
            except StateUnavailable as error:
                self._note(error)
                await self._clock.sleep(CLAIM_AGAIN_S)
            else:
                self._note(None)
                return claims

    def _note(self, error: StateUnavailable | None) -> None:
        """Log that the store went away, or is back; not each attempt of each channel in between."""
        if self._kept and error is not None:
            log.warning("the channels' states cannot be kept or taken over now; it is tried again", error=str(error))
        elif not self._kept and error is None:
            log.info("the channels' states are kept again")
        self._kept = error is None

    async def _take(self, channel: str, claim: Claim) -> ChannelWork | None:
        """None: it was in memory, and nobody else had it since."""
        held = self._held.get(channel)
        if held is not None and held.generation == claim.generation - 1:
            held.generation = claim.generation
            held.handled_ns = self._clock.monotonic_ns()  # its silence was ours
            held.catches_up_until_ns = self._clock.monotonic_ns() + CATCH_UP_NS  # nobody read while partitions moved
            return None
        work = self._held[channel] = self._make(channel)
        if claim.state is not None:
            try:
                work.restore(claim.state)
                work.catches_up_until_ns = self._clock.monotonic_ns() + CATCH_UP_NS
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                log.warning("the saved state of a channel cannot be used; its counts begin anew", channel=channel, error=repr(error))
                await self._store.put_aside(channel)
                work = self._held[channel] = self._make(channel)
        work.generation = claim.generation
        return work


async def to_its_end(work: asyncio.Future[T]) -> T:
    """What runs in a thread cannot be cancelled: who is, waits for its end, since nobody else may touch the channel before."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise
