import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import ntp
from asyncstack.wire.ntp import Packet

u64 = st.integers(0, (1 << 64) - 1)
eights = st.integers(-128, 127)
fixed = st.integers(0, (1 << 31) - 1).map(lambda value: value / 65536)
packets = st.builds(
    Packet,
    st.integers(0, 7),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(0, 255),
    eights,
    eights,
    st.integers(-(1 << 31), (1 << 31) - 1).map(lambda value: value / 65536),
    fixed,
    st.binary(min_size=4, max_size=4),
    *[u64] * 4,
)

YEAR = 365.2425 * 86400
ERA_1 = 2085978496  # 2036-02-07 06:28:16, when timestamps begin again


@given(packets)
def test_round_trip_and_dpkt(packet):
    data = ntp.build(packet)
    assert ntp.parse(memoryview(data)) == packet
    read = dpkt.ntp.NTP(data)
    assert (read.li, read.v, read.mode, read.stratum) == (
        packet.leap,
        packet.version,
        packet.mode,
        packet.stratum,
    )
    assert (read.id, int.from_bytes(read.originate_time, "big")) == (packet.reference_id, packet.origin)
    assert int.from_bytes(read.transmit_time, "big") == packet.transmitted
    assert bytes(read) == data


@pytest.mark.parametrize("data", [bytes(48), b"\x2b" + bytes(47), b"\x23" + bytes(46), b""])
def test_other_versions_and_less_are_refused(data):
    with pytest.raises(WireError):
        ntp.parse(data)


@pytest.mark.parametrize(
    "unix", [0.0, 1.5, 1_700_000_000.25, ERA_1 - 0.5, float(ERA_1), ERA_1 + 0.5, ERA_1 + 30 * YEAR]
)
@pytest.mark.parametrize("off", [-60 * YEAR, -3600.0, 0.0, 3600.0, 60 * YEAR])
def test_a_timestamp_is_of_the_era_that_the_clock_is_in(unix, off):
    """Also with a clock that is wrong by decades, around 2036."""
    assert ntp.to_unix(ntp.from_unix(unix), unix + off) == pytest.approx(unix, abs=1e-5)


def test_known_times():
    assert ntp.from_unix(0.0) == 2208988800 << 32
    assert ntp.from_unix(0.5) == 2208988800 << 32 | 1 << 31
    assert ntp.from_unix(float(ERA_1)) == 0
