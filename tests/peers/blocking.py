"""A blocking `connect` of the kernel's.

In the thread of the loop: the stack that is to answer runs on that loop, so the loop runs meanwhile. (A kernel that
listens needs nobody for the handshake.) In another thread: after the loop had its turn.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from contextlib import suppress
from typing import Any

from tests.peers.loops import WithStack

_connect = socket.socket.connect


def keep_loops_running() -> None:
    """Replace `socket.socket.connect` in this process."""
    socket.socket.connect = connect


def connect(sock: socket.socket, address: Any) -> None:
    """As `socket.connect`."""
    loop = WithStack.newest
    if sock.gettimeout() == 0 or sock.family != socket.AF_INET or loop is None or loop.is_closed():
        _connect(sock, address)
    elif loop.thread is not threading.current_thread():
        _wait_for_turns(loop)
        _connect(sock, address)
    elif asyncio._get_running_loop() is not None:
        _connect(sock, address)
    else:
        _connect_meanwhile(sock, address, loop)


def _wait_for_turns(loop: WithStack) -> None:
    """Let the loop be told first of a listening socket of the kernel that it is about to replace: whoever the kernel
    has connected to it by then is reset."""
    for _ in range(3):
        turn = threading.Event()
        with suppress(RuntimeError):  # it is closed
            loop.call_soon_threadsafe(turn.set)
            turn.wait(0.1 if loop.is_running() else 0)


def _connect_meanwhile(sock: socket.socket, address: Any, loop: WithStack) -> None:
    timeout = sock.gettimeout()
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
