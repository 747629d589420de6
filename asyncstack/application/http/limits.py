"""How much, how long and how many: what one connection may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Limits:
    """Limits of a server's connections. Sizes in bytes, times in seconds.

    A server answers pipelined requests one after the other, so one is in flight per connection and the rest
    waits as unread bytes: at most twice the limit of the `StreamReader` (64 KiB by default), then TCP's window.
    """

    request_line: int = 8 * 1024  # beyond: 414
    head_size: int = 32 * 1024  # request line and header fields; beyond: 431
    header_count: int = 100  # beyond: 431
    body_size: int = 16 * 1024 * 1024  # beyond: 413; a route may have its own
    chunk_line: int = 1024  # a chunk size with its extensions
    trailer_size: int = 8 * 1024

    idle_time: float = 75.0  # between requests, and before the first; then closed without a word
    head_time: float = 10.0  # from the first byte of a head to its last; beyond: 408
    body_time: float = 30.0  # between two pieces of a body; beyond: 408
    body_rate: float = 500.0  # bytes per second over the time spent waiting for a body, after `body_grace`
    body_grace: float = 10.0
    write_time: float = 60.0  # for a client to make room in a full write buffer; beyond: reset
    requests: int = 100_000  # answered on one connection; then it is closed

    discard_size: int = 64 * 1024  # of a body nobody reads, before the connection is given up for reuse
    linger_time: float = 2.0  # how long input is thrown away after the last answer, so that no reset eats it
    linger_size: int = 4 * 1024 * 1024
    close_time: float = 10.0  # for the last bytes to leave


@dataclass(slots=True, kw_only=True)
class ClientLimits:
    """Limits of a client. Sizes in bytes, times in seconds; 0 for `body_size` is no limit."""

    head_size: int = 64 * 1024
    header_count: int = 200
    chunk_line: int = 1024
    trailer_size: int = 16 * 1024
    body_size: int = 64 * 1024 * 1024  # of a body that `read` collects; a stream is bounded by backpressure

    connect_time: float = 10.0
    response_time: float = 60.0  # from the request's last byte to the response's head
    body_time: float = 60.0  # between two pieces of a body
    write_time: float = 60.0

    idle_time: float = 30.0  # a pooled connection older than that is not used again
    idle_per_origin: int = 8
    idle_total: int = 64
    redirects: int = 10
