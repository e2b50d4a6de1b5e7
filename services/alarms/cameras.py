"""Cameras that go offline and come back: from channel status to exception events, which then become alarms like all others."""

from __future__ import annotations

from services.alarms.adapters.book import Book
from services.alarms.core.handling import is_news
from services.alarms.core.offline import SOURCE, judge
from shared.domain.media import StreamKind
from shared.messages import EventMessage, EventPhase
from shared.messages.media import ChannelState, ChannelStatus


class Cameras:
    """What is known of an absence is in the book, where its event comes to: a restart goes on with it. Until it is there, which may take
    longer than the next status, the event that was told last counts.
    """

    def __init__(self, book: Book, offline_after_ns: int) -> None:
        self._book, self._offline_after_ns = book, offline_after_ns
        self._present: set[str] = set()  # channels of which no absence is open: their statuses need no look into the book
        self._told: dict[str, tuple[ChannelStatus, EventMessage]] = {}  # per channel the last event, and what made it

    def reconfigure(self, offline_after_ns: int) -> None:
        """From the next status on."""
        self._offline_after_ns = offline_after_ns

    async def on_status(self, status: ChannelStatus) -> EventMessage | None:
        """The event that a status makes, to be published; None: none. A camera is where its main stream is."""
        if status.stream is not StreamKind.MAIN:
            return None
        made_by, told = self._told.get(status.channel, (None, None))
        if status == made_by:
            return told  # delivered again: the event may not have been published
        if status.state is ChannelState.OFFLINE:
            self._present.discard(status.channel)
        elif status.channel in self._present:
            return None
        else:
            self._present.add(status.channel)  # before the look into the book: what comes into it meanwhile takes it back
        known = await self._book.patiently(lambda: self._known(status.channel, told))
        if known is not None:
            self._present.discard(status.channel)
        said_ns = None if made_by is None else made_by.at_ns
        event = judge(status, known, self._offline_after_ns, said_ns)
        if event is not None:
            self._told[status.channel] = status, event
        return event

    def heard(self, event: EventMessage) -> None:
        """An event has come into the book. The next status of its channel is judged by it."""
        if event.source == SOURCE:
            self._present.discard(event.channel)

    async def _known(self, channel: str, told: EventMessage | None) -> EventMessage | None:
        """The channel's absence that goes on, as told last; None: none does."""
        async with self._book.read() as page:
            if told is not None and is_news(told, await page.seen(told.event_id)):
                return None if told.phase is EventPhase.ENDED else told
            return await page.unended(channel, SOURCE)
