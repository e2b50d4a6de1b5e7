"""The topic of configurations, read whole and followed, and written with a check against others who write at once."""

from __future__ import annotations

import uuid

from shared.bus.port import Bus, Consumer, Position
from shared.config.versions import History, Version
from shared.domain.clock import Clock, seconds_to_ns
from shared.domain.errors import BusUnavailable, ConfigError
from shared.messages import ConfigMessage
from shared.topics import CONFIG

#: Of the document, as this version of Vedette writes and reads it.
FORMAT = 1
_POLL_S = 0.5
#: So many polls in vain, once the broker has told where the topic ends, and nothing more is believed to come.
_EMPTY_POLLS = 4
_ANSWER_S = 30.0


class ConfigFeed:
    """One reader, and maybe writer, of the topic. Its owner closes it.

    It reads with a group of its own name, of which nothing is committed: everything from the start, and what comes.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus, self._clock = bus, clock
        self._consumer: Consumer | None = None
        self._read = -1  # offset
        #: What was read so far.
        self.history = History()

    async def close(self) -> None:
        """Idempotent."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def read_all(self) -> History:
        """Everything that is on the topic now. Waits for the broker.

        Raises:
            BusUnavailable: the broker went away.
        """
        in_vain = 0
        while in_vain < _EMPTY_POLLS:
            found = await self.poll()
            consumer = await self._open()
            if found and consumer.lag() == 0:
                break
            in_vain = 0 if found or not consumer.ends_known() else in_vain + 1
        return self.history

    async def poll(self, timeout_s: float = _POLL_S) -> int:
        """Wait up to `timeout_s` for messages and take them into the history; how many came. Raises: as `read_all`."""
        records = await (await self._open()).poll(timeout_s=timeout_s)
        for record in records:
            self._read = max(self._read, record.position.offset)
            if isinstance(record.message, ConfigMessage):
                self.history.add(_version(record.message))
        return len(records)

    async def publish(self, text: str, *, note: str = "", restores: int | None = None) -> Version:
        """Make `text` the version after the newest that was read.

        Raises:
            ConfigError: somebody else has applied another meanwhile; nothing has changed by this.
            BusUnavailable: the broker does not answer. It may have been applied: read again.
        """
        version = Version(self.history.next_number, uuid.uuid4().hex, text, self._clock.now_ns(), note, restores)
        await self._read_up_to(await self._bus.producer.publish(CONFIG, _message(version)))
        newest = self.history.newest
        in_force = newest is not None and (newest.id == version.id or self._holds(version))
        await self._let_go()
        if not in_force:
            raise ConfigError(
                f"somebody else has applied version {version.number} meanwhile; yours was not applied",
                hint="look at `vedette config history`, and apply yours again on top of it if it is still wanted",
            )
        return version

    def _holds(self, version: Version) -> bool:
        return any(held.id == version.id for held in self.history.versions)

    async def _let_go(self) -> None:
        """A message without text in the place of each that is not kept: the topic stays small."""
        for old in self.history.surplus():
            gone = Version(old.number, old.id, "", old.at_ns)
            await self._bus.producer.publish(CONFIG, _message(gone))
            self.history.add(gone)

    async def _read_up_to(self, position: Position) -> None:
        deadline_ns = self._clock.monotonic_ns() + seconds_to_ns(_ANSWER_S)
        while self._read < position.offset:
            await self.poll()
            if self._clock.monotonic_ns() > deadline_ns:
                raise BusUnavailable("what was written cannot be read back", where="topic config", hint="look at `vedette config history`")

    async def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = await self._bus.consumer([CONFIG], group=f"config-{uuid.uuid4().hex}")
        return self._consumer


def _version(message: ConfigMessage) -> Version:
    return Version(message.number, message.version_id, message.text, message.at_ns, message.note, message.restores, message.format)


def _message(version: Version) -> ConfigMessage:
    return ConfigMessage(
        number=version.number, version_id=version.id, at_ns=version.at_ns, format=FORMAT, text=version.text, note=version.note,
        restores=version.restores,
    )  # fmt: skip
