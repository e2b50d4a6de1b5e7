"""People counting: who crosses a line inwards and outwards since the day began, with thresholds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.analytics.core.rules.base import Phase, RuleEvent, Scene, State, momentary
from services.analytics.core.rules.crossing import LineCrossings
from services.analytics.core.rules.filters import accepted
from services.analytics.core.rules.lasting import Lasting
from shared.config.rules import PeopleCountingRule
from shared.domain.clock import NS_PER_S

REMIND_NS = 60 * NS_PER_S
ENTER, LEAVE, STAY = "enter", "leave", "stay"


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since `since_ns`, when the counting day began."""

    enter: int = 0
    leave: int = 0
    since_ns: int = 0

    @property
    def stay(self) -> int:
        """How many are inside: never below none, should someone have been inside before the day began."""
        return max(0, self.enter - self.leave)

    def numbers(self) -> dict[str, int]:
        return {ENTER: self.enter, LEAVE: self.leave, STAY: self.stay}


def day_start_ns(time_ns: int, reset_at: time, zone: ZoneInfo) -> int:
    """When the counting day of a moment began: the last `reset_at` on the zone's wall clock at or before it.

    On a day when the clock goes forward over `reset_at`, the day begins as if it had not (02:30 is then 03:30); when it goes back over
    it, the first of the two is taken, so that a day is counted once.
    """
    here = datetime.fromtimestamp(time_ns // NS_PER_S, zone).date()
    for day in (here, here - timedelta(days=1)):
        start = datetime.combine(day, reset_at, zone).astimezone(UTC)
        start_ns = int(start.timestamp()) * NS_PER_S
        if start_ns <= time_ns:
            return start_ns
    raise AssertionError("a day before today begins before now")


class PeopleCounting:
    """The totals as one event a day that is only ever updated; and where a threshold is given, `enter` and `leave` of the moment when
    the total reaches it, `stay` while it is reached.
    """

    def __init__(self, config: PeopleCountingRule, zone: ZoneInfo) -> None:
        self._config, self._zone = config, zone
        self._reset_at = time.fromisoformat(config.reset_at)
        self._crossings = LineCrossings(config.line, config.hysteresis)
        self._counts = self._before = Counts()
        self._full = Lasting()
        self._seen_ns = 0  # the scene before
        self._told_ns = 0  # when the threshold was said to be reached last: not the event's time, which does not go back

    @property
    def id(self) -> str:
        return self._config.id

    @property
    def counts(self) -> Counts:
        return self._counts

    def step(self, scene: Scene) -> list[RuleEvent]:
        events = [*self._new_day(scene.time_ns), *self._remind(scene.time_ns)]
        self._seen_ns = scene.time_ns
        tracks = accepted(scene.tracks, self._config.targets, self._config.size)
        for crossing in self._crossings.step(tracks, scene.time_ns, scene.aspect):
            who = RuleEvent(
                Phase.STARTED, scene.time_ns, scene.time_ns, target=crossing.track.target, track_id=crossing.track.track_id,
                score=round(crossing.track.score, 4), box=crossing.track.box,
            )  # fmt: skip
            events += self._count(who, entering=crossing.direction == self._config.enter)
        return events

    def _new_day(self, time_ns: int) -> list[RuleEvent]:
        """The day that was counted is over, or, after a clock that was ahead was put right, has not begun: then that of before goes on.

        A threshold was reached until somebody looked last: that may be years ago, where nobody did, or the clock leapt.
        """
        since_ns = day_start_ns(time_ns, self._reset_at, self._zone)
        if since_ns <= self._counts.since_ns <= time_ns:
            return []
        here = self._before if self._before.since_ns == since_ns else Counts(since_ns=since_ns)
        self._before, self._counts = self._counts, here
        full = RuleEvent(Phase.STARTED, time_ns, time_ns, direction=STAY, counts=here.numbers(), message=f"{here.stay} are inside")
        reached_ns = max(self._seen_ns, self._full.open.at_ns) if self._full.open is not None else 0
        return [*self._full.end(time_ns, reached_ns), self._totals(time_ns), *self._stay(full)]

    def _remind(self, time_ns: int) -> list[RuleEvent]:
        """A threshold that is reached still is said again: who hears nothing for minutes takes it for lost."""
        full = self._full.open
        if full is None or 0 <= time_ns - self._told_ns < REMIND_NS:
            return []
        self._told_ns = time_ns
        return self._full.update(replace(full, at_ns=time_ns))

    def _totals(self, time_ns: int) -> RuleEvent:
        """The day's numbers after a change: an update that carries counts alone and raises no alarm."""
        return RuleEvent(Phase.UPDATED, self._counts.since_ns, time_ns, counts=self._counts.numbers())

    def _count(self, who: RuleEvent, *, entering: bool) -> list[RuleEvent]:
        before = self._counts
        if entering:
            self._counts = replace(before, enter=before.enter + 1)
        else:
            self._counts = replace(before, leave=before.leave + 1)
        who = replace(who, counts=self._counts.numbers())
        events = [self._totals(who.at_ns)]
        if entering and self._counts.enter == self._config.enter_threshold:
            events += momentary(replace(who, direction=ENTER, message=f"{self._counts.enter} have entered"))
        if not entering and self._counts.leave == self._config.leave_threshold:
            events += momentary(replace(who, direction=LEAVE, message=f"{self._counts.leave} have left"))
        return events + self._stay(replace(who, direction=STAY, message=f"{self._counts.stay} are inside"))

    def _stay(self, who: RuleEvent) -> list[RuleEvent]:
        threshold = self._config.stay_threshold
        if threshold is None or self._counts.stay < threshold:
            return self._full.end(who.at_ns, who.at_ns)
        self._told_ns = who.at_ns
        return self._full.update(who) if self._full.open is not None else self._full.start(who)

    def close(self, time_ns: int) -> list[RuleEvent]:
        return self._full.end(time_ns, time_ns)

    def interrupt(self, time_ns: int) -> list[RuleEvent]:
        """Totals stay true while nobody looks, and so does a threshold that they have reached."""
        self._crossings.forget()
        return []

    def resume(self, time_ns: int) -> list[RuleEvent]:
        """Tells the totals, and that a threshold is reached still, unless another day has begun."""
        self._crossings.resume(time_ns)
        if not self._counts.since_ns:
            return []
        if new_day := self._new_day(time_ns):
            return new_day
        full, self._told_ns = self._full.open, time_ns
        return [self._totals(time_ns), *([] if full is None else self._full.update(replace(full, at_ns=time_ns)))]

    def export(self) -> State:
        return {
            "counts": _to_state(self._counts),
            "before": _to_state(self._before),
            "full": self._full.export(),
            "crossings": self._crossings.export(),
        }

    def restore(self, state: State) -> None:
        self._counts = _from_state(state["counts"])
        self._before = _from_state(state["before"]) if "before" in state else Counts()
        self._full.restore(state["full"])
        self._crossings.restore(state["crossings"])


def _to_state(counts: Counts) -> State:
    return {"enter": counts.enter, "leave": counts.leave, "since_ns": counts.since_ns}


def _from_state(state: State) -> Counts:
    return Counts(int(state["enter"]), int(state["leave"]), int(state["since_ns"]))
