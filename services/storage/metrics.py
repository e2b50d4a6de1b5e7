"""Metrics of storage."""

from __future__ import annotations

from shared.obs.metrics import counter, gauge, histogram

SEGMENTS = counter("storage_segments_total", "Segments stored", ("channel",))
BYTES = counter("storage_bytes_total", "Bytes of segments stored", ("channel",))
DUPLICATES = counter("storage_duplicates_total", "Segments that came again and were skipped")
REFUSED = counter("storage_refused_total", "Segments that could not be stored and went to the dead letters")
UNWANTED = counter("storage_unwanted_total", "Segments of channels that are not recorded")
COMMIT_SECONDS = histogram("storage_commit_seconds", "From a group of segments in hand to its commit")
GROUP = histogram("storage_group_segments", "Segments in one group", buckets=(1, 2, 4, 8, 16, 32, 64, 128))
DELETED = counter("storage_deleted_total", "Recordings and snapshots deleted", ("why",))
UPLOAD_FAILURES = counter("storage_upload_failures_total", "Attempts to put a finished file that failed")
USED_BYTES = gauge("storage_used_bytes", "Bytes of recordings and snapshots")
FREE_BYTES = gauge("storage_free_bytes", "Bytes free on the disk")
WAITING_FILES = gauge("storage_waiting_files", "Finished files that are not in the object store yet")
NOTICES_DROPPED = counter("storage_notices_dropped_total", "Notices about recordings that nobody took in time")
