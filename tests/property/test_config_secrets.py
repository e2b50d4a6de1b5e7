"""Whatever a password is, and however it is written into a broken file, no message of the file shows it."""

from __future__ import annotations

import traceback
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.config.load import parse_site, redacted, to_yaml
from shared.domain.errors import ConfigInvalid

MARK = "geheim17"
_PIECES = st.text(st.sampled_from("ab1 *!&%@`'\"|>?-:,#{}[]<=~\\/\t.:$()^+;"), max_size=4) | st.text(
    st.characters(blacklist_characters="\n\r\x85\u2028\u2029", blacklist_categories=["Cs"]), max_size=4
)
_CAMERA = "channels:\n  - id: a\n    number: 1\n    main:\n      url: rtsp://cam/1\n      password: {}\n"
TEMPLATES = [
    _CAMERA,
    _CAMERA + "      user: {}\n",
    _CAMERA + "    nme: x\n",
    "channels: [{{id: a, number: 1, main: {{url: rtsp://cam/1, password: {}}}}}]\n",
    "channels: [{{id: a, number: 1, main: {{url: rtsp://cam/1, password: {}, usr: x}}, sub: 3}}]\n",
    "centres: [{{id: c, url: 'http://x', secret: {}}}]\n",
    "centres:\n  - id: c\n    url: http://x\n    secret: {}\n",
    "objects: {{kind: s3, endpoint: 'x:1', access_key: {}, secret_key: x}}\n",
    "database: {{url: {}}}\n",
    "database:\n  url: {}\n",
]


@settings(max_examples=400, deadline=None)
@given(before=_PIECES, after=_PIECES, template=st.sampled_from(TEMPLATES), broken=st.booleans())
@example("*", "", _CAMERA, False)
@example("!", "", _CAMERA, False)
@example("!!int ", "", _CAMERA, False)
@example("&a1 ", "", _CAMERA, False)
@example("", "9" * 5000, _CAMERA, False)
@example("a,", "", TEMPLATES[3], False)
@example("a,", ": b", TEMPLATES[4], False)
@example("a,", ": b, " + MARK + ": c", TEMPLATES[3], False)
@example("a, [", "]: b", TEMPLATES[3], False)
@example("a, url: ", "", TEMPLATES[3], False)
def test_no_message_shows_a_secret(before: str, after: str, template: str, broken: bool) -> None:
    secret = before + MARK + after
    text = template.replace("{}", secret, 1).replace("{}", "u").replace("{{", "{").replace("}}", "}") + ("sit: {}\n" if broken else "")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            shown = to_yaml(redacted(parse_site(text)))
        except ConfigInvalid as error:
            shown = "".join(traceback.format_exception(error))
    assert MARK not in shown + "".join(str(warning.message) for warning in warned)


def test_a_hundred_thousand_digits_are_no_crash() -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read; put it in quotes"):
        parse_site(f"console: {{port: {'1' * 100_000}}}")
