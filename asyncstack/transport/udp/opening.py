"""How `Stack.create_datagram_endpoint` comes by an endpoint: it makes one, or takes over a socket's."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from asyncstack.network.addresses import format_address, parse_address
from asyncstack.transport.endpoint_socket import SocketAddress
from asyncstack.transport.sockets.addresses import join
from asyncstack.transport.sockets.datagrams import DatagramSocket
from asyncstack.transport.udp.ancillary import Received
from asyncstack.transport.udp.endpoint import UdpEndpoint
from asyncstack.transport.udp.settings import DatagramSettings

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.udp.layer import UdpLayer


class _Literals:
    """The names that a transport knows: none."""

    def resolve(self, host: Any, family: int) -> list[bytes]:
        """The address that `host` is the text of. Raises ValueError for a name, socket.gaierror for an address of
        another family than `family`, 0: any."""
        try:
            address = parse_address(host)
        except ValueError:
            raise ValueError(f"{host!r} is no literal address, which is what sendto() takes") from None
        if family and (len(address) == 4) != (family == socket.AF_INET):
            raise socket.gaierror(socket.EAI_ADDRFAMILY, f"{format_address(address)} is of the other family")
        return [address]


LITERALS: Final = _Literals()


def open_endpoint(
    layer: UdpLayer,
    pairs: list[tuple[bytes, bytes]],
    ports: tuple[int, int],
    settings: DatagramSettings,
    scope: Interface | None = None,
) -> tuple[UdpEndpoint, SocketAddress | None]:
    """An endpoint for the first of `pairs` of local and remote address that works, and where it sends to; b"" is no
    address. scope: the interface that the remote address says. Raises the OSError of the first pair. As asyncio has it,
    one that may broadcast is not connected, so that it hears who answers."""
    errors: list[OSError] = []
    try:
        for local, remote in pairs:
            family = socket.AF_INET if len(local or remote) == 4 else socket.AF_INET6
            endpoint = UdpEndpoint(layer, family, LITERALS, settings)
            try:
                if local:
                    endpoint.bind(local, ports[0])
                if remote and not settings.broadcast:
                    endpoint.connect(remote, ports[1], scope)
                endpoint.bound()
                index = 0 if scope is None else scope.index
                return endpoint, join(remote, ports[1], family, index) if remote else None
            except OSError as exc:
                endpoint.close()
                errors.append(exc)
        raise errors[0]
    finally:
        errors.clear()  # their tracebacks hold this frame


def take_over(layer: UdpLayer, sock: Any, modifiers: dict[str, Any]) -> tuple[UdpEndpoint, list[Received]]:
    """The endpoint of `sock`, and what waits there to be read. Raises ValueError if it is no datagram socket of this
    stack, or if any of `modifiers`, which are for an endpoint to be made, is given."""
    if not isinstance(sock, DatagramSocket) or sock.endpoint.layer is not layer:
        raise ValueError(
            f"A UDP Socket was expected, a datagram socket that Stack.socket() of this stack gave, not {sock!r}"
        )
    given = ", ".join(f"{name}={value}" for name, value in modifiers.items() if value)
    if given:
        raise ValueError(
            f"socket modifier keyword arguments can not be used when sock is specified ({given})"
        )
    sock.endpoint.bound()
    return sock.hand_over()
