"""Trace ids: one per sampled frame, carried by all that comes of it, up to the webhook's `traceparent` (W3C Trace Context, level 1)."""

from __future__ import annotations

import re

from shared.domain.ids import deterministic_id

_TRACE = re.compile(r"[0-9a-f]{32}")
_NOTHING = "0" * 32
_PARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def frame_trace(channel: str, session: str, sequence: int) -> str:
    """The trace id of a frame: 32 hex digits that depend on the frame alone, so that one that is sent again has the same."""
    return deterministic_id("trace", channel, session, sequence).replace("-", "")


def traceparent(trace: str, *step: str) -> str:
    """The `traceparent` of a step of a trace (its 16-digit parent id depends on `step` alone); empty: `trace` is no trace id."""
    if _TRACE.fullmatch(trace) is None or trace == _NOTHING:
        return ""
    parent = deterministic_id("span", trace, *step).replace("-", "")[:16]
    return f"00-{trace}-{parent}-01"


def trace_in(parent: str) -> str:
    """The trace id in a `traceparent`; empty: it is none."""
    found = _PARENT.fullmatch(parent)
    return "" if found is None else found[1]
