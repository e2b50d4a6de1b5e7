"""Which frames of a stream become pictures, for analysis or for who watches live."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.clock import NS_PER_S


@dataclass(frozen=True, slots=True)
class Sampling:
    """What is wanted: `fps` pictures a second, fitted into `width` x `height` pixels.

    Attributes:
        keys_only: made from key frames alone, and so at most as many as those: next to no cost.
    """

    fps: float
    width: int
    height: int
    keys_only: bool = False


class FrameSampler:
    """Picks frames at about `fps` a second of media time, whatever the stream's own rate. A slower stream is taken whole."""

    __slots__ = ("_next_ns", "_slack_ns", "_step_ns")

    def __init__(self, fps: float) -> None:
        self._step_ns = round(NS_PER_S / fps)
        self._slack_ns = self._step_ns // 16  # timestamps are rounded; a frame just before its moment is the one meant
        self._next_ns: int | None = None

    def due(self, media_ns: int) -> bool:
        """Whether the frame of this media time is taken. Times may come in any order; jumps begin a new grid."""
        if self._next_ns is None or abs(media_ns - self._next_ns) > 4 * self._step_ns:
            self._next_ns = media_ns + self._step_ns
            return True
        if media_ns < self._next_ns - self._slack_ns:
            return False
        self._next_ns += self._step_ns
        if self._next_ns <= media_ns:  # the stream is slower than asked: do not catch up in a burst
            self._next_ns = media_ns + self._step_ns
        return True


def fit(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """Largest even size within the maximum of the same aspect ratio; never larger than the source. At least 2x2."""
    scale = min(max_width / width, max_height / height, 1.0)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
