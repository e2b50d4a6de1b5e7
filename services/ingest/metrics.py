"""What ingest counts."""

from shared.obs.metrics import counter, gauge, histogram

FRAMES = counter("ingest_video_frames_total", "Video frames received", ["channel", "stream"])
BYTES = counter("ingest_video_bytes_total", "Video bytes received", ["channel", "stream"])
SEGMENTS = counter("ingest_segments_total", "Segments spooled", ["channel"])
LOST_SEGMENTS = counter(
    "ingest_lost_segments_total", "Segments given up because the spool had no room or could not be written", ["channel"]
)
BROKEN = counter("ingest_broken_total", "Times that packets were lost or corrupt", ["channel", "stream"])
DROPPED_FRAMES = counter("ingest_dropped_frames_total", "Sampled frames replaced by newer ones before they were published", ["channel"])
ONLINE = gauge("ingest_online", "1 while video arrives", ["channel", "stream"])
SPOOL_BYTES = gauge("ingest_spool_bytes", "Durable bytes that storage has not yet taken", ["channel"])
HANDED_OVER = counter("ingest_segments_handed_over_total", "Segments acknowledged downstream", ["channel"])
SET_ASIDE = counter("ingest_spool_set_aside_total", "Waiting files that were no segments, kept as *.bad", ["channel"])
CATCHING_UP = gauge("ingest_catching_up", "Channels that hand over more than what is live, or wait for their turn to")
CAPTURE_TO_PUBLISH = histogram("ingest_capture_to_publish_seconds", "From a frame's capture time, by the camera's clock, to its publishing")
