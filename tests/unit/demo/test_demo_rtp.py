import struct

from hypothesis import given
from hypothesis import strategies as st

from services.cli.demo.rtp import MAX_PACKET_BYTES, RTP_HEADER_BYTES, aac_payload, goodbye, ntp_timestamp, rtp_header, sender_report


def test_ntp_time_of_the_unix_epoch_and_of_half_a_second() -> None:
    assert ntp_timestamp(0) == 2_208_988_800 << 32
    assert ntp_timestamp(1_500_000_000) == (2_208_988_801 << 32) | 0x80000000


@given(st.integers(0, 2**62))
def test_ntp_time_is_exact_to_a_nanosecond(wall_ns: int) -> None:
    ntp = ntp_timestamp(wall_ns)
    fraction_ns = ((ntp & 0xFFFFFFFF) * 1_000_000_000 + (1 << 31)) >> 32
    assert fraction_ns == wall_ns % 1_000_000_000


def test_header_wraps_its_fields() -> None:
    header = rtp_header(marker=True, payload_type=96, sequence=0x1FFFF, timestamp=1 << 32 | 5, ssrc=7)
    assert struct.unpack(">BBHII", header) == (0x80, 0xE0, 0xFFFF, 5, 7)


def test_sender_report_is_a_compound_with_a_cname() -> None:
    packet = sender_report(ssrc=9, wall_ns=0, timestamp=1234, packets=3, octets=400)
    kind, words, ssrc, ntp, timestamp, packets, octets = struct.unpack(">xBHIQIII", packet[:28])
    assert (kind, words, ssrc, timestamp, packets, octets) == (200, 6, 9, 1234, 3, 400)
    assert ntp >> 32 == 2_208_988_800
    assert packet[29] == 202
    assert len(packet) == 28 + 4 + 4 * int.from_bytes(packet[30:32], "big")


def test_goodbye_ends_with_bye() -> None:
    assert goodbye(9)[-8:] == struct.pack(">BBHI", 0x81, 203, 1, 9)


@given(st.binary(min_size=1, max_size=4000))
def test_aac_units_come_back_from_their_payloads(unit: bytes) -> None:
    payloads = aac_payload(unit)
    assert b"".join(payload.data[4:] for payload in payloads) == unit
    assert [payload.marker for payload in payloads] == [False] * (len(payloads) - 1) + [True]
    for payload in payloads:
        assert payload.data[:2] == b"\x00\x10"
        assert int.from_bytes(payload.data[2:4], "big") >> 3 == len(unit)
        assert len(payload.data) + RTP_HEADER_BYTES <= MAX_PACKET_BYTES
