"""The wire form of messages, for a broker. In one process nothing is coded: readers get the object itself.

- A message without a payload is one JSON object.
- A message with a payload (`Message.payload_field`) has the payload as its raw value, and all other fields as JSON in the header `meta`.
- A `Picture` travels as JPEG; its size in pixels is in `meta` under the name of its field. It is decoded when someone asks for pixels
  (`shared/media/pictures.py`).

Fields are written in the order in which the model declares them, so equal messages have equal bytes. Unknown fields are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from shared.domain.errors import UndecodableMessage
from shared.domain.media import Picture
from shared.media.pictures import to_jpeg
from shared.messages.base import Message

M = TypeVar("M", bound=Message)
Headers = tuple[tuple[str, bytes], ...]

META = "meta"


@dataclass(frozen=True, slots=True)
class Wire:
    """A message as a broker carries it."""

    value: bytes
    headers: Headers = ()

    @property
    def size_bytes(self) -> int:
        return len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


def encode(message: Message) -> Wire:
    """The wire form. A picture that holds only pixels is compressed here (0.5 ms at 640x360)."""
    name = message.payload_field
    if name is None:
        return Wire(message.model_dump_json().encode())
    payload = getattr(message, name)
    meta = message.model_dump_json(exclude={name})
    if isinstance(payload, Picture):
        size = json.dumps({"width": payload.width, "height": payload.height}, separators=(",", ":"))
        meta = f'{meta[:-1]},"{name}":{size}}}'
        payload = to_jpeg(payload)
    return Wire(payload, ((META, meta.encode()),))


def decode(model: type[M], value: bytes | None, headers: Iterable[tuple[str, bytes]] = ()) -> M:
    """The message.

    Raises:
        UndecodableMessage: the bytes are no such message.
    """
    if value is None:
        raise UndecodableMessage(f"no value for a {model.__name__}")
    try:
        if model.payload_field is None:
            return model.model_validate_json(value)
        fields = json.loads(dict(headers)[META])
        size = fields.pop(model.payload_field, None)
        payload = value if size is None else Picture(width=size["width"], height=size["height"], jpeg=bytes(value))
        return model.model_validate({**fields, model.payload_field: payload})
    except KeyError as error:
        raise UndecodableMessage(f"a {model.__name__} without {error}") from error
    except (ValueError, TypeError, AttributeError) as error:  # pydantic's and json's errors are ValueErrors; the others: meta is no object
        raise UndecodableMessage(f"not a {model.__name__}: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    """The first line or two: pydantic repeats the input, which may be long."""
    return "; ".join(str(error).splitlines()[:3])[:300]
