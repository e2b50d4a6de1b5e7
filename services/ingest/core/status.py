"""The life of a channel's connection, in one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from shared.domain.clock_steps import ClockSteps
from shared.messages.media import ChannelState


class Happening(StrEnum):
    """What can happen to a channel."""

    DIALLING = "dialling"  # an attempt begins
    FIRST_PACKET = "first_packet"  # video arrives
    FAILED = "failed"  # the attempt failed, or the stream ended
    SWITCHED_OFF = "switched_off"
    SWITCHED_ON = "switched_on"


#: (state, happening) -> state. Pairs that are not here change nothing: an attempt while offline stays offline, so that
#: a dead camera does not flicker between two states at every attempt.
TRANSITIONS: dict[tuple[ChannelState, Happening], ChannelState] = {
    (ChannelState.CONNECTING, Happening.FIRST_PACKET): ChannelState.ONLINE,
    (ChannelState.CONNECTING, Happening.FAILED): ChannelState.OFFLINE,
    (ChannelState.ONLINE, Happening.FAILED): ChannelState.OFFLINE,
    (ChannelState.OFFLINE, Happening.FIRST_PACKET): ChannelState.ONLINE,
    (ChannelState.OFFLINE, Happening.FAILED): ChannelState.OFFLINE,  # another reason, perhaps
    (ChannelState.CONNECTING, Happening.SWITCHED_OFF): ChannelState.DISABLED,
    (ChannelState.ONLINE, Happening.SWITCHED_OFF): ChannelState.DISABLED,
    (ChannelState.OFFLINE, Happening.SWITCHED_OFF): ChannelState.DISABLED,
    (ChannelState.DISABLED, Happening.SWITCHED_ON): ChannelState.CONNECTING,
}


@dataclass(slots=True)
class Connection:
    """The state of one channel.

    Attributes:
        since_ns: when the state (not its reason) began, UTC, by the clock as it was at the last `follow`.
    """

    since_ns: int
    state: ChannelState = ChannelState.CONNECTING
    reason: str = ""
    error: str = ""
    reconnects: int = 0
    _steps: ClockSteps = field(default_factory=ClockSteps)

    def follow(self, apart_ns: int) -> None:
        """Have `since_ns` follow the clock when it was set: others tell from it how long the state has lasted.

        Args:
            apart_ns: wall clock less monotonic clock, now.
        """
        self.since_ns += self._steps.moved_ns(apart_ns)

    def apply(self, happening: Happening, now_ns: int, *, reason: str = "", error: str = "") -> bool:
        """Take a happening; whether state, reason or error changed, which is worth telling."""
        after = TRANSITIONS.get((self.state, happening))
        if after is None:
            return False
        changed = (after, reason, error) != (self.state, self.reason, self.error)
        if self.state is ChannelState.ONLINE and after is ChannelState.OFFLINE:
            self.reconnects += 1
        if after is not self.state:
            self.state, self.since_ns = after, now_ns
        self.reason, self.error = reason, error
        return changed
