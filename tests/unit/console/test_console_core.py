"""Throttle, sessions, outbox, and what the console tells pages: pure, on given times."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic import ValidationError

from services.console.core.clients import Clients
from services.console.core.outbox import LivePicture, Outbox, pack_picture
from services.console.core.sessions import SessionStore
from services.console.core.throttle import Pace, PacePolicy, Throttle, ThrottlePolicy
from services.console.models import ChannelStatusAnswer, site_answer
from services.console.state import LiveState
from shared.domain.clock import NS_PER_S
from shared.messages import ChannelState
from tests.unit.console import stand

POLICY = ThrottlePolicy(free_tries=3, first_delay_s=4, max_delay_s=20, forget_after_s=100, max_keys=8)


def test_wrong_tries_lock_for_longer_and_longer_up_to_the_limit() -> None:
    throttle, now_ns, waits = Throttle(POLICY), 0, []
    for _ in range(7):
        throttle.charge("a", now_ns)
        waits.append(throttle.wait_s("a", now_ns))
        now_ns += round(throttle.wait_s("a", now_ns) * NS_PER_S)
    assert waits == [0, 0, 0, 4, 8, 16, 20]
    assert throttle.wait_s("b", now_ns) == 0


def test_a_right_try_and_a_long_silence_both_start_anew() -> None:
    throttle = Throttle(POLICY)
    for _ in range(3):
        throttle.charge("a", 0)
        throttle.charge("b", 0)
    throttle.forgive("a")
    assert not throttle.charge("a", 0)
    assert not throttle.charge("b", 101 * NS_PER_S)


def test_the_table_of_wrong_tries_is_bounded() -> None:
    throttle = Throttle(POLICY)
    for number in range(1000):
        throttle.charge(str(number), 0)
    assert len(throttle) == POLICY.max_keys


def test_addresses_of_one_ipv6_network_and_mapped_ones_count_together() -> None:
    clients = Clients([])

    def key(address: str) -> str:
        return clients.of(address, forwarded=False).address

    assert key("2001:db8:1:2::1") == key("2001:db8:1:2:ffff::9%eth0")
    assert key("::ffff:10.0.0.7") == key("10.0.0.7")
    assert key("2001:db8:1:3::1") != key("2001:db8:1:2::1")


def test_an_address_is_shared_where_it_may_be_a_proxys() -> None:
    open_, proxied = Clients([]), Clients(["10.0.0.5", "fd00::/8"])
    assert open_.of("127.0.0.1", forwarded=False).shared, "a proxy on this machine looks like this"
    assert open_.of("::ffff:127.0.0.1", forwarded=False).shared
    assert open_.of("", forwarded=False).shared
    assert not open_.of("10.0.0.5", forwarded=False).shared
    assert open_.of("10.0.0.5", forwarded=True).shared, "a proxy that is not named"
    assert proxied.of("10.0.0.5", forwarded=False).shared, "the proxy itself: it named nobody"
    assert proxied.of("fd00::7", forwarded=True).shared
    assert not proxied.of("192.0.2.9", forwarded=True).shared, "the visitor that the proxy named, or one who only claims to be a proxy"


@pytest.mark.parametrize("proxy", ["nginx", "10.0.0.1/24", "*", ""])
def test_a_proxy_is_named_by_its_address(proxy: str) -> None:
    with pytest.raises(ValidationError, match="an address such as"):
        stand.site_of(trusted_proxies=[proxy])


PACE = PacePolicy(free_tries=3, first_step_s=1, max_step_s=4, patience_s=10, forget_after_s=100)


def test_wrong_tries_are_set_apart_and_none_is_ever_locked() -> None:
    pace, now_ns, waits = Pace(PACE), 0, []
    for _ in range(8):
        wait_s = pace.admit("a", now_ns)
        assert wait_s is not None
        waits.append(wait_s)
        now_ns += round(wait_s * NS_PER_S)
    assert waits == [0, 0, 0, 0, 1, 2, 4, 4]
    assert pace.admit("b", now_ns) == 0
    pace.forgive("a")
    assert pace.admit("a", now_ns) == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=80))
def test_however_tries_come_they_are_looked_at_one_step_apart(gaps_s: list[float]) -> None:
    pace, now_ns, looked_at = Pace(PACE), 0, []
    for gap_s in gaps_s:
        now_ns += round(gap_s * NS_PER_S)
        wait_s = pace.admit("a", now_ns)
        if wait_s is not None:
            assert wait_s <= PACE.patience_s
            looked_at.append(now_ns + round(wait_s * NS_PER_S))
    slow = looked_at[PACE.free_tries + 2 :]
    assert all(later - earlier >= 4 * NS_PER_S - 2 for earlier, later in itertools.pairwise(slow))


class Sessions(RuleBasedStateMachine):
    """The store against a plain list of who is open until when."""

    def __init__(self) -> None:
        super().__init__()
        self.store = SessionStore(100, max_sessions=3)
        self.model: dict[str, int] = {}
        self.now = 0
        self.made = 0

    @rule()
    def open(self) -> None:
        self.made += 1
        self.store.open(f"t{self.made}", "admin", self.now)
        self.model = {token: end for token, end in self.model.items() if end > self.now}
        self.model[f"t{self.made}"] = self.now + 100
        while len(self.model) > 3:
            del self.model[next(iter(self.model))]

    @rule(number=st.integers(1, 8))
    def close(self, number: int) -> None:
        session = self.store.find(f"t{number}", self.now)
        if session is not None:
            self.store.close(session.id)
        self.model.pop(f"t{number}", None)

    @rule(by=st.integers(1, 60))
    def wait(self, by: int) -> None:
        self.now += by

    @invariant()
    def same(self) -> None:
        for number in range(1, self.made + 1):
            token = f"t{number}"
            assert (self.store.find(token, self.now) is not None) == (self.model.get(token, 0) > self.now)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def picture(channel: str, sequence: int) -> LivePicture:
    return LivePicture(channel, sequence * NS_PER_S, sequence, pack_picture(channel, sequence * NS_PER_S, sequence, b"jpeg"))


def test_the_newest_picture_of_a_channel_wins() -> None:
    outbox = Outbox()
    outbox.subscribe({"a": 10, "b": 10}, None)
    for sequence in range(5):
        outbox.put_picture(picture("a", sequence), sequence * NS_PER_S)
    outbox.put_picture(picture("b", 0), 5 * NS_PER_S)
    assert [item.sequence for item in (outbox.take(), outbox.take()) if isinstance(item, LivePicture)] == [4, 0]
    assert outbox.take() is None
    assert outbox.dropped_pictures == 4


def test_pictures_keep_to_the_asked_rate_and_to_the_credit() -> None:
    outbox = Outbox()
    outbox.subscribe({"a": 2}, 2)
    step_ns = NS_PER_S // 10
    taken = sum(outbox.put_picture(picture("a", at), at * step_ns) and outbox.take() is not None for at in range(30))
    assert taken == 2, "no credit is left after two"
    outbox.drawn(1)
    assert isinstance(outbox.take(), LivePicture)
    assert outbox.take() is None


def test_who_asks_again_and_again_has_no_more_pictures_under_way() -> None:
    """A page that is scrolled asks anew for what it shows, while the pictures before are still on a slow line."""
    outbox, taken = Outbox(), 0
    for at in range(20):
        outbox.subscribe({"a" if at % 2 else "b": 10}, 2)
        outbox.put_picture(picture("a" if at % 2 else "b", at), at * NS_PER_S)
        taken += outbox.take() is not None
    assert taken == 2
    outbox.drawn(1)
    assert isinstance(outbox.take(), LivePicture)
    outbox.drawn(5)  # of more than there were
    assert [outbox.put_picture(picture("a", at), at * NS_PER_S) and outbox.take() is not None for at in (30, 40, 50)] == [True, True, False]


def test_what_was_lost_is_told_once_and_costs_no_notice() -> None:
    outbox = Outbox(max_states=1, max_notices=2)
    for number in range(5):
        outbox.put_lost("lost")
        outbox.put_notice(f"n{number}")
    assert [outbox.take() for _ in range(4)] == ["lost", "n3", "n4", None]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers()), max_size=60))
def test_states_are_bounded_and_the_newest_of_each_key_is_kept(puts: list[tuple[str, int]]) -> None:
    outbox = Outbox(max_states=4)
    for key, value in puts:
        outbox.put_state(key, f"{key}{value}")
    taken = []
    while (item := outbox.take()) is not None:
        taken.append(item)
    newest: dict[str, str] = {}
    for key, value in puts:
        newest.pop(key, None)
        newest[key] = f"{key}{value}"
    assert taken == list(newest.values())[-4:]
    assert (outbox.dropped_states > 0) or len(newest) <= 4


def test_the_site_is_told_without_addresses_and_secrets() -> None:
    text = site_answer(stand.site_of(), "admin").model_dump_json()
    for secret in (stand.CAMERA_PASSWORD, "10.77.0", "secret-path", "viewer", "whsec", "centre.example", "abcdef"):
        assert secret not in text
    gate = site_answer(stand.site_of(), "admin").channels[0]
    assert [rule.direction for rule in gate.rules] == ["a_to_b", "a_to_b"]
    assert gate.rules[0].line == ((0.62, 0.05), (0.62, 0.98))


def test_secrets_that_slip_into_a_message_are_masked() -> None:
    state = LiveState(stand.site_of())
    reason = f"rtsp://viewer:{stand.CAMERA_PASSWORD}@10.77.0.1/ refused {stand.CAMERA_PASSWORD}"
    text = state.take(stand.status("gate", 1, 0, ChannelState.OFFLINE, reason=reason))
    assert text is not None
    assert stand.CAMERA_PASSWORD not in text.json
    assert stand.CAMERA_PASSWORD not in state.statuses()[0].reason


def test_messages_about_channels_of_another_site_are_ignored() -> None:
    state = LiveState(stand.site_of())
    assert state.take(stand.status("elsewhere", 9, 0)) is None
    assert [status.state for status in state.statuses()] == ["waiting"] * 4


def _of_gate(state: LiveState) -> ChannelStatusAnswer:
    return next(status for status in state.statuses() if status.channel == "gate")


def test_a_channel_is_its_main_stream_and_says_what_ails_the_sub_stream() -> None:
    state = LiveState(stand.site_of())
    sub: dict[str, Any] = {"stream": "sub", "width": 640, "height": 360, "fps": 12.0, "lost_segments": 2}
    state.take(stand.status("gate", 1, 1, **sub))
    assert _of_gate(state).state == "waiting"
    state.take(stand.status("gate", 1, 2, lost_segments=1))
    state.take(stand.status("gate", 1, 3, **sub))
    status = _of_gate(state)
    assert (status.width, status.fps, status.state, status.reason, status.lost_segments) == (1920, 25.0, "online", "", 3)
    told = state.take(stand.status("gate", 1, 4, ChannelState.OFFLINE, reason="no answer", **sub))
    assert told is not None
    assert told.key == "status/gate"
    assert (_of_gate(state).state, _of_gate(state).reason) == ("online", "sub stream: no answer")
    state.take(stand.status("gate", 1, 5, ChannelState.OFFLINE, reason="unplugged"))
    assert (_of_gate(state).state, _of_gate(state).reason) == ("offline", "unplugged")


def test_analysis_is_late_by_what_its_boxes_are_behind_the_pictures() -> None:
    state = LiveState(stand.site_of())
    state.take(stand.status("gate", 1, 1))
    for second in range(6):
        state.frame(stand.frame("gate", 1, second, (100 + second) * NS_PER_S))
    assert _of_gate(state).analysis_late_s == 5.0
    state.take(stand.boxes("gate", 1, 4, 104 * NS_PER_S))
    assert _of_gate(state).analysis_late_s == 1.0
    state.take(stand.status("attic", 4, 1))
    state.frame(stand.frame("attic", 4, 0, NS_PER_S))
    state.frame(stand.frame("attic", 4, 9, 9 * NS_PER_S))
    assert state.statuses()[3].analysis_late_s == 0.0, "attic is not analysed"
