"""Expiry by a clock that jumps: the test knows the true time, storage does not.

Whatever is set, forward or back, while storage runs or while it does not: as long as no wrong clock lasts for a day of running,
nothing counts as older than it is; and a day of running after somebody set it last, everything counts as exactly as old as it is.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.storage.core.clock_watch import STEP_NS, TRUST_NS, ClockWatch
from services.storage.core.policy import Item, Limits, Why, retire
from shared.config.services import FullPolicy
from shared.domain.clock import NS_PER_S

HOUR = 3600 * NS_PER_S
DAY = 24 * HOUR
KEEP = 2 * DAY
START = 1_700_000_000 * NS_PER_S
#: From a second that nobody need notice to a battery that has died.
leaps = st.sampled_from([4 * NS_PER_S, 6 * NS_PER_S, 60 * NS_PER_S, HOUR, 5 * HOUR, DAY, 31 * DAY, 400 * DAY, 40 * 365 * DAY])


class ExpiryByAnyClock(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.true_ns, self.wrong_by_ns = START, 0
        self.wrong_for_ns = self.right_for_ns = 0  # of running
        self.watch = ClockWatch()
        self.stored: list[Item] = []  # with the true times, as of a clock that was right when they were filmed

    @initialize(wrong=st.booleans(), by_ns=leaps)
    def first_start(self, wrong: bool, by_ns: int) -> None:
        self.wrong_by_ns = by_ns if wrong else 0
        self.look(0)

    def look(self, passed_ns: int) -> None:
        self.watch = self.watch.looked(max(0, self.true_ns + self.wrong_by_ns), passed_ns)

    def run_for(self, ns: int) -> None:
        """Time goes by, with a sweep at its end."""
        self.true_ns += ns
        self.look(ns)
        self.wrong_for_ns = self.wrong_for_ns + ns if self.wrong_by_ns else 0
        self.right_for_ns = 0 if self.wrong_by_ns else self.right_for_ns + ns

    @precondition(lambda self: self.wrong_by_ns == 0)
    @rule()
    def record(self) -> None:
        self.stored.append(Item(f"{len(self.stored):05}", "a", self.true_ns - 60 * NS_PER_S, self.true_ns, 1))

    @rule(ns=st.integers(1, 20 * HOUR))
    def run(self, ns: int) -> None:
        if self.wrong_by_ns and self.wrong_for_ns + ns >= TRUST_NS:
            self.clock_is_set_right()
        self.run_for(ns)

    @rule(by_ns=leaps, back=st.booleans())
    def clock_is_set_wrong(self, by_ns: int, back: bool) -> None:
        """Again, perhaps: it was wrong before."""
        self.wrong_by_ns += -by_ns if back else by_ns
        self.right_for_ns = 0
        self.look(0)

    @precondition(lambda self: self.wrong_by_ns != 0)
    @rule()
    def clock_is_set_right(self) -> None:
        self.wrong_by_ns = self.wrong_for_ns = self.right_for_ns = 0
        self.look(0)

    @rule(off_ns=st.integers(0, 5 * DAY) | st.integers(0, 60 * NS_PER_S), wrong_by_ns=st.just(0) | leaps | leaps.map(lambda ns: -ns))
    def restart(self, off_ns: int, wrong_by_ns: int) -> None:
        """Nobody sees how much time goes by, and the clock may come up wrong."""
        self.true_ns += off_ns
        self.right_for_ns = 0
        self.wrong_for_ns = self.wrong_for_ns if wrong_by_ns else 0
        self.wrong_by_ns = wrong_by_ns
        self.look(0)

    @rule()
    def a_quiet_day(self) -> None:
        """Then everything is known."""
        if self.wrong_by_ns:
            self.clock_is_set_right()
        for _ in range(26):
            self.run_for(HOUR)

    @invariant()
    def what_is_to_stay_stays_and_what_is_to_go_goes(self) -> None:
        assert self.watch.settled_ns <= self.true_ns + STEP_NS
        limits = Limits(FullPolicy.OVERWRITE, 0, keep_ns={"a": KEEP})
        expired = {victim.item.id for victim in retire(self.stored, limits, self.true_ns, settled_ns=self.watch.settled_ns)}
        assert all(victim.why is Why.EXPIRED for victim in retire(self.stored, limits, self.true_ns, settled_ns=self.watch.settled_ns))
        for item in self.stored:
            age_ns = self.true_ns - item.end_ns
            assert item.id not in expired or age_ns > KEEP - STEP_NS, "by a jump alone"
            if self.right_for_ns > TRUST_NS and age_ns > KEEP + STEP_NS:
                assert item.id in expired
        assert len(self.watch.leaps) <= 30


ExpiryByAnyClock.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestExpiryByAnyClock = ExpiryByAnyClock.TestCase
