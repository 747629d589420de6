"""DHCP for IPv4 (RFC 2131, RFC 2132): a client for an interface, and a server.

    client = Dhcp4Client(stack, interface)          # what the word "dhcp4" of `add_interface` makes
    await client.start()

    pool = Pool(network="10.0.0.0/24", first="10.0.0.100", routers=["10.0.0.1"], nameservers=["10.0.0.1"])
    async with DhcpServer(stack, interface, pool, leases="leases.txt") as server:
        async for event in server:
            print(event)

The client:

- `client`      `Dhcp4Client`: the shell, with the port and the timer
- `machine`     what it decides; `states` its table, `outcomes` what comes out, `asking` its messages, `retry` when
                it repeats them
- `lease`       what a server has given, read from an ACK
- `installing`  what of that goes into the stack

The server:

- `server`      `DhcpServer`: the shell
- `serving`     what it decides; `answering` its messages
- `pool`        what it may give, `bindings` who has it
- `keeping`     what waits for the disk; `lease_file` what is there
"""

from asyncstack.application.dhcp.bindings import Binding, BindingAdded, BindingRemoved
from asyncstack.application.dhcp.client import Dhcp4Client
from asyncstack.application.dhcp.lease import Lease, Parameters
from asyncstack.application.dhcp.pool import Pool
from asyncstack.application.dhcp.server import DhcpServer

__all__ = [
    "Binding",
    "BindingAdded",
    "BindingRemoved",
    "Dhcp4Client",
    "DhcpServer",
    "Lease",
    "Parameters",
    "Pool",
]
