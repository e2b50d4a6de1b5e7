"""Every mistake in a configuration is told with its line, its place, and what was probably meant; all at once."""

# ruff: noqa: E501  # one row, one mistake and the exact message

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config.load import load_site, parse_site
from shared.domain.errors import ConfigInvalid

CAMERA = "channels:\n  - id: a\n    number: 1\n    main: {url: rtsp://cam/1}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        parse_site(text)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chanels: []", "site.yml:1: chanels: unknown key; did you mean `channels`?"),
        (
            "ingest:\n  zzz: 1",
            "site.yml:2: ingest.zzz: unknown key; known here: segment_s, segment_max_bytes, spool_max_bytes, catch_up_bytes_per_s, "
            "connect_timeout_s, read_timeout_s, reconnect_min_s, reconnect_max_s, status_every_s, live_fps, ca_file",
        ),
        (
            CAMERA + "    rules:\n      - {id: r, kind: smd}\n      - id: t\n        kind: tripwire\n"
            "        line: [[0.1, 0.1], [0.2, 0.2]]\n        lien: 1\n",
            "site.yml:10: channels[0].rules[1].lien: unknown key; did you mean `line`?",
        ),
        ("bus:\n  kind: kafkaa", "site.yml:2: bus.kind: 'kafkaa' is none of embedded, kafka; did you mean `kafka`?"),
        ("bus: {}", "site.yml:1: bus: `kind` is missing: one of embedded, kafka"),
        ("bus: {kind: kafka}", "site.yml:1: bus.brokers: is missing"),
        ("objects:\n  kind: s3\n  acces_key: x\n  endpoint: h:1\n  access_key: a\n  secret_key: b", "site.yml:3: objects.acces_key: unknown key; did you mean `access_key`?"),
        ("schedules:\n  Night: {}", "site.yml:2: schedules.Night: 'Night' is no name: lower-case letters, digits, - and _, 1 to 48 characters"),
        ("schedules:\n  night:\n    mondai: []", "site.yml:3: schedules.night.mondai: unknown key; did you mean `monday`?"),
        ("schedules:\n  night:\n    monday:\n      - 8-9", "site.yml:4: schedules.night.monday[0]: '8-9' is not HH:MM-HH:MM"),
        ("schedules: {n: {monday: [18:00-08:00]}}", "site.yml:1: schedules.n.monday[0]: '18:00-08:00' must end after it begins, at 24:00 at the latest"),
        ("site: {time_zone: Europe/Pariss}", "site.yml:1: site.time_zone: 'Europe/Pariss' is not a time zone of the IANA database (for example Europe/Paris)"),
        ("storage:", "site.yml:1: storage: is empty: give it a value, or remove the line"),
        ("storage: 3", "site.yml:1: storage: must hold keys of its own (`key: value`, indented below it)"),
        ("channels: a", "site.yml:1: channels: must be a list: [a, b] or lines that begin with `- `"),
        ("site:\n  name: 42", "site.yml:2: site.name: must be text: put it in quotes"),
        ("storage: {when_full: overwrit}", "site.yml:1: storage.when_full: 'overwrit' is none of overwrite, stop; did you mean `overwrite`?"),
        ("console: {port: 70000}", "site.yml:1: console.port: must be at most 65535, not 70000"),
        ("console: {port: x}", "site.yml:1: console.port: must be a whole number, not 'x'"),
        ("analytics: {confidence: 0}", "site.yml:1: analytics.confidence: must be more than 0, not 0"),
        ("analytics: {input_width: 641}", "site.yml:1: analytics.input_width: must be a multiple of 32, not 641"),
        ("analytics: {motion_gate: 2}", "site.yml:1: analytics.motion_gate: must be true or false, not 2"),
        ("ingest: {reconnect_min_s: 50}", "site.yml:1: ingest: reconnect_min_s is larger than reconnect_max_s"),
        (CAMERA + "    audio: none", "site.yml:5: channels[0].audio: 'none' is none of transcode, copy, off"),
        ("channels:\n  - number: 1\n    main: {url: rtsp://c}", "site.yml:2: channels[0].id: is missing"),
        ("channels:\n  - id: a\n    number: 1\n    main: {url: ftp://x}", "site.yml:4: channels[0].main.url: the URL must begin with one of rtsp://, rtsps://, http://, https://, file://"),
        ("channels: [{id: a, number: 1, main: {url: 'rtsp://'}}]", "site.yml:1: channels[0].main.url: the URL names no host"),
        ("channels: [{id: a, number: 1, main: {url: 'rtsp://h:99999/'}}]", "site.yml:1: channels[0].main.url: this is no URL; an example: rtsp://192.0.2.10:554/stream1"),
        (
            "channels: [{id: a, number: 1, main: {url: 'file://clips/a.mp4'}}]",
            "site.yml:1: channels[0].main.url: a file is written file:///absolute/path (three slashes) or file:path/relative/to/this/file",
        ),
        (CAMERA + "    rules: [{id: r}]", "site.yml:5: channels[0].rules[0]: `kind` is missing: one of tripwire, intrusion, smd, people_counting"),
        (
            CAMERA + "    rules:\n      - id: r\n        kind: tripwire\n        line: [[560, 0], [0.5, 1]]",
            "site.yml:8: channels[0].rules[0].line[0]: a point is [x, y], both 0 to 1 of the frame (not pixels), from its top left corner",
        ),
        (CAMERA + "    rules: [{id: r, kind: tripwire, line: [[0.1, 0.1]]}]", "site.yml:5: channels[0].rules[0].line: must have at least 2 entries, not 1"),
        (CAMERA + "    rules: [{id: r, kind: tripwire, line: [[0.1, 0.1], [0.1, 0.1]]}]", "site.yml:5: channels[0].rules[0].line: two points in a row are the same"),
        (CAMERA + "    rules: [{id: r, kind: tripwire, line: [[0.1], [0.1, 0.3]]}]", "site.yml:5: channels[0].rules[0].line[0][1]: a point is [x, y], both 0 to 1 of the frame"),
        (CAMERA + "    rules: [{id: r, kind: intrusion, zone: [[0, 0], [0.5, 0.5], [1, 1]]}]", "site.yml:5: channels[0].rules[0].zone: the zone has no area"),
        (CAMERA + "    recording: {mode: schedule}", "site.yml:5: channels[0].recording: mode `schedule` needs `schedule`"),
        ("holidays:\n  - {name: x, first: 2026-12-25, last: 12-26}", "site.yml:2: holidays[0]: first and last must both be YYYY-MM-DD or both MM-DD"),
        ("centres: [{id: c, url: 'http://', secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}]", "site.yml:1: centres[0].url: must begin with http:// or https:// and name a host"),
        ("database: {url: {env: VEDETTE_NOT_SET}}", "site.yml:1: database.url: environment variable VEDETTE_NOT_SET is not set"),
        ("database: {url: {file: /nowhere/db}}", "site.yml:1: database.url: secret file /nowhere/db cannot be read: No such file or directory"),
        ("database: {url: {enf: X}}", "site.yml:1: database.url: a secret is text, {env: NAME} or {file: PATH}"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_line(text: str, expected: str) -> None:
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site: a: b", "site.yml:1: this is no YAML: mapping values are not allowed here; put text that holds `: ` in quotes, and look at the indentation here and on the line before"),
        ("site:\n\tname: x", "site.yml:2: this is no YAML: found character '\\t' that cannot start any token; indent with spaces, not tabs"),
        ('site:\n  name: "x\n', "site.yml:3: this is no YAML: found unexpected end of stream; a quotation mark is not closed"),
        ("site: {name: @x}", "site.yml:1: this is no YAML: found character '@' that cannot start any token; put text that begins with `@` in quotes"),
        ("a: *x", "site.yml:1: this is no YAML: found undefined alias; put text that begins with `*` in quotes"),
        ("- 1", "site.yml:1: the file must hold settings as `key: value` lines"),
        ("", "site.yml: the file is empty; `vedette config sample` prints one to begin with"),
        ("# only a comment", "site.yml: the file is empty; `vedette config sample` prints one to begin with"),
        ("a: &x [*x]", "site.yml:1: nested more than 32 deep"),
        ("site:\n  name: a\n  name: b", "site.yml:3: site.name: this key stands on line 2 already; keep one of them"),
        ("a: \x00", "site.yml: this is no YAML: unacceptable character #x0000: special characters are not allowed"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_told_with_its_line_and_what_to_do(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = "sit: {}\nstorage: {file_s: 1}\nconsole:\n  prt: 1\n"
    assert problems(text) == [
        "site.yml:1: sit: unknown key; did you mean `site`?",
        "site.yml:2: storage.file_s: must be at least 4, not 1",
        "site.yml:4: console.prt: unknown key; did you mean `port`?",
    ]


def test_storage_groups_fit() -> None:
    text = """storage:
  bucket: main
  quota_mode: true
  when_full: stop
  groups:
    archive: {bucket: main, max_bytes: 20000000}
    second: {bucket: main-locked}
    third: {bucket: far}
    fourth: {bucket: far-locked}
    fifth: {bucket: far}
    sixth: {bucket: snapshots}
channels:
  - id: a
    number: 1
    main: {url: rtsp://cam/1}
    recording: {group: archiv}
  - id: b
    number: 2
    main: {url: rtsp://cam/2}
    recording: {group: third, snapshots_group: fither}
"""
    assert problems(text) == [
        "site.yml:6: storage.groups.archive.bucket: the bucket 'main' is that of `storage.bucket`; give each one its own",
        "site.yml:6: storage.groups.archive.max_bytes: a group overwrites its own oldest, but `when_full` is `stop`: leave one of them out",
        "site.yml:6: storage.groups.archive.max_bytes: room is shared out by groups or by channels (`quota_mode`), not by both",
        "site.yml:7: storage.groups.second.bucket: the bucket 'main-locked' is where locked recordings of `storage.bucket` lie; choose another name",
        "site.yml:9: storage.groups.fourth.bucket: the bucket 'far-locked' is where locked recordings of the storage group 'third' lie; choose another name",
        "site.yml:10: storage.groups.fifth.bucket: the bucket 'far' is that of the storage group 'third'; give each one its own",
        "site.yml:11: storage.groups.sixth.bucket: the bucket 'snapshots' is that of `storage.snapshots_bucket`; give each one its own",
        "site.yml:16: channels[0].recording.group: there is no storage group 'archiv'; did you mean `archive`?",
        "site.yml:20: channels[1].recording.snapshots_group: there is no storage group 'fither'; did you mean `fifth`?",
    ]


def test_a_storage_group_whose_locked_bucket_is_anothers_is_refused() -> None:
    text = "storage:\n  groups:\n    a: {bucket: far-locked}\n    b: {bucket: far}\n"
    what = "locked recordings of this group would lie in 'far-locked', the bucket of the storage group 'a'; choose another name"
    assert problems(text) == [f"site.yml:4: storage.groups.b.bucket: {what}"]


def test_names_that_lead_nowhere_are_told_where_they_are_written() -> None:
    text = """
schedules:
  night: {}
channels:
  - id: a
    number: 1
    main: {url: rtsp://cam/1}
    rules:
      - id: r
        kind: smd
        arming: nigt
        linkage:
          webhooks:
            - nobody
          record: {channels: [b]}
      - {id: r2, kind: smd}
  - id: a
    number: 1
    main: {url: rtsp://cam/2}
"""
    assert problems(text) == [
        "site.yml:11: channels[0].rules[0].arming: there is no schedule 'nigt'; did you mean `night`?",
        "site.yml:14: channels[0].rules[0].linkage.webhooks[0]: there is no centre 'nobody'",
        "site.yml:15: channels[0].rules[0].linkage.record.channels[0]: there is no channel 'b'",
        "site.yml:17: channels[1].id: a channel above has the id 'a' too",
        "site.yml:18: channels[1].number: a channel above has the number 1 too",
    ]


def test_a_field_that_fails_hides_nothing_of_what_does_not_fit() -> None:
    text = """
schedules: {night: {}}
centres: [{id: guard, url: "http://x", secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw}]
console: {prt: 1}
channels:
  - id: a
    number: 1
    main: {url: ftp://cam/1}
    recording: {schedule: nigth}
    rules:
      - {id: r, kind: smd, sensitivity: 101}
      - {id: r, kind: smd, arming: nigt, linkage: {webhooks: [gard], snapshot: {channels: [b]}}}
  - id: a
    number: 1
    main: {url: rtsp://cam/2}
"""
    assert problems(text) == [
        "site.yml:4: console.prt: unknown key; did you mean `port`?",
        "site.yml:8: channels[0].main.url: the URL must begin with one of rtsp://, rtsps://, http://, https://, file://",
        "site.yml:9: channels[0].recording.schedule: there is no schedule 'nigth'; did you mean `night`?",
        "site.yml:11: channels[0].rules[0].sensitivity: must be at most 100, not 101",
        "site.yml:12: channels[0].rules[1].id: a rule above is called 'r' too",
        "site.yml:12: channels[0].rules[1].arming: there is no schedule 'nigt'; did you mean `night`?",
        "site.yml:12: channels[0].rules[1].linkage.webhooks[0]: there is no centre 'gard'; did you mean `guard`?",
        "site.yml:12: channels[0].rules[1].linkage.snapshot.channels[0]: there is no channel 'b'",
        "site.yml:13: channels[1].id: a channel above has the id 'a' too",
        "site.yml:14: channels[1].number: a channel above has the number 1 too",
    ]


def test_a_field_that_fails_hides_nothing_within_its_channel() -> None:
    text = CAMERA + "    nme: x\n    recording: {mode: schedule, keep_days: 0}\n    analysis: {stream: sub}\n"
    assert problems(text) == [
        "site.yml:2: channels[0]: analysis.stream is `sub`, but there is no sub stream",
        "site.yml:5: channels[0].nme: unknown key; did you mean `name`?",
        "site.yml:6: channels[0].recording.keep_days: must be more than 0, not 0",
        "site.yml:6: channels[0].recording: mode `schedule` needs `schedule`",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ingest:\n  read_timout_s: 1\n  segment_s: x\n  reconnect_min_s: 50\n",
            [
                "site.yml:1: ingest: reconnect_min_s is larger than reconnect_max_s",
                "site.yml:2: ingest.read_timout_s: unknown key; did you mean `read_timeout_s`?",
                "site.yml:3: ingest.segment_s: must be a number, not 'x'",
            ],
        ),
        (
            "holidays:\n  - {name: x, first: 2026-12-25, last: 12-26}\n  - {nme: y, first: 12-25, name: z, last: 2026-12-26}\n",
            [
                "site.yml:2: holidays[0]: first and last must both be YYYY-MM-DD or both MM-DD",
                "site.yml:3: holidays[1].nme: unknown key; did you mean `name`?",
                "site.yml:3: holidays[1]: first and last must both be YYYY-MM-DD or both MM-DD",
            ],
        ),
        (
            CAMERA + "    rules:\n      - id: r\n        kind: smd\n        sensitivity: 101\n        arming: nigt\n"
            "        size: {min_width: 0.5, max_width: 0.1, max_heigth: 1}\n",
            [
                "site.yml:8: channels[0].rules[0].sensitivity: must be at most 100, not 101",
                "site.yml:9: channels[0].rules[0].arming: there is no schedule 'nigt'",
                "site.yml:10: channels[0].rules[0].size.max_heigth: unknown key; did you mean `max_height`?",
                "site.yml:10: channels[0].rules[0].size: the smallest target is larger than the largest",
            ],
        ),
    ],
)
def test_a_field_that_fails_does_not_hide_what_is_wrong_with_its_section(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ingest: {reconnect_min_s: 50, reconnect_max_s: x}", "site.yml:1: ingest.reconnect_max_s: must be a number, not 'x'"),
        (CAMERA + "    recording: {mode: schedule, schedule: 3}", "site.yml:5: channels[0].recording.schedule: must be text: put it in quotes"),
        ("centres: 3\n" + CAMERA + "    rules: [{id: r, kind: smd, linkage: {webhooks: [guard]}}]", "site.yml:1: centres: must be a list: [a, b] or lines that begin with `- `"),
        ("schedules: 3\n" + CAMERA + "    rules: [{id: r, kind: smd, arming: night}]", "site.yml:1: schedules: must hold keys of its own (`key: value`, indented below it)"),
    ],
)  # fmt: skip
def test_what_may_only_follow_from_a_mistake_is_not_told(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_what_is_of_a_wrong_type_is_told_once() -> None:
    """A list that is none, items that are none, ids that are none: whether a name leads there cannot be told, and is not."""
    rule = "    rules: [{id: r, kind: smd, arming: x, linkage: {webhooks: [y], record: {channels: [3, a]}}}, 7]\n"
    found = problems("schedules: 3\ncentres: [{idd: y}, 5]\n" + CAMERA + rule)
    assert not [line for line in found if "there is no" in line]


def test_two_rules_of_one_name_are_told_at_the_second() -> None:
    text = CAMERA + "    rules:\n      - {id: r, kind: smd}\n      - {id: r, kind: smd}\n"
    assert problems(text) == ["site.yml:7: channels[0].rules[1].id: a rule above is called 'r' too"]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"there is no such file; `vedette config sample > site\.yml` writes one"):
        load_site(tmp_path / "site.yml")


@pytest.mark.parametrize(
    "text",
    [
        "channels: [{id: a, number: 1, main: {url: 'rtsp://u:geheim-17@cam/1'}}]",
        "channels: [{id: a, number: 1, main: {url: 'rtsp://u:geheim-17@cam:x/1'}}]",
        "centres: [{id: c, url: 'http://x', secret: whsec_geheim-17}]",
        "centres: [{id: c, url: 'foo://u:geheim-17@x', secret: geheim-17}]",
        "database: {url: [geheim-17]}",
        "channels: [{id: a, number: 1, main: {url: 'rtsp://cam', password: [geheim-17]}}]",
    ],
)
def test_no_problem_shows_a_secret(text: str) -> None:
    found = "\n".join(problems(text))
    assert found
    assert "geheim" not in found
