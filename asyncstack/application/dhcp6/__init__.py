"""DHCPv6 (RFC 8415): the client, `Dhcp6Client`."""

from asyncstack.application.dhcp6.client import Dhcp6Client

__all__ = ["Dhcp6Client"]
