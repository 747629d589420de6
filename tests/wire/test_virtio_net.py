import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncstack.errors import WireError
from asyncstack.wire import virtio_net

bytes_ = st.integers(0, 0xFF)
words = st.integers(0, 0xFFFF)


@given(bytes_, bytes_, words, words, words, words, st.binary(max_size=20))
def test_round_trip(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, frame):
    fields = (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)
    built = virtio_net.build(*fields)
    assert len(built) == virtio_net.HEADER_SIZE
    assert virtio_net.parse(memoryview(built + frame)) == fields


def test_the_layout_is_the_kernels():
    """struct virtio_net_hdr, in C's own types and the host's order."""
    built = virtio_net.build(virtio_net.F_NEEDS_CSUM, virtio_net.GSO_TCPV4, 54, 1448, 34, 16)
    assert built == struct.pack("@BBHHHH", 1, 1, 54, 1448, 34, 16)
    assert virtio_net.build(0, virtio_net.GSO_NONE, 0, 0, 0, 0) == virtio_net.PLAIN


def test_the_constants_are_the_kernels():
    """As linux/virtio_net.h defines them."""
    assert (virtio_net.F_NEEDS_CSUM, virtio_net.F_DATA_VALID) == (1, 2)
    assert (virtio_net.GSO_NONE, virtio_net.GSO_TCPV4, virtio_net.GSO_UDP) == (0, 1, 3)
    assert (virtio_net.GSO_TCPV6, virtio_net.GSO_UDP_L4, virtio_net.GSO_ECN) == (4, 5, 0x80)


@pytest.mark.parametrize("size", range(10))
def test_a_truncated_header_is_refused(size):
    with pytest.raises(WireError):
        virtio_net.parse(memoryview(bytes(size)))
