"""Why a name was not found. Each is the `socket.gaierror` that `getaddrinfo` raises for it."""

from __future__ import annotations

import socket
from typing import ClassVar, Self


class DnsError(socket.gaierror):
    """A question to DNS without the records asked for."""

    code: ClassVar[int] = socket.EAI_FAIL
    words: ClassVar[str] = "Non-recoverable failure in name resolution"

    @classmethod
    def of(cls, name: str, kind: str, why: str) -> Self:
        """The error for a question, with the C library's words and ours."""
        return cls(cls.code, f"{cls.words}: {name} {kind}: {why}")


class NxDomain(DnsError):
    """The name does not exist (RFC 8020)."""

    code = socket.EAI_NONAME
    words = "Name or service not known"


class NoData(DnsError):
    """The name exists, and has no record of the type asked for (RFC 2308 2.2)."""

    code = socket.EAI_NODATA
    words = "No address associated with hostname"


class ServerFailure(DnsError):
    """Every nameserver that answered could or would not: SERVFAIL, REFUSED, nonsense, a chain without an end."""

    code = socket.EAI_AGAIN
    words = "Temporary failure in name resolution"


class NoAnswer(DnsError):
    """No nameserver answered in time, or there is none."""

    code = socket.EAI_AGAIN
    words = "Temporary failure in name resolution"
