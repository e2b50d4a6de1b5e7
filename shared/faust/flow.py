"""Which messages have waited for nothing: neither for the one before them, nor on the bus for a worker to read on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from shared.faust.lanes import LaneKey
from shared.messages import Message

#: Called with a message that has waited for nothing, as soon as it comes. Must not raise.
Straight: TypeAlias = Callable[[Any], None]


class Flow:
    """Of the topics whose straight messages someone wants to hear of."""

    def __init__(self) -> None:
        self._straight: dict[str, Straight] = {}
        self._flowing: set[LaneKey] = set()

    def tell(self, topic: str, straight: Straight) -> None:
        """Have `straight` called."""
        self._straight[topic] = straight

    def watches(self, topic: str) -> bool:
        """Whether anybody does, of this one."""
        return topic in self._straight

    def came(self, lane: LaneKey, message: object, *, idle: bool, last: bool) -> None:
        """A message of `lane`, of a topic that is watched, has come. The first after a halt has waited, as far as anyone knows.

        Args:
            idle: nothing before it is in hand.
            last: nothing behind it was on the bus.
        """
        if not idle or not last:
            return
        if lane in self._flowing and isinstance(message, Message):
            self._straight[lane[0]](message)
        self._flowing.add(lane)

    def halt(self, lane: LaneKey | None = None) -> None:
        """The lane, or all, is not read for now."""
        self._flowing -= self._flowing if lane is None else {lane}
