"""`asyncstack.run`: a coroutine on a loop that has its stack."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from asyncstack.loop.settings import Settings
from asyncstack.loop.tables import SettingsError, read_table

if TYPE_CHECKING:
    from asyncstack.config import StackConfig

T = TypeVar("T")
LoopKind = Literal["uvloop", "selector"]


def run(
    main: Coroutine[Any, Any, T],
    *,
    tun: str | None = None,
    tap: str | None = None,
    addresses: str | Iterable[str] = (),
    peer: str | Iterable[str] = (),
    gateway: str | Iterable[str] = (),
    mtu: int = 1500,
    capture: str | os.PathLike[str] | None = None,
    network: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    hosts: Mapping[str, str | list[str]] | None = None,
    config: StackConfig | None = None,
    loop: LoopKind = "uvloop",
    debug: bool | None = None,
) -> T:
    """`asyncio.run` with a stack, which is open before `main` starts and ends in order after it.

        asyncstack.run(main(), tun="as0", addresses="10.9.0.2/24", peer="10.9.0.1/24")

    tun, tap: the kernel's interface, made if it is not there. addresses: the stack's own, with prefix lengths. peer:
    the kernel's on that interface. gateway: the default route; without one the networks of its addresses are what the
    stack reaches, and all else is the kernel's. mtu: bytes. capture: a pcapng file.
    network: a simulated network instead; a TOML file, or its `[network]` table as a dict (see `loop.settings`).
    hosts: names and their addresses. config: the stack's settings. loop: "uvloop" or "selector".

    asyncio's calls to addresses of the stack, or to where it has a route, are answered by it; all others by the kernel.
    For what asyncio has no call for (`ping`, `subscribe`, the servers of `asyncstack.application`) the stack itself is
    `asyncio.get_running_loop().stacks.current`.

    Without `tun`, `tap` and `network` it is what the environment says (ASYNCSTACK_CONFIG, ASYNCSTACK_TUN, ...).

    Raises SettingsError (a ValueError) for settings that can not be, TypeError for a `main` that is no coroutine,
    RuntimeError in a running event loop, OSError for what the system refuses, and whatever `main` raises.
    """
    from asyncstack.loop.loops import EventLoop, SelectorEventLoop
    from asyncstack.loop.opening import Opening

    if not asyncio.iscoroutine(main):
        raise TypeError(f"asyncstack.run: a coroutine is wanted, as in run(main()), not {main!r}")
    try:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "asyncstack.run: an event loop runs in this thread already (a notebook's, an async function's): "
                "await asyncio.to_thread(asyncstack.run, main(), ...), or make an asyncstack.Stack in the loop"
            )
        if loop not in ("uvloop", "selector"):
            raise SettingsError(f"asyncstack.run: loop={loop!r}: give 'uvloop' or 'selector'")
        given = {
            "tun": tun,
            "tap": tap,
            "addresses": addresses,
            "peer": peer,
            "gateway": gateway,
            "capture": capture,
        }
        settings = _settings({**given, "mtu": mtu if mtu != 1500 else None}, network)
        settings.hosts |= _read_hosts(hosts or {})
        if config is not None:
            settings.stack = config
    except BaseException:
        main.close()  # it never starts, and that is said already
        raise
    kind = EventLoop if loop == "uvloop" else SelectorEventLoop
    with asyncio.Runner(debug=debug, loop_factory=lambda: kind(opening=Opening(settings))) as runner:
        return runner.run(main)


def _settings(
    interface: dict[str, Any], network: str | os.PathLike[str] | Mapping[str, Any] | None
) -> Settings:
    """The settings that were given, else those of the environment."""
    table = {key: _plain(value) for key, value in interface.items() if value not in (None, ())}
    if network is not None:
        if table:
            raise SettingsError(
                f"asyncstack.run: network is for a simulated one: leave out {', '.join(table)}"
            )
        return of_network(network)
    if table:
        return read_table(Settings, {"interface": [table]}, "asyncstack.run")
    found = Settings.from_environment(os.environ)
    if found is None:
        raise SettingsError(
            "asyncstack.run: no interface: give tun, tap or network, or set ASYNCSTACK_CONFIG or ASYNCSTACK_TUN"
        )
    return found


def of_network(network: str | os.PathLike[str] | Mapping[str, Any]) -> Settings:
    """A simulated network's settings, of a file or a table. Raises SettingsError, OSError."""
    if isinstance(network, Mapping):
        return read_table(Settings, {"network": network}, "network")
    settings = Settings.read(network)
    if settings.network is None:
        raise SettingsError(f"{os.fspath(network)}: it has no [network]")
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value if isinstance(value, (str, int)) else list(value)


def _read_hosts(hosts: Mapping[str, str | list[str]]) -> dict[str, list[str]]:
    return {name: [found] if isinstance(found, str) else list(found) for name, found in hosts.items()}
