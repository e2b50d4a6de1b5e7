"""What can go wrong at a camera, as values, and the state that they leave."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.clock import seconds_to_ns


@dataclass(frozen=True, slots=True)
class Silence:
    """Stop sending: connections stay, frames of the time are lost. `seconds` None: until `Resume`."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """End every lasting fault (silence, loss, corruption, refusal, wrong clock); jumps and switches stay."""


@dataclass(frozen=True, slots=True)
class CloseConnections:
    """Cut the connection of every client: in order (FIN), or like a crashed camera (RST) when `abrupt`."""

    abrupt: bool = True


@dataclass(frozen=True, slots=True)
class PacketLoss:
    """Drop and corrupt a share (0..1) of the video's and audio's RTP packets; RTCP stays whole."""

    drop_share: float = 0.0
    corrupt_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.drop_share <= 1 and 0 <= self.corrupt_share <= 1):
            raise ValueError("shares are between 0 and 1")


@dataclass(frozen=True, slots=True)
class TimestampJump:
    """Jump RTP timestamps from the next frame on.

    The field has 32 bits: +1 day at 90 kHz is 1.81 turns of it, so clients read +10.7 h or -2.5 h, as they unwrap it.
    """

    seconds: float = 86_400.0


@dataclass(frozen=True, slots=True)
class SwitchSource:
    """Send another file from the next frame on in the running sessions, whatever their SDP promised."""

    file: Path


@dataclass(frozen=True, slots=True)
class SenderClockOffset:
    """Sender reports tell a wall clock that is wrong by `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """Drop new connections when they name this camera. `seconds` None: until `Resume`."""

    seconds: float | None = None


Fault = Silence | Resume | CloseConnections | PacketLoss | TimestampJump | SwitchSource | SenderClockOffset | Refuse


@dataclass(frozen=True, slots=True)
class ScriptedFault:
    """`fault`, once, just before the first frame at or after `at_s` of media time that any client is due."""

    at_s: float
    fault: Fault


@dataclass(slots=True)
class FaultState:
    """The lasting effects on one camera. Times are monotonic nanoseconds."""

    silent_until_ns: int | None = None
    silent_forever: bool = False
    refuse_until_ns: int | None = None
    refuse_forever: bool = False
    loss: PacketLoss = field(default_factory=PacketLoss)
    rng: random.Random = field(default_factory=lambda: random.Random(0))
    jump_ns: int = 0
    sender_clock_offset_ns: int = 0

    def silent(self, now_ns: int) -> bool:
        """Whether frames are withheld at this moment."""
        return self.silent_forever or (self.silent_until_ns is not None and now_ns < self.silent_until_ns)

    def refusing(self, now_ns: int) -> bool:
        """Whether new connections are dropped at this moment."""
        return self.refuse_forever or (self.refuse_until_ns is not None and now_ns < self.refuse_until_ns)

    def apply(self, fault: Fault, now_ns: int) -> None:
        """Take the lasting effect of a fault. Cutting connections and loading files is the server's part."""
        match fault:
            case Silence(seconds):
                self.silent_forever = seconds is None
                self.silent_until_ns = None if seconds is None else now_ns + seconds_to_ns(seconds)
            case Refuse(seconds):
                self.refuse_forever = seconds is None
                self.refuse_until_ns = None if seconds is None else now_ns + seconds_to_ns(seconds)
            case PacketLoss():
                self.loss = fault
                self.rng = random.Random(fault.seed)
            case TimestampJump(seconds):
                self.jump_ns += seconds_to_ns(seconds)
            case SenderClockOffset(seconds):
                self.sender_clock_offset_ns = seconds_to_ns(seconds)
            case Resume():
                self._resume()
            case CloseConnections() | SwitchSource():
                pass

    def _resume(self) -> None:
        self.silent_until_ns = self.refuse_until_ns = None
        self.silent_forever = self.refuse_forever = False
        self.loss = PacketLoss()
        self.sender_clock_offset_ns = 0

    def spoil(self, packet: bytes) -> bytes | None:
        """The packet as it leaves the camera: whole, with three payload bytes flipped, or None when lost."""
        if not (self.loss.drop_share or self.loss.corrupt_share):
            return packet
        draw = self.rng.random()
        if draw < self.loss.drop_share:
            return None
        if draw >= self.loss.drop_share + self.loss.corrupt_share or len(packet) <= 16:
            return packet
        spoilt = bytearray(packet)
        for _ in range(3):
            spoilt[self.rng.randrange(12, len(spoilt))] ^= self.rng.randrange(1, 256)
        return bytes(spoilt)
