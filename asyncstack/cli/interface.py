"""The options that say which interface a command's stack has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncstack.config import StackConfig
    from asyncstack.events import Event
    from asyncstack.link.capture import Capture
    from asyncstack.link.device import Device
    from asyncstack.link.tuntap import TunTapDevice
    from asyncstack.loop.settings import InterfaceSettings
    from asyncstack.stack import Stack


@dataclass(slots=True)
class InterfaceOptions:
    """What was asked for on the command line. Addresses are "10.9.0.2/24", or words such as "dhcp4"."""

    tun: str | None
    tap: str | None
    mac: str | None
    address: tuple[str, ...]
    peer: tuple[str, ...]
    gateway: tuple[str, ...]
    mtu: int
    offload: bool
    capture: str | None

    def check(self, instead: str = "") -> None:
        """Raises click.UsageError for what makes no interface; `instead`: what could be said in its place."""
        from asyncstack.link.address import parse_mac
        from asyncstack.sources import check_own

        if (self.tun is None) == (self.tap is None):
            raise click.UsageError(f"say which interface: one of --tun NAME and --tap NAME{instead}")
        if self.mac is not None:
            if self.tap is None:
                raise click.UsageError("--mac is for a TAP: a TUN has no Ethernet addresses")
            try:
                parse_mac(self.mac)
            except ValueError as exc:
                raise click.UsageError(f"--mac: {exc}") from None
        if not self.address:
            raise click.UsageError(
                "the stack needs an address of its own: --address 10.9.0.2/24, or on a TAP --address dhcp4"
            )
        for address in self.address:
            try:
                check_own(address, ethernet=self.tap is not None)
            except ValueError as exc:
                raise click.UsageError(f"--address: {exc}") from None

    def check_unused(self, reason: str) -> None:
        """Raises click.UsageError if something was asked for that needs a TUN or TAP."""
        for name in ("tun", "tap", "mac", "address", "peer", "gateway"):
            if getattr(self, name):
                raise click.UsageError(f"{reason}: leave out --{name}")

    def kind(self) -> tuple[type[TunTapDevice], str]:
        """The class of the device, and the name of the kernel's interface."""
        from asyncstack.link.tap import TapDevice
        from asyncstack.link.tun import TunDevice

        return (TunDevice, self.tun or "") if self.tap is None else (TapDevice, self.tap)

    def device(self) -> Device:
        """The device, not yet open."""
        kind, name = self.kind()
        return kind(name, **self.options())

    def options(self) -> dict[str, Any]:
        """What the device is made with."""
        own = {} if self.mac is None else {"address": self.mac}
        return {"peer": list(self.peer) or None, "mtu": self.mtu, "offload": self.offload, **own}

    @property
    def gateways(self) -> list[str]:
        """The next hops of the default routes: each `--gateway`, and for a family without one its `--peer`; not for
        a family without a written address, whose routers are learned with its addresses."""
        peers = [peer.partition("/")[0] for peer in self.peer]
        written = {":" in address for address in self.address if address not in self.words}
        families = written - {":" in gateway for gateway in self.gateway}
        return [*self.gateway, *(peer for peer in peers if (":" in peer) in families)]

    @property
    def words(self) -> list[str]:
        """Where addresses come from that are not written out."""
        from asyncstack.sources import is_word

        return [address for address in self.address if is_word(address)]

    def settings(self) -> InterfaceSettings:
        """The same for a loop that opens it by itself. Raises SettingsError."""
        from asyncstack.loop.settings import InterfaceSettings
        from asyncstack.loop.tables import read_table

        table = {
            "tun": self.tun,
            "tap": self.tap,
            "mac": self.mac,
            "addresses": list(self.address),
            "peer": list(self.peer),
            "gateway": list(self.gateway),
            "mtu": self.mtu,
            "offload": self.offload,
            "capture": self.capture,
        }
        given = {key: value for key, value in table.items() if value is not None}
        return read_table(InterfaceSettings, given, "the command line")

    def urls(self, port: int, scheme: str = "http", stack: Stack | None = None) -> list[str]:
        """Where a browser finds what listens on `port` of each address: those of `stack`, if it is there already."""
        from asyncstack.network.addresses import format_address, is_link_local, is_loopback

        hosts = [address.partition("/")[0] for address in self.address]
        if stack is not None and self.words:
            own = stack.addresses.local
            hosts = [format_address(one) for one in own if not is_loopback(one) and not is_link_local(one)]
        return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/" for host in hosts]

    @asynccontextmanager
    async def stack(
        self, device: Device | None = None, config: StackConfig | None = None
    ) -> AsyncIterator[Stack]:
        """A stack with that interface; `device` instead of one of its own."""
        from asyncstack.cli.running import beginning, say
        from asyncstack.link.capture import Capture
        from asyncstack.loop.waiting import telling
        from asyncstack.stack import Stack

        async with AsyncExitStack() as closing:
            stack = await closing.enter_async_context(Stack(config))
            if self.capture is not None:
                capture = await closing.enter_async_context(Capture(self.capture))
                stack.subscribe(partial(_capture, capture))
            with beginning(), telling(self.words, self.tap or "", say):
                await stack.add_interface(device or self.device(), self.address, self.gateways)
            yield stack


def _capture(capture: Capture, event: Event) -> None:
    """Capture each interface from its first packet on."""
    from asyncstack.events import InterfaceUp

    if isinstance(event, InterfaceUp) and event.interface.name != "lo":
        capture.attach(event.interface)


port_option = click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=80,
    show_default=True,
    help="The port on the stack; 0: any.",
)


def interface_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a click command, which gets them as `interface: InterfaceOptions`."""

    def with_options(**values: Any) -> Any:
        taken = {name: values.pop(name) for name in InterfaceOptions.__slots__}
        return command(interface=InterfaceOptions(**taken), **values)

    with_options.__name__ = command.__name__
    with_options.__doc__ = command.__doc__
    decorated: Callable[..., Any] = with_options
    decorated.__click_params__ = list(getattr(command, "__click_params__", []))  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


_OPTIONS = (
    click.option("--tun", metavar="NAME", help="Work on the TUN device NAME, made if it is not there."),
    click.option("--tap", metavar="NAME", help="Work on the TAP device NAME, made if it is not there."),
    click.option(
        "--mac",
        metavar="MAC",
        help="The stack's Ethernet address on a TAP, such as 02:00:5e:10:00:01; random if not given.",
    ),
    click.option(
        "--address",
        multiple=True,
        metavar="A/LEN",
        help="An address of the stack, IPv4 or IPv6, or on a TAP a word: dhcp4, slaac, dhcp6, link-local; "
        "may be repeated.",
    ),
    click.option(
        "--peer",
        multiple=True,
        metavar="A/LEN",
        help="The kernel's address on the device; undone at the end.",
    ),
    click.option(
        "--gateway",
        multiple=True,
        metavar="A",
        help="The default route, one of each family; without, all commands but `run` take --peer.",
    ),
    click.option(
        "--mtu",
        type=click.IntRange(68, 65535),
        default=1500,
        show_default=True,
        help="Largest packet, bytes.",
    ),
    click.option(
        "--offload/--no-offload", default=True, help="Super-segments and checksums left to the kernel."
    ),
    click.option("--capture", metavar="FILE", help="Write every packet to FILE (pcapng)."),
)
