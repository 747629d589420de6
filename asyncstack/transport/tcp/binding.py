"""bind(2) for TCP: an address and port that nobody else has, as far as SO_REUSEADDR and SO_REUSEPORT let them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from asyncstack.errors import os_error
from asyncstack.network.addresses import format_address
from asyncstack.transport.claims import Claim
from asyncstack.transport.ports import choose_ephemeral

if TYPE_CHECKING:
    from asyncstack.transport.tcp.layer import TcpLayer


def bind(
    layer: TcpLayer, hosts: list[bytes], port: int, *, reuse_address: bool = False, reuse_port: bool = False
) -> Claim:
    """Claim `port` (0: any free one) of `hosts`, all zeros for any address of a family.

    Raises OSError EADDRNOTAVAIL for an address that is not ours, EADDRINUSE.
    """
    for host in hosts:
        if any(host) and not layer.addresses.is_local(host):
            raise os_error(
                errno.EADDRNOTAVAIL, f"bind to {format_address(host)}: not an address of this stack"
            )

    def claim_of(candidate: int) -> Claim:
        return Claim(hosts, candidate, reuse_address=reuse_address, reuse_port=reuse_port)

    if port:
        claim = claim_of(port)
        if _in_use(layer, claim):
            raise os_error(errno.EADDRINUSE, f"bind to {format_address(hosts[0])} port {port}")
    else:
        claim = claim_of(
            choose_ephemeral(
                layer.context.rng,
                layer.config.ephemeral_ports,
                lambda candidate: _in_use(layer, Claim(hosts, candidate)),
            )
        )
    layer.claims.add(claim)
    return claim


def _in_use(layer: TcpLayer, claim: Claim) -> bool:
    if not layer.claims.admits(claim):
        return True
    if any(layer.listeners.excludes(host, claim.port, claim.reuse_port) for host in claim.hosts):
        return True
    return not claim.reuse_address and any(layer.connected(host, claim.port) for host in claim.hosts)
