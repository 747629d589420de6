"""SNTP (RFC 5905 14, RFC 4330): what time it is, by a server.

reading = await sntp.query(stack, "10.9.0.1")
print(reading.offset, reading.delay, reading.stratum)
"""

from asyncstack.application.sntp.client import Kiss, Reading, query

__all__ = ["Kiss", "Reading", "query"]
