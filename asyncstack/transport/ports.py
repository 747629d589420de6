"""Ports: which to take, the ephemeral ones (RFC 6056: an off-path attacker must not be able to guess the next one), and
who of several that share one is meant."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from hashlib import blake2b

from asyncstack.errors import os_error


def choose_ephemeral(rng: random.Random, ports: tuple[int, int], in_use: Callable[[int], bool]) -> int:
    """A free port of the inclusive range `ports`: a random start, then the next free one (RFC 6056 3.3.1).

    Raises OSError(EADDRNOTAVAIL) when every port is in use.
    """
    first, last = ports
    count = last - first + 1
    start = rng.randrange(count)
    for offset in range(count):
        port = first + (start + offset) % count
        if not in_use(port):
            return port
    raise os_error(errno.EADDRNOTAVAIL, f"all ephemeral ports {first} to {last} are in use")


def check_port(port: int) -> int:
    """`port` if it is one (0 means "any"). Raises OverflowError as the kernel's sockets do."""
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"port {port} is not in 0 to 65535")
    return port


def spread(secret: bytes, local: bytes, port: int, remote: bytes, remote_port: int) -> int:
    """A number that is the same for every packet of two ends, and that no peer who does not know `secret` can choose:
    by it those who share a port get their parts of the peers (SO_REUSEPORT)."""
    ends = b"%b%b%d %d" % (local, remote, port, remote_port)
    return int.from_bytes(blake2b(ends, digest_size=4, key=secret).digest(), "big")
