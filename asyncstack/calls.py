"""asyncio's calls, with asyncio's names, arguments and results, answered by a stack.

`create_connection`, `create_server` and `create_datagram_endpoint` have the event loop's signatures;
`open_connection` and `start_server` those of `asyncio`'s functions. TLS is the standard library's.
"""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import errno
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

from asyncstack.errors import os_error
from asyncstack.names import Host, Names
from asyncstack.transport.datagram import DatagramTransport
from asyncstack.transport.tcp.layer import TcpLayer
from asyncstack.transport.tcp.server import Server
from asyncstack.transport.udp import UdpLayer

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
Ssl = ssl_module.SSLContext | bool | None
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
        host: Host = None,
        port: int | None = None,
        *,
        ssl: Ssl = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: None = None,
        local_addr: tuple[Any, ...] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """Connect to `host` and `port`; every address of the host is tried in turn.

        Returns (transport, protocol). Raises the OSError of the last address tried (an ExceptionGroup of all of
        them with `all_errors`), socket.gaierror for an unknown name.
        """
        self._check_open()
        if sock is not None or host is None or port is None:
            raise ValueError("create_connection() of a stack needs host and port, and takes no sock")
        if ssl and server_hostname is None:
            server_hostname = str(host)
        remotes = self.names.resolve(host, family)
        errors: list[Exception] = []
        for remote in remotes:
            try:
                local, local_port = self._local(local_addr, len(remote))
                protocol = None
                tls: asyncio.Future[None] | None = self.loop.create_future() if ssl else None

                def factory(tls: asyncio.Future[None] | None = tls) -> asyncio.BaseProtocol:
                    nonlocal protocol
                    protocol = protocol_factory()
                    if tls is None:
                        return protocol
                    return self._tls(
                        protocol, ssl, tls, server_hostname, ssl_handshake_timeout, ssl_shutdown_timeout
                    )

                raw = await self.tcp.connect(factory, remote, port, local, local_port)
                transport: asyncio.Transport = raw
                if tls is not None:
                    transport = await self._handshake(raw, tls)
                return transport, cast(ProtocolT, protocol)
            except OSError as exc:
                errors.append(exc)
        if all_errors:
            raise ExceptionGroup(f"connect to {host} port {port}", errors)
        raise errors[-1]

    def _local(self, local_addr: tuple[Any, ...] | None, size: int) -> tuple[bytes, int]:
        if local_addr is None:
            return b"", 0
        for address in self.names.resolve_local(local_addr[0]):
            if len(address) == size:
                return (address if any(address) else b""), local_addr[1]
        raise os_error(errno.EADDRNOTAVAIL, f"local_addr {local_addr!r} is of the other address family")

    def _tls(
        self,
        protocol: asyncio.BaseProtocol,
        context: Ssl,
        waiter: asyncio.Future[None] | None,
        server_hostname: str | None,
        handshake_timeout: float | None,
        shutdown_timeout: float | None,
    ) -> asyncio.BaseProtocol:
        """The standard library's TLS between our transport and `protocol`. `waiter` None: the server's side."""
        made: asyncio.BaseProtocol = asyncio.sslproto.SSLProtocol(
            self.loop,
            cast(asyncio.Protocol, protocol),
            context if isinstance(context, ssl_module.SSLContext) else None,  # type: ignore[arg-type]
            waiter,  # type: ignore[arg-type]
            server_side=waiter is None,
            server_hostname=server_hostname,
            ssl_handshake_timeout=handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=shutdown_timeout,
        )
        return made

    @staticmethod
    async def _handshake(transport: asyncio.Transport, done: asyncio.Future[None]) -> asyncio.Transport:
        protocol: Any = transport.get_protocol()
        try:
            await done
        except BaseException:
            transport.abort()
            raise
        return cast(asyncio.Transport, protocol._get_app_transport())

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Host | Iterable[Host] = None,
        port: int | None = None,
        *,
        family: int = 0,
        flags: int = 0,
        sock: None = None,
        backlog: int = 100,
        ssl: Ssl = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server:
        """Listen on `port` (0: any free one) of `host`: a name, an address, a list of them, None for any address.

        Raises OSError EADDRINUSE, EADDRNOTAVAIL; ValueError for arguments that a stack can not honour.
        """
        self._check_open()
        if sock is not None or port is None:
            raise ValueError("create_server() of a stack needs a port, and takes no sock")
        if reuse_port:
            raise ValueError("reuse_port is not supported: one listener has a port of a stack")
        if ssl is True or (ssl is not None and not isinstance(ssl, ssl_module.SSLContext)):
            raise TypeError("ssl argument must be an SSLContext or None")
        factory = protocol_factory
        if ssl is not None:

            def factory() -> asyncio.BaseProtocol:
                return self._tls(
                    protocol_factory(), ssl, None, None, ssl_handshake_timeout, ssl_shutdown_timeout
                )

        server = Server(self.loop, self._server_closed)
        self.tcp.listen(factory, self.names.resolve_local(host, family), port, backlog, server)
        self.servers[server] = None
        if start_serving:
            await server.start_serving()
        return server

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
        sock: None = None,
    ) -> tuple[asyncio.DatagramTransport, ProtocolT]:
        """A UDP endpoint, bound to `local_addr` and connected to `remote_addr` where given.

        Returns (transport, protocol). Raises OSError EADDRINUSE, EADDRNOTAVAIL, ENETUNREACH.
        """
        self._check_open()
        if sock is not None:
            raise ValueError("create_datagram_endpoint() of a stack takes no sock")
        if local_addr is None and remote_addr is None and family == 0:
            raise ValueError("unexpected address family: give local_addr, remote_addr or family")
        remote, remote_port = b"", 0
        if remote_addr is not None:
            remote, remote_port = self.names.resolve(remote_addr[0], family)[0], remote_addr[1]
        local, local_port = self._datagram_local(local_addr, remote, family)
        binding = self.udp.bind(local, local_port, remote, remote_port, bool(reuse_port))
        waiter: asyncio.Future[None] = self.loop.create_future()
        protocol = protocol_factory()
        transport = DatagramTransport(
            self.udp,
            binding,
            cast(asyncio.DatagramProtocol, protocol),
            broadcast=bool(allow_broadcast),
            waiter=waiter,
        )
        try:
            await waiter
        except BaseException:
            transport.abort()
            raise
        return transport, protocol

    def _datagram_local(
        self, local_addr: tuple[Any, ...] | None, remote: bytes, family: int
    ) -> tuple[bytes, int]:
        local, port = b"", 0
        if local_addr is not None:
            found = self.names.resolve_local(local_addr[0], family)
            local = next((one for one in found if not remote or len(one) == len(remote)), b"")
            port = local_addr[1]
        if remote:
            return self.udp.routes.lookup(remote, local if any(local) else b"").source, port
        return local or self.names.resolve_local(None, family)[0], port

    async def open_connection(
        self, host: Host = None, port: int | None = None, *, limit: int = STREAM_LIMIT, **kwds: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect and wrap the transport in the standard library's streams; see `create_connection`."""
        reader = asyncio.StreamReader(limit=limit, loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport, _ = await self.create_connection(lambda: protocol, host, port, **kwds)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)

    async def start_server(
        self,
        client_connected_cb: ClientConnected,
        host: Host | Iterable[Host] = None,
        port: int | None = None,
        *,
        limit: int = STREAM_LIMIT,
        **kwds: Any,
    ) -> Server:
        """Serve `client_connected_cb(reader, writer)`, a task per connection if a coroutine; see `create_server`."""

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=self.loop)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=self.loop)

        return await self.create_server(factory, host, port, **kwds)
