"""Telling others, without ever making the writer wait: exceptions as levels, recordings as a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque

from services.storage import metrics
from services.storage.core.model import Recording
from shared.bus.port import Producer
from shared.domain.clock import Clock
from shared.domain.media import StreamKind
from shared.messages import RecordingChange, RecordingMessage
from shared.report import Reporter
from shared.topics import RECORDINGS

_QUEUE = 1024  # when full the oldest notice is dropped and counted: the catalogue is the truth, notices are a convenience


class Notices:
    """`set`, `clear` and `recording` return at once; `run` is a supervised loop that publishes."""

    def __init__(self, reporter: Reporter, producer: Producer, clock: Clock) -> None:
        self._reporter, self._producer, self._clock = reporter, producer, clock
        self._wanted: dict[str, str | None] = {}
        self._told: dict[str, bool] = {}
        self._recordings: deque[RecordingMessage] = deque()
        self._wake = asyncio.Event()

    def set(self, source: str, message: str) -> None:
        """The exception `source` holds."""
        if self._wanted.get(source) is None:
            self._wanted[source] = message
            self._wake.set()

    def clear(self, source: str) -> None:
        """It does not hold any more."""
        if self._wanted.get(source) is not None:
            self._wanted[source] = None
            self._wake.set()

    def holds(self, source: str) -> bool:
        return self._wanted.get(source) is not None

    def open(self) -> list[str]:
        """The exceptions that hold now."""
        return sorted(source for source, message in self._wanted.items() if message is not None)

    def texts(self) -> dict[str, str]:
        """What each of those says."""
        return {source: message for source, message in self._wanted.items() if message is not None}

    def recording(self, recording: Recording, change: RecordingChange, reason: str = "") -> None:
        """Something happened to a recording."""
        if len(self._recordings) >= _QUEUE:
            self._recordings.popleft()
            metrics.NOTICES_DROPPED.inc()
        message = RecordingMessage(
            channel=recording.channel,
            channel_number=recording.channel_number,
            recording_id=recording.id,
            stream=StreamKind(recording.stream),
            change=change,
            start_ns=recording.start_ns,
            end_ns=recording.end_ns,
            size_bytes=recording.size_bytes,
            object_key=recording.object_key,
            at_ns=self._clock.now_ns(),
            reason=reason,
        )
        self._recordings.append(message)
        self._wake.set()

    async def run(self) -> None:
        """Publish for ever. After a failure it goes on with what has not been published."""
        while True:
            await self._publish()
            await self._wake.wait()

    async def _publish(self) -> None:
        self._wake.clear()
        for source, message in list(self._wanted.items()):
            if (message is not None) != self._told.get(source, False):
                if message is None:
                    await self._reporter.clear(source)
                else:
                    await self._reporter.raise_(source, message)
                self._told[source] = message is not None
        while self._recordings:
            await self._producer.publish(RECORDINGS, self._recordings[0])
            self._recordings.popleft()
