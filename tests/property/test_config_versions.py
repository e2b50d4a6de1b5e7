"""Versions of a configuration: what differs between them, which is in force, what is put back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from shared.config.diff import at_next_start, diff, refusals
from shared.config.document import SECRET_KEYS, document, literal_secrets
from shared.config.load import to_yaml
from shared.config.sample import sample
from shared.config.site import SiteConfig
from shared.config.versions import History, Version, check_applicable, effective
from shared.domain.errors import ConfigError, ConfigInvalid

slugs = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
rules: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": slugs, "kind": st.just("smd")}, optional={"sensitivity": st.integers(0, 100), "enabled": st.booleans()}
)
streams: st.SearchStrategy[Any] = st.fixed_dictionaries({"url": slugs.map(lambda host: f"rtsp://{host}/s")})
identity: dict[str, st.SearchStrategy[Any]] = {"id": slugs, "number": st.integers(1, 4096), "main": streams}
more: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text("abc é:#", max_size=8),
    "rules": st.lists(rules, max_size=3, unique_by=lambda rule: str(rule["id"])),
}
channels: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(identity, optional=more)
sites = st.fixed_dictionaries(
    {"channels": st.lists(channels, max_size=4, unique_by=(lambda one: one["id"], lambda one: one["number"]))},
    optional={"site": st.fixed_dictionaries({"name": slugs}), "storage": st.fixed_dictionaries({"file_s": st.integers(4, 3600)})},
)


def version(number: int, text: str, *, id_: str = "") -> Version:
    return Version(number, id_ or f"id-{number}", text, number)


@settings(deadline=None)  # the first models are slow to build, machines are shared
@given(sites)
def test_equal_ones_do_not_differ(site: dict[str, Any]) -> None:
    again = document(to_yaml(site))
    assert diff(site, again) == refusals(site, again) == at_next_start(site, again) == []


@settings(deadline=None)
@given(sites, sites)
def test_a_difference_is_seen_from_both_sides(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert bool(diff(old, new)) == bool(diff(new, old))
    same = SiteConfig.model_validate(old) == SiteConfig.model_validate(new)
    assert same or diff(old, new) or [c["id"] for c in old["channels"]] != [c["id"] for c in new["channels"]] or reordered(old, new)


def reordered(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether rules stand in another order: they mean the same."""
    pairs = zip(old["channels"], new["channels"], strict=True)
    return any([rule["id"] for rule in a.get("rules", [])] != [rule["id"] for rule in b.get("rules", [])] for a, b in pairs)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.text("ab", min_size=1)), max_size=20))
def test_the_first_of_a_number_is_in_force_and_repeats_change_nothing(written: list[tuple[int, str]]) -> None:
    once, twice = History(), History()
    log = [version(number, text, id_=f"w{i}") for i, (number, text) in enumerate(written)]
    for one in log:
        before = once.newest
        accepted = once.add(one)
        assert accepted == (before is None or one.number > before.number)
        assert once.newest == (one if accepted else before)
        twice.add(one)
        assert not twice.add(one)
    assert once.newest == twice.newest
    assert once.versions == twice.versions
    assert once.surplus() == twice.surplus()


@settings(deadline=None)
@given(st.lists(sites.map(to_yaml), min_size=1, max_size=6), st.data())
def test_a_roll_back_restores_the_same_text(texts: list[str], data: st.DataObject) -> None:
    history = History()
    for text in texts:
        history.add(version(history.next_number, text))
    number = data.draw(st.integers(1, len(texts)))
    back = Version(history.next_number, "back", history.get(number).text, 0, restores=number)
    assert history.add(back)
    assert history.newest is not None
    assert history.newest.text == texts[number - 1]
    assert diff(document(history.newest.text), document(texts[number - 1])) == []


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 10))
def test_those_let_go_leave_the_newest(count: int, kept: int) -> None:
    history = History()
    for number in range(1, count + 1):
        history.add(version(number, "a: 1"))
    history.add(version(count, "b: 2", id_="late"))
    for old in history.surplus(kept):
        history.add(Version(old.number, old.id, "", 0))
    assert [held.number for held in history.versions] == list(range(count, max(0, count - kept), -1))
    assert history.surplus(kept) == []
    with pytest.raises(ConfigError, match="no version 99"):
        history.get(99)


OLD = """
channels:
  - {id: gate, number: 1, main: {url: "rtsp://a/1", user: u, password: {env: GATE}}, rules: [{id: line, kind: smd}, {id: gone, kind: smd}]}
  - {id: yard, number: 2, main: {url: "rtsp://a/2"}}
schedules: {night: {monday: ["00:00-06:00"]}}
"""
NEW = """
channels:
  - {id: barn, number: 3, main: {url: "rtsp://a/3"}, rules: [{id: x, kind: smd}]}
  - {id: gate, number: 1, main: {url: "rtsp://a/9", user: u, password: {file: gate.txt}}, rules: [{id: line, kind: smd, sensitivity: 70}]}
storage: {quota_mode: true}
"""


def test_differences_are_told_by_id() -> None:
    assert diff(document(OLD), document(NEW)) == [
        "channel gate: main.url: rtsp://a/1 → rtsp://a/9",
        'channel gate: main.password: {"env": "GATE"} → {"file": "gate.txt"}',
        "channel gate: rule line: sensitivity: not set → 70",
        "channel gate: rule gone: removed",
        "channel yard: removed",
        "channel barn: added, with 1 rule",
        'schedules.night.monday: ["00:00-06:00"] → not set',
        "storage.quota_mode: not set → true",
    ]


def test_secrets_are_never_shown() -> None:
    old, new = document("database: {url: hunter2-a}"), document("database: {url: hunter2-b}")
    channel = "channels: [{id: a, number: 1, main: {url: 'rtsp://u:hunter2@h/', password: %s}}]"
    told = [*diff(old, new), *refusals(old, new), *diff(document(channel % "hunter2"), document(channel % "hunter2x"))]
    assert told
    assert "hunter2" not in "".join(told)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("bus: {kind: kafka, brokers: ['b:9092']}", "bus"),
        ("objects: {kind: local, root: elsewhere}", "objects"),
        ("database: {url: {env: DB}}", "database"),
        ("data_dir: other", "data_dir"),
        ("device: {id: other}", "device.id"),
        ("console: {host: '0.0.0.0'}", "console.host"),
        ("console: {port: 1}", "console.port"),
        ("storage: {bucket: other}", "storage.bucket"),
        ("internal: {listen: 'h:1'}", "internal"),
    ],
)
def test_what_cannot_be_changed_at_run_time_is_refused_with_the_reason(text: str, what: str) -> None:
    (reason,) = refusals({}, document(text))
    assert reason.startswith(f"{what} cannot be changed at run time: ")
    assert refusals(document(text), document(text)) == []


def test_storage_groups_and_who_uses_them_change_at_run_time() -> None:
    old, new = document("storage: {groups: {a: {bucket: x}, b: {bucket: y}}}"), document("storage: {groups: {a: {bucket: z}}}")
    assert refusals(old, new) == []
    assert diff(old, new) == ["storage.groups.a.bucket: x → z", "storage.groups.b.bucket: y → not set"]


def test_a_channel_keeps_its_number() -> None:
    (reason,) = refusals(document(OLD), document(OLD.replace("number: 2", "number: 5")))
    assert reason.startswith("channel yard: number cannot be changed (2 → 5)")


def test_secrets_that_are_written_out_are_refused_with_their_line_and_not_shown() -> None:
    text = """
channels:
  - id: gate
    number: 1
    main: {url: "rtsp://h/", user: u, password: hunter2}
    # password: hunter2
centres: [{id: c, url: "https://u:hunter2@h/", secret: {env: S, default: hunter2}}]
"""
    problems = literal_secrets(text)
    assert [problem.split(" ")[0] for problem in problems] == ["site.yml:5:", "site.yml:6:", "site.yml:7:"]
    assert "hunter2" not in "".join(problems)
    assert literal_secrets(OLD) == []
    with pytest.raises(ConfigInvalid):
        check_applicable("channels: [{id: a, number: 1, main: {url: 'rtsp://h/', password: hunter2}}]", None, name="s", base_dir=None)


def test_the_sample_can_be_applied() -> None:
    assert literal_secrets(sample()) == []


def test_every_secret_of_the_models_is_known_as_one() -> None:
    def secrets(model: type[BaseModel], seen: set[type]) -> set[str]:
        found: set[str] = set()
        for name, field in model.model_fields.items():
            if "SecretStr" in str(field.annotation) or field.annotation is SecretStr:
                found.add(name)
            for inner in models(field.annotation):
                if inner not in seen:
                    found |= {f"{name}.{deeper}" if deeper == "url" else deeper for deeper in secrets(inner, seen | {inner})}
        return found

    def models(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [model for inner in getattr(annotation, "__args__", ()) for model in models(inner)]

    assert secrets(SiteConfig, set()) <= SECRET_KEYS | {"database.url"}


def test_a_process_keeps_how_it_reaches_the_others() -> None:
    own = "bus: {kind: kafka, brokers: ['here:9092']}\ndata_dir: mine\ndevice: {id: north}\nconsole: {port: 1}\nchannels: []"
    applied = "bus: {kind: kafka, brokers: ['there:9092']}\nobjects: {kind: s3, endpoint: 'h:1'}\nsite: {name: New}\n" + OLD.replace(
        ", password: {env: GATE}", ""
    )
    applied += "console: {host: 192.0.2.1, port: 2, public_url: 'https://nvr.example'}\n"
    site = effective(own, applied, name="s", base_dir=None)
    assert site.bus.kind == "kafka"
    assert site.bus.brokers == ("here:9092",)
    assert (site.data_dir.name, site.device.id, site.objects.kind, site.site.name) == ("mine", "north", "local", "New")
    assert (site.console.host, site.console.port, site.console.public_url) == ("127.0.0.1", 1, "https://nvr.example")
    assert [channel.id for channel in site.channels] == ["gate", "yard"]
