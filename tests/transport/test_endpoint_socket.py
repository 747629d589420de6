"""What stands behind get_extra_info("socket"); on live connections see asyncio_contract/test_extra_info."""

import errno
import os
import socket
import struct
import sys
from typing import ClassVar

import pytest

from asyncstack.transport.endpoint_socket import EndpointSocket, socket_address
from asyncstack.transport.options import Option

OPTION = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
READ_ONLY = (socket.SOL_SOCKET, socket.SO_SNDLOWAT)
TEXT = (socket.IPPROTO_TCP, socket.TCP_CONGESTION)


class Holder(EndpointSocket):
    """Its options write down what they are set to."""

    table: ClassVar = {
        OPTION: Option(
            lambda holder: holder.values[-1] if holder.values else 7,
            lambda holder, value: holder.values.append(value),
        ),
        READ_ONLY: Option(lambda holder: 2),
        TEXT: Option(
            lambda holder: b"cubic".ljust(16, b"\0"), None, lambda holder, value: holder.values.append(value)
        ),
    }

    def __init__(self, *args):
        super().__init__(*args)
        self.values = []


@pytest.fixture
def sock():
    return Holder(socket.SOCK_STREAM, socket.IPPROTO_TCP, ("10.0.0.1", 80), ("10.0.0.2", 5000))


@pytest.fixture
def values(sock):
    return sock.values


def test_addresses_have_the_shape_of_their_family():
    assert socket_address(bytes([10, 0, 0, 1]), 80) == ("10.0.0.1", 80)
    assert socket_address(bytes(15) + b"\1", 80) == ("::1", 80, 0, 0)


def test_facts(sock):
    assert (sock.family, sock.type, sock.proto) == (
        socket.AF_INET,
        socket.SOCK_STREAM,
        socket.IPPROTO_TCP,
    )
    assert sock.getsockname() == ("10.0.0.1", 80)
    assert sock.getpeername() == ("10.0.0.2", 5000)
    assert sock.gettimeout() == 0.0
    assert not os.isatty(sock.fileno())
    sock.end()
    assert sock.fileno() == -1
    assert "10.0.0.1" in repr(sock)
    over_ipv6 = EndpointSocket(socket.SOCK_DGRAM, socket.IPPROTO_UDP, ("fe80::1%eth0", 80, 0, 3), None)
    assert over_ipv6.family == socket.AF_INET6
    with pytest.raises(OSError) as caught:
        over_ipv6.getpeername()
    assert caught.value.errno == errno.ENOTCONN


def test_reading_options(sock, values):
    assert sock.getsockopt(*OPTION) == 7
    assert sock.getsockopt(*OPTION, 4) == struct.pack("@i", 7)
    assert sock.getsockopt(*OPTION, 1) == b"\7"
    assert sock.getsockopt(*OPTION, 100) == struct.pack("@i", 7)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert values == []


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (True, 1), (-5, -5), (struct.pack("@i", 300), 300), (struct.pack("@i", -5), -5)],
)
def test_setting_options(sock, values, value, number):
    sock.setsockopt(*OPTION, value)
    assert values == [number]


def test_options_that_are_not_ours_or_read_only(sock):
    for call in (
        lambda: sock.getsockopt(socket.IPPROTO_TCP, 9999),
        lambda: sock.setsockopt(socket.IPPROTO_TCP, 9999, 1),
        lambda: sock.setsockopt(*READ_ONLY, 1),
    ):
        with pytest.raises(OSError, match="socket option") as caught:
            call()
        assert caught.value.errno == errno.ENOPROTOOPT
    assert sock.getsockopt(*READ_ONLY) == 2


def test_an_option_that_is_no_number(sock, values):
    assert sock.getsockopt(*TEXT, 16) == b"cubic" + bytes(11)
    assert sock.getsockopt(*TEXT, 3) == b"cub"
    assert sock.getsockopt(*TEXT) == int.from_bytes(b"cubi", sys.byteorder)
    sock.setsockopt(*TEXT, b"reno")
    sock.setsockopt(*TEXT, 5)
    sock.setsockopt(*TEXT, None, 3)
    assert values == [b"reno", struct.pack("@i", 5), bytes(3)]


def test_values_of_the_wrong_size(sock, values):
    for call in (lambda: sock.setsockopt(*OPTION, b"\1"), lambda: sock.getsockopt(*OPTION, 1025)):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EINVAL
    assert values == []
