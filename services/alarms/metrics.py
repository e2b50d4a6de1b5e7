"""Metrics of the alarm service."""

from __future__ import annotations

from shared.obs.metrics import counter, gauge, histogram

EVENTS = counter(
    "alarms_events_total", "Events handled, by what became of them: raised, hit, heard, stored, known.", ["channel", "outcome"]
)
ALARMS = counter("alarms_changes_total", "Changes of alarms.", ["channel", "change"])
OPEN = gauge("alarms_open", "Alarms that last now.")
EVENT_TO_ALARM = histogram("alarms_event_to_alarm_seconds", "From the capture time of an event to its alarm in the book.")
ALARM_TO_WEBHOOK = histogram("alarms_alarm_to_webhook_seconds", "From an alarm in the book to the centre's answer.", ["centre"])
CAPTURE_TO_WEBHOOK = histogram("alarms_capture_to_webhook_seconds", "From the capture time of an alarm to the centre's answer.", ["centre"])
POST = histogram("alarms_webhook_post_seconds", "How long a centre takes to answer.", ["centre"])
QUEUE = gauge("alarms_webhook_queue", "Messages that wait for a centre.", ["centre"])
DELIVERIES = counter("alarms_webhook_deliveries_total", "Attempts by result: delivered, failed, dead.", ["centre", "result"])
