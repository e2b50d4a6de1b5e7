from pathlib import Path

import pytest

from services.cli.demo.faults import (
    CloseConnections,
    FaultState,
    PacketLoss,
    Refuse,
    Resume,
    SenderClockOffset,
    Silence,
    SwitchSource,
    TimestampJump,
)

PACKET = bytes(range(200))


def test_lasting_faults_end_by_time_or_by_resume() -> None:
    state = FaultState()
    state.apply(Silence(2.0), now_ns=10)
    assert state.silent(2_000_000_009)
    assert not state.silent(2_000_000_010)
    state.apply(Refuse(), now_ns=10)
    state.apply(Silence(), now_ns=10)
    state.apply(SenderClockOffset(5.0), now_ns=10)
    assert state.refusing(10**18)
    assert state.silent(10**18)
    state.apply(Resume(), now_ns=20)
    assert not state.refusing(20)
    assert not state.silent(20)
    assert state.sender_clock_offset_ns == 0


def test_jumps_add_up_and_stay() -> None:
    state = FaultState()
    for fault in (TimestampJump(10), TimestampJump(-4), Resume(), CloseConnections(), SwitchSource(Path("b.mp4"))):
        state.apply(fault, now_ns=0)
    assert state.jump_ns == 6_000_000_000


def test_loss_follows_its_seed_and_shares() -> None:
    def spoilt(seed: int) -> list[bytes | None]:
        state = FaultState()
        state.apply(PacketLoss(drop_share=0.2, corrupt_share=0.1, seed=seed), now_ns=0)
        return [state.spoil(PACKET) for _ in range(2000)]

    first = spoilt(1)
    assert first == spoilt(1)
    assert first != spoilt(2)
    changed = [packet for packet in first if packet is not None and packet != PACKET]
    assert 0.17 < first.count(None) / 2000 < 0.23
    assert 0.07 < len(changed) / 2000 < 0.13
    assert all(packet[:12] == PACKET[:12] for packet in changed)  # the RTP header stays readable


def test_without_loss_packets_pass_untouched() -> None:
    assert FaultState().spoil(PACKET) is PACKET


def test_shares_are_checked() -> None:
    with pytest.raises(ValueError, match="shares"):
        PacketLoss(drop_share=1.5)
