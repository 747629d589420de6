"""Router advertisements (RFC 4861 6.2), by which hosts configure themselves: `RouterAdvertiser`."""

from asyncstack.application.radv.server import RouterAdvertiser

__all__ = ["RouterAdvertiser"]
