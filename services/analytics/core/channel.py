"""The analysis of one channel, frame by frame: motion, gate, tracker, rules. Pure but for the tracker it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from services.analytics.core.gate import Gate
from services.analytics.core.motion import Motion, MotionDetector
from services.analytics.core.regions import MovingRegion, RegionPaths
from services.analytics.core.rules import Rule, RuleEvent, Scene, build
from services.analytics.core.rules.counting import Counts, PeopleCounting
from shared.config.rules import AnyRule
from shared.domain.clock import NS_PER_S
from shared.domain.media import Pixels
from shared.domain.targets import Detection, TrackedObject

#: After a restart that took no longer than this by the camera's time, what lasted goes on; after a longer one it has ended.
RESUME_WITHIN_NS = 120 * NS_PER_S
#: Version of the exported state: another one is not taken over.
STATE_VERSION = 1


class Tracker(Protocol):
    """Gives detections their identity, frame by frame of one channel, in order."""

    def update(self, detections: Sequence[Detection], time_ns: int, aspect: float) -> tuple[TrackedObject, ...]:
        """The tracks that are seen in this frame. Detections that begin nothing yet are left out."""
        ...

    def missing(self) -> bool:
        """Whether a track of a moment ago was not seen in the last frame: look again soon."""
        ...

    def export(self) -> dict[str, Any]:
        """The state as a plain value: enough to go on elsewhere with the same track numbers."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Look:
    """What the motion stage says of a frame, and whether the detector shall look at it. `aspect`: width / height."""

    time_ns: int
    aspect: float
    motion: Motion
    moving: tuple[MovingRegion, ...]
    detect: bool


@dataclass(frozen=True, slots=True)
class Fired:
    """An event and the rule it is of."""

    rule: AnyRule
    event: RuleEvent


class ChannelAnalysis:
    """State of one channel. Frames come in the order of their time; for each, `look`, then `finish`."""

    def __init__(self, gate: Gate, make_tracker: Callable[[], Tracker]) -> None:
        self._gate, self._make_tracker = gate, make_tracker
        self._motion, self._paths = MotionDetector(), RegionPaths()
        self._tracker: Tracker | None = None
        self._rules: list[tuple[AnyRule, Rule]] = []
        self._held: tuple[TrackedObject, ...] = ()
        self._time_ns = 0
        self._saved_tracker: dict[str, Any] | None = None
        self._restored = False

    @property
    def time_ns(self) -> int:
        """Capture time of the last frame, 0 before the first."""
        return self._time_ns

    def configure(self, rules: Sequence[AnyRule], zone: ZoneInfo) -> list[Fired]:
        """Take these rules from now on. A rule that did not change goes on; what others had open ends. Returns the ends."""
        kept = {config.id: (config, rule) for config, rule in self._rules if config in rules}
        gone = [(config, rule) for config, rule in self._rules if config not in rules]
        ended = [Fired(config, event) for config, rule in gone for event in rule.close(self._time_ns)]
        self._rules = [kept[config.id] if config.id in kept else (config, build(config, zone)) for config in rules if config.enabled]
        return ended

    def look(self, luma: Pixels, time_ns: int) -> Look:
        """The motion stage. `time_ns` is later than that of the frame before; where it is not, `interrupt` comes first."""
        aspect = luma.shape[1] / luma.shape[0]
        motion = self._motion.step(luma, time_ns)
        moving = self._paths.step(motion.regions, time_ns, aspect)
        missing = self._tracker is not None and self._tracker.missing()
        return Look(time_ns, aspect, motion, moving, self._gate.open(motion, time_ns, missing=missing))

    def finish(self, look: Look, detections: Sequence[Detection] | None) -> tuple[tuple[TrackedObject, ...], list[Fired]]:
        """Track and ask the rules.

        Args:
            detections: of the detector; None when it was not asked: then those seen last are believed to be there still.
        """
        events = self._resume(look.time_ns)
        self._time_ns = look.time_ns
        if detections is not None:
            if self._tracker is None:
                self._tracker = self._begin_tracker()
            self._held = self._tracker.update(detections, look.time_ns, look.aspect)
            self._gate.tracked(self._held, look.time_ns, look.aspect)
        scene = Scene(look.time_ns, look.aspect, self._held, look.moving)
        return self._held, [*events, *(Fired(config, event) for config, rule in self._rules for event in rule.step(scene))]

    def _resume(self, time_ns: int) -> list[Fired]:
        """The first frame after `restore`: what lasted goes on, unless that was too long ago."""
        if not self._restored:
            return []
        self._restored = False
        ended = [] if time_ns - self._time_ns <= RESUME_WITHIN_NS else self.interrupt()
        return [*ended, *(Fired(config, event) for config, rule in self._rules for event in rule.resume(time_ns))]

    def _begin_tracker(self) -> Tracker:
        tracker, saved = self._make_tracker(), self._saved_tracker
        self._saved_tracker = None
        if saved is not None:
            tracker.restore(saved)
        return tracker

    def interrupt(self) -> list[Fired]:
        """No more frames come, or time went back: end what lasts only while someone looks, at the time of the last frame."""
        self._held, self._tracker, self._saved_tracker = (), None, None
        return [Fired(config, event) for config, rule in self._rules for event in rule.interrupt(self._time_ns)]

    def counts(self) -> dict[str, Counts]:
        """Totals of the counting rules, by rule id."""
        return {config.id: rule.counts for config, rule in self._rules if isinstance(rule, PeopleCounting)}

    def export(self) -> dict[str, Any]:
        """All but the background picture, as a plain value."""
        return {
            "version": STATE_VERSION,
            "time_ns": self._time_ns,
            "tracker": self._tracker.export() if self._tracker is not None else self._saved_tracker,
            "rules": {config.id: {"kind": config.kind, "state": rule.export()} for config, rule in self._rules},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `export` was called. Call after `configure`; rules that are new or of another kind begin afresh.

        Raises:
            ValueError, KeyError, TypeError: no such state.
        """
        if state["version"] != STATE_VERSION:
            raise ValueError(f"state of version {state['version']}, not {STATE_VERSION}")
        self._time_ns = int(state["time_ns"])
        self._saved_tracker = state["tracker"]  # taken up with the first detections: making a tracker may take seconds
        self._restored = True
        for config, rule in self._rules:
            saved = state["rules"].get(config.id)
            if saved is not None and saved["kind"] == config.kind:
                rule.restore(saved["state"])
