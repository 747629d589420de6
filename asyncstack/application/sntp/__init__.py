"""SNTP (RFC 5905 14, RFC 4330): what time it is, by a server."""

from asyncstack.application.sntp.client import Kiss, Reading, query

__all__ = ["Kiss", "Reading", "query"]
