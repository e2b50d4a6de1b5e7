"""Identifiers. Those of events and alarms are deterministic, so that a redelivered message makes nothing new."""

from __future__ import annotations

import re
import uuid

# A namespace of our own for name-based UUIDs (RFC 9562, version 5).
_NAMESPACE = uuid.UUID("6f0c1f8e-3f1c-5b0f-9d55-0f3f3a6d5f10")

#: What a channel, rule, schedule, centre or device may be called in the configuration: it becomes a path and a label.
SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]{0,46}[a-z0-9])?$"
_SLUG = re.compile(SLUG_PATTERN)

#: The "channel" of events that belong to the device as a whole, number 0.
DEVICE_CHANNEL = "@device"
DEVICE_CHANNEL_NUMBER = 0


def is_slug(text: str) -> bool:
    """Whether `text` is a valid identifier: lower-case letters, digits, `-`, `_`, 1 to 48 characters."""
    return _SLUG.match(text) is not None


def deterministic_id(*parts: str | int) -> str:
    """A UUID (text) that depends on `parts` alone; parts are separated, so ("ab", "c") differs from ("a", "bc")."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts)))
