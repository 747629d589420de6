"""Where ping and traceroute go."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, AF_UNSPEC
from typing import TYPE_CHECKING, Final

from asyncstack.cli.running import beginning
from asyncstack.network.addresses import format_address

if TYPE_CHECKING:
    from asyncstack.stack import Stack

FAMILIES: Final = {"4": AF_INET, "6": AF_INET6, "": AF_UNSPEC}


async def find(stack: Stack, host: str, source: str | None, family: str) -> str:
    """The address of `host`: of `family` ("4", "6", "": any), and of that of `source`, if it is given.

    Raises OSError without a name, an address or a way there, and if `source` is none of the stack's addresses.
    """
    with beginning():
        local = b"" if source is None else (await stack.names.lookup(source, FAMILIES[family]))[0]
        wanted = {4: AF_INET, 16: AF_INET6}.get(len(local), FAMILIES[family])
        remote = (await stack.names.lookup(host, wanted))[0]
    plain = format_address(remote)
    named = host if "%" in host else plain
    try:
        stack.routes.lookup(remote, local)
    except OSError as exc:
        raise OSError(exc.errno, (exc.strerror or "").replace(plain, named)) from None
    return named
