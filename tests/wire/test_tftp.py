import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import tftp
from asyncstack.wire.tftp import Ack, Data, Error, OptionAck, Request

u16 = st.integers(0, 0xFFFF)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
lower = st.from_regex(r"[a-z]{1,10}", fullmatch=True)
options = st.dictionaries(lower, text, max_size=4)
packets = st.one_of(
    st.builds(Request, st.sampled_from((tftp.READ, tftp.WRITE)), text, lower, options),
    st.builds(Data, u16, st.binary(max_size=600)),
    st.builds(Ack, u16),
    st.builds(Error, u16, text),
    st.builds(OptionAck, options),
)


@given(packets)
def test_round_trip(packet):
    assert tftp.parse(memoryview(tftp.build(packet))) == packet


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (Request(tftp.READ, "a/b", "netascii"), b"\0\1a/b\0netascii\0"),
        (Request(tftp.WRITE, "x", options={"tsize": "9"}), b"\0\2x\0octet\0tsize\x009\0"),
        (Data(258, b"hi"), b"\0\3\1\2hi"),
        (Ack(258), b"\0\4\1\2"),
        (Error(1, "no"), b"\0\5\0\1no\0"),
        (OptionAck({"blksize": "8"}), b"\0\6blksize\x008\0"),
    ],
)
def test_the_layout(packet, expected):
    assert tftp.build(packet) == expected


def test_dpkt_reads_it():
    read = dpkt.tftp.TFTP(tftp.build(Request(tftp.READ, "boot.img")))
    assert (read.opcode, read.filename, read.mode) == (1, b"boot.img", b"octet")
    read = dpkt.tftp.TFTP(tftp.build(Data(7, b"data")))
    assert (read.opcode, read.block, read.data) == (3, 7, b"data")
    read = dpkt.tftp.TFTP(tftp.build(Error(1, "no")))
    assert (read.opcode, read.errcode, read.errmsg) == (5, 1, b"no")


def test_names_of_options_and_modes_in_any_case():
    assert tftp.parse(b"\0\1x\0OcTet\0BLKSIZE\x0099\0blksize\x008\0") == Request(
        tftp.READ, "x", "octet", {"blksize": "99"}
    )


def test_a_name_that_is_no_utf_8_comes_back_as_it_was():
    data = b"\0\1\xff\xfe\0octet\0"
    assert tftp.build(tftp.parse(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0", b"\0\1", b"\0\1x", b"\0\1x\0", b"\0\1x\0octet", b"\0\1x\0octet\0blksize\0",
        b"\0\1" + b"x" * 511 + b"\0octet\0", b"\1\1x\0octet\0",
        b"\0\3\0", b"\0\4\0", b"\0\4\0\0\0", b"\0\5\0", b"\0\6x\0", b"\0\7",
    ],
)  # fmt: skip
def test_what_is_no_packet_is_refused(data):
    with pytest.raises(WireError):
        tftp.parse(data)


def test_a_zero_can_not_be_said():
    with pytest.raises(ValueError, match="zero"):
        tftp.build(Request(tftp.READ, "a\0b"))
