"""`vedette health URL`: one question to a process, answered by an exit code. For container health checks, so it imports almost nothing."""

from __future__ import annotations

import http.client
import json
import sys
from typing import Any
from urllib.parse import urlsplit

#: Exit codes: well; not well, or no answer; no URL.
WELL, NOT_WELL, USAGE = 0, 1, 2
TIMEOUT_S = 5.0


def check(url: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """The exit code, and what is wrong, for people.

    Args:
        url: of a process, with or without `http://` and `/healthz`.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        return USAGE, "this is no URL of a process; an example: http://127.0.0.1:8790"
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path if parts.path not in ("", "/") else "/healthz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return NOT_WELL, f"no answer: {error}"
    finally:
        connection.close()
    return (WELL, "ok") if answer.status == http.client.OK else (NOT_WELL, _why(answer.status, body))


def _why(status: int, body: bytes) -> str:
    """The services that are not well, as far as the answer tells."""
    try:
        told: Any = json.loads(body)
        services: dict[str, Any] = told.get("services", {})
        wrong = [f"{name}: {one.get('summary', '')}" for name, one in services.items() if not one.get("ok")]
        return "\n".join(wrong) or str(told.get("status") or f"it answers {status}")
    except (ValueError, AttributeError):
        return f"it answers {status}"


def main(url: str) -> int:
    """Print what is wrong; the exit code."""
    code, text = check(url)
    (sys.stdout if code == WELL else sys.stderr).write(f"{text}\n")  # the terminal's library takes longer to import than all of this
    return code
