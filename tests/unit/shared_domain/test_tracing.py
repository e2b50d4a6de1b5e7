"""Trace ids and what the W3C's form asks of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.formats.json import JSONFormat

from services.alarms.adapters.webhook import cloud_event, parent_of
from shared.domain.tracing import frame_trace, trace_in, traceparent

TRACE = frame_trace("gate", "session", 7)


def test_a_frame_that_is_sent_again_has_the_same_trace() -> None:
    assert frame_trace("gate", "session", 7) == TRACE
    assert len({TRACE, frame_trace("gate", "session", 8), frame_trace("gate", "other", 7), frame_trace("yard", "session", 7)}) == 4


def test_traceparent_has_the_form_of_the_standard() -> None:
    parent = traceparent(TRACE, "report")
    version, trace, span, flags = parent.split("-")
    assert (version, trace, len(span), flags) == ("00", TRACE, 16, "01")
    assert traceparent(TRACE, "report") == parent != traceparent(TRACE, "other")
    assert trace_in(parent) == TRACE


@pytest.mark.parametrize("text", ["", "t-1", "0" * 32, TRACE.upper()])
def test_what_is_no_trace_has_no_traceparent(text: str) -> None:
    assert traceparent(text, "report") == ""


@pytest.mark.parametrize("text", ["", "01-abc", TRACE, f"00-{TRACE}-12-01"])
def test_what_is_no_traceparent_has_no_trace(text: str) -> None:
    assert trace_in(text) == ""


def test_the_extension_travels_in_the_cloud_event() -> None:
    """Distributed tracing extension of CloudEvents: an attribute beside the others, not inside the data."""
    parent = traceparent(TRACE, "report")
    attributes = {"specversion": "1.0", "id": "1", "type": "t", "source": "/s", "time": datetime(2026, 1, 1, tzinfo=UTC)}
    body = cloud_event({**attributes, "traceparent": parent}, {})
    assert parent_of(body) == json.loads(body)["traceparent"] == parent
    assert parent_of(cloud_event(attributes, {})) == ""
    assert JSONFormat().read(None, body.encode()).get_extension("traceparent") == parent
