"""By which time old things are forgotten.

A machine's clock may be ahead by years for a while (until the time server has answered, or after a slip of whoever set it), and what is
forgotten in that while never comes back. So the book keeps a mark of the time that it has reached. The mark follows the clock by a day at
once, and further only as far as a rate allows: `CATCH_UP` times as fast as we run. A recorder that was off for a month forgets what has
become old meanwhile within a day and a half; a clock that is ahead for an hour, by however much, costs a day or two of the oldest.
"""

from __future__ import annotations

from shared.domain.clock import NS_PER_S

_DAY_NS = 24 * 3600 * NS_PER_S
#: The mark goes forward by at most a day in an hour.
CATCH_UP = 24
#: 2023-01-01. A clock that says less was never set: no reason to let the mark begin there, years behind.
EARLIEST_NS = 1_672_531_200 * NS_PER_S


def reached_ns(now_ns: int, mark_ns: int | None, ran_ns: int) -> int:
    """The new mark, which never goes back. Things are old by it or by the clock, whichever is earlier.

    Args:
        now_ns: this machine's clock.
        mark_ns: the mark that the book holds; None: none yet.
        ran_ns: how long we have run since it was moved last, or since our start, by the monotonic clock.
    """
    if mark_ns is None:
        return max(now_ns, EARLIEST_NS)
    sure_ns = mark_ns + CATCH_UP * ran_ns
    return max(mark_ns, now_ns if now_ns <= sure_ns + _DAY_NS else sure_ns)
