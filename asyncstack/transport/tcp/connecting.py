"""Opening a connection: one attempt, and the attempts at all the addresses of a host (RFC 8305 5)."""

from __future__ import annotations

import asyncio
import contextvars
import errno
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from asyncstack.config import TcpConfig
from asyncstack.errors import os_error
from asyncstack.network.addresses import format_on
from asyncstack.transport.tcp.endpoint import Owner, TcpEndpoint
from asyncstack.transport.tcp.transport import ProtocolFactory, TcpTransport

if TYPE_CHECKING:
    from asyncstack.link.interface import Interface
    from asyncstack.transport.tcp.layer import TcpLayer


class Target(NamedTuple):
    """Where to connect to: remote address and port; from where, b"" and 0: any; by which interface, if that is what a
    link-local address says; and with which flow label, 0: its own."""

    remote: bytes
    port: int
    local: bytes = b""
    local_port: int = 0
    scope: Interface | None = None
    flow_label: int = 0


class Connecting(Owner):
    """Owns an endpoint during an active open; makes the transport once it is open."""

    def __init__(self, factory: ProtocolFactory, result: asyncio.Future[TcpTransport]) -> None:
        self._factory = factory
        self._result = result
        self._context = contextvars.copy_context()

    def opened(self, endpoint: TcpEndpoint) -> None:
        """Make the protocol and its transport. What the factory raises goes to who is connecting."""
        if self._result.done():
            endpoint.abort()
            return
        try:
            protocol = self._context.run(self._factory)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._result.set_exception(exc)
            endpoint.abort()
            return
        TcpTransport(endpoint, protocol, self._context, waiter=self._result)

    def closed(self, endpoint: TcpEndpoint, error: OSError | None) -> None:
        """The peer refused, or nobody answered."""
        if not self._result.done():
            reason = error or os_error(errno.ECONNABORTED)
            remote = f"{format_on(endpoint.key[2], endpoint.path.interface)} port {endpoint.key[3]}"
            self._result.set_exception(os_error(reason.errno or errno.ECONNABORTED, f"connect to {remote}"))

    def finish(self, endpoint: TcpEndpoint) -> None:
        """Nobody will wait for the answer."""
        endpoint.abort()


def interleaved(addresses: list[bytes], first: int) -> list[bytes]:
    """`addresses` with the families in turn, after `first` of the family that comes first (RFC 8305 4)."""
    families: dict[int, list[bytes]] = {}
    for address in addresses:
        families.setdefault(len(address), []).append(address)
    groups = list(families.values())
    ahead = max(first - 1, 0)
    turns = zip_longest(groups[0][ahead:], *groups[1:])
    return groups[0][:ahead] + [address for turn in turns for address in turn if address is not None]


async def connect_any(
    layer: TcpLayer,
    factory: ProtocolFactory,
    targets: list[Target],
    delay: float | None,
    all_errors: bool,
    config: TcpConfig | None = None,
) -> TcpTransport:
    """The first connection of `targets` that opens, tried in turn; with a `delay` (seconds) the next attempt
    starts when the last one has failed or has taken that long. Only the one that wins makes a protocol.

    Raises the OSError that says why all of them failed, or an ExceptionGroup of them.
    """
    won = False

    def make() -> asyncio.BaseProtocol:
        nonlocal won
        if won:
            raise os_error(errno.ECONNABORTED, "another address was faster")
        won = True
        return factory()

    errors: list[OSError] = []
    try:
        opened = await _race(layer, make, targets, delay, errors, config)
        if opened is not None:
            return opened
        if all_errors:
            raise ExceptionGroup("create_connection failed", list(errors))
        raise combined(errors)
    finally:
        errors.clear()  # their tracebacks hold this frame


async def _race(
    layer: TcpLayer,
    factory: ProtocolFactory,
    targets: list[Target],
    delay: float | None,
    errors: list[OSError],
    config: TcpConfig | None,
) -> TcpTransport | None:
    if delay is None:
        for target in targets:
            try:
                return await layer.connect(factory, target, config)
            except OSError as exc:
                errors.append(exc)
        return None
    started: list[asyncio.Task[TcpTransport]] = []
    try:
        return await _staggered(layer, factory, targets, delay, errors, config, started)
    except BaseException:  # cancelled when one had just opened, perhaps
        for task in started:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().abort()
        raise


async def _staggered(
    layer: TcpLayer,
    factory: ProtocolFactory,
    targets: list[Target],
    delay: float,
    errors: list[OSError],
    config: TcpConfig | None,
    started: list[asyncio.Task[TcpTransport]],
) -> TcpTransport | None:
    """`started` has every attempt, also after an error."""
    running: set[asyncio.Task[TcpTransport]] = set()
    try:
        while running or len(started) < len(targets):
            if len(started) < len(targets):
                started.append(layer.loop.create_task(layer.connect(factory, targets[len(started)], config)))
                running.add(started[-1])
            timeout = delay if len(started) < len(targets) else None
            done, running = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=started.index):
                # not raised here: its traceback would hold this frame, and the frame the task
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
        return None
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


def combined(errors: list[OSError]) -> OSError:
    """One error for several: the only one, or all their texts, with their errno if they have the same."""
    if len({str(error) for error in errors}) == 1:
        return errors[0]
    text = f"Multiple exceptions: {', '.join(map(str, errors))}"
    numbers = {error.errno for error in errors}
    return OSError(errors[0].errno, text) if len(numbers) == 1 else OSError(text)
