"""TFTP (RFC 1350, 2347 to 2349, 7440): `get` and `put` of a client, and a server, `TftpServer`."""

from asyncstack.application.tftp.client import get, put
from asyncstack.application.tftp.server import TftpServer
from asyncstack.application.tftp.terms import Terms

__all__ = ["Terms", "TftpServer", "get", "put"]
