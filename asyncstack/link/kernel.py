"""The kernel's side of a TUN or TAP: its addresses, its MTU, and that it is up. What we changed, we undo."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import ipaddress
import os
import socket
import struct
import time
from asyncio import SelectorEventLoop  # the standard library's own, whatever stands in its place later
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

PeerAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface

SIOCGIFMTU: Final = 0x8921
SIOCGIFHWADDR: Final = 0x8927
IFF_UP: Final = 0x1
IFA_F_NODAD: Final = 0x02  # nobody else can have the address: usable at once
RTN_LOCAL: Final = 2
LOCAL_SECONDS: Final = 1.0
_IFREQ: Final = struct.Struct("16s24x")


def parse_peer(peer: str | Sequence[str] | None) -> list[PeerAddress]:
    """`"10.9.0.1/24"`, or several of either family, as addresses. Raises ValueError."""
    texts = [] if peer is None else [peer] if isinstance(peer, str) else list(peer)
    for text in texts:
        if "/" not in text:
            raise ValueError(f"peer {text!r} needs a prefix length, such as {text}/24")
    try:
        return [ipaddress.ip_interface(text) for text in texts]
    except ValueError as exc:
        raise ValueError(f"peer {peer!r}: {exc}") from None


def interface_mtu(name: str) -> int:
    """The MTU, bytes, that the kernel has for interface `name`. Raises OSError (ENODEV)."""
    mtu: int = struct.unpack_from("i", _query(name, SIOCGIFMTU), 16)[0]
    return mtu


def interface_mac(name: str) -> bytes:
    """The kernel's own Ethernet address on interface `name`. Raises OSError (ENODEV)."""
    return _query(name, SIOCGIFHWADDR)[18:24]


def _query(name: str, request: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return fcntl.ioctl(probe, request, _IFREQ.pack(os.fsencode(name)))


class KernelSide:
    """What the kernel shall have on interface `name`. `configure` changes only what is different."""

    def __init__(self, name: str, addresses: Sequence[PeerAddress], mtu: int) -> None:
        self.name = name
        self.addresses = addresses
        self.mtu = mtu
        self._undo: list[Callable[[Any, int], None]] = []

    async def configure(self) -> None:
        """Set MTU, addresses and up. Raises OSError: EPERM where CAP_NET_ADMIN is missing."""
        try:
            await _in_thread(self._configure)
        except OSError:
            await self.restore()
            raise

    async def restore(self) -> None:
        """Take back what `configure` changed, the last first; an interface that is gone needs nothing."""
        if self._undo:
            await _in_thread(self._restore)

    def _configure(self) -> None:
        with _netlink() as route:
            index = socket.if_nametoindex(self.name)
            link = route.link("get", index=index)[0]
            self._set_mtu(route, index, link.get_attr("IFLA_MTU"))
            present = {
                (address.get_attr("IFA_ADDRESS"), address["prefixlen"])
                for address in route.get_addr(index=index)
            }
            if self.addresses and not link["flags"] & IFF_UP:
                self._set_up(route, index)
            for address in self.addresses:
                if (str(address.ip), address.network.prefixlen) not in present:
                    self._add_address(route, index, address)
            for address in self.addresses:
                _wait_until_local(route, str(address.ip))

    def _set_mtu(self, route: Any, index: int, before: int) -> None:
        if before == self.mtu:
            return
        self._change(f"set MTU {self.mtu}", lambda: route.link("set", index=index, mtu=self.mtu))
        self._undo.append(lambda route, index: route.link("set", index=index, mtu=before))

    def _set_up(self, route: Any, index: int) -> None:
        self._change("bring it up", lambda: route.link("set", index=index, state="up"))
        self._undo.append(lambda route, index: route.link("set", index=index, state="down"))

    def _add_address(self, route: Any, index: int, address: PeerAddress) -> None:
        what = {"address": str(address.ip), "prefixlen": address.network.prefixlen}
        flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
        self._change(f"add {address}", lambda: route.addr("add", index=index, **what, **flags))
        self._undo.append(lambda route, index: route.addr("del", index=index, **what))

    def _change(self, what: str, change: Callable[[], object]) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            change()
        except NetlinkError as exc:
            detail = f"{self.name}: the kernel refused to {what}: {os.strerror(exc.code)}"
            if exc.code == errno.EPERM:
                detail += "; this needs the capability CAP_NET_ADMIN: run as root, or set it before and leave it out"
            elif exc.code == errno.EACCES and ":" in what:
                detail += "; IPv6 may be switched off (sysctl net.ipv6.conf.all.disable_ipv6)"
            raise OSError(exc.code, detail) from exc

    def _restore(self) -> None:
        from pyroute2.netlink.exceptions import NetlinkError

        with _netlink() as route:
            while self._undo:
                try:
                    self._undo.pop()(route, socket.if_nametoindex(self.name))
                except (NetlinkError, OSError):
                    pass  # somebody else has removed it, which is what we want


def _wait_until_local(route: Any, address: str) -> None:
    """The kernel adds the local route of an IPv6 address a little later; packets to it are lost until then."""
    from pyroute2.netlink.exceptions import NetlinkError

    until = time.monotonic() + LOCAL_SECONDS
    while time.monotonic() < until:
        try:
            if route.route("get", dst=address)[0]["type"] == RTN_LOCAL:
                return
        except NetlinkError:
            pass  # no route at all yet
        time.sleep(0.002)


@contextmanager
def _netlink() -> Iterator[Any]:
    """pyroute2's `IPRoute` on an event loop of the standard library: it would take one of the current policy, and
    uvloop's can not poll a netlink socket."""
    from pyroute2 import IPRoute

    loop = SelectorEventLoop()
    try:
        with IPRoute(use_event_loop=loop) as route:
            yield route
    finally:
        loop.run_until_complete(asyncio.sleep(0))  # the socket closes by call_soon
        loop.close()


async def _in_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own: pyroute2's sync calls can not run inside a running loop.

    A new thread inherits the network namespace that its maker is in; a pool's old thread may be in another.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="asyncstack-kernel") as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)
