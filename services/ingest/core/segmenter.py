"""Where a segment begins and ends. Pure: timestamps and sizes in, verdicts out. docs/design/time.md tells of jumps and holes.

Invariants: a segment that does not `continue` the one before begins with a key frame; decode timestamps that leave (`dts +
shift`, or `ticks`) rise strictly within a session; payload bytes stay within `max_bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from shared.messages.media import Discontinuity

TICKS_PER_S = 90_000  # the RTP clock of video, and the video timescale of every segment
NS_PER_TICK = 1_000_000_000 / TICKS_PER_S

BACKWARD_TICKS = TICKS_PER_S // 2  # steps back up to this are mended silently: reordering and report steering, not jumps
FORWARD_NS = 2_000_000_000  # timestamps may run ahead of arrival by this (bursts) before it is a jump
HOLE_TICKS = TICKS_PER_S  # frames further apart than this, and ten frames, have a hole between them
EARLY_TICKS = TICKS_PER_S // 10  # a key frame this much before the aimed length ends the segment, or a GOP more would be in it
MAX_LENGTHS = 3  # a GOP that makes a segment this many times the aimed length is cut
HEADER_BYTES = 16 * 1024  # room for ftyp, moov and moof boxes
PACKET_BYTES = 40  # a frame's entry in the sample tables, and NAL length fields that are longer than start codes


def ticks_to_ns(ticks: int) -> int:
    """Nanoseconds of 90 kHz ticks, rounded down."""
    return ticks * 100_000 // 9


class Verdict(IntEnum):
    """What becomes of a video packet."""

    APPEND = 0  # it belongs to the open segment
    START = 1  # end the open segment, if one is open; this packet begins the next
    FINISH = 2  # end the open segment, if one is open; this packet is not recorded
    DROP = 3  # this packet is not recorded


@dataclass(frozen=True, slots=True)
class Limits:
    """`target_s`: aimed length. `max_bytes`: largest payload."""

    target_s: float
    max_bytes: int


class Segmenter:
    """Cuts one session's video packets, given in decode order, into segments.

    Attributes (valid after `feed`, for the packet just fed):
        shift: ticks to add to its timestamps.
        ticks: its repaired decode timestamp.
        discontinuity, continues: of the segment that a START begins.
        cut: whether a START or FINISH cuts a group of pictures.
        end_ticks: where the segment ended by START or FINISH ends.
        jumped: this packet's timestamps jumped (once per jump).
    """

    __slots__ = (
        "_at_ns", "_delta", "_gop_bytes", "_last_gop_bytes", "_limits", "_max_ticks", "_open", "_pending", "_raw", "_size",
        "_start_ticks", "_target_ticks", "_waiting", "continues", "cut", "discontinuity", "end_ticks", "jumped", "shift", "ticks",
    )  # fmt: skip

    def __init__(self, limits: Limits, first: Discontinuity = Discontinuity.START) -> None:
        self._limits = limits
        self._target_ticks = round(limits.target_s * TICKS_PER_S) - EARLY_TICKS
        self._max_ticks = round(limits.target_s * MAX_LENGTHS * TICKS_PER_S)
        self._pending = first
        self._open = False
        self._waiting = True
        self._raw = 0
        self._at_ns: int | None = None
        self._delta = TICKS_PER_S // 25  # usual distance of frames; 25 frames/s until known better
        self._size = self._gop_bytes = self._last_gop_bytes = 0
        self._start_ticks = 0
        self.shift = self.ticks = self.end_ticks = 0
        self.discontinuity = first
        self.continues = self.cut = self.jumped = False

    @property
    def is_open(self) -> bool:
        """Whether a segment is being filled."""
        return self._open

    def feed(self, dts: int, size: int, *, key: bool, arrival_ns: int, broken: bool = False) -> Verdict:
        """Decide about one packet.

        Args:
            dts: decode timestamp in ticks, as received.
            size: bytes.
            key: the packet is a key frame.
            arrival_ns: monotonic time of its arrival.
            broken: it is corrupt, or packets before it were lost.
        """
        hole = self._repair(dts, arrival_ns)
        if broken or (hole and not key):
            return self._lose()
        if self._waiting and not key:
            return Verdict.DROP
        cost = size + PACKET_BYTES
        if cost + HEADER_BYTES > self._limits.max_bytes:
            return self._lose()
        if self._waiting or hole:
            if hole:
                self._mark(Discontinuity.LOSS)
            return self._start(cost, key=key)
        if key:
            self._last_gop_bytes, self._gop_bytes = self._gop_bytes, 0
        if self._must_start(cost, key=key):
            return self._start(cost, key=key)
        self._size += cost
        self._gop_bytes += cost
        return Verdict.APPEND

    def mark(self, why: Discontinuity) -> None:
        """The segment that the next key frame begins does not continue this one (clock set, parameters changed)."""
        self._mark(why)

    def break_off(self, why: Discontinuity) -> None:
        """The open segment is over (its file was given up, or the stream ended): wait for a key frame."""
        self._open = False
        self._waiting = True
        self._mark(why)

    def _mark(self, why: Discontinuity) -> None:
        # The first reason since the last segment stands, but a plain loss tells least.
        if self._pending in (Discontinuity.NONE, Discontinuity.LOSS):
            self._pending = why

    def _repair(self, dts: int, arrival_ns: int) -> bool:
        """Set `shift` and `ticks`; whether a hole lies before this packet."""
        self.jumped = False
        last_ns, self._at_ns = self._at_ns, arrival_ns
        if last_ns is None:
            self._raw, self.shift, self.ticks, self.end_ticks = dts, -dts, 0, 0
            return False
        step = dts + self.shift - self.ticks
        self.end_ticks = self.ticks + max(1, step)
        hole = False
        if step <= 0:
            if step < -BACKWARD_TICKS:
                self._jump(step)
            else:
                self.shift += 1 - step
                self.end_ticks = self.ticks + 1
        elif step > HOLE_TICKS:
            if step * NS_PER_TICK > arrival_ns - last_ns + FORWARD_NS:
                self._jump(step)
            elif step > 10 * self._delta:
                hole = True
                self.end_ticks = self.ticks + self._delta
        else:
            self._delta = max(1, self._delta + (step - self._delta) // 4)
        self.ticks = dts + self.shift
        return hole

    def _jump(self, step: int) -> None:
        self.shift += self._delta - step
        self.end_ticks = self.ticks + self._delta
        self.jumped = True
        if self._open:
            self._mark(Discontinuity.TIMESTAMP_JUMP)

    def _must_start(self, cost: int, *, key: bool) -> bool:
        length = self.ticks - self._start_ticks
        room = self._limits.max_bytes - HEADER_BYTES - self._size
        if cost > room or length >= self._max_ticks:
            return True
        if not key:
            return False
        return length >= self._target_ticks or self._pending is not Discontinuity.NONE or self._last_gop_bytes > room

    def _start(self, cost: int, *, key: bool) -> Verdict:
        self.continues = self.cut = not key
        # A cut inside a group of pictures continues it; reasons wait for the key frame.
        self.discontinuity = self._pending if key else Discontinuity.NONE
        if key:
            self._pending = Discontinuity.NONE
        self._open, self._waiting = True, False
        self._start_ticks, self._size, self._gop_bytes = self.ticks, cost, cost
        return Verdict.START

    def _lose(self) -> Verdict:
        was_open = self._open
        self.cut = False
        self.break_off(Discontinuity.LOSS)
        return Verdict.FINISH if was_open else Verdict.DROP
