"""What a program's stack shall be, said outside of the program: in environment variables or in a TOML file.

    loopback = false                        # whether 127/8 and ::1 are the stack's too

    [[interface]]                           # one on the kernel; `tap = ` for a TAP, and `mac = ` for ours on it
    tun = "as0"
    addresses = ["10.9.0.2/24", "fd09::2/64"]   # or, on a TAP, "dhcp4", "slaac", "dhcp6", "link-local"
    peer = "10.9.0.1/24"                    # the kernel's own address on it
    gateway = "10.9.0.1"                    # the default route, unless DHCP or a router advertisement gives one;
                                            # without any, all but 10.9.0.0/24 is the kernel's
    mtu = 1500
    offload = true
    capture = "as0.pcapng"

    [network]                               # or a simulated one, which needs no privileges
    stands_on = "server"                    # the program; the first host if not given
    seed = 1
    capture = "all.pcapng"

    [network.hosts]
    server = "10.8.0.2/24"
    client = ["10.8.0.1/24"]

    [[network.links]]
    between = ["client", "server"]
    delay = 0.010                           # and all else that `Network.link` takes
    loss = 0.01
    rate = 100e6

    [[network.publish]]                     # kernel clients come in as from a host of the network
    at = "127.0.0.1:8080"
    to = "server:8000"
    via = "client"                          # some other host than the target's if not given

    [hosts]                                 # names
    db = "10.9.0.7"

    [stack]                                 # the fields of StackConfig
    ttl = 64
    tcp.congestion = "bbr"                  # of TcpConfig
    dns.nameservers = ["10.9.0.1"]          # and of DnsConfig

A file is named by ASYNCSTACK_CONFIG. Without one, the variables ASYNCSTACK_TUN or ASYNCSTACK_TAP, _MAC, _ADDRESSES,
_PEER, _GATEWAY, _MTU, _OFFLOAD and _CAPTURE say what the keys of one `[[interface]]` say, and _NAMESERVERS whom to ask
for names; lists have commas in them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from asyncstack.config import StackConfig
from asyncstack.link.address import parse_mac
from asyncstack.link.kernel import parse_peer
from asyncstack.loop.tables import SettingsError, read_table
from asyncstack.network.addresses import parse_address, parse_interface, parse_own
from asyncstack.sources import check_own, is_word
from asyncstack.testing.impairment import Impairments

PREFIX: Final = "ASYNCSTACK_"


@dataclass(slots=True)
class InterfaceSettings:
    """A TUN or TAP. Addresses have prefix lengths, or are words such as "dhcp4" (on a TAP). `mac` is the
    stack's own on a TAP, random if not given. `gateway`, the default route, may be one of each family."""

    tun: str | None = None
    tap: str | None = None
    mac: str | None = None
    addresses: list[str] = field(default_factory=list)
    peer: list[str] = field(default_factory=list)
    gateway: list[str] = field(default_factory=list)
    mtu: int = 1500
    offload: bool = True
    capture: str | None = None

    def __post_init__(self) -> None:
        if (self.tun is None) == (self.tap is None):
            raise ValueError(
                "give one of tun and tap: the name of the kernel's interface, made if it is not there"
            )
        if not self.addresses:
            raise ValueError('addresses: the stack needs one of its own, such as "10.9.0.2/24"')
        ethernet = self.tap is not None
        if self.mac is not None:
            if not ethernet:
                raise ValueError("mac: a TUN has no Ethernet address, a TAP does")
            _check("mac", parse_mac, [self.mac])
        _check("addresses", lambda text: check_own(text, ethernet), self.addresses)
        _check("peer", parse_peer, self.peer)
        _check("gateway", parse_address, self.gateway)

    @property
    def words(self) -> list[str]:
        """Where addresses come from that are not written out (`asyncstack.sources`)."""
        return [text for text in self.addresses if is_word(text)]


@dataclass(slots=True)
class LinkSettings:
    """A link between two hosts: what `Network.link` takes, in its units."""

    between: list[str]
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: float | None = None
    queue: int | None = None
    mark: int | None = None
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_delay: float = 0.001
    corrupt: float = 0.0
    mtu: int = 1500
    ethernet: bool = False

    def __post_init__(self) -> None:
        if len(self.between) != 2:
            raise ValueError('between: give the names of two hosts, ["a", "b"]')
        Impairments(**self.impairments())

    def impairments(self) -> dict[str, Any]:
        """The arguments of `Impairments`."""
        return {one.name: getattr(self, one.name) for one in fields(Impairments) if one.name != "rule"}


@dataclass(slots=True)
class PublishSettings:
    """A port of the network on a kernel address: `at` and `to` are HOST:PORT, `via` is the host that connects."""

    at: str
    to: str
    via: str | None = None

    def __post_init__(self) -> None:
        for name in ("at", "to"):
            try:
                _, port = host_port(getattr(self, name))
            except ValueError as exc:
                raise ValueError(f"{name}: {exc}") from None
            if not port:
                raise ValueError(f"{name}: give a port; nobody would learn which one was free")

    @property
    def target(self) -> str | None:
        """The name of a host in `to`, None for an address."""
        host, _ = host_port(self.to)
        try:
            parse_address(host)
        except ValueError:
            return host
        return None


@dataclass(slots=True)
class NetworkSettings:
    """A simulated network. `stands_on`: the host that the program is on; the first if not given."""

    hosts: dict[str, list[str]]
    links: list[LinkSettings] = field(default_factory=list)
    publish: list[PublishSettings] = field(default_factory=list)
    stands_on: str | None = None
    seed: int | None = None
    capture: str | None = None

    def __post_init__(self) -> None:
        if not self.hosts:
            raise ValueError("hosts: a network needs one")
        for name, addresses in self.hosts.items():
            _check(f"hosts: {name}", parse_own, addresses)
        named = [("stands_on", self.stands_on)] if self.stands_on is not None else []
        named += [
            (f"links {number}: between", one)
            for number, link in enumerate(self.links, 1)
            for one in link.between
        ]
        named += [
            (f"publish {number}: via", one.via) for number, one in enumerate(self.publish, 1) if one.via
        ]
        named += [
            (f"publish {number}: to", one.target) for number, one in enumerate(self.publish, 1) if one.target
        ]
        for where, name in named:
            if name not in self.hosts:
                raise ValueError(f"{where}: no host {name!r}; there are {', '.join(self.hosts)}")

    @property
    def program(self) -> str:
        """The name of the program's host."""
        return self.stands_on or next(iter(self.hosts))


@dataclass(slots=True)
class Settings:
    """The stack of a loop: interfaces, or a host of a simulated network, or that with interfaces.

    `loopback`: the stack has 127/8 and ::1 too, which are the kernel's otherwise. Raises ValueError for what can not
    be; see the top of this module for the keys.
    """

    interface: list[InterfaceSettings] = field(default_factory=list)
    network: NetworkSettings | None = None
    hosts: dict[str, list[str]] = field(default_factory=dict)
    loopback: bool = False
    stack: StackConfig = field(default_factory=StackConfig)

    def __post_init__(self) -> None:
        if not self.interface and self.network is None:
            raise ValueError("neither [[interface]] nor [network] is there: the stack would reach nobody")
        for name, addresses in self.hosts.items():
            _check(f"hosts: {name}", parse_address, addresses)

    @property
    def addresses(self) -> list[tuple[bytes, int]]:
        """(address, prefix length) of each of the program's own addresses, as far as they are written out."""
        texts = [text for one in self.interface for text in one.addresses if not is_word(text)]
        if self.network is not None:
            texts += self.network.hosts[self.network.program]
        return [parse_interface(text) for text in texts]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Settings:
        """What the file says. Raises SettingsError, OSError."""
        name = os.fspath(path)
        with open(name, "rb") as file:
            try:
                table = tomllib.load(file)
            except tomllib.TOMLDecodeError as exc:
                raise SettingsError(f"{name}: {exc}") from None
        return read_table(cls, table, name)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings | None:
        """What the variables say; None if there are none. Raises SettingsError, OSError."""
        given = {
            key[len(PREFIX) :].lower(): text
            for key, text in environ.items()
            if key.startswith(PREFIX) and text
        }
        path = given.pop("config", None)
        if path is not None:
            if given:
                raise SettingsError(
                    f"{PREFIX}CONFIG={path} and {_variables(given)}: put all of it into the file, or leave out the file"
                )
            return cls.read(path)
        if not given:
            return None
        where = _variables(given)
        known = ["config", *(one.name for one in fields(InterfaceSettings)), "nameservers"]
        for key in given:
            if key not in known:
                raise SettingsError(f"{_variables([key])}: unknown; there are {_variables(known)}")
        nameservers = _from_text("nameservers", given.pop("nameservers", ""))
        dns = {"nameservers": nameservers} if nameservers else {}
        table = {key: _from_text(key, text) for key, text in given.items()}
        interface = read_table(InterfaceSettings, table, where)
        config = read_table(StackConfig, {"dns": dns}, _variables(["nameservers"]))
        return cls(interface=[interface], stack=config)


def host_port(text: str) -> tuple[str, int]:
    """HOST:PORT, or [HOST]:PORT for IPv6. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _check(where: str, parse: Any, texts: list[str]) -> None:
    for text in texts:
        try:
            parse(text)
        except ValueError as exc:
            raise ValueError(f"{where}: {exc}") from None


def _variables(keys: Any) -> str:
    return ", ".join(PREFIX + key.upper() for key in keys)


def _from_text(key: str, text: str) -> Any:
    """The value that `text` is in an environment variable, as TOML would have it."""
    if key in ("addresses", "peer", "gateway", "nameservers"):
        return [one.strip() for one in text.split(",") if one.strip()]
    if key == "mtu" and text.isdecimal():
        return int(text)
    return (
        {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        if key == "offload"
        else text
    )
