"""The tracker of one channel: C-BIoU of the `trackers` library, and identities of our own on top (docs/adr/0002-tracker.md).

`trackers` imports neither torch nor a detector. Its import takes two seconds: it is done in the thread that prepares the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from services.analytics.core.identity import Identities
from shared.domain.clock import NS_PER_S, ns_to_seconds, seconds_to_ns
from shared.domain.targets import Detection, TrackedObject

if TYPE_CHECKING:
    import supervision

#: A track begins with a score this much above the least score of a box, and is seen twice: weak boxes only continue tracks.
BEGIN_ABOVE = 0.25
SURE_ABOVE = 0.25
#: Weakest boxes that may continue a track.
CONTINUE_SCORE = 0.1
#: How long a track may be unseen, in seconds.
LOST_S = 1.0
#: Between two looks no more time passes for the tracker than this: the motion gate spares the detector while everyone stands still,
#: and a person who stood for ten seconds has not been lost for ten seconds.
MAX_STEP_NS = seconds_to_ns(0.4)
#: The library works in pixels; any scale will do.
SCALE = 1000.0


class CBIoUTracker:
    """Cascaded buffered IoU: boxes are widened before they are matched, so that it holds at 5 frames/s."""

    def __init__(self, *, confidence: float, frame_rate: float) -> None:
        """
        Args:
            confidence: the least score of a box that is shown, 0..1.
            frame_rate: frames/s that are expected; the real spacing comes with every frame.
        """
        from trackers import CBIoUTracker as Library

        self._make: Callable[[], Any] = lambda: Library(  # the library is untyped
            frame_rate=frame_rate,
            lost_track_buffer=round(LOST_S * 30),  # the library counts this in frames of a 30th of a second
            track_activation_threshold=min(0.9, confidence + BEGIN_ABOVE),
            high_conf_det_threshold=min(0.9, confidence + SURE_ABOVE),
        )
        self._library = self._make()
        self._identities = Identities()
        self._last_ns: int | None = None
        self._now_ns = NS_PER_S  # the tracker's own time

    def update(self, detections: Sequence[Detection], time_ns: int, aspect: float) -> tuple[TrackedObject, ...]:
        if self._last_ns is not None:
            self._now_ns += min(max(time_ns - self._last_ns, 1), MAX_STEP_NS)
        self._last_ns = time_ns
        result = self._library.update(_as_library(detections), timestamp=ns_to_seconds(self._now_ns))
        found = [(number, detections[index]) for number, index in _numbers(result) if number >= 0]
        return self._identities.step(found, self._now_ns, aspect)

    def missing(self) -> bool:
        return self._identities.missing(self._now_ns)

    def export(self) -> dict[str, Any]:
        return {"last_ns": self._last_ns, "now_ns": self._now_ns, "identities": self._identities.export()}

    def restore(self, state: dict[str, Any]) -> None:
        """Begin a fresh tracker with the boxes last seen, all at once: it activates the first frame's boxes immediately.

        Velocities are learnt anew. A track that was missed in the last frame begins anew, under a new number.
        """
        self._library, self._last_ns, self._now_ns = self._make(), state["last_ns"], int(state["now_ns"])
        identities = state["identities"]
        seeds = [entry for entry in identities["known"] if entry["seen_ns"] == self._now_ns]
        known = []
        if seeds:
            boxes = np.array([entry["box"] for entry in seeds], dtype=np.float64) * SCALE
            result = self._library.update(_library_value(boxes, np.ones(len(seeds))), timestamp=ns_to_seconds(self._now_ns))
            known = [{**seeds[index], "source": number} for number, index in _numbers(result) if number >= 0]
        self._identities = Identities()
        self._identities.restore({"next": identities["next"], "known": known})


def _numbers(result: supervision.Detections) -> list[tuple[int, int]]:
    """The library's track number (negative: none) and the place in the input, of each detection."""
    if len(result) == 0:
        return []
    assert result.tracker_id is not None
    return list(zip(result.tracker_id.tolist(), np.asarray(result.data["index"]).tolist(), strict=True))


def _as_library(detections: Sequence[Detection]) -> supervision.Detections:
    boxes = np.array([(d.box.x1, d.box.y1, d.box.x2, d.box.y2) for d in detections], dtype=np.float64).reshape(-1, 4) * SCALE
    return _library_value(boxes, np.array([d.score for d in detections], dtype=np.float64))


def _library_value(boxes: np.ndarray[Any, np.dtype[np.float64]], scores: np.ndarray[Any, np.dtype[np.float64]]) -> supervision.Detections:
    import supervision

    return supervision.Detections(
        xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), dtype=int), data={"index": np.arange(len(boxes))}
    )  # fmt: skip
