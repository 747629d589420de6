"""DHCPv6 (RFC 8415): a client for an interface.

client = Dhcp6Client(stack, interface)      # what the word "dhcp6" of `add_interface` makes
await client.start()
"""

from asyncstack.application.dhcp6.client import Dhcp6Client

__all__ = ["Dhcp6Client"]
