import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire.dhcp import REPLY, REQUEST, Message, Type, build, parse

addresses = st.binary(min_size=4, max_size=4)
codes = st.integers(1, 254).filter(lambda code: code not in (52, 53))
options = st.dictionaries(codes, st.binary(max_size=40), max_size=6)
types = st.sampled_from(Type).map(lambda one: {53: bytes([one])})
text = st.binary(max_size=60).map(lambda value: value.replace(b"\0", b"."))
messages = st.builds(
    Message,
    st.sampled_from((REQUEST, REPLY)),
    addresses,
    st.binary(max_size=16),
    st.builds(lambda one, others: one | others, types, options),
    addresses,
    addresses,
    addresses,
    addresses,
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 255),
    st.integers(0, 255),
    text,
    text,
)


def number(address):
    return int.from_bytes(address, "big")


@given(messages)
def test_ours_is_read_by_dpkt(message):
    built = build(message, 1500)
    assert len(built) >= 300
    read = dpkt.dhcp.DHCP(built)
    assert (read.op, read.hrd, read.hln, read.hops) == (
        message.op,
        message.hardware,
        len(message.chaddr),
        message.hops,
    )
    assert (read.xid, read.secs, read.flags) == (
        number(message.xid),
        message.secs,
        0x8000 * message.broadcast,
    )
    for name in ("ciaddr", "yiaddr", "siaddr", "giaddr"):
        assert getattr(read, name) == number(getattr(message, name))
    assert read.chaddr == message.chaddr
    assert (read.sname.rstrip(b"\0"), read.file.rstrip(b"\0")) == (message.sname, message.file)
    assert dict(read.opts) == message.options


@given(messages)
def test_dpkt_is_read_by_ours(message):
    built = dpkt.dhcp.DHCP(
        op=message.op,
        hrd=message.hardware,
        hln=len(message.chaddr),
        hops=message.hops,
        xid=number(message.xid),
        secs=message.secs,
        flags=0x8000 * message.broadcast,
        ciaddr=number(message.ciaddr),
        yiaddr=number(message.yiaddr),
        siaddr=number(message.siaddr),
        giaddr=number(message.giaddr),
        chaddr=message.chaddr.ljust(16, b"\0"),
        sname=message.sname,
        file=message.file,
        opts=list(message.options.items()),
    )
    assert parse(memoryview(bytes(built))) == message


@given(st.dictionaries(codes, st.binary(max_size=300), max_size=5), st.integers(576, 1500))
def test_what_fits_is_read_back_wherever_it_was_put(others, limit):
    message = Message(REPLY, b"abcd", b"\2\0\0\0\0\1", {53: b"\5"} | others)
    try:
        built = build(message, limit)
    except WireError:
        # 192 bytes in `file` and `sname`, of which small values that do not fit leave less than 125 unused each
        assert sum(len(value) + 4 for value in others.values()) > limit - 28 - 240 - 3 * 125
        return
    assert len(built) <= max(limit - 28, 300)
    assert parse(memoryview(built)) == message


def test_the_type_comes_first_and_the_relay_agents_option_last():
    built = build(Message(REPLY, b"abcd", b"\2\0\0\0\0\1", {82: b"\1\1a", 1: b"\xff" * 4, 53: b"\2"}))
    assert built[240:].rstrip(b"\0") == bytes.fromhex("350102 0104ffffffff 5203010161 ff")


def test_options_move_into_file_and_sname():
    message = Message(
        REPLY, b"abcd", b"\2\0\0\0\0\1", {53: b"\5", 43: b"v" * 250, 15: b"d" * 100, 12: b"h" * 50}
    )
    built = build(message)
    assert built[240:246] == b"\x35\1\5\x34\1\3"
    assert built[108:110] == b"\x0f\x64" and built[44:46] == b"\x0c\x32"
    assert parse(memoryview(built)) == message


def test_a_name_in_file_stays_there_and_options_go_into_sname():
    options = {53: b"\5", 43: b"v" * 310}
    message = Message(REPLY, b"abcd", b"\2\0\0\0\0\1", options, file=b"boot")
    assert build(message)[243:246] == b"\x34\1\2"
    assert parse(memoryview(build(message))) == message


def test_parts_of_an_option_are_joined_in_order():
    built = bytearray(build(Message(REPLY, b"abcd", b"\2\0\0\0\0\1", {53: b"\5"})))
    built[240:260] = bytes.fromhex("350105 7901aa 0c0178 7902bbcc 7900 ff 000000")
    assert parse(memoryview(built)).options == {53: b"\5", 121: b"\xaa\xbb\xcc", 12: b"x"}


VALID = build(Message(REQUEST, b"abcd", b"\2\0\0\0\0\1", {53: b"\1", 61: b"\1" + b"m" * 60}))


@pytest.mark.parametrize("size", [0, 1, 236, 239, 241, 242, 244, 250, 305])
def test_a_truncated_message_is_refused(size):
    with pytest.raises(WireError):
        parse(memoryview(VALID)[:size])


def test_a_missing_end_is_forgiven():
    assert VALID[-1] == 0xFF
    assert parse(memoryview(VALID)[:-1]) == parse(memoryview(VALID))


@pytest.mark.parametrize(("at", "value"), [(0, 0), (0, 3), (2, 17), (236, 0), (239, 1)])
def test_what_is_no_dhcp_is_refused(at, value):
    changed = bytearray(VALID)
    changed[at] = value
    with pytest.raises(WireError):
        parse(memoryview(changed))


@pytest.mark.parametrize("options", [{0: b""}, {255: b"x"}, {52: b"\1"}, {43: bytes(600)}])
def test_what_can_not_be_built_is_refused(options):
    with pytest.raises(WireError):
        build(Message(REQUEST, b"abcd", b"\2\0\0\0\0\1", options))


@pytest.mark.parametrize("value", [b"", b"\0", b"\x09", b"\1\1"])
def test_an_unknown_type_is_none(value):
    assert Message(REQUEST, b"abcd", b"", {53: value}).type is None


def test_the_types_are_those_of_dpkt():
    assert [int(one) for one in Type] == [getattr(dpkt.dhcp, f"DHCP{one.name}") for one in Type]
