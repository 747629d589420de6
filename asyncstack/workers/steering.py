"""Which worker a received frame is for. Sans-I/O.

The kernel puts a frame into the queue that its flow was last answered from, else into the one that its hash says. For a
connection to a port that all workers serve that is one queue from the first SYN to the end. What it can not know:

- a connection that a worker opened itself is in another worker's queue once nothing was sent on it for some seconds.
  So each worker has ephemeral ports of its own, and whoever gets a packet to one of them passes it on.
- fragments have no ports. The first worker puts them together.
- requests of ARP, ICMP and ICMPv6, and everything else that is no flow, are the first worker's to answer; answers and
  errors are for whoever asked, or holds the connection, whom nobody else knows: all get them.
"""

from __future__ import annotations

from typing import Final

from asyncstack.wire import arp, ipv6

OWNER: Final = 0  # the worker that has what is no flow
EVERYBODY: Final = -1

_TCP, _UDP, _ICMP, _ICMPV6 = 6, 17, 1, 58
_WITH_PORTS: Final = (_TCP, _UDP)
_ICMP_REQUESTS: Final = (8, 13, 15, 17)  # echo, timestamp, information, address mask
_ICMPV6_REQUESTS: Final = (128, 130, 135, 139)  # echo, MLD, neighbour solicitation, node information
_ETHERNET_HEADER: Final = 14
_SYN, _ACK = 0x02, 0x10


class Steering:
    """For worker `index` of `count`. `shared`: ports that all of them serve, which may lie among the ephemeral ones.

    ethernet: frames begin with an Ethernet header. ephemeral: first and last port of the range to share out.
    """

    def __init__(
        self,
        index: int,
        count: int,
        *,
        ethernet: bool,
        shared: frozenset[int],
        ephemeral: tuple[int, int] = (32768, 60999),
    ) -> None:
        self.index = index
        self._count = count
        self._ip = _ETHERNET_HEADER if ethernet else 0
        self._shared = shared
        self._first, self._last = ephemeral
        self._each = (self._last - self._first + 1) // count

    def ephemeral_ports(self) -> tuple[int, int]:
        """The first and last ephemeral port of this worker."""
        first = self._first + self.index * self._each
        return first, first + self._each - 1

    def place(self, data: memoryview) -> int:
        """The index of the worker that frame `data` is for, or EVERYBODY. What is cut short is whoever's got it."""
        try:
            return self._place(data)
        except IndexError:
            return self.index

    def _place(self, data: memoryview) -> int:
        ip = self._ip
        if ip and data[12] == 0x08 and data[13] == 0x06:
            return OWNER if data[ip + 7] == arp.REQUEST else EVERYBODY
        version = data[ip] >> 4
        if version == 4:
            protocol = data[ip + 9]
            if data[ip + 6] & 0x3F or data[ip + 7]:  # MF, or an offset
                return OWNER
            if protocol in _WITH_PORTS and data[ip + 16] < 224:
                at = ip + (data[ip] & 0x0F) * 4 + 2
                port = data[at] << 8 | data[at + 1]
                return self.index if port < self._first else self.of_port(port)
            if protocol == _ICMP:
                return OWNER if data[ip + (data[ip] & 0x0F) * 4] in _ICMP_REQUESTS else EVERYBODY
            return OWNER
        if version == 6:
            protocol, at = data[ip + 6], ip + ipv6.HEADER_SIZE
            if protocol != _TCP:
                protocol, at = _skip_extensions(data, protocol, at)
            if protocol in _WITH_PORTS and data[ip + 24] != 0xFF:
                return self.of_port(data[at + 2] << 8 | data[at + 3])
            if protocol == _ICMPV6:
                return OWNER if data[at] in _ICMPV6_REQUESTS else EVERYBODY
            too_many = protocol in ipv6.EXTENSIONS and protocol != ipv6.FRAGMENT
            return self.index if too_many else OWNER
        return self.index

    def of_port(self, port: int) -> int:
        """The worker whose ephemeral port this is; ours, if it is nobody's: what is in our queue is ours."""
        slot = (port - self._first) // self._each
        return slot if 0 <= slot < self._count and port not in self._shared else self.index

    def is_syn(self, data: memoryview) -> bool:
        """Whether frame `data`, which is placed here, opens a TCP connection."""
        ip = self._ip
        try:
            if data[ip] >> 4 == 4:
                return data[ip + 9] == _TCP and data[ip + (data[ip] & 0x0F) * 4 + 13] & (_SYN | _ACK) == _SYN
            protocol, at = _skip_extensions(data, data[ip + 6], ip + ipv6.HEADER_SIZE)
            return protocol == _TCP and data[at + 13] & (_SYN | _ACK) == _SYN
        except IndexError:
            return False


def _skip_extensions(data: memoryview, protocol: int, at: int) -> tuple[int, int]:
    """What is behind the extension headers at `at`, and where; it ends at the header of a real fragment.

    Raises IndexError for what is cut short.
    """
    for _ in range(ipv6.MAX_EXTENSIONS):
        if protocol == ipv6.FRAGMENT:
            if data[at + 2] or data[at + 3] & 0xF9:  # an offset, or M; without them it is whole (RFC 6946)
                break
            protocol, at = data[at], at + ipv6.FRAGMENT_HEADER_SIZE
        elif protocol in ipv6.EXTENSIONS:
            protocol, at = data[at], at + ((data[at + 1] + 1) << 3)
        else:
            break
    return protocol, at
