"""An Ethernet segment of the kernel's: a bridge in the namespace of the test, with our TAP and namespaces on it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import asyncstack
from tests.netns import NetworkNamespace
from tests.programs import require_program


class Segment:
    """`br0` in the namespace of the test. Namespaces are on it by their `eth0`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._number = 0
        self.here = NetworkNamespace.__new__(NetworkNamespace)
        self.here.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(self.here.close)
        # the bridge is no host of the network
        self.here.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        self.here.run(
            "ip", "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"
        )
        self.here.run("ip", "link", "set", "br0", "up")

    def plug(self, interface: str) -> None:
        """Make an interface of the namespace of the test, our TAP, a port."""
        self.here.run("ip", "link", "set", interface, "up", "master", "br0")

    def tap(self, name: str = "as0") -> asyncstack.TapDevice:
        """A device for a stack, on the bridge before anything is sent."""
        return _Plugged(self, name)

    def namespace(self, *addresses: str, forwarding: bool = False, apart: bool = False) -> NetworkNamespace:
        """A namespace whose eth0 has `addresses`, used at once. Those that are `apart` do not hear each other.

        A kernel that hears a flood of neighbours would fill its table of them, which is one for all namespaces: no
        other test could then send IPv6 (EINVAL).
        """
        space = self._stack.enter_context(NetworkNamespace())
        self._number += 1
        name = f"port{self._number}"
        if forwarding:
            space.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
        space.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/addr_gen_mode")  # no fe80:: but ours
        there = f"/proc/{os.getpid()}/fd/{space.fd}"
        self.here.run("ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", there)
        self.here.run("ip", "link", "set", name, "up", "master", "br0")
        if apart:
            self.here.run("ip", "link", "set", name, "type", "bridge_slave", "isolated", "on")
        space.run("ip", "link", "set", "eth0", "up")
        for address in addresses:
            space.run("ip", "address", "add", address, "dev", "eth0", "nodad")
        return space


class _Plugged(asyncstack.TapDevice):
    """A TAP that is a port of a segment once it is open."""

    def __init__(self, segment: Segment, name: str) -> None:
        super().__init__(name)
        self._segment = segment

    async def open(self, loop: asyncio.AbstractEventLoop) -> None:
        await super().open(loop)
        self._segment.plug(self.name)


def join(one: NetworkNamespace, other: NetworkNamespace, name: str) -> None:
    """A cable of their own between two namespaces, `name` at both ends, and of IPv6 link-local addresses alone.

    The ends have other numbers: where they are the same, Linux takes them for one device that has a carrier, and may
    notice only a second later that it is up.
    """
    there = f"/proc/{os.getpid()}/fd/{other.fd}"
    one.run("ip", "link", "add", name, "index", "100", "type", "veth", "peer", name, "netns", there)
    for space, address in ((one, "fe80::1/64"), (other, "fe80::2/64")):
        space.run("ip", "link", "set", name, "up")
        space.run("ip", "address", "add", address, "dev", name, "nodad")


@asynccontextmanager
async def radvd(space: NetworkNamespace, path: Path, body: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """radvd on eth0 of `space`; `body` is what it advertises. Killed at the end, so it says no farewell."""
    program = require_program("radvd")
    path.mkdir()
    # with its option for mobile hosts it may advertise each second (RFC 6275 7.5), else only every three
    options = "AdvSendAdvert on; MinRtrAdvInterval 0.75; MaxRtrAdvInterval 1; AdvIntervalOpt on;"
    (path / "radvd.conf").write_text(f"interface eth0 {{ {options} {body} }};\n")
    with space.entered():
        process = await asyncio.create_subprocess_exec(
            program, "-n", "-C", str(path / "radvd.conf"), "-p", str(path / "pid"), "-m", "stderr",
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def end(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> None:
    """Let it go: with SIGTERM it tells the hosts."""
    process.send_signal(number)
    await process.wait()
