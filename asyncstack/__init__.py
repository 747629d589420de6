"""asyncstack: a TCP/IP stack that runs on your asyncio event loop."""

from asyncstack.version import __version__

__all__ = ["__version__"]
