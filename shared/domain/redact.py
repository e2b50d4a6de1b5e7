"""Taking secrets out of what people and logs get to see."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# user:password@ in any URL inside a text; the password may itself hold '@', so match up to the last '@' before a '/' or blank.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/:@]*):(?P<password>[^\s/]*)@")
_QUERY = re.compile(r"(?P<key>(?i:pass|password|passwd|pwd|token|secret|key|auth)=)[^&\s]+")
_WEBHOOK = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without URL credentials, secret query parameters, webhook secrets, or any of `secrets`."""
    text = _CREDENTIALS.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    text = _QUERY.sub(rf"\g<key>{MASK}", text)
    text = _WEBHOOK.sub(f"whsec_{MASK}", text)
    for secret in secrets:
        if len(secret) >= 4:  # shorter ones would mask ordinary words
            text = text.replace(secret, MASK)
    return text
