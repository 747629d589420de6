"""ICMP: answers echoes, sends and understands errors (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from asyncstack.errors import WireError
from asyncstack.network.addresses import is_loopback, is_multicast
from asyncstack.network.errors import ICMP_MEANING, ICMP_MESSAGE, IcmpError, Unreachable
from asyncstack.network.pmtu import MINIMUM_IPV4, plateau_below
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.network.redirects import LIFETIME_IPV4, Redirects
from asyncstack.timing import LoopTimer
from asyncstack.wire import icmp, ipv4_options
from asyncstack.wire.packet import Packet

if TYPE_CHECKING:
    from asyncstack.network.ipv4 import Ipv4
    from asyncstack.network.routing import Path
    from asyncstack.wire.ipv4_options import Options

ERRORS_PER_SECOND: Final = 1000.0
ERROR_BURST: Final = 50

_QUOTE_LIMIT: Final = 576 - 20 - 8  # RFC 1812 4.3.2.3: the whole error has at most 576 bytes
_ERROR_TOS: Final = 0xC0  # RFC 1812 4.3.2.5: precedence of network control
_LAST_QUERY: Final = 18  # types above are unknown, and may be errors
_LAST_REDIRECT: Final = 3  # code: for a network or a host, with or without a type of service
_SMALLEST_MTU: Final = 68  # RFC 791: every link takes that; less is nonsense

EchoReplied = Callable[[Packet, int, int, bytes], None]
EchoFailed = Callable[[IcmpError, int, int], bool]


class Icmp:
    """The ICMP of one stack; registers itself with `ip`, which then can send errors.

    `on_echo_reply(packet, ident, sequence, payload)` and `on_echo_error(error, ident, sequence)` belong to ping.
    Without `redirects` these are ignored.
    """

    def __init__(
        self,
        ip: Ipv4,
        *,
        errors_per_second: float = ERRORS_PER_SECOND,
        redirects: Redirects | None = None,
    ) -> None:
        self.on_echo_reply: EchoReplied | None = None
        self.on_echo_error: EchoFailed | None = None
        self._ip = ip
        self._counters = ip.counters
        self._bucket = TokenBucket(errors_per_second, ERROR_BURST, ip.rng)
        self._redirects = redirects
        # nobody waits for a redirect to be forgotten
        self._timer = LoopTimer(ip.loop, ip.clock, self._redirects_expired, background=True)
        ip.icmp = self
        ip.register(icmp.PROTOCOL, self, self._wants)

    def close(self) -> None:
        """End the timer."""
        self._timer.cancel()

    # receive

    async def receive(self, packet: Packet) -> None:
        """An ICMP message to one of our addresses, or to a broadcast or group."""
        try:
            message = icmp.parse(packet.payload, packet.checksum_valid)
        except WireError:
            self._counters["icmp.malformed"] += 1
            return
        if not (self._ip.addresses.is_local(packet.dst) or self._wants(packet)):
            # RFC 1122 3.2.2.6 allows silence, and an answer would make us part of a smurf attack
            self._counters["icmp.to_group"] += 1
        elif message.type == icmp.ECHO_REQUEST:
            self._answer(packet, message)
        elif message.type == icmp.TIMESTAMP_REQUEST:
            self._tell_time(packet, message)
        elif message.type == icmp.ECHO_REPLY:
            if self.on_echo_reply is not None:
                self.on_echo_reply(packet, message.ident, message.sequence, bytes(message.body))
        elif (message.type, message.code) in ICMP_MEANING:
            self._receive_report(packet, message)
        elif message.type == icmp.REDIRECT and self._redirects is not None:
            self._receive_redirect(packet, message, self._redirects)
        else:
            self._counters["icmp.ignored"] += 1

    def _answer(self, packet: Packet, request: icmp.Message) -> None:
        reply = icmp.build_echo(request.ident, request.sequence, request.body, reply=True)
        self._counters["icmp.echo_replies"] += 1
        self._reply(packet, reply, packet.tos, packet.options)

    def _tell_time(self, packet: Packet, request: icmp.Message) -> None:
        try:
            reply = icmp.build_timestamp_reply(request, self._ip.milliseconds())
        except WireError:
            self._counters["icmp.malformed"] += 1
            return
        self._counters["icmp.timestamp_replies"] += 1
        self._reply(packet, reply, packet.tos, packet.options)

    def _receive_report(self, packet: Packet, message: icmp.Message) -> None:
        quoted = _parse_quoted(memoryview(message.body))
        if quoted is None or not (quoted.src == packet.dst or self._ip.addresses.is_local(quoted.src)):
            self._counters["icmp.error_not_ours"] += 1
            return
        kind, errno, hard = ICMP_MEANING[message.type, message.code]
        mtu = 0
        if kind is Unreachable.TOO_BIG:
            length = int.from_bytes(message.body[2:4], "big")
            mtu = message.mtu or plateau_below(length)
            if not _SMALLEST_MTU <= mtu < length:  # what fits was not too big
                self._counters["icmp.implausible_mtu"] += 1
                return
            mtu = max(mtu, MINIMUM_IPV4)
        quoted.interface = packet.interface
        error = IcmpError(
            kind, errno, hard, mtu, packet.src, quoted, packet.interface, message.type, message.code
        )
        if self._ip.deliver_error(error) and mtu:
            self._ip.path_mtu_reported(quoted.dst, mtu)

    def _receive_redirect(self, packet: Packet, message: icmp.Message, redirects: Redirects) -> None:
        """RFC 1122 3.2.2.2. A redirect for a network counts for the one destination, as it says nothing of the mask."""
        quoted = _parse_quoted(memoryview(message.body))
        if quoted is None or quoted.src not in self._ip.addresses.local or message.code > _LAST_REDIRECT:
            self._counters["icmp.error_not_ours"] += 1
            return
        gateway, interface = message.rest.to_bytes(4, "big"), packet.interface
        if not any(entry.covers(gateway) for entry in self._ip.addresses.of(interface, 4)):
            self._counters["redirect.refused"] += 1
            return
        expires = self._ip.clock() + LIFETIME_IPV4
        if redirects.receive(packet.src, quoted.dst, gateway, interface, expires):
            self._timer.arm(redirects.deadline)

    def _redirects_expired(self, now: float) -> None:
        assert self._redirects is not None
        self._redirects.timer_expired(now)
        self._timer.arm(self._redirects.deadline)

    def _wants(self, packet: Packet) -> bool:
        """Whether a message to another host is an error about what we sent in its place."""
        data = packet.payload
        if packet.fragment_offset or len(data) < 8 or (data[0], data[1]) not in ICMP_MEANING:
            return False
        quoted = _parse_quoted(data[8:])
        return quoted is not None and quoted.src == packet.dst and self._ip.wants_answer(quoted)

    def receive_error(self, error: IcmpError) -> bool:
        """An error about an ICMP message of ours: of interest if that was an echo request."""
        data = error.quoted.payload
        if len(data) < 8 or data[0] != icmp.ECHO_REQUEST or self.on_echo_error is None:
            return False
        ident, sequence = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        return self.on_echo_error(error, ident, sequence)

    # send

    def send_echo(self, path: Path, ident: int, sequence: int, payload: bytes, *, ttl: int = 0) -> bool:
        """Send an echo request. False: no room, it is lost. Raises OSError EMSGSIZE above 65,507 bytes."""
        message = icmp.build_echo(ident, sequence, payload)
        return self._ip.send(path, icmp.PROTOCOL, [message], ttl=ttl, dont_fragment=False)

    def send_error(self, packet: Packet, kind: Unreachable, *, mtu: int = 0, pointer: int = 0) -> None:
        """Quote `packet` back to its sender, if that is allowed (RFC 1122 3.2.2) and not too often."""
        if not self._may_complain(packet):
            self._counters["icmp.error_suppressed"] += 1
            return
        if not self._bucket.take(self._ip.clock()):
            self._counters["icmp.error_rate_limited"] += 1
            return
        message_type, code = ICMP_MESSAGE[kind]
        rest = pointer << 24 if kind is Unreachable.PARAMETER else mtu
        self._counters["icmp.errors_sent"] += 1
        self._reply(packet, icmp.build(message_type, code, rest, packet.raw[:_QUOTE_LIMIT]), _ERROR_TOS)

    def _may_complain(self, packet: Packet) -> bool:
        src, dst = packet.src, packet.dst
        if packet.fragment_offset or is_multicast(dst) or self._ip.addresses.is_broadcast(dst):
            return False
        if not any(src) or src[0] >= 224 or self._ip.addresses.is_broadcast(src):
            return False
        if is_loopback(src) and packet.interface is not self._ip.routes.loopback:
            return False
        if packet.protocol != icmp.PROTOCOL:
            return True
        payload = packet.payload
        return bool(payload) and payload[0] not in icmp.ERRORS and payload[0] <= _LAST_QUERY

    def _reply(self, packet: Packet, message: bytes, tos: int, options: bytes = b"") -> None:
        """Send `message` where `packet` came from, from the address it was sent to; with those of its `options` that
        an answer takes along."""
        routes = self._ip.routes
        source = packet.dst if self._ip.addresses.is_local(packet.dst) else b""
        try:
            path = routes.lookup(packet.src, source)
            returned = _returned(options) if options else None
            if returned is not None:
                self._ip.stamp(returned, path.source)
                sent = self._ip.send_with_options(path, icmp.PROTOCOL, message, bytes(returned.data), tos=tos)
            else:
                sent = self._ip.send(path, icmp.PROTOCOL, [message], tos=tos, dont_fragment=False)
        except OSError:
            sent = False
        if not sent:
            self._counters["icmp.reply_dropped"] += 1


def _returned(options: bytes) -> Options | None:
    """Those of a request's options, filled in on its arrival, that its answer takes along."""
    try:
        returned = ipv4_options.parse(options).reply()
    except ipv4_options.BadOption:
        return None  # an entry of ours has left room for half of one
    return returned if returned.data else None


def _parse_quoted(data: memoryview) -> Packet | None:
    """The head of a packet that an error quotes; None unless 8 bytes of the transport header are there.

    Not `wire.ipv4.parse`: the packet is cut short, and routers may have changed what its checksum covers.
    """
    if len(data) < 28 or data[0] >> 4 != 4:
        return None
    header = (data[0] & 0x0F) << 2
    fragment = int.from_bytes(data[6:8], "big")
    if header < 20 or len(data) < header + 8 or fragment & 0x1FFF:
        return None
    return Packet(
        src=bytes(data[12:16]),
        dst=bytes(data[16:20]),
        protocol=data[9],
        payload=data[header:],
        raw=data,
        ttl=data[8],
        tos=data[1],
        ident=int.from_bytes(data[4:6], "big"),
        more_fragments=fragment & 0x2000 != 0,
        dont_fragment=fragment & 0x4000 != 0,
    )
