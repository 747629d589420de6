"""SipHash-2-4 against the authors' test vector, and against a Fast Open cookie that Linux makes."""

import socket
import struct

import pytest

from asyncstack.transport.tcp.siphash import siphash


def test_vector_of_the_paper_appendix_a():
    assert siphash(bytes(range(16)), bytes(range(15))) == struct.pack("<Q", 0xA129CA6149BE45E5)


def test_cookie_that_linux_makes_of_the_same_key():
    """net.ipv4.tcp_fastopen_key=a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4, client 192.0.2.1, server 192.168.0.1."""
    key = struct.pack("<4I", 0xA1A1A1A1, 0xB2B2B2B2, 0xC3C3C3C3, 0xD4D4D4D4)
    addresses = socket.inet_aton("192.0.2.1") + socket.inet_aton("192.168.0.1")
    assert siphash(key, addresses) == bytes.fromhex("3021b9d889017eeb")


@pytest.mark.parametrize("size", range(17))
def test_every_length_hashes_to_something_else(size):
    key = bytes(16)
    assert siphash(key, bytes(size)) != siphash(key, bytes(size + 1))
