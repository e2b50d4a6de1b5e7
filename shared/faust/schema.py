"""Values of Faust streams: our messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faust
from faust.exceptions import ValueDecodeError

from shared.domain.errors import UndecodableMessage
from shared.messages import Message
from shared.messages.codec import decode, encode


@dataclass(frozen=True, slots=True)
class Undecodable:
    """What `MessageSchema` yields, where asked to, for bytes that are no message."""

    raw: bytes
    reason: str


class MessageSchema(faust.Schema[Any, Any]):
    """A topic's message model as a Faust schema; in one process the objects pass as they are.

    Args:
        model: of the topic.
        tolerant: yield `Undecodable` instead of raising `ValueDecodeError`. Faust acknowledges a message that cannot be decoded before
            those that came earlier are handled, and stops the agent; a marker stays in line and is handled as a dead letter.
    """

    def __init__(self, model: type[Message], *, tolerant: bool = False) -> None:
        super().__init__()
        self._model, self._tolerant = model, tolerant

    def loads_key(self, app: Any, message: Any, *, loads: Callable[..., Any] | None = None, serializer: Any = None) -> Any:
        return message.key

    def loads_value(self, app: Any, message: Any, *, loads: Callable[..., Any] | None = None, serializer: Any = None) -> Any:
        if isinstance(message.value, Message):
            return message.value
        try:
            return decode(self._model, message.value, message.headers or ())
        except UndecodableMessage as error:
            if self._tolerant:
                return Undecodable(message.value or b"", str(error))
            raise ValueDecodeError(str(error)) from error

    def dumps_key(self, app: Any, key: Any, *, serializer: Any = None, headers: Any = None) -> tuple[Any, Any]:
        return (key.encode() if isinstance(key, str) else key), headers

    def dumps_value(self, app: Any, value: Any, *, serializer: Any = None, headers: Any = None) -> tuple[Any, Any]:
        wire = encode(value)
        return wire.value, [*(headers.items() if isinstance(headers, dict) else headers or ()), *wire.headers]
