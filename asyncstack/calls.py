"""asyncio's calls, with asyncio's names, arguments and results, answered by a stack.

`create_connection`, `create_server` and `create_datagram_endpoint` have the event loop's signatures;
`open_connection` and `start_server` those of `asyncio`'s functions. TLS is the standard library's.
"""

from __future__ import annotations

import asyncio
import errno
import operator
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asyncstack.config import TcpConfig
from asyncstack.errors import os_error
from asyncstack.names import Host, Names, Network, Port, parse_literal, port_number, ports_of
from asyncstack.transport.reach import Reach
from asyncstack.transport.sockets.handover import Served, check_stream, transport_over
from asyncstack.transport.sockets.stream import StreamSocket
from asyncstack.transport.tcp.connecting import Target, connect_any, interleaved
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.tcp.listener import Acceptor, Listener
from asyncstack.transport.tcp.server import Server, ServerAcceptor
from asyncstack.transport.tls import Ssl, Tls, handshake
from asyncstack.transport.tls import check as check_tls
from asyncstack.transport.udp.ancillary import Received
from asyncstack.transport.udp.endpoint import UdpEndpoint
from asyncstack.transport.udp.layer import UdpLayer
from asyncstack.transport.udp.opening import LITERALS, open_endpoint, take_over
from asyncstack.transport.udp.settings import DatagramSettings
from asyncstack.transport.udp.transport import DatagramTransport
from asyncstack.transport.udp.wide import WideEndpoint

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
ClientConnected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]

STREAM_LIMIT = 64 << 10  # asyncio's default


class Calls:
    """What an application calls on a stack. `Stack` provides the attributes."""

    loop: asyncio.AbstractEventLoop
    names: Names
    tcp: TcpLayer
    udp: UdpLayer
    servers: dict[Server, None]

    def _check_open(self) -> None:
        raise NotImplementedError

    async def create_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: Host | Iterable[Host] = None,
        port: Port = None,
        *,
        ssl: Ssl = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: StreamSocket | None = None,
        local_addr: tuple[Any, ...] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
        tcp: TcpConfig | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect to `host` (None: this stack) and `port`; every address of the host, or of several, is tried, see
        `connect_any`.
        `tcp`: settings of this connection, instead of the stack's. `sock`: one of `Stack.socket` that is connected, in
        the place of all these; the transport takes its connection over.

        Returns (transport, protocol). Raises the OSError that says why no address could be connected to (an
        ExceptionGroup of all of them with `all_errors`), socket.gaierror for an unknown name.
        """
        self._check_open()
        check_tls(ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout)
        if ssl and server_hostname is None:
            if not host or (isinstance(host, Iterable) and not isinstance(host, str)):
                raise ValueError("You must set server_hostname when using ssl without a host")
            server_hostname = str(host)
        tls = Tls(ssl, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout) if ssl else None
        if sock is not None:
            _check_alone(host, port)
            return await transport_over(check_stream(sock, self.tcp), protocol_factory, tls)
        if host is None and port is None:
            raise ValueError("create_connection() needs a host, a port or a sock")
        remotes = await self.names.lookup_local("localhost" if host is None else host, family)
        if interleave is None and happy_eyeballs_delay is not None:
            interleave = 1
        if interleave:
            remotes = interleaved(remotes, interleave)
        targets = await self._targets(remotes, port, local_addr, self._scopes(host))
        self._check_open()  # the stack may have been closed while a name was asked for
        protocol: ProtocolT
        secured: asyncio.Future[None] | None = self.loop.create_future() if tls else None

        def factory() -> asyncio.BaseProtocol:
            nonlocal protocol
            protocol = protocol_factory()
            return protocol if tls is None else tls.protocol(self.loop, protocol, secured)

        try:
            transport: asyncio.Transport = await connect_any(
                self.tcp, factory, targets, happy_eyeballs_delay, all_errors, tcp
            )
            if secured is not None:
                transport = await handshake(transport, secured)
            return transport, protocol
        finally:
            secured = None  # it holds its exception, whose traceback holds this frame

    async def _targets(
        self,
        remotes: list[bytes],
        port: Port,
        local_addr: tuple[Any, ...] | None,
        scopes: dict[bytes, Interface],
    ) -> list[Target]:
        """Every address with the local one to use for it, and the interface that its scope says."""
        number = port_number(port)
        if local_addr is None:
            return [Target(remote, number, scope=scopes.get(remote)) for remote in remotes]
        found: dict[int, bytes] = {}
        for address in await self.names.lookup_local(local_addr[0]):
            found.setdefault(len(address), address if any(address) else b"")
        targets = [
            Target(remote, number, found[len(remote)], port_number(local_addr[1]), scopes.get(remote))
            for remote in remotes
            if len(remote) in found
        ]
        if not targets:
            raise os_error(errno.EADDRNOTAVAIL, f"local_addr {local_addr!r} is of the other address family")
        return targets

    def _scopes(self, host: Host | Iterable[Host]) -> dict[bytes, Interface]:
        """The interfaces that the scopes of literal addresses ("fe80::1%eth0") say. Raises OSError(ENODEV)."""
        found: dict[bytes, Interface] = {}
        for one in [host] if isinstance(host, Host) else host:
            scope = self.tcp.context.scope(one)
            if scope is not None:
                found[parse_literal(str(one))] = scope
        return found

    async def connect_accepted_socket(
        self,
        protocol_factory: Callable[[], ProtocolT],
        sock: StreamSocket,
        *,
        ssl: Ssl = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """(transport, protocol) for a connection that `sock.accept` gave; the server's side, if `ssl` is given.

        Raises OSError ENOTCONN, ssl.SSLError.
        """
        self._check_open()
        check_tls(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout)
        tls = Tls(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout, server_side=True) if ssl else None
        return await transport_over(check_stream(sock, self.tcp), protocol_factory, tls)

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Host | Network | Iterable[Host | Network] = None,
        port: Port | range = None,
        *,
        family: int = 0,
        flags: int = 0,
        sock: StreamSocket | None = None,
        backlog: int = 100,
        ssl: Ssl = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        tcp: TcpConfig | None = None,
    ) -> Server:
        """Listen on `port` (0 or None: any free one, the same for all addresses) of `host`: a name, an address, a list
        of them, None for any address.

        A network ("10.0.0.0/8", "::/0") stands for every address in it, those of other hosts too if their packets are
        routed to this stack: its connections are taken in their place, and `get_extra_info("sockname")` says whose.
        `port` may be a range, or ANY_PORT. Who listens on one port of ours comes first; then the longest prefix, and
        of equal ones the narrowest range. With `reuse_port` several servers share a place, each gets its part of the
        connections. `tcp`: settings of the connections, instead of the stack's. `sock`: one of `Stack.socket`, bound,
        in the place of all these; it ends with the server.

        Raises OSError EADDRINUSE, EADDRNOTAVAIL; ValueError for arguments that a stack can not honour.
        """
        self._check_open()
        if sock is not None:
            _check_alone(host, port)
        elif host is None and port is None:
            raise ValueError("create_server() needs a host, a port or a sock")
        if ssl is True or (ssl is not None and not isinstance(ssl, ssl_module.SSLContext)):
            raise TypeError("ssl argument must be an SSLContext or None")
        check_tls(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout)
        factory = protocol_factory
        if ssl is not None:
            tls = Tls(ssl, None, ssl_handshake_timeout, ssl_shutdown_timeout, server_side=True)

            def factory() -> asyncio.BaseProtocol:
                return tls.protocol(self.loop, protocol_factory())

        server = Server(self.loop, self._server_closed, keep_alive=keep_alive)
        acceptor = ServerAcceptor(server, factory, operator.index(backlog))
        if sock is not None:
            server.add(Served(check_stream(sock, self.tcp), acceptor, backlog))
        else:
            for listener in await self._listen(host, port, family, acceptor, bool(reuse_port), tcp):
                server.add(listener)
        self.servers[server] = None
        try:
            if start_serving:
                await server.start_serving()
        except BaseException:  # cancelled, or a `sock` that can not listen
            server.close()
            raise
        return server

    async def _listen(
        self,
        host: Host | Network | Iterable[Host | Network],
        port: Port | range,
        family: int,
        acceptor: Acceptor,
        reuse_port: bool,
        config: TcpConfig | None,
    ) -> list[Listener]:
        places = await self.names.lookup_networks(host, family)
        self._check_open()
        if not isinstance(port, range) and all(length < 0 for _, length in places):
            addresses = [address for address, _ in places]
            return self.tcp.listen(
                addresses, port_number(port), acceptor, config=config, reuse_port=reuse_port
            )
        ports = ports_of(port)
        reaches = [Reach.of(address, length, ports) for address, length in places]
        return self.tcp.listen_widely(reaches, acceptor, config=config, reuse_port=reuse_port)

    def _server_closed(self, server: Server) -> None:
        self.servers.pop(server, None)

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], ProtocolT],
        local_addr: tuple[Any, ...] | None = None,
        remote_addr: tuple[Any, ...] | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: Any = None,
    ) -> tuple[asyncio.DatagramTransport, ProtocolT]:
        """A UDP endpoint, bound to `local_addr` and connected to `remote_addr` where given. With `allow_broadcast` it
        only sends to `remote_addr`, and hears everybody. With `reuse_port` several share a place: each gets its part of
        the peers. An endpoint of "::" receives IPv4 too, from ::ffff:a.b.c.d.

        `local_addr` may name a network and a range of ports, as in `create_server`: the endpoint takes what comes for
        all of them, `message_received` is told for whom (IP_ORIGDSTADDR, or IPV6_ORIGDSTADDR), and `sendmsg` with that
        same piece of ancillary data answers from there.

        `sock`: a datagram socket of this stack, which hands its endpoint over with all that it is; what waited there
        is the first that the protocol receives. Its names and options can still be used.

        A protocol with a method `message_received(data, ancillary, address)` gets that called instead of
        `datagram_received`, with what options like IP_PKTINFO ask for; see also `DatagramTransport.sendmsg`.

        Returns (transport, protocol). Raises OSError EADDRINUSE, EADDRNOTAVAIL, ENETUNREACH; ValueError for `sock` with
        any of the others, or for none of `sock`, `local_addr`, `remote_addr` and `family`.
        """
        self._check_open()
        backlog: list[Received] = []
        address = None
        endpoint: UdpEndpoint
        settings = DatagramSettings(reuse_port=bool(reuse_port), broadcast=bool(allow_broadcast))
        if sock is not None:
            modifiers = {
                "local_addr": local_addr,
                "remote_addr": remote_addr,
                "family": family,
                "proto": proto,
            }
            modifiers |= {"flags": flags, "reuse_port": reuse_port, "allow_broadcast": allow_broadcast}
            endpoint, backlog = take_over(self.udp, sock, modifiers)
        elif reaches := await self._reaches(local_addr, remote_addr, family):
            endpoint = WideEndpoint(self.udp, reaches, LITERALS, settings)
        else:
            pairs, ports = await self._pairs(local_addr, remote_addr, family)
            scope = self.udp.context.scope(remote_addr[0]) if remote_addr else None
            endpoint, address = open_endpoint(self.udp, pairs, ports, settings, scope)
        waiter: asyncio.Future[None] = self.loop.create_future()
        try:
            protocol = protocol_factory()
            made = cast(asyncio.DatagramProtocol, protocol)
            transport = DatagramTransport(endpoint, made, address=address, backlog=backlog, waiter=waiter)
        except BaseException:
            endpoint.close()
            raise
        try:
            await waiter
        except BaseException:
            transport.abort()
            raise
        return transport, protocol

    async def _reaches(self, local_addr: Any, remote_addr: Any, family: int) -> list[Reach]:
        """The places that `local_addr` names, if they are more than one: a network, or a range of ports."""
        if not isinstance(local_addr, tuple) or len(local_addr) != 2:
            return []
        host, port = local_addr
        if not isinstance(port, range) and (host is None or "/" not in str(host)):
            return []
        if remote_addr:
            raise ValueError(f"remote_addr={remote_addr!r}: an endpoint of many addresses is not connected")
        ports = ports_of(port)
        places = await self.names.lookup_networks(host, family)
        self._check_open()
        return [Reach.of(address, length, ports) for address, length in places]

    async def _pairs(
        self, local_addr: tuple[Any, ...] | None, remote_addr: tuple[Any, ...] | None, family: int
    ) -> tuple[list[tuple[bytes, bytes]], tuple[int, int]]:
        """The pairs of local and remote address, b"" for none, that are of one family, and the two ports."""
        if not local_addr and not remote_addr and family == 0:
            raise ValueError("unexpected address family: give local_addr, remote_addr or family")
        locals_, local_port = await self._pair(local_addr, self.names.lookup_local, family)
        remotes, remote_port = await self._pair(remote_addr, self.names.lookup, family)
        if not locals_ and not remotes:
            locals_ = await self.names.lookup_local(None, family)
        self._check_open()
        pairs = [
            (local, remote)
            for remote in remotes or [b""]
            for local in locals_ or [b""]
            if not local or not remote or len(local) == len(remote)
        ]
        if not pairs:
            raise ValueError(
                "can not get address information: local_addr and remote_addr have no family in common"
            )
        return pairs, (local_port, remote_port)

    @staticmethod
    async def _pair(
        address: tuple[Any, ...] | None, lookup: Callable[[Any, int], Awaitable[list[bytes]]], family: int
    ) -> tuple[list[bytes], int]:
        """(addresses, port) of an address of asyncio's."""
        if not address:
            return [], 0
        if not isinstance(address, tuple) or len(address) != 2:
            raise TypeError(f"2-tuple is expected, (host, port), not {address!r}")
        return await lookup(address[0], family), port_number(address[1], "udp")

    async def open_connection(
        self, host: Host = None, port: Port = None, *, limit: int = STREAM_LIMIT, **kwds: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and wrap the transport in the standard library's streams; see `create_connection`."""
        reader = asyncio.StreamReader(limit=limit, loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport, _ = await self.create_connection(lambda: protocol, host, port, **kwds)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)

    async def start_server(
        self,
        client_connected_cb: ClientConnected,
        host: Host | Network | Iterable[Host | Network] = None,
        port: Port | range = None,
        *,
        limit: int = STREAM_LIMIT,
        **kwds: Any,
    ) -> Server:
        """Serve `client_connected_cb(reader, writer)`, a task per connection if a coroutine; see `create_server`."""

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=self.loop)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=self.loop)

        return await self.create_server(factory, host, port, **kwds)


def _check_alone(host: Any, port: Any) -> None:
    """Raise ValueError for an address beside a `sock`."""
    if host is not None or port is not None:
        raise ValueError("host/port and sock can not be specified at the same time")
