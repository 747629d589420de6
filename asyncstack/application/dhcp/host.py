"""What DHCP needs of a stack beside what every service does."""

from __future__ import annotations

from typing import Protocol

from asyncstack.application import host
from asyncstack.network.routing import RoutingTable
from asyncstack.transport.udp.layer import UdpLayer


class Host(host.Host, Protocol):
    """A stack: `asyncstack.Stack` is one."""

    name: str
    routes: RoutingTable
    udp: UdpLayer

    async def ping(self, host: str, *, timeout: float = ...) -> object:
        """See `Stack.ping`."""
