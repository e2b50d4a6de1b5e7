"""What the console measures."""

from __future__ import annotations

from shared.obs import metrics

VIEWERS = metrics.gauge("console_viewers", "Open live sockets")
PICTURES_ENCODED = metrics.counter("console_pictures_encoded_total", "Live pictures turned into JPEG, once each", ["channel"])
PICTURES_SENT = metrics.counter("console_pictures_sent_total", "Live pictures sent to browsers", ["channel"])
PICTURES_REPLACED = metrics.counter(
    "console_pictures_replaced_total", "Live pictures that newer ones replaced before a slow browser took them"
)
ENCODE_SECONDS = metrics.histogram("console_encode_seconds", "Time to turn one live picture into JPEG")
LOGINS = metrics.counter("console_logins_total", "Login tries", ["result"])
SESSIONS = metrics.gauge("console_sessions", "Sessions that are open")
