"""A thread that may wait connects to the stack: through the loop of another thread, which has it.

The thread's socket gets one end of a socket pair as its descriptor, so that all its calls, TLS over it and `select` do
what they always do; the loop relays between the other end and a connection of the stack.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from asyncstack.application.forwarder import Side


def connect_through(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    remote: tuple[Any, ...],
    local: tuple[Any, ...] | None,
) -> tuple[Any, ...]:
    """Connect `sock` to `remote` of a stack of `loop`, within its timeout; where it is connected from.

    Raises OSError as `socket.connect`.
    """
    ours, theirs = socket.socketpair()
    with ours:
        connecting = asyncio.run_coroutine_threadsafe(_relay(loop, theirs, remote, local), loop)
        try:
            name = connecting.result(sock.gettimeout())
        except TimeoutError:
            if not connecting.cancel():
                raise  # the connection's own
            raise TimeoutError("timed out") from None
        os.dup2(ours.fileno(), sock.fileno(), inheritable=False)
        os.set_blocking(sock.fileno(), sock.gettimeout() is None)
    return name


async def _relay(
    loop: asyncio.AbstractEventLoop,
    theirs: socket.socket,
    remote: tuple[Any, ...],
    local: tuple[Any, ...] | None,
) -> tuple[Any, ...]:
    sides: dict[Side, None] = {}
    try:
        transport, far = await loop.create_connection(
            lambda: Side(sides), *remote[:2], local_addr=local[:2] if local is not None else None
        )
    except BaseException:
        theirs.close()
        raise
    name: tuple[Any, ...] = transport.get_extra_info("sockname")
    try:
        _, near = await loop.create_unix_connection(lambda: Side(sides), sock=theirs)
    except BaseException:
        transport.abort()
        raise
    near.join(far)
    return name
