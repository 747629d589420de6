"""A blocking `connect` in the thread of the loop: the stack that is to answer runs on that loop, so the loop runs
meanwhile. (A kernel that listens needs nobody for the handshake.)"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from typing import Any

from tests.peers.loops import WithStack

_connect = socket.socket.connect


def keep_loops_running() -> None:
    """Replace `socket.socket.connect` in this process."""
    socket.socket.connect = connect


def connect(sock: socket.socket, address: Any) -> None:
    """As `socket.connect`."""
    loop = WithStack.newest
    timeout = sock.gettimeout()
    idle = (
        loop is not None and loop.thread is threading.current_thread() and asyncio._get_running_loop() is None
    )
    if timeout == 0 or sock.family != socket.AF_INET or loop is None or not idle or loop.is_closed():
        _connect(sock, address)
        return
    sock.setblocking(False)
    try:
        try:
            _connect(sock, address)
        except BlockingIOError:
            loop.run_until_complete(asyncio.wait_for(_writable(loop, sock), timeout))
            if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error)) from None
    finally:
        sock.settimeout(timeout)


async def _writable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    ready = loop.create_future()
    fd = os.dup(sock.fileno())  # under a number of its own: uvloop lets nobody touch an fd that it watches
    try:
        loop.add_writer(fd, lambda: ready.done() or ready.set_result(None))
        await ready
    finally:
        loop.remove_writer(fd)
        os.close(fd)
