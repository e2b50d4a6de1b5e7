"""How far the machine's clock is believed where recordings are deleted for their age. Pure.

Why: docs/design/time.md, "When a recording is old".

A leap forward may be time that went by while storage did not run, or somebody's mistake. For the next day of running it does
not count: whatever the clock says wrongly, it leapt there, and who sets it right has done so by then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.domain.clock import NS_PER_S

#: How long storage must run, by the monotonic clock, before a leap forward counts.
TRUST_NS = 24 * 3600 * NS_PER_S
#: What the two clocks may differ by before it is a leap.
STEP_NS = 5 * NS_PER_S
#: Leaps within this time of running are taken for one: not many are ever remembered.
_ONE_NS = 3600 * NS_PER_S
#: When the clock was set back, this much may have been recorded before it is seen, in a spool while storage was away.
_UNSEEN_NS = 3600 * NS_PER_S


@dataclass(frozen=True, slots=True)
class Leap:
    """How far the clock leapt forward, and for how long storage has run since."""

    by_ns: int
    held_ns: int = 0


@dataclass(frozen=True, slots=True)
class SetBack:
    """The clock said `until_ns` when it was set back. What was recorded since bears times from `from_ns` on."""

    from_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """The machine's clock as of the last look, and the leaps that do not count yet, oldest first.

    One that has never looked has seen it at 0: its first look is a leap, and nothing is old for a day.
    """

    wall_ns: int = 0
    leaps: tuple[Leap, ...] = ()
    back: SetBack | None = None  # until the clock has passed it

    @property
    def settled_ns(self) -> int:
        """The time that recordings' ages go by: the clock's, without the leaps that do not count yet."""
        return self.known_ns(TRUST_NS)

    def known_ns(self, for_ns: int) -> int:
        """The clock's time, without its leaps forward since when storage has run for less than `for_ns`."""
        return self.wall_ns - sum(leap.by_ns for leap in self.leaps if leap.held_ns < for_ns)

    def looked(self, now_ns: int, passed_ns: int) -> ClockWatch:
        """After another look.

        Args:
            now_ns: the machine's clock.
            passed_ns: since the last look, on the monotonic clock; 0 for the first look of a process.
        """
        held = (replace(leap, held_ns=leap.held_ns + passed_ns) for leap in self.leaps)
        leaps = [leap for leap in held if leap.held_ns < TRUST_NS]
        step_ns = now_ns - self.wall_ns - passed_ns
        if abs(step_ns) <= STEP_NS:
            return ClockWatch(self.wall_ns + passed_ns, tuple(leaps), self._back(now_ns))  # small ones add up until they are seen
        back = self._back(now_ns)
        if step_ns < 0 < self.wall_ns:
            from_ns, until_ns = now_ns - passed_ns - _UNSEEN_NS, now_ns - step_ns
            back = SetBack(from_ns, until_ns) if back is None else SetBack(min(back.from_ns, from_ns), max(back.until_ns, until_ns))
        if step_ns > 0:
            if leaps and leaps[-1].held_ns < _ONE_NS:
                step_ns += leaps.pop().by_ns
            leaps.append(Leap(step_ns))
        return ClockWatch(now_ns, tuple(leaps), back)

    def _back(self, now_ns: int) -> SetBack | None:
        return None if self.back is None or now_ns > self.back.until_ns else self.back
