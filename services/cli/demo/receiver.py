"""A monitoring centre for the demo: takes webhooks on loopback, verifies their signatures, and says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

_MAX_BYTES = 1 << 20
_READ_LIMIT_S = 10

#: Called, on a thread of the receiver, with the CloudEvent and whether its signature was right.
Received = Callable[[dict[str, Any], bool], None]


class WebhookReceiver:
    """An HTTP server on a free port of loopback: `start`, then `stop`."""

    def __init__(self, secret: str, received: Received) -> None:
        self._webhook, self._received = Webhook(secret), received
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Listen; returns the URL to POST to."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            timeout = _READ_LIMIT_S

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                if not 0 < length <= _MAX_BYTES:
                    self.send_error(413)
                    return
                self.send_response(owner._take(self.rfile.read(length), {key.lower(): value for key, value in self.headers.items()}))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name is the base class's
                """Nothing: the recorder's own log has every delivery."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="demo.webhooks", daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def _take(self, body: bytes, headers: dict[str, str]) -> int:
        try:
            self._webhook.verify(body, headers)
            event = json.loads(body)
        except WebhookVerificationError:
            self._received({}, False)
            return 401
        except json.JSONDecodeError:
            return 400
        self._received(event if isinstance(event, dict) else {}, True)
        return 204

    def stop(self) -> None:
        """Close the port and end the thread. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None
