"""One POST to one centre: a CloudEvent in structured JSON, signed by the Standard Webhooks scheme."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks.webhooks import Webhook

from services.alarms.adapters.rows import Delivery
from shared.config.services import WebhookCentre
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.redact import redact

#: An answer is read up to here, so that the connection can be used again; a longer one closes it.
_MAX_ANSWER_BYTES = 64 * 1024
#: So much of an answer that is no success is kept with the dead letter.
_EXCERPT_CHARS = 120
#: A centre that asks to be left alone for longer than this (30 years) has said nothing that can be waited for.
_LONGEST_PLEA_S = 1e9
#: An idle connection is kept this long: the next alarm spares the handshakes.
_KEEP_ALIVE_S = 300.0


def cloud_event(attributes: dict[str, Any], data: dict[str, Any]) -> str:
    """CloudEvents 1.0, structured mode, as JSON text."""
    return JSONFormat().write(CloudEvent(attributes, data)).decode()


def signed_headers(secret: str, delivery_id: str, at_ns: int, body: str) -> dict[str, str]:
    """The headers of Standard Webhooks for a body that is sent at `at_ns` (UTC)."""
    moment = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at_ns // NS_PER_S),
        "webhook-signature": Webhook(secret).sign(delivery_id, moment, body),
    }


def parent_of(body: str) -> str:
    """The `traceparent` of a CloudEvent in structured mode; empty: it has none."""
    return str(json.loads(body).get("traceparent", ""))


def retry_after_s(header: str | None, now_ns: int) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110: seconds or a date); None: it asks for nothing that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), _LONGEST_PLEA_S)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_ns / NS_PER_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt. `error` is empty when the centre took it; for people, without secrets.

    Attributes:
        gone: it answered 410.
        retry_after_s: it asked to be left alone so long.
    """

    error: str = ""
    gone: bool = False
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        return not self.error


class WebhookClient:
    """The connections to one centre. Redirects are not followed: a signed alarm goes where it was configured to, or nowhere."""

    def __init__(self, centre: WebhookCentre, clock: Clock, tls: ssl.SSLContext, connections: int) -> None:
        self._centre, self._clock = centre, clock
        self._secret = centre.secret.get_secret_value()
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE_S)
        headers = {"user-agent": "vedette", "content-type": JSONFormat.CONTENT_TYPE + "; charset=utf-8"}
        self._http = httpx.AsyncClient(verify=tls, limits=limits, headers=headers, timeout=centre.timeout_s, follow_redirects=False)

    async def post(self, delivery: Delivery) -> Answer:
        """Try once, within the centre's `timeout_s`. Never raises for what the network or the centre does."""
        headers = signed_headers(self._secret, delivery.delivery_id, self._clock.now_ns(), delivery.body)
        headers |= {"traceparent": parent} if (parent := parent_of(delivery.body)) else {}
        try:
            async with asyncio.timeout(self._centre.timeout_s):
                return await self._exchange(delivery.body, headers)
        except TimeoutError:
            return Answer(f"no answer within {self._centre.timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            return Answer(self._safe(f"the centre cannot be reached: {reason}"))

    async def close(self) -> None:
        """Drop all connections."""
        await self._http.aclose()

    async def _exchange(self, body: str, headers: dict[str, str]) -> Answer:
        async with self._http.stream("POST", self._centre.url, content=body.encode(), headers=headers) as response:
            answer = b""
            async for chunk in response.aiter_bytes():
                answer += chunk
                if len(answer) > _MAX_ANSWER_BYTES:
                    break
        if response.is_success:
            return Answer()
        excerpt = " ".join(answer[: 4 * _EXCERPT_CHARS].decode("utf-8", "replace").split())[:_EXCERPT_CHARS]
        error = self._safe(f"the centre answered {response.status_code} {response.reason_phrase}: {excerpt}".rstrip(": "))
        return Answer(error, response.status_code == 410, retry_after_s(response.headers.get("retry-after"), self._clock.now_ns()))

    def _safe(self, text: str) -> str:
        return redact(text, [self._secret, self._secret.removeprefix("whsec_")])
