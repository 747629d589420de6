"""TLS over a stack's transports: the standard library's (`asyncio.sslproto`), with asyncio's arguments."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import errno
import ssl as ssl_module
from typing import Any, NamedTuple, cast

from asyncstack.errors import os_error

Ssl = ssl_module.SSLContext | bool | None


class Tls(NamedTuple):
    """How a connection is secured; times in seconds, None: asyncio's. `context` True: the library's default one."""

    context: ssl_module.SSLContext | bool
    server_hostname: str | None = None
    handshake_timeout: float | None = None
    shutdown_timeout: float | None = None
    server_side: bool = False

    def protocol(
        self,
        loop: asyncio.AbstractEventLoop,
        inner: asyncio.BaseProtocol,
        done: asyncio.Future[None] | None = None,
    ) -> asyncio.BaseProtocol:
        """What stands between a transport of ours and `inner`. `done` hears how the handshake ended, if anybody waits
        for it."""
        made: asyncio.BaseProtocol = asyncio.sslproto.SSLProtocol(
            loop,
            cast(asyncio.Protocol, inner),
            self.context if isinstance(self.context, ssl_module.SSLContext) else None,  # type: ignore[arg-type]
            done,  # type: ignore[arg-type]
            server_side=self.server_side,
            server_hostname=self.server_hostname,
            ssl_handshake_timeout=self.handshake_timeout,  # type: ignore[arg-type]
            ssl_shutdown_timeout=self.shutdown_timeout,
        )
        return made


async def handshake(transport: asyncio.Transport, done: asyncio.Future[None]) -> asyncio.Transport:
    """The transport that encrypts, once `done`. Aborts `transport` and raises what the handshake failed of."""
    protocol: Any = transport.get_protocol()  # None if the end was told already
    # the protocol forgets it at the end
    secured = None if protocol is None else protocol._get_app_transport()
    try:
        await done
        if secured is None or protocol._app_state is asyncio.sslproto.AppProtocolState.STATE_INIT:
            raise os_error(errno.ECONNABORTED, "closed here before the TLS handshake was over")
    except BaseException:
        transport.abort()
        raise
    finally:
        del done
    return cast(asyncio.Transport, secured)


def check(
    ssl: Ssl, server_hostname: str | None, handshake_timeout: float | None, shutdown_timeout: float | None
) -> None:
    """Raise ValueError for arguments that only TLS has a use for."""
    if ssl:
        return
    arguments = {
        "server_hostname": server_hostname,
        "ssl_handshake_timeout": handshake_timeout,
        "ssl_shutdown_timeout": shutdown_timeout,
    }
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} is only meaningful with ssl")
