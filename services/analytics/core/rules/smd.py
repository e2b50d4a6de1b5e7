"""Smart motion: motion that is a human or a vehicle.

A tracked target counts while it really moves: its box has travelled, and the motion stage sees movement in it. A car that is parked, or a
poster of a person, is no motion however its box trembles. With `targets` empty the rule takes anything that travels, also what the
detector has no class for (cars seen from straight above): such an event has no target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.analytics.core.regions import MovingRegion
from services.analytics.core.rules.base import FORGET_NS, Phase, RuleEvent, Scene, State, left_to_right, of_track
from services.analytics.core.rules.filters import accepted, fits
from services.analytics.core.rules.lasting import Lasting
from shared.config.rules import SmdRule
from shared.domain.clock import seconds_to_ns
from shared.domain.geometry import Box, Point
from shared.domain.targets import TrackedObject

#: How far a target must travel, in shares of the picture's height, at sensitivity 0 and at 100.
TRAVEL_DULL, TRAVEL_KEEN = 0.20, 0.01


def travel_of(sensitivity: int) -> float:
    """Shares of the picture's height; geometric, so that each step of the setting is felt."""
    return float(TRAVEL_DULL * (TRAVEL_KEEN / TRAVEL_DULL) ** (sensitivity / 100))


@dataclass(slots=True)
class _Rest:
    """Where a track was when it last counted as moved (scaled centre), and when it was last seen."""

    at: Point
    seen_ns: int


class Smd:
    """One lasting event per rule, from the first target that moves until none has moved for `end_after_s`."""

    def __init__(self, config: SmdRule) -> None:
        self._config = config
        self._travel = travel_of(config.sensitivity)
        self._end_after_ns = seconds_to_ns(config.end_after_s)
        self._rests: dict[int, _Rest] = {}
        self._moved_ns = self._resumed_ns = 0
        self._event = Lasting()

    @property
    def id(self) -> str:
        return self._config.id

    def step(self, scene: Scene) -> list[RuleEvent]:
        mover = self._mover(scene)
        if mover is None:
            if self._event.open is not None and scene.time_ns - max(self._moved_ns, self._resumed_ns) >= self._end_after_ns:
                return self._event.end(scene.time_ns, self._moved_ns)
            return []
        self._moved_ns = scene.time_ns
        return self._event.update(mover) if self._event.open is not None else self._event.start(mover)

    def _mover(self, scene: Scene) -> RuleEvent | None:
        """The first that moved: classified ones before others."""
        moved = [t for t in accepted(scene.tracks, self._config.targets, self._config.size) if self._has_moved(t, scene)]
        for track_id in [i for i, rest in self._rests.items() if scene.time_ns - max(rest.seen_ns, self._resumed_ns) > FORGET_NS]:
            del self._rests[track_id]
        if moved:
            return of_track(Phase.STARTED, left_to_right(moved)[0], start_ns=scene.time_ns, at_ns=scene.time_ns, direction="")
        if self._config.targets:
            return None
        for region in scene.moving:
            if region.travelled >= self._travel and fits(self._config.size, region.box):
                return RuleEvent(Phase.STARTED, scene.time_ns, scene.time_ns, box=region.box)
        return None

    def _has_moved(self, track: TrackedObject, scene: Scene) -> bool:
        at = Point(track.box.centre.x * scene.aspect, track.box.centre.y)
        rest = self._rests.get(track.track_id)
        if rest is None:
            self._rests[track.track_id] = _Rest(at, scene.time_ns)
            return False
        rest.seen_ns = scene.time_ns
        if math.dist(at, rest.at) < self._travel or not _touches(track.box, scene.moving):
            return False
        rest.at = at
        return True

    def close(self, time_ns: int) -> list[RuleEvent]:
        self._rests.clear()
        return self._event.end(time_ns, self._moved_ns)

    def interrupt(self, time_ns: int) -> list[RuleEvent]:
        self._resumed_ns = 0
        return self.close(time_ns)

    def resume(self, time_ns: int) -> list[RuleEvent]:
        self._resumed_ns = time_ns
        return []

    def export(self) -> State:
        return {
            "rests": {str(i): [rest.at.x, rest.at.y, rest.seen_ns] for i, rest in self._rests.items()},
            "moved_ns": self._moved_ns,
            "event": self._event.export(),
        }

    def restore(self, state: State) -> None:
        self._rests = {int(i): _Rest(Point(x, y), int(seen_ns)) for i, (x, y, seen_ns) in state["rests"].items()}
        self._moved_ns = int(state["moved_ns"])
        self._event.restore(state["event"])


def _touches(box: Box, moving: tuple[MovingRegion, ...]) -> bool:
    return any(
        min(box.x2, r.box.x2) > max(box.x1, r.box.x1) and min(box.y2, r.box.y2) > max(box.y1, r.box.y1) for r in moving
    )  # fmt: skip
