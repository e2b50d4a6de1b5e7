"""What every message has in common. Messages are frozen; unknown fields are ignored, so that a newer writer can be read."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

UtcNs = Annotated[int, Field(description="UTC nanoseconds since the epoch")]


class Message(BaseModel):
    """Base of all messages.

    Attributes:
        v: schema version of this message; readers accept any version whose required fields they know.
        trace: an id that follows a frame to its alarm through the logs, or empty.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True, ser_json_bytes="base64")

    #: The name of the field that travels as the raw value (the others go into headers), or None: all is JSON.
    payload_field: ClassVar[str | None] = None

    v: int = 1
    trace: str = ""


class ChannelMessage(Message):
    """A message about one channel. Its partition is `channel_number` modulo the topic's partition count."""

    channel: str
    channel_number: int = Field(ge=0)
