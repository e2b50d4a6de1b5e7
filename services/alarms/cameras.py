"""Cameras that go offline and come back: from channel status to exception events, which then become alarms like all others."""

from __future__ import annotations

from services.alarms.adapters.book import Book
from services.alarms.core.offline import SOURCE, judge
from shared.domain.media import StreamKind
from shared.messages import EventMessage
from shared.messages.media import ChannelState, ChannelStatus


class Cameras:
    """What is known of an absence is in the book alone, where its event comes to: a restart goes on with it."""

    def __init__(self, book: Book, offline_after_ns: int) -> None:
        self._book, self._offline_after_ns = book, offline_after_ns
        self._present: set[str] = set()  # channels of which no absence is open: their statuses need no look into the book

    def reconfigure(self, offline_after_ns: int) -> None:
        """From the next status on."""
        self._offline_after_ns = offline_after_ns

    async def on_status(self, status: ChannelStatus) -> EventMessage | None:
        """The event that a status makes, to be published; None: none. A camera is where its main stream is."""
        if status.stream is not StreamKind.MAIN:
            return None
        if status.state is ChannelState.OFFLINE:
            self._present.discard(status.channel)
        elif status.channel in self._present:
            return None
        known = await self._book.patiently(lambda: self._known(status.channel))
        if known is None and status.state is not ChannelState.OFFLINE:
            self._present.add(status.channel)
        return judge(status, known, self._offline_after_ns)

    async def _known(self, channel: str) -> EventMessage | None:
        async with self._book.read() as page:
            return await page.unended(channel, SOURCE)
