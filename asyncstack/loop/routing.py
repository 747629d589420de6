"""`RoutingLoop`: the calls of an event loop that name an address, each sent to a stack or to the loop below.

A mix-in before a loop class. Signatures, results and errors are asyncio's; only keywords that a stack has beyond them
(`tcp`, a network or a range of ports to listen on) go further than the kernel can.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from asyncstack.loop.adoption import Adoptions, Ours
from asyncstack.loop.choosing import Stacks
from asyncstack.loop.files import positioned
from asyncstack.loop.sockets import SocketCalls
from asyncstack.names import parse_literal
from asyncstack.network.addresses import format_address, parse_address, scope_of
from asyncstack.transport.tcp.transport import TcpTransport

if TYPE_CHECKING:
    from asyncstack.stack import Stack

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


class RoutingLoop(SocketCalls):
    """Calls to addresses of the stacks made on this loop are answered by them, all others by the kernel."""

    def __init__(self, *args: Any, **kwds: Any) -> None:
        super().__init__(*args, **kwds)
        self.stacks = Stacks()
        self.adoptions = Adoptions(self, self.stacks)

    @property
    def kernel(self) -> Any:
        """The calls of the loop below, for who means the kernel whatever the address says."""
        return super()

    # names

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        """As asyncio's. Names are looked up by the current stack; one without name servers asks the system for
        what it does not know."""
        stack = self.stacks.current
        if stack is not None and isinstance(host, (str, bytes)) and stack.names.answers(host):
            return await stack.getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """As asyncio's. An address that a stack has, or a route to, is named by that stack."""
        literal = parse_literal(str(sockaddr[0])) if isinstance(sockaddr, tuple) and sockaddr else b""
        stack = self.stacks.of_remote(literal) if literal else None
        if stack is not None:
            return await stack.getnameinfo(sockaddr, flags)
        return await super().getnameinfo(sockaddr, flags)

    async def _addresses(self, host: Any, family: int, type: int) -> list[bytes]:
        """The addresses of a host, which a literal is without waiting."""
        try:
            return [parse_address(host)]
        except ValueError:
            found = await self.getaddrinfo(host, None, family=family, type=type)
            return list(dict.fromkeys(parse_address(info[4][0]) for info in found))

    # TCP

    async def create_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: Any = None,
        port: Any = None,
        *,
        ssl: Any = None,
        family: int = 0,
        sock: Any = None,
        local_addr: Any = None,
        server_hostname: str | None = None,
        **kwds: Any,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """As asyncio's."""
        kwds |= {"ssl": ssl, "family": family, "local_addr": local_addr, "server_hostname": server_hostname}
        ours: Any = self.adoptions.find(sock)
        if ours is not None:
            call = self._owner_of(ours).create_connection
            return await self._hand_over(sock, call(protocol_factory, host, port, sock=ours, **kwds))
        if sock is None and self.stacks and (host is not None or port is not None):
            addresses = await self._addresses(host or "localhost", family, socket.SOCK_STREAM)
            stack = await self._stack_towards(addresses, local_addr, _scope(host))
            if stack is not None:
                if ssl and server_hostname is None and host:
                    kwds["server_hostname"] = str(host)
                return await stack.create_connection(
                    protocol_factory,
                    [host] if _scope(host) else list(map(format_address, addresses)),
                    port,
                    **kwds,
                )
        return await super().create_connection(protocol_factory, host, port, sock=sock, **kwds)

    async def connect_accepted_socket(
        self, protocol_factory: Callable[[], ProtocolT], sock: Any, **kwds: Any
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """As asyncio's."""
        ours: Any = self.adoptions.find(sock)
        if ours is None:
            return await super().connect_accepted_socket(protocol_factory, sock, **kwds)
        call = self._owner_of(ours).connect_accepted_socket
        return await self._hand_over(sock, call(protocol_factory, ours, **kwds))

    def _owner_of(self, ours: Ours) -> Stack:
        stack = self.adoptions.stack_of(ours)
        if stack is None:
            raise RuntimeError(f"the stack of {ours!r} is closed, or of another loop")
        return stack

    async def _hand_over(self, sock: Any, taking: Awaitable[tuple[Any, ProtocolT]]) -> tuple[Any, ProtocolT]:
        """What `taking` gives, a transport over the socket that stands in for `sock`. It ends that if it fails."""
        try:
            transport, protocol = await taking
        except BaseException:
            ours = self.adoptions.find(sock)
            if ours is not None and ours.is_closed:  # else it was not taken
                sock.close()
            raise
        self.adoptions.handed_over(sock, transport.get_extra_info("socket"))
        return transport, protocol

    async def _stack_towards(self, remotes: list[bytes], local_addr: Any, scope: str) -> Stack | None:
        """The stack that has the local address, if one is asked for; else the one with a route to the first remote, by
        its interface called `scope` if the address says that."""
        if local_addr is not None and local_addr[0]:
            for local in await self._addresses(local_addr[0], 0, socket.SOCK_STREAM):
                if any(local) and (stack := self.stacks.of_local(local)) is not None:
                    return stack
        return next(filter(None, (self.stacks.of_remote(one, scope) for one in remotes)), None)

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: Any = None,
        *,
        family: int = socket.AF_UNSPEC,
        sock: Any = None,
        **kwds: Any,
    ) -> Any:
        """As asyncio's. Without a host, or for any address, the current stack listens."""
        ours: Any = None if sock is None else self.adoptions.at(sock)
        if ours is not None:
            call = self._owner_of(ours).create_server
            server = await call(protocol_factory, host, port, family=family, sock=ours, **kwds)
            self.adoptions.handed_over(sock, ours)
            return server
        if sock is None and self.stacks and (host is not None or port is not None):
            stack = await self._stack_at(host, family)
            if stack is not None:
                return await stack.create_server(protocol_factory, host, port, family=family, **kwds)
        return await super().create_server(protocol_factory, host, port, family=family, sock=sock, **kwds)

    async def _stack_at(self, host: Any, family: int) -> Stack | None:
        """The stack whose addresses all of `host` are. Raises ValueError for several networks at once."""
        several = host is not None and not isinstance(host, str) and isinstance(host, Iterable)
        found: dict[Stack | None, Any] = {}
        for one in host if several else [host]:
            if isinstance(one, str) and "/" in one:
                found[self.stacks.current] = one  # a network, which only a stack can listen on
                continue
            addresses = await self._addresses(one, family, socket.SOCK_STREAM) if one else [bytes(4)]
            for address in addresses:
                found[self.stacks.of_local(address)] = one
        if len(found) > 1:
            raise ValueError(
                f"create_server({host!r}): these belong to {', '.join(map(_owner, found))}: make a server for each"
            )
        return next(iter(found), None)

    # UDP

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], ProtocolT],
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        family: int = 0,
        sock: Any = None,
        **kwds: Any,
    ) -> tuple[asyncio.DatagramTransport, ProtocolT]:
        """As asyncio's."""
        ours: Any = None if sock is None else self.adoptions.at(sock)
        if ours is not None:
            call = self._owner_of(ours).create_datagram_endpoint
            taking = call(protocol_factory, local_addr, remote_addr, family=family, sock=ours, **kwds)
            return await self._hand_over(sock, taking)
        stack = None
        if sock is None and self.stacks and family != getattr(socket, "AF_UNIX", None):
            stack = await self._stack_between(local_addr, remote_addr, family)
        if stack is not None:
            return await stack.create_datagram_endpoint(
                protocol_factory, local_addr, remote_addr, family=family, **kwds
            )
        return await super().create_datagram_endpoint(
            protocol_factory, local_addr, remote_addr, family=family, sock=sock, **kwds
        )

    async def _stack_between(self, local_addr: Any, remote_addr: Any, family: int) -> Stack | None:
        if remote_addr is not None:
            remotes = await self._addresses(remote_addr[0], family, socket.SOCK_DGRAM)
            return await self._stack_towards(remotes, local_addr, _scope(remote_addr[0]))
        if local_addr is not None and local_addr[0]:
            locals_ = await self._addresses(local_addr[0], family, socket.SOCK_DGRAM)
            return next(filter(None, map(self.stacks.of_local, locals_)), None)
        return self.stacks.current

    # TLS and files

    async def start_tls(
        self, transport: Any, protocol: Any, sslcontext: ssl_module.SSLContext, **kwds: Any
    ) -> Any:
        """As asyncio's. The transports of a stack, and TLS over them, get the standard library's TLS on every loop."""
        if _is_ours(transport):
            return await asyncio.BaseEventLoop.start_tls(self, transport, protocol, sslcontext, **kwds)  # type: ignore[arg-type]
        return await super().start_tls(transport, protocol, sslcontext, **kwds)

    async def sendfile(
        self, transport: Any, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool = True
    ) -> int:
        """As asyncio's. A stack has no descriptor to hand to the kernel: the file is read and written."""
        if _is_ours(transport):
            return await asyncio.BaseEventLoop.sendfile(
                self,  # type: ignore[arg-type]
                transport,
                positioned(file) if isinstance(transport, TcpTransport) else file,
                offset,
                count,
                fallback=fallback,
            )
        return await super().sendfile(transport, file, offset, count, fallback=fallback)

    _sendfile_fallback = asyncio.BaseEventLoop._sendfile_fallback  # type: ignore[attr-defined]


def _is_ours(transport: Any) -> bool:
    from asyncio.sslproto import _SSLProtocolTransport

    while isinstance(transport, _SSLProtocolTransport):  # TLS in TLS
        protocol: Any = transport._ssl_protocol
        transport = protocol._transport
    return isinstance(transport, TcpTransport)


def _scope(host: Any) -> str:
    return scope_of(host) if isinstance(host, str) else ""


def _owner(stack: Stack | None) -> str:
    return "the kernel" if stack is None else repr(stack)
