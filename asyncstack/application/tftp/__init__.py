"""TFTP (RFC 1350, 2347 to 2349, 7440): a client, and a server, `TftpServer`.

data = await tftp.get(stack, "10.9.0.1", "boot.img")
await tftp.put(stack, "10.9.0.1", "log.txt", data)

async with TftpServer(stack, "/srv/tftp"):      # to read only, unless writable=True
    ...
"""

from asyncstack.application.tftp.client import get, put
from asyncstack.application.tftp.server import TftpServer
from asyncstack.application.tftp.terms import Terms

__all__ = ["Terms", "TftpServer", "get", "put"]
