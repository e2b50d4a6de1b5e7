"""Intrusion: someone enters or leaves a zone (`cross`, of a moment), or is inside it (`appear`, lasts)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.analytics.core.plane import Zone, inside_frame, scaled
from services.analytics.core.rules.base import FORGET_NS, Phase, RuleEvent, Scene, State, left_to_right, momentary, of_track
from services.analytics.core.rules.filters import accepted
from services.analytics.core.rules.lasting import Lasting
from shared.config.rules import IntrusionRule, ZoneAction, ZoneDirection
from shared.domain.clock import seconds_to_ns
from shared.domain.targets import TrackedObject

APPEAR = "appear"


@dataclass(slots=True)
class _Visit:
    """One track and the zone. `inside`: None until its foot has been outside the band round the zone's edge."""

    inside: bool | None = None
    since_ns: int = 0
    seen_ns: int = 0
    stay: Lasting = field(default_factory=Lasting)
    restored: bool = False  # from before a restart, and not yet seen again


class Intrusion:
    """`cross` and `appear` are independent: someone who walks in gives an `enter`, and an `appear` once there for `min_stay_s`."""

    def __init__(self, config: IntrusionRule) -> None:
        self._config = config
        self._min_stay_ns = seconds_to_ns(config.min_stay_s)
        self._zone: tuple[float, Zone] | None = None
        self._visits: dict[int, _Visit] = {}
        self._resumed_ns = 0

    @property
    def id(self) -> str:
        return self._config.id

    def step(self, scene: Scene) -> list[RuleEvent]:
        zone = self._zone_for(scene.aspect)
        ordinals: Counter[str] = Counter()
        events: list[RuleEvent] = []
        tracks = left_to_right(accepted(scene.tracks, self._config.targets, self._config.size))
        for track in tracks:
            visit = self._visits.setdefault(track.track_id, _Visit())
            if visit.restored and scene.time_ns - visit.seen_ns > FORGET_NS:
                self._find(visit, track, zone, scene)
            visit.seen_ns, visit.restored = scene.time_ns, False
        for track in tracks:
            visit = self._visits[track.track_id]
            crossed = self._place(visit, track, zone, scene)
            if crossed and self._wants(crossed):
                event = of_track(
                    Phase.STARTED, track, start_ns=scene.time_ns, at_ns=scene.time_ns, direction=crossed.value, ordinal=ordinals[crossed]
                )
                events += momentary(event)
                ordinals[crossed] += 1
            if ZoneAction.APPEAR in self._config.actions:
                events += self._stay(visit, track, scene.time_ns, ordinals)
        return events + self._forget(scene.time_ns)

    def _place(self, visit: _Visit, track: TrackedObject, zone: Zone, scene: Scene) -> ZoneDirection | None:
        """Settle whether the track is inside; the direction in which it changed sides, if it did."""
        before, side = visit.inside, self._side(track, zone, scene.aspect)
        if side is None or side == before:
            return None
        visit.inside, visit.since_ns = side, scene.time_ns
        if before is None:
            return None
        return ZoneDirection.ENTER if visit.inside else ZoneDirection.LEAVE

    def _find(self, visit: _Visit, track: TrackedObject, zone: Zone, scene: Scene) -> None:
        """Someone of before a restart, after so long that he would else have been lost: where he is now, nobody saw him go there."""
        side = self._side(track, zone, scene.aspect)
        if side is not None and side != visit.inside:
            visit.inside, visit.since_ns = side, scene.time_ns

    def _side(self, track: TrackedObject, zone: Zone, aspect: float) -> bool | None:
        """Whether a track is inside; None in the band round the zone's edge."""
        foot = scaled(inside_frame(track.box.foot), aspect)
        return None if zone.distance(foot) <= self._config.hysteresis else zone.contains(foot)

    def _wants(self, crossed: ZoneDirection) -> bool:
        return ZoneAction.CROSS in self._config.actions and self._config.direction in (ZoneDirection.BOTH, crossed)

    def _stay(self, visit: _Visit, track: TrackedObject, time_ns: int, ordinals: Counter[str]) -> list[RuleEvent]:
        if not visit.inside:
            return visit.stay.end(time_ns, time_ns)
        latest = of_track(Phase.UPDATED, track, start_ns=time_ns, at_ns=time_ns, direction=APPEAR, ordinal=ordinals[APPEAR])
        if visit.stay.open is None:
            self._inherit(visit, track)
        if visit.stay.open is not None:
            return visit.stay.update(latest)
        if time_ns - visit.since_ns < self._min_stay_ns:
            return []
        ordinals[APPEAR] += 1
        return visit.stay.start(latest)

    def _inherit(self, visit: _Visit, track: TrackedObject) -> None:
        """Go on with the stay of someone of before a restart who has not been found again: the tracker cannot know that it is the same
        person when that one has walked on meanwhile, and for who watches the zone it is one intrusion."""
        for track_id, other in self._visits.items():
            if other.restored and other.stay.open is not None and other.stay.open.target is track.target:
                visit.stay = other.stay
                del self._visits[track_id]
                return

    def _forget(self, time_ns: int) -> list[RuleEvent]:
        events: list[RuleEvent] = []
        for track_id, visit in list(self._visits.items()):
            if time_ns - max(visit.seen_ns, self._resumed_ns) > FORGET_NS:
                events += visit.stay.end(time_ns, visit.seen_ns)
                del self._visits[track_id]
        return events

    def _zone_for(self, aspect: float) -> Zone:
        if self._zone is None or self._zone[0] != aspect:
            self._zone = (aspect, Zone(self._config.zone, aspect))
        return self._zone[1]

    def close(self, time_ns: int) -> list[RuleEvent]:
        events = [event for visit in self._visits.values() for event in visit.stay.end(time_ns, visit.seen_ns)]
        self._visits.clear()
        return events

    def interrupt(self, time_ns: int) -> list[RuleEvent]:
        self._resumed_ns = 0
        return self.close(time_ns)

    def resume(self, time_ns: int) -> list[RuleEvent]:
        self._resumed_ns = time_ns
        return []

    def export(self) -> State:
        return {
            "visits": {
                str(track_id): [visit.inside, visit.since_ns, visit.seen_ns, visit.stay.export()]
                for track_id, visit in self._visits.items()
            }
        }

    def restore(self, state: State) -> None:
        self._visits = {}
        for track_id, (inside, since_ns, seen_ns, stay) in state["visits"].items():
            visit = _Visit(inside, int(since_ns), int(seen_ns), restored=True)
            visit.stay.restore(stay)
            self._visits[int(track_id)] = visit
