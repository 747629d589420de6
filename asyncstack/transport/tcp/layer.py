"""TCP over both IP families: finds the connection of a segment by its 4-tuple, or the listener, or answers RST."""

from __future__ import annotations

import asyncio
import errno
import math
from typing import Final, Protocol

from asyncstack.config import TcpConfig
from asyncstack.errors import WireError, os_error
from asyncstack.network.addresses import format_address, is_link_local, is_multicast
from asyncstack.network.errors import IcmpError
from asyncstack.network.rate_limit import TokenBucket
from asyncstack.network.routing import Path
from asyncstack.timing import LoopTimer, TimerQueue
from asyncstack.transport.claims import Claim, Claims
from asyncstack.transport.context import TransportContext
from asyncstack.transport.ports import check_port, choose_ephemeral
from asyncstack.transport.reach import Reach
from asyncstack.transport.tcp import handshake
from asyncstack.transport.tcp.congestion import Controllers
from asyncstack.transport.tcp.connecting import Connecting, Target
from asyncstack.transport.tcp.connection import Connection
from asyncstack.transport.tcp.endpoint import PROTOCOL_TCP, Key, Owner, TcpEndpoint
from asyncstack.transport.tcp.fast_open import WAIT
from asyncstack.transport.tcp.fast_open_cookies import Keys, Servers
from asyncstack.transport.tcp.isn import InitialNumbers
from asyncstack.transport.tcp.listener import Acceptor, Listener
from asyncstack.transport.tcp.listeners import Listeners
from asyncstack.transport.tcp.memory import MemoryBudget
from asyncstack.transport.tcp.observer import Observer
from asyncstack.transport.tcp.sequence import MASK
from asyncstack.transport.tcp.strays import Strays
from asyncstack.transport.tcp.syn_cookies import SynCookies
from asyncstack.transport.tcp.time_wait import TimeWaitTable, entry_of
from asyncstack.transport.tcp.transport import ProtocolFactory, TcpTransport
from asyncstack.wire.checksum import pseudo_header_sum, verify
from asyncstack.wire.packet import Packet
from asyncstack.wire.tcp import Segment, parse

TCP_HEADER: Final = 20
HEADERS_MAX: Final = 60  # a TCP header with all its options
SOFTWARE_SEGMENTS: Final = 16  # MSS in a super-segment that software below us will cut


class Register(Protocol):
    """Who keeps a list of the connections, outside this process perhaps."""

    def add(self, key: Key) -> None:
        """A connection begins."""

    def remove(self, key: Key) -> None:
        """It is over."""


class TcpLayer:
    """The TCP of one stack. Registered with both IP layers."""

    def __init__(self, context: TransportContext) -> None:
        self.context = context
        self.loop = context.loop
        self.clock = context.clock
        self.config = context.config
        self.addresses = context.addresses
        self.routes = context.routes
        self.counters = context.counters
        self.memory = MemoryBudget(self.config.memory)
        self.connections: dict[Key, TcpEndpoint] = {}
        self.lingering: dict[Owner, TcpEndpoint] = {}  # owners that outlive their connection
        self.listeners = Listeners(context.rng.randbytes(32))
        self.controllers = Controllers()
        self.cookies = SynCookies(context.rng)
        self.observer: Observer | None = None
        self.register: Register | None = None
        self.claims = Claims()  # what sockets have bound
        self._initial = InitialNumbers(context.rng)
        self.fast_open_keys = Keys(self._initial.key(b"fast open"))
        self.fast_open_servers = Servers()
        rate = self.config.challenge_acks_per_second
        self._challenges = TokenBucket(rate, int(rate) + 1, context.rng)
        self._time_wait = TimeWaitTable(self.config.time_wait_limit, self.config.tcp.time_wait)
        self.strays = Strays(context, self.connections, self.listeners, self._time_wait, self._challenges)
        self._drained: asyncio.Future[None] | None = None
        self._ending = False
        self.timers = TimerQueue(self.loop, self.clock)  # of the connections
        self._time_wait_timer = LoopTimer(self.loop, self.clock, self._time_wait_expired)
        # bound once, not for each connection
        self.send_ipv4, self.send_ipv6 = context.ipv4.send, context.ipv6.send
        context.ipv4.register(PROTOCOL_TCP, self, self.strays.wants)
        context.ipv6.register(PROTOCOL_TCP, self, self.strays.wants)

    # receive

    async def receive(self, packet: Packet) -> None:
        """A TCP packet for one of our addresses."""
        payload = packet.payload
        try:
            segment = parse(payload)
        except WireError:
            self.counters["tcp.malformed"] += 1
            return
        src, dst = packet.src, packet.dst
        if not packet.checksum_valid and not verify(
            payload, pseudo_header_sum(src, dst, PROTOCOL_TCP, len(payload))
        ):
            self.counters["tcp.bad_checksum"] += 1
            return
        segment.gso_size = packet.gso_size
        segment.ecn = packet.tos & 3
        endpoint = self.connections.get((dst, segment.dst_port, src, segment.src_port))
        if endpoint is not None:
            # `endpoint.receive_segment`, a call less
            endpoint.connection.receive_segment(segment, self.clock())
            endpoint.settle()
        else:
            self.strays.receive(packet, segment)

    def receive_error(self, error: IcmpError) -> bool:
        """An ICMP error about a segment of ours: hand it to the connection it concerns.

        False: no connection can have sent that segment (RFC 5927), so the error is not to be believed.
        """
        quoted = error.quoted
        head = quoted.payload
        local_port, remote_port = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        endpoint = self.connections.get((quoted.src, local_port, quoted.dst, remote_port))
        if endpoint is None:
            return self.context.probes.failed(error, bytes(head[:4]))
        seq = int.from_bytes(head[4:8], "big")
        if not endpoint.connection.in_flight(seq):
            return False
        if error.mtu:
            # the path MTU table learns of it when we return
            self.loop.call_soon(endpoint.path_mtu_changed)
        else:
            endpoint.receive_error(error.errno, error.hard, seq)
        return True

    # open

    async def connect(
        self,
        factory: ProtocolFactory,
        target: Target,
        config: TcpConfig | None = None,
    ) -> TcpTransport:
        """Open a connection; its protocol has seen `connection_made`. Raises the OSError that explains a failure."""
        result: asyncio.Future[TcpTransport] = self.loop.create_future()
        endpoint = self.open(Connecting(factory, result), target, config, patience=WAIT)
        try:
            return await result
        except asyncio.CancelledError:
            endpoint.abort()
            raise
        finally:
            del result  # it holds its exception, whose traceback holds this frame

    def open(
        self,
        owner: Owner,
        target: Target,
        config: TcpConfig | None = None,
        data_follows: bool = False,
        patience: float = math.inf,
    ) -> TcpEndpoint:
        """Start an active open; `owner` hears what becomes of it.

        With `TcpConfig.fast_open` and a cookie of the server the owner hears `opened` at once, and the SYN leaves with
        the first data written or after `patience` seconds (TCP_FASTOPEN_CONNECT). `data_follows`: whatever the settings
        say, what the caller writes before the loop goes on rides on the SYN if a cookie is known, and the owner hears
        `opened` when the handshake is complete (MSG_FASTOPEN).

        Raises OSError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL (no port is free), ECONNREFUSED (port 0).
        """
        if self.memory.held >= self.memory.no_newcomers:
            raise os_error(errno.ENOBUFS, f"connections hold {self.memory.held} bytes, the stack's limit")
        remote, port, local, local_port, scope, label = target
        path = self.routes.lookup(remote, local, scope if is_link_local(remote) else None)
        if not check_port(port):
            raise os_error(errno.ECONNREFUSED, f"connect to {format_address(remote)} port 0")
        if path.broadcast or is_multicast(remote):
            raise os_error(errno.ENETUNREACH, f"connect to {format_address(remote)}: TCP speaks to one host")
        # the path's addresses: one copy for all connections between two hosts
        remote = path.destination
        key = (path.source, self._local_port(path.source, local_port, remote, port), remote, port)
        config = self.config.tcp if config is None else config
        connection = self._connection(key, path, config)
        if config.fast_open or data_follows:
            connection.fast_open = self.fast_open_servers.opening(
                remote, config, self.clock(), 0.0 if data_follows else patience
            )
        endpoint = self._add(key, path, owner, connection, label)
        endpoint.open()
        return endpoint

    def accept(
        self, packet: Packet, segment: Segment, listener: Listener, iss: int | None
    ) -> TcpEndpoint | None:
        """A half-open connection for a SYN; None when there is no way back or no room."""
        endpoint = self._accept(packet, segment, listener, iss)
        if endpoint is not None:
            endpoint.connection.accept(segment, self.clock())
        return endpoint

    def accept_cookie(
        self, packet: Packet, segment: Segment, syn: Segment, listener: Listener
    ) -> TcpEndpoint | None:
        """The connection whose SYN was `syn`, for `segment`, which acknowledges our cookie."""
        endpoint = self._accept(packet, segment, listener, (segment.ack - 1) & MASK)
        if endpoint is not None:
            handshake.accept_cookie(endpoint.connection, syn, self.clock())
        return endpoint

    def _accept(
        self, packet: Packet, segment: Segment, listener: Listener, iss: int | None
    ) -> TcpEndpoint | None:
        if len(self.connections) >= self.config.connection_limit:
            self.counters["tcp.connection_limit"] += 1
            return None
        if self.memory.held >= self.memory.no_newcomers:
            self.counters["tcp.memory_limit"] += 1
            return None
        made = self.passive(packet, segment, listener.config, iss)
        return made and self._add(made[0], made[1], listener, made[2])

    def passive(
        self, packet: Packet, segment: Segment, config: TcpConfig, iss: int | None
    ) -> tuple[Key, Path, Connection] | None:
        """The machine of a connection that the sender of `packet` opens; None if there is no way back."""
        path = self.strays.path_back(packet)
        if path is None:
            return None
        key = (path.source, segment.dst_port, path.destination, segment.src_port)
        try:
            return key, path, self._connection(key, path, config, iss)
        except (TypeError, ValueError):  # the settings have been spoilt since `listen`
            self.counters["tcp.no_congestion_control"] += 1
            return None

    def _connection(self, key: Key, path: Path, config: TcpConfig, iss: int | None = None) -> Connection:
        """`iss` None: the initial sequence number that RFC 6528 says."""
        mss, most = self.sizes(path)
        if iss is None:
            iss = self._initial.sequence(*key, self.clock())
        connection = Connection(
            config,
            local_port=key[1],
            remote_port=key[3],
            mss=mss,
            max_payload=most,
            iss=iss,
            ts_offset=self._initial.timestamp_offset(key[0], key[2]),
            memory=self.memory,
            congestion=self.controllers.find(config.congestion),
            challenges=self._challenges,
        )
        connection.link_mss = mss + path.interface.device.mtu - path.mtu
        return connection

    def path_like(self, path: Path) -> Path:
        """The path that packets of a flow along `path` take now. Raises OSError, as `RoutingTable.lookup`."""
        interface = path.interface if is_link_local(path.destination) else None
        return self.routes.lookup(path.destination, path.source, interface, foreign=path.foreign)

    def _add(self, key: Key, path: Path, owner: Owner, connection: Connection, label: int = 0) -> TcpEndpoint:
        if self._ending:
            raise os_error(errno.ENETDOWN, "the stack is closed")
        if len(self.connections) >= self.config.connection_limit:
            raise os_error(errno.ENOBUFS, f"the stack's limit of {self.config.connection_limit} connections")
        mark = self.context.ipv6.flow_labels.mark(path, PROTOCOL_TCP, key[1], key[3], label)
        endpoint = self.connections[key] = TcpEndpoint(self, connection, key, path, owner, mark)
        if self.register is not None:
            self.register.add(key)
        if self.observer is not None:
            connection.sender.trace = []
        return endpoint

    @staticmethod
    def sizes(path: Path) -> tuple[int, int]:
        """(MSS, largest payload of a super-segment) on `path`, bytes."""
        ip_header = 20 if len(path.destination) == 4 else 40
        mss = path.mtu - ip_header - TCP_HEADER
        device = path.interface.device
        if device.max_segment > device.mtu:
            return mss, max(device.max_segment - ip_header - HEADERS_MAX, mss)
        return mss, min(SOFTWARE_SEGMENTS * mss, 0xFFFF - ip_header - HEADERS_MAX)

    def _local_port(self, local: bytes, wanted: int, remote: bytes, port: int) -> int:
        def is_taken(candidate: int) -> bool:
            key = (local, candidate, remote, port)
            return key in self.connections or key in self._time_wait

        if not check_port(wanted):
            return choose_ephemeral(
                self.context.rng,
                self.config.ephemeral_ports,
                lambda candidate: (
                    is_taken(candidate)
                    or self.listeners.excludes(local, candidate)
                    or self.claims.excludes(local, candidate)
                ),
            )
        if is_taken(wanted):
            raise os_error(errno.EADDRINUSE, f"local port {wanted}")
        return wanted

    def observe(self, observer: Observer | None) -> None:
        """Have `observer` hear what happens to connections; None: nobody does any more."""
        self.observer = observer
        for endpoint in self.connections.values():
            endpoint.connection.sender.trace = None if observer is None else []

    def connected(self, host: bytes, port: int) -> bool:
        """Whether a connection, or one in TIME-WAIT, has the local `port` of `host` (all zeros: of any)."""
        size, anywhere = len(host), not any(host)
        return any(
            key[1] == port and (key[0] == host or (anywhere and len(key[0]) == size))
            for table in (self.connections, self._time_wait)
            for key in table
        )

    # listen

    def listen(
        self,
        hosts: list[bytes],
        port: int,
        acceptor: Acceptor,
        *,
        config: TcpConfig | None = None,
        reuse_port: bool = False,
        claim: Claim | None = None,
    ) -> list[Listener]:
        """A listener for each of `hosts` (all zeros: any address) on one port, 0 picks a free one; all hand over to
        `acceptor`, from their `start` on. `claim`: of a socket that has bound them.

        Raises OSError EADDRINUSE, EADDRNOTAVAIL; ValueError for settings that no connection could have: when a SYN
        comes there is nobody to tell.
        """
        self.controllers.find((config or self.config.tcp).congestion)
        if not check_port(port):
            port = choose_ephemeral(
                self.context.rng,
                self.config.ephemeral_ports,
                lambda candidate: any(self.listeners.excludes(host, candidate) for host in hosts),
            )
        for host in hosts:
            where = f"{format_address(host)} port {port}"
            if any(host) and not self.addresses.is_local(host):
                raise os_error(errno.EADDRNOTAVAIL, f"listen on {where}: not an address of this stack")
            if self.listeners.excludes(host, port, reuse_port) or (
                claim is None
                and not self.claims.admits(Claim([host], port, reuse_address=True, reuse_port=reuse_port))
            ):
                raise os_error(errno.EADDRINUSE, f"listen on {where}")
        made = [Listener(self, host, port, acceptor, config, reuse_port) for host in hosts]
        for listener in made:
            self.listeners.add(listener)
        return made

    def listen_widely(
        self,
        reaches: list[Reach],
        acceptor: Acceptor,
        *,
        config: TcpConfig | None = None,
        reuse_port: bool = False,
    ) -> list[Listener]:
        """As `listen`, on networks and ranges of ports."""
        self.controllers.find((config or self.config.tcp).congestion)
        for reach in reaches:
            where = f"{reach} ports {reach.ports[0]} to {reach.ports[-1]}"
            one = reach.prefix_length == 8 * len(reach.prefix)
            if one and not reach.foreign and not self.addresses.is_local(reach.prefix):
                raise os_error(errno.EADDRNOTAVAIL, f"listen on {where}: not an address of this stack")
            if self.listeners.excludes_reach(reach, reuse_port):
                raise os_error(errno.EADDRINUSE, f"listen on {where}")
        made = []
        for reach in reaches:
            port = reach.ports[0] if len(reach.ports) == 1 else 0
            listener = Listener(self, reach.prefix, port, acceptor, config, reuse_port, reach)
            self.listeners.add(listener)
            made.append(listener)
        return made

    # the end

    def remove(self, endpoint: TcpEndpoint) -> None:
        """The endpoint has ended; TIME-WAIT, if due, is kept in a table of a few numbers."""
        if self.connections.get(endpoint.key) is endpoint:
            del self.connections[endpoint.key]
            if self.register is not None:
                self.register.remove(endpoint.key)
            if not self.connections and self._drained is not None and not self._drained.done():
                self._drained.set_result(None)
        entry = entry_of(endpoint.connection)
        if entry is not None:
            self._time_wait.add(endpoint.key, entry, self.clock())
            self._time_wait_timer.arm(self._time_wait.deadline)

    def _time_wait_expired(self, now: float) -> None:
        self._time_wait.timer_expired(now)
        self._time_wait_timer.arm(self._time_wait.deadline)

    def interface_down(self, interface: object, error: OSError) -> None:
        """Tell every connection on `interface` that nothing can be sent any more."""
        for endpoint in [e for e in self.connections.values() if e.path.interface is interface]:
            endpoint.fail(error.errno or errno.ENETDOWN)

    def address_removed(self, address: bytes, error: OSError) -> None:
        """Tell every connection from `address` that it is gone."""
        for endpoint in [e for e in self.connections.values() if e.path.source == address]:
            endpoint.fail(error.errno or errno.EADDRNOTAVAIL)

    async def drain(self, timeout: float) -> None:
        """Close every connection; wait at most `timeout` seconds for all of them to end in order."""
        self._ending = True
        for endpoint in list(self.connections.values()):
            endpoint.owner.finish(endpoint)
        for owner, endpoint in list(self.lingering.items()):
            owner.finish(endpoint)
        until = self.clock() + timeout
        while self.connections and (left := until - self.clock()) > 0:
            self._drained = self.loop.create_future()
            try:
                async with asyncio.timeout(left):
                    await self._drained
            except TimeoutError:
                return
            finally:
                self._drained = None

    def close(self) -> None:
        """Forget everything: no timer is left."""
        left = list(self.connections.values())
        for endpoint in left:
            endpoint.abort()
        for endpoint in left:  # nothing but their RSTs is to be sent, and each flush sends one at least
            endpoint.path.interface.flush()
        for endpoint in left:
            endpoint.release()
        self._time_wait_timer.cancel()
