"""ICMPv6: answers echoes, sends and understands errors, passes neighbour discovery on (RFC 4443)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from asyncstack.errors import WireError
from asyncstack.network.addresses import ANY_IPV6, is_link_local, is_loopback, is_multicast
from asyncstack.network.errors import ICMPV6_MESSAGE, IcmpError, Unreachable, icmpv6_meaning
from asyncstack.network.pmtu import MINIMUM_IPV6
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.wire import icmpv6, ipv6
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.network.ipv6 import Ipv6
    from asyncstack.network.routing import Path

ERRORS_PER_SECOND: Final = 1000.0
ERROR_BURST: Final = 50
ANSWERS_KEPT: Final = 64

_QUOTE_LIMIT: Final = 1280 - 40 - 8  # RFC 4443 2.4 (c): the whole error fits the smallest MTU
_LISTENERS: Final = frozenset(
    (icmpv6.LISTENER_QUERY, icmpv6.LISTENER_REPORT, icmpv6.LISTENER_DONE, icmpv6.LISTENER_REPORT_2)
)
_TOLD_OF_GROUPS: Final = (Unreachable.TOO_BIG, Unreachable.OPTION)  # RFC 4443 2.4 (e.3)


class NeighborDiscovery(Protocol):
    """What takes the messages 133 to 137."""

    def receive(self, packet: Packet, message: icmpv6.Message) -> None:
        """Process a message whose checksum is right."""


class ListenerDiscovery(Protocol):
    """What takes the messages of MLD."""

    def receive_mld(self, packet: Packet, message: icmpv6.Message) -> None:
        """Process a message whose checksum is right."""


class Icmpv6:
    """The ICMPv6 of one stack; registers itself with `ip`, which then can send errors.

    `ndp` takes neighbour discovery; without it those messages are ignored. `on_echo_reply(packet, ident,
    sequence, payload)` and `on_echo_error(error, ident, sequence)` belong to ping.
    """

    def __init__(self, ip: Ipv6, *, errors_per_second: float = ERRORS_PER_SECOND) -> None:
        self.on_echo_reply: Callable[[Packet, int, int, bytes], None] | None = None
        self.on_echo_error: Callable[[IcmpError, int, int], bool] | None = None
        self.ndp: NeighborDiscovery | None = None
        self.mld: ListenerDiscovery | None = None
        # (destination, ident and sequence) of the last echo replies that a router may find too large
        self._large_answers: dict[tuple[bytes, int], None] = {}
        self._ip = ip
        self._counters = ip.counters
        self._bucket = TokenBucket(errors_per_second, ERROR_BURST, ip.rng)
        ip.icmp = self
        ip.register(icmpv6.PROTOCOL, self, self._wants)

    # receive

    async def receive(self, packet: Packet) -> None:
        """An ICMPv6 message to one of our addresses or groups."""
        try:
            message = icmpv6.parse(packet.payload, packet.src, packet.dst, packet.checksum_valid)
        except WireError:
            self._counters["icmpv6.malformed"] += 1
            return
        kind = message.type
        if kind in icmpv6.DISCOVERY:
            if ipv6.has_fragment_header(
                packet
            ):  # RFC 6980 5; of those that cut something nothing has come here
                self._counters["ipv6.fragmented_discovery"] += 1
            elif self.ndp is not None:
                self.ndp.receive(packet, message)
        elif kind in _LISTENERS:
            if self.mld is not None:
                self.mld.receive_mld(packet, message)
        elif packet.src == ANY_IPV6:
            self._counters["icmpv6.no_source"] += 1  # nobody to answer
        elif kind == icmpv6.ECHO_REQUEST:
            self._answer(packet, message)
        elif not (self._ip.addresses.is_local(packet.dst) or self._wants(packet)):
            self._counters["icmpv6.to_group"] += 1
        elif kind == icmpv6.ECHO_REPLY:
            if self.on_echo_reply is not None:
                self.on_echo_reply(packet, message.ident, message.sequence, bytes(message.body))
        elif message.is_error:
            self._receive_report(packet, message)
        else:
            self._counters["icmpv6.ignored"] += 1

    def _answer(self, packet: Packet, request: icmpv6.Message) -> None:
        self._counters["icmpv6.echo_replies"] += 1
        rest = request.rest
        if len(packet.raw) > MINIMUM_IPV6:
            answers = self._large_answers
            if len(answers) >= ANSWERS_KEPT:
                del answers[next(iter(answers))]
            answers[packet.src, rest] = None
        self._reply(packet, icmpv6.ECHO_REPLY, 0, rest, bytes(request.body), packet.tos)

    def _receive_report(self, packet: Packet, message: icmpv6.Message) -> None:
        quoted = _parse_quoted(memoryview(message.body))
        if quoted is None or not (quoted.src == packet.dst or self._ip.addresses.is_local(quoted.src)):
            self._counters["icmpv6.error_not_ours"] += 1
            return
        kind, errno, hard = icmpv6_meaning(message.type, message.code)
        mtu = 0
        if kind is Unreachable.TOO_BIG:
            mtu = message.mtu
            if not MINIMUM_IPV6 <= mtu < 40 + int.from_bytes(message.body[4:6], "big"):  # RFC 8201 4
                self._counters["icmpv6.implausible_mtu"] += 1
                return
        quoted.interface = packet.interface
        error = IcmpError(
            kind, errno, hard, mtu, packet.src, quoted, packet.interface, message.type, message.code
        )
        if self._ip.deliver_error(error) and mtu:
            self._ip.path_mtu_reported(quoted.dst, mtu)

    def _wants(self, packet: Packet) -> bool:
        """Whether a message to another host is an error about what we sent in its place."""
        data = packet.payload
        if packet.fragment_offset or len(data) < 8 or data[0] >= icmpv6.ECHO_REQUEST:
            return False
        quoted = _parse_quoted(data[8:])
        return quoted is not None and quoted.src == packet.dst and self._ip.wants_answer(quoted)

    def receive_error(self, error: IcmpError) -> bool:
        """An error about an ICMPv6 message of ours: of interest if that was an echo request, or a reply too large for
        the path, which nobody but us can cut."""
        data = error.quoted.payload
        if len(data) >= 8 and data[0] == icmpv6.ECHO_REPLY and error.mtu:
            return (error.quoted.dst, int.from_bytes(data[4:8], "big")) in self._large_answers
        if len(data) < 8 or data[0] != icmpv6.ECHO_REQUEST or self.on_echo_error is None:
            return False
        ident, sequence = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        return self.on_echo_error(error, ident, sequence)

    # send

    def send_echo(self, path: Path, ident: int, sequence: int, payload: bytes, *, ttl: int = 0) -> bool:
        """Send an echo request. False: no room, it is lost. Raises OSError EMSGSIZE above 65,527 bytes."""
        message = icmpv6.build_echo(path.source, path.destination, ident, sequence, payload)
        return self._ip.send(path, icmpv6.PROTOCOL, [message], ttl=ttl, dont_fragment=False)

    def send_error(self, packet: Packet, kind: Unreachable, *, mtu: int = 0, pointer: int = 0) -> None:
        """Quote `packet` back to its sender, if that is allowed (RFC 4443 2.4) and not too often.

        `pointer`: for PROTOCOL and PARAMETER, the offset of the field at fault.
        """
        if not self._may_complain(packet, kind):
            self._counters["icmpv6.error_suppressed"] += 1
            return
        if not self._bucket.take(self._ip.clock()):
            self._counters["icmpv6.error_rate_limited"] += 1
            return
        message_type, code = ICMPV6_MESSAGE[kind]
        self._counters["icmpv6.errors_sent"] += 1
        self._reply(packet, message_type, code, mtu or pointer, bytes(packet.raw[:_QUOTE_LIMIT]), 0)

    def _may_complain(self, packet: Packet, kind: Unreachable) -> bool:
        src = packet.src
        if not any(src) or is_multicast(src):
            return False
        if is_multicast(packet.dst) and kind not in _TOLD_OF_GROUPS:
            return False
        if is_loopback(src) and packet.interface is not self._ip.routes.loopback:
            return False
        protocol, payload = ipv6.transport_of(packet)
        if protocol != icmpv6.PROTOCOL:
            return True
        if packet.fragment_offset or not payload:
            return False  # it may be an error
        return payload[0] >= 128 and payload[0] != icmpv6.REDIRECT

    def _reply(self, packet: Packet, kind: int, code: int, rest: int, body: bytes, tos: int) -> None:
        """Send a message where `packet` came from, from the address it was sent to; if that was a group, from one of
        the link that it came from (RFC 4443 4.2)."""
        source = packet.dst if self._ip.addresses.is_local(packet.dst) else b""
        # a link-local address means something only on the link that it came from
        of_link = is_link_local(packet.src) or is_multicast(packet.dst)
        interface = packet.interface if of_link else None
        try:
            path = self._ip.routes.lookup(packet.src, source, interface)
            message = icmpv6.build(path.source, path.destination, kind, code, rest, body)
            sent = self._ip.send(path, icmpv6.PROTOCOL, [message], tos=tos, dont_fragment=False)
        except OSError:
            sent = False
        if not sent:
            self._counters["icmpv6.reply_dropped"] += 1


def _parse_quoted(data: memoryview) -> Packet | None:
    """The head of a packet that an error quotes; None unless 8 bytes of the transport header are there.

    What we send has no extension headers but a fragment's, so no others are looked through.
    """
    if len(data) < 48 or data[0] >> 4 != 6:
        return None
    quoted = Packet(
        src=bytes(data[8:24]),
        dst=bytes(data[24:40]),
        protocol=data[6],
        payload=data[40:],
        raw=data,
        ttl=data[7],
        tos=int.from_bytes(data[:2], "big") >> 4 & 0xFF,
    )
    if quoted.protocol == ipv6.FRAGMENT:
        fragment = int.from_bytes(data[42:44], "big")
        if len(data) < 56 or fragment & 0xFFF8:
            return None
        quoted.protocol, quoted.payload = data[40], data[48:]
        quoted.more_fragments = fragment & 1 != 0
    return quoted
