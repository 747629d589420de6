"""DHCP for IPv4 (RFC 2131, RFC 2132): a client for an interface, and a server.

- `client`      `Dhcp4Client`: the shell, with the port and the timer
- `machine`     what it decides; `states` its table, `asking` its messages, `retry` when it repeats them
- `lease`       what a server has given, read from an ACK
- `installing`  what of that goes into the stack
"""

from asyncstack.application.dhcp.client import Dhcp4Client
from asyncstack.application.dhcp.lease import Lease, Parameters

__all__ = ["Dhcp4Client", "Lease", "Parameters"]
