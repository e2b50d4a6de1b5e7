"""A monitoring centre for tests: a real HTTP server that verifies every webhook with the `standardwebhooks` library."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

#: A secret of the right form, for tests only.
TEST_SECRET = "whsec_" + base64.b64encode(b"vedette-test-secret-of-32-bytes!").decode()


@dataclass
class Delivery:
    """One POST: its CloudEvent, whether the signature was right, and when it came (UTC ns)."""

    event: dict[str, Any]
    webhook_id: str
    verified: bool
    arrived_ns: int
    traceparent: str = ""


@dataclass
class Centre:
    """A running receiver. `status` is what it answers from now on."""

    url: str
    status: int = 204
    deliveries: list[Delivery] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accepted(self) -> list[Delivery]:
        """Deliveries so far, in the order of arrival."""
        with self.lock:
            return list(self.deliveries)


@contextmanager
def monitoring_centre(secret: str = TEST_SECRET) -> Iterator[Centre]:
    """A centre on a free port of loopback."""
    centre = Centre("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            arrived_ns = time.time_ns()
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                Webhook(secret).verify(body, {key.lower(): value for key, value in self.headers.items()})
                verified = True
            except WebhookVerificationError:
                verified = False
            with centre.lock:
                if centre.status < 300:
                    known = (self.headers.get("webhook-id", ""), verified, arrived_ns, self.headers.get("traceparent", ""))
                    centre.deliveries.append(Delivery(json.loads(body), *known))
            self.send_response(centre.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Silent: a test's output is its assertions."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    centre.url = f"http://127.0.0.1:{server.server_port}/alarms"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="monitoring-centre")
    thread.start()
    try:
        yield centre
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
