"""IPv6 flow labels (RFC 6437): one for each flow, which routers may spread load by without looking for ports.

Labels are stateless: a keyed hash of the flow's ends, so that nobody can foretell them (RFC 6437 3 and 5) and every
packet of a flow has the same, also those that are sent without a connection.
"""

from __future__ import annotations

import random
from functools import cached_property
from hashlib import blake2b
from typing import Final

from asyncstack.network.routing import Path

MASK: Final = 0xFFFFF


class FlowLabels:
    """The labels of one stack. `rng` gives the secret when it is first needed. automatic: Linux's auto_flowlabels;
    without it only those flows have a label for which somebody has given one."""

    def __init__(self, rng: random.Random, *, automatic: bool = True) -> None:
        self.automatic = automatic
        self._rng = rng

    def of(self, path: Path, protocol: int, port: int, remote_port: int) -> int:
        """The label, 20 bits, of a flow along `path`; never 0, which says that there is none. remote_port 0: whoever
        sends to several ports of a host has one flow there."""
        made = self._keyed.copy()
        made.update(b"%b%d %d %d" % (path.addresses, protocol, port, remote_port))
        return int.from_bytes(made.digest(), "big") & MASK or 1

    def mark(self, path: Path, protocol: int, port: int, remote_port: int, label: int = 0) -> int:
        """What `Ipv6.send` is told with the traffic class for packets of one flow, with the `label` given or with its
        own; 0 on an IPv4 path."""
        if len(path.destination) == 4 or not (label or self.automatic):
            return 0
        return (label & MASK or self.of(path, protocol, port, remote_port)) << 8

    @cached_property
    def _keyed(self) -> blake2b:
        return blake2b(digest_size=3, key=self._rng.randbytes(32), person=b"flow label")
