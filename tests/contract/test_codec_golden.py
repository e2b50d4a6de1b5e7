"""The wire form does not change by accident: each message of `golden/` is read by the present code and written back byte for byte.

A golden file: `{"value": base64 of the raw value, "headers": {name: text}}`, and for plain messages `"json"` instead of `value`.
To add one for a new topic: `python -m tests.contract.test_codec_golden NAME`. A present file is never written again: a change of the wire
form that old readers or writers do not survive needs a new version of the message.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.domain.errors import UndecodableMessage
from shared.messages.codec import META, Wire, decode, encode
from shared.topics import ALL, Topic
from tests.support.messages import examples

GOLDEN = Path(__file__).parent / "golden"


def load(name: str) -> Wire:
    data = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    value = data["json"].encode() if "json" in data else base64.b64decode(data["value"])
    return Wire(value, tuple((key, text.encode()) for key, text in data.get("headers", {}).items()))


def dump(wire: Wire) -> str:
    headers = {key: value.decode() for key, value in wire.headers}
    body = {"value": base64.b64encode(wire.value).decode(), "headers": headers} if headers else {"json": wire.value.decode()}
    return json.dumps(body, indent=1) + "\n"


@pytest.mark.parametrize("topic", ALL, ids=lambda topic: topic.name)
class TestGolden:
    def test_reads_what_was_once_written(self, topic: Topic[Any]) -> None:
        wire = load(topic.name)
        message = decode(topic.message, wire.value, wire.headers)
        expected = examples()[topic.name]
        if topic.name == "frames":  # pictures compare by identity
            assert message.picture.jpeg == expected.picture.jpeg  # type: ignore[attr-defined]  # both are FrameMessage
            expected = expected.model_copy(update={"picture": message.picture})
        assert message == expected

    def test_writes_the_same_bytes(self, topic: Topic[Any]) -> None:
        wire = load(topic.name)
        assert encode(decode(topic.message, wire.value, wire.headers)) == wire

    def test_every_field_is_in_the_example(self, topic: Topic[Any]) -> None:
        message = examples()[topic.name]
        for name, field in type(message).model_fields.items():
            if name != "v" and not field.is_required():
                assert getattr(message, name) != field.get_default(call_default_factory=True), name

    def test_unknown_fields_are_ignored(self, topic: Topic[Any]) -> None:
        wire = load(topic.name)
        if wire.headers:
            meta = json.loads(dict(wire.headers)[META])
            newer = Wire(wire.value, ((META, json.dumps({**meta, "of_tomorrow": [1]}).encode()), ("other", b"\xff")))
        else:
            newer = Wire(json.dumps({**json.loads(wire.value), "of_tomorrow": [1]}).encode())
        assert encode(decode(topic.message, newer.value, newer.headers)) == wire

    def test_damage_is_undecodable(self, topic: Topic[Any]) -> None:
        wire = load(topic.name)
        required = next(n for n, f in topic.message.model_fields.items() if f.is_required() and n != topic.message.payload_field)
        text = dict(wire.headers)[META] if wire.headers else wire.value
        without = json.dumps({k: v for k, v in json.loads(text).items() if k != required}).encode()
        for damaged in (b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"null", without):
            with pytest.raises(UndecodableMessage):
                decode(topic.message, wire.value if wire.headers else damaged, ((META, damaged),) if wire.headers else ())
        with pytest.raises(UndecodableMessage):
            decode(topic.message, None, wire.headers)
        if wire.headers:
            with pytest.raises(UndecodableMessage):
                decode(topic.message, wire.value, ())


def test_there_is_an_example_of_every_topic() -> None:
    assert set(examples()) == {topic.name for topic in ALL} == {path.stem for path in GOLDEN.glob("*.json")}


if __name__ == "__main__":
    with (GOLDEN / f"{sys.argv[1]}.json").open("x", encoding="utf-8") as file:
        file.write(dump(encode(examples()[sys.argv[1]])))
