"""What the client does: loads on the kernel's blocking sockets, each bounded in time."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Sequence

CHUNK = bytes(256 << 10)
STALL = 10.0  # seconds without progress after which a connection counts as dead


def family_of(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connect(host: str, port: int, timeout: float = STALL) -> socket.socket:
    """A blocking connection with TCP_NODELAY."""
    connection = socket.create_connection((host, port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(STALL)
    return connection


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError(f"the server closed after {len(data)} of {size} bytes")
        data += more
    return data


def upload(host: str, port: int, seconds: float) -> dict[str, float]:
    """Send for so long, then wait until the server says that it has everything: bytes and seconds."""
    with connect(host, port) as connection:
        start = time.perf_counter()
        end = start + seconds
        sent = 0
        while time.perf_counter() < end:
            sent += connection.send(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        arrived = int.from_bytes(receive(connection, 8), "big")
        taken = time.perf_counter() - start
    if arrived != sent:
        raise ConnectionError(f"sent {sent} bytes, the server counted {arrived}")
    return {"bytes": sent, "seconds": taken}


def download_https(host: str, port: int, seconds: float) -> dict[str, float]:
    """GET /bulk over TLS for so long: bytes (headers and chunk sizes too) and seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(connect(host, port)) as connection:
        connection.sendall(f"GET /bulk HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
            raise ConnectionError("no answer to GET /bulk")
        return _receive_for(connection, seconds)


def download(host: str, port: int, seconds: float) -> dict[str, float]:
    """Receive for so long: bytes and seconds."""
    with connect(host, port) as connection:
        return _receive_for(connection, seconds)


def _receive_for(connection: socket.socket, seconds: float) -> dict[str, float]:
    buffer = bytearray(1 << 20)
    start = time.perf_counter()
    end = start + seconds
    received = 0
    while (now := time.perf_counter()) < end:
        size = connection.recv_into(buffer)
        if not size:
            raise ConnectionError("the server closed during the download")
        received += size
    return {"bytes": received, "seconds": now - start}


def ping_pong(connections: Sequence[socket.socket], seconds: float) -> dict[str, float]:
    """64 bytes there and back, one at a time, over the connections in turn: median and p99 in seconds."""
    message = bytes(64)
    clock = time.perf_counter
    times: list[float] = []
    turn = 0
    end = clock() + seconds
    while (start := clock()) < end:
        connection = connections[turn]
        turn = (turn + 1) % len(connections)
        connection.send(message)
        size = len(connection.recv(64))
        if size != 64:
            receive(connection, 64 - size)
        times.append(clock() - start)
    times.sort()
    return {
        "median": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "requests": len(times),
    }


def connect_and_close(host: str, port: int, at_once: int, seconds: float) -> dict[str, float]:
    """Connect, send a byte, receive one and the server's close, close; `at_once` of them all the time."""
    poll = select.epoll()
    live: dict[int, socket.socket] = {}
    done = refused = 0
    start = time.perf_counter()
    end = start + seconds
    try:
        while True:
            while len(live) < at_once and time.perf_counter() < end:
                _begin(host, port, poll, live)
            events = poll.poll(STALL) if live else []
            if not events:
                break
            for fd, event in events:
                finished = _go_on(live[fd], event, poll)
                if finished is not None:
                    live.pop(fd).close()
                    done += finished
                    refused += not finished
        taken = time.perf_counter() - start
        if live:
            raise TimeoutError(f"{len(live)} connections hang after {done} done")
    finally:
        poll.close()
        for connection in live.values():
            connection.close()
    return {"connections": done, "failed": refused, "seconds": taken}


def _begin(host: str, port: int, poll: select.epoll, live: dict[int, socket.socket]) -> None:
    connection = socket.socket(family_of(host))
    connection.setblocking(False)
    live[connection.fileno()] = connection
    error = connection.connect_ex((host, port))
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, errno.errorcode[error])
    poll.register(connection, select.EPOLLOUT)


def _go_on(connection: socket.socket, event: int, poll: select.epoll) -> bool | None:
    """True: completed; False: failed; None: not finished."""
    try:
        if event & select.EPOLLOUT:
            connection.send(b"?")
            poll.modify(connection, select.EPOLLIN)
            return None
        if connection.recv(2) == b"":
            return True  # the byte has been read before
        return True if connection.recv(1) == b"" else None
    except BlockingIOError:
        return None
    except OSError:
        return False


def flood(host: str, port: int, seconds: float) -> dict[str, float]:
    """UDP datagrams of 64 bytes, as fast as the kernel takes them: how many per second."""
    payload = bytes(64)
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as sender:
        sender.connect((host, port))
        start = time.perf_counter()
        end = start + seconds
        sent = 0
        while (now := time.perf_counter()) < end:
            for _ in range(64):
                try:
                    sender.send(payload)
                except OSError:
                    continue  # no buffer, or an ICMP error reported
                sent += 1
    return {"rate": sent / (now - start)}


def http(host: str, port: int, connections: int, seconds: float) -> dict[str, float]:
    """Keep-alive requests, one at a time on each connection, over epoll: responses and seconds.

    Stands in for wrk; the servers of the benchmark answer every request in one piece.
    """
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    live = {one.fileno(): one for one in (connect(host, port) for _ in range(connections))}
    responses = 0
    with select.epoll() as poll:
        for one in live.values():
            poll.register(one, select.EPOLLIN)
            one.send(request)
        start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            for fd, _ in poll.poll(STALL):
                if not live[fd].recv(65536):
                    raise ConnectionError(f"the server closed after {responses} responses")
                responses += 1
                live[fd].send(request)
    for one in live.values():
        one.close()
    return {"responses": responses, "seconds": now - start}
