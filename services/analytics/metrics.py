"""Metrics of analytics."""

from __future__ import annotations

from shared.obs.metrics import counter, gauge, histogram

FRAMES = counter("analytics_frames_total", "Frames handled", ("channel",))
DROPPED = counter(
    "analytics_frames_dropped_total", "Frames not analysed, by reason: stale, preparing, failed, damaged", ("channel", "reason")
)
DETECTOR_FAILURES = counter("analytics_detector_failures_total", "Engines that failed at run time; each is followed by a new one")
DETECTOR_UP = gauge("analytics_detector_up", "1 while there is an engine that takes frames")
DETECTED = counter(
    "analytics_frames_detected_total", "Frames that the detector looked at; the others were spared by the motion gate", ("channel",)
)
EVENTS = counter("analytics_events_total", "Events started", ("channel", "rule"))
DETECT_SECONDS = histogram("analytics_detect_seconds", "Time of the detector per frame, its share of the batch")
CAPTURE_TO_EVENT = histogram("analytics_capture_to_event_seconds", "From the capture time of a frame to the events that it raised")
LATENCY_SECONDS = histogram("analytics_latency_seconds", "From publishing a frame to its results")
QUEUE = gauge("analytics_queue", "Frames that wait for the detector")
TRACKS = gauge("analytics_tracks", "Tracks in the last frame", ("channel",))
