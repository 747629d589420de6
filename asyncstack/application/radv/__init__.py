"""Router advertisements (RFC 4861 6.2), by which hosts configure themselves.

async with RouterAdvertiser(stack, interface, ["fd00:1::/64"], dns=["fd00:1::1"]):
    ...
"""

from asyncstack.application.radv.server import RouterAdvertiser

__all__ = ["RouterAdvertiser"]
