"""How large messages are that are not encoded."""

from __future__ import annotations

from typing import Any

from shared.domain.errors import MessageTooLarge
from shared.domain.media import Picture
from shared.messages import Message
from shared.topics import Topic


def payload_bytes(message: Message) -> int:
    """Bytes of memory that a message's payload takes; 0 without one."""
    if message.payload_field is None:
        return 0
    payload = getattr(message, message.payload_field)
    if isinstance(payload, Picture):
        return (0 if payload.i420 is None else payload.i420.nbytes) + len(payload.jpeg or b"")
    return len(payload)


def check_size(topic: Topic[Any], message: Message) -> int:
    """Bytes of memory of a message's payload. Pixels are bounded by the capacity alone: the limit is about their JPEG, not made here.

    Raises:
        MessageTooLarge: the topic takes none of that size.
    """
    size = payload_bytes(message)
    pixels = message.payload_field is not None and isinstance(getattr(message, message.payload_field), Picture)
    if size > topic.max_message_bytes and not pixels:
        raise MessageTooLarge(f"a payload of {size} bytes; the topic takes {topic.max_message_bytes}", where=f"topic {topic.name}")
    return size
