"""Taking secrets out of what people and logs get to see. Rather too much than too little: what is hidden can be looked up."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

# user:password@ in any URL inside a text. The password may itself hold '@', ':' and '/', so up to the last '@' before a blank; digits
# and then '/' are a port.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?P<user>[^\s/:@]*):(?!\d+/)\S*@")
# Names of secrets; with anything before them (admin_password, loginpas), and the short ones alone.
_NAME = r"(?i:pass|password|passwd|passphrase|pas|pwd|pswd|psw|pw|token|secret|key|auth|signature|sig|(?<=[?&;/,_])p)="
# In a query a value goes up to the next '&'.
_QUERY = re.compile(rf"(?P<name>[?&][^\s&=]*{_NAME})[^&\s]*")
# Some cameras take the password in the path: /user=admin_password=xyz_channel=1_stream=0.sdp. There it goes up to the next name.
_PATH = re.compile(rf"(?P<name>{_NAME})[^&\s]*?(?=[_;,/?][A-Za-z]+=|[&\s]|$)")
_WEBHOOK = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without URL credentials, secret parameters of queries and paths, webhook secrets, or any of `secrets`."""
    text = _CREDENTIALS.sub(rf"\g<scheme>\g<user>:{MASK}@", text)
    text = _QUERY.sub(rf"\g<name>{MASK}", text)
    text = _PATH.sub(rf"\g<name>{MASK}", text)
    text = _WEBHOOK.sub(f"whsec_{MASK}", text)
    for secret in secrets:
        if len(secret) >= 4:  # shorter ones would mask ordinary words
            text = text.replace(secret, MASK)
    return text
