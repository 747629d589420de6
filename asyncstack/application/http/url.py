"""Where a URL points: an origin to connect to, and a target to ask it for."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

PORTS = {"http": 80, "https": 443}

PATH_SAFE = "/%:@!$&'()*+,;=~-._"
QUERY_SAFE = PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (a name or an address, without brackets; "fe80::1%lan" has a zone) and port: what connections are
    shared by."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The value of the Host header: zones mean nothing to others (RFC 6874 4)."""
        return self.at(self.host.partition("%")[0])

    def at(self, host: str) -> str:
        """`host` and the port as they stand in a URL."""
        host = f"[{host}]" if ":" in host else host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that was taken apart; `target` is in origin form (path and query, percent-encoded)."""

    origin: Origin
    target: str

    def __str__(self) -> str:
        authority = self.origin.at(self.origin.host.replace("%", "%25"))
        return f"{self.origin.scheme}://{authority}{self.target}"


def parse_url(text: str) -> Url:
    """An absolute http or https URL. Characters that may not stand in a request are percent-encoded.

    Raises ValueError, in a line that says what to give instead.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as exc:
        raise ValueError(f"{text!r} is no URL: {exc}") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{text!r}: give an absolute URL, http://host[:port]/path")
    if parts.username is not None:
        raise ValueError("a URL with a user's name: give an Authorization header instead")
    try:
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{text!r}: {parts.hostname!r} is no host name") from None
    address, percent, zone = host.partition("%25" if ":" in host else "\0")  # RFC 6874
    if any(character <= " " or character in "/?#@\\%" for character in address + zone):
        raise ValueError(f"{text!r}: {host!r} is no host name")
    host = f"{address}%{zone}" if percent else address
    target = quote(parts.path or "/", safe=PATH_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=QUERY_SAFE)
    return Url(Origin(parts.scheme, host, port or PORTS[parts.scheme]), target)


def follow(base: Url, location: str) -> Url:
    """Where a Location header leads from `base` (RFC 9110 section 10.2.2). Raises ValueError."""
    return parse_url(urljoin(str(base), location))
