"""Signature, body and answers of a webhook."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from services.alarms.adapters.webhook import cloud_event, retry_after_s, signed_headers
from shared.domain.clock import NS_PER_S

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_signature_is_that_of_the_published_vector() -> None:
    headers = signed_headers(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330 * NS_PER_S + 5, '{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_cloud_event_is_structured_json() -> None:
    attributes = {"id": "1", "type": "vedette.alarm.raised", "source": "/sites/a/channels/b", "time": datetime(2024, 6, 3, 12, tzinfo=UTC)}
    body = json.loads(cloud_event(attributes | {"specversion": "1.0", "datacontenttype": "application/json"}, {"hits": 1}))
    assert body == {
        "specversion": "1.0",
        "id": "1",
        "type": "vedette.alarm.raised",
        "source": "/sites/a/channels/b",
        "time": "2024-06-03T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"hits": 1},
    }


def test_retry_after_is_seconds_or_a_date() -> None:
    now_ns = int(datetime(2024, 6, 3, 12, tzinfo=UTC).timestamp()) * NS_PER_S
    assert retry_after_s("120", now_ns) == 120
    assert retry_after_s("Mon, 03 Jun 2024 12:01:00 GMT", now_ns) == 60
    assert retry_after_s("Mon, 03 Jun 2024 11:00:00 GMT", now_ns) == 0
    assert retry_after_s("9" * 400, now_ns) == 1e9
    assert retry_after_s("soon", now_ns) is None
    assert retry_after_s(None, now_ns) is None
