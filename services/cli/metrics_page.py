"""`docs/observability.md`, made from what the modules declare. Run this module to write it; a test fails when the page drifts."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from shared.obs.metrics import DECLARED, Declared

#: The first word of a name, and its heading.
PARTS = {
    "ingest": "Ingest", "analytics": "Analytics", "alarms": "Alarms", "storage": "Storage", "console": "Console",
    "reader": "Any service", "log": "Any service",
}  # fmt: skip

#: Imported for what they declare.
_MODULES = (
    "services.alarms.metrics", "services.analytics.metrics", "services.console.metrics", "services.ingest.metrics",
    "services.storage.metrics", "shared.obs.lag", "shared.obs.logging",
)  # fmt: skip
for _name in _MODULES:
    importlib.import_module(_name)

_HEAD = """# Observability

Made by `services/cli/metrics_page.py`; write it again with `python -m services.cli.metrics_page docs/observability.md`.

## Log

`vedette run` logs to standard error and to `log/vedette.log` in the data folder (there as JSON, one object a line); with `--json-log` as
JSON to standard error and nowhere else. Passwords and secrets never appear. `VEDETTE_LOG_LEVEL` (`DEBUG`, `INFO`, `WARNING`, `ERROR`)
sets the level; `DEBUG` has lines for every frame.

## Trace

Every sampled frame has an id of 32 hex digits, made of channel, session and sequence alone. What comes of the frame carries it in the
field `trace`: detections, events, alarms, actions and their results. Webhooks carry it as `traceparent` (W3C Trace Context): the HTTP
header, and the attribute of the CloudEvent by its distributed tracing extension; every attempt to deliver has the same. An alarm keeps
the trace of the frame that raised it; later hits have their own. What no frame brought about (a camera that is away, a full disk) has
none.

Log lines about any of these have `trace`. To follow one, search the logs of all services for it:

| line | service | level |
|---|---|---|
| `a frame is published` | ingest | debug |
| `a frame is analysed` | analytics | debug |
| `alarm` | alarms | info |
| `action requested` | alarms | debug |
| `an action is settled` | storage | info |
| `webhook delivered`, `webhook failed` | alarms | info, warning |

## Metrics

`/metrics` of every process, in the Prometheus text format: the services that it runs. Names are
`vedette_<service>_<what>[_<unit>][_total]`; times are in seconds, sizes in bytes; unit 1 is a plain number. CPU, memory, open files and
start time of the process are `process_cpu_seconds_total`, `process_resident_memory_bytes` and their like, from prometheus_client.

Latency by stage, each a histogram: capture to published (`ingest_capture_to_publish`), published to analysed (`analytics_latency`),
capture to event (`analytics_capture_to_event`), event to alarm (`alarms_event_to_alarm`), alarm to webhook (`alarms_alarm_to_webhook`),
and all of it (`alarms_capture_to_webhook`). Capture time is by the camera's clock: where that is wrong, so are the stages that begin with
it.
"""


def page() -> str:
    """The whole page, Markdown."""
    headings = dict.fromkeys(PARTS.values())
    return _HEAD + "".join(_section(heading) for heading in headings)


def _section(heading: str) -> str:
    found = sorted((one for one in DECLARED if PARTS[part_of(one)] == heading), key=lambda one: one.name)
    rows = "\n".join(
        f"| `{one.name}` | {one.kind} | {one.unit} | {', '.join(one.labels)} | {one.help.removesuffix('.')} |" for one in found
    )
    return f"\n### {heading}\n\n| metric | kind | unit | labels | |\n|---|---|---|---|---|\n{rows}\n"


def part_of(metric: Declared) -> str:
    """The service that a name speaks of."""
    return metric.name.split("_")[1]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
