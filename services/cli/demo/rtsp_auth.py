"""Basic and Digest authentication of the simulator (RFC 7617; RFC 2617 with MD5, which cameras speak). Pure."""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.request import parse_http_list, parse_keqv_list


class AuthScheme(enum.StrEnum):
    """What the camera asks for."""

    BASIC = "basic"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one account of a camera. The password never appears in a repr."""

    user: str
    password: str = field(repr=False)
    scheme: AuthScheme = AuthScheme.DIGEST
    realm: str = "Vedette camera simulator"


def challenge(credentials: Credentials, nonce: str) -> str:
    """Value of `WWW-Authenticate`."""
    if credentials.scheme is AuthScheme.BASIC:
        return f'Basic realm="{credentials.realm}"'
    return f'Digest realm="{credentials.realm}", nonce="{nonce}"'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def digest_response(credentials: Credentials, method: str, fields: dict[str, str]) -> str:
    """The `response` that RFC 2617 section 3.2.2 asks for, with `qop=auth` when the client chose it."""
    ha1 = _md5(f"{credentials.user}:{credentials.realm}:{credentials.password}")
    ha2 = _md5(f"{method}:{fields.get('uri', '')}")
    nonce = fields.get("nonce", "")
    if fields.get("qop") == "auth":
        return _md5(f"{ha1}:{nonce}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:auth:{ha2}")
    return _md5(f"{ha1}:{nonce}:{ha2}")


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _basic_accepted(credentials: Credentials, value: str) -> bool:
    try:
        given = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return _same(given, f"{credentials.user}:{credentials.password}")


def _digest_accepted(credentials: Credentials, value: str, *, method: str, url: str, nonce: str) -> bool:
    try:
        fields = parse_keqv_list(parse_http_list(value))
    except (ValueError, IndexError):
        return False
    # Clients sign the URL of the request or, after a SETUP, the one of the stream: one must begin with the other.
    uri = fields.get("uri", "")
    if not uri or not (url.startswith(uri.rstrip("/")) or uri.startswith(url.rstrip("/"))):
        return False
    return (
        _same(fields.get("username", ""), credentials.user)
        and _same(fields.get("realm", ""), credentials.realm)
        and _same(fields.get("nonce", ""), nonce)
        and _same(fields.get("response", ""), digest_response(credentials, method, fields))
    )


def accepted(credentials: Credentials, header: str | None, *, method: str, url: str, nonce: str) -> bool:
    """Whether an `Authorization` header proves the account for this request."""
    scheme, _, value = (header or "").strip().partition(" ")
    if credentials.scheme is AuthScheme.BASIC:
        return scheme.lower() == "basic" and _basic_accepted(credentials, value.strip())
    return scheme.lower() == "digest" and _digest_accepted(credentials, value, method=method, url=url, nonce=nonce)
