"""127.0.0.1 shared by a stack and the kernel: what is sent to a port of the stack is received by it, all else by the
kernel, over a TUN.

In a network namespace of its own the kernel routes everything for 127/8 that it sends itself into a TUN (a routing
rule before the table of its local addresses). At the other end of that TUN a `Switch` passes each packet on to who has
the port, the kernel's own packets back to it; `SharedLoopback` is the loopback device of the stack. ::1 is not shared:
a kernel takes no packet for it from anywhere but its loopback device.
"""

from __future__ import annotations

import os
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asyncstack.link.attach import IFF_TUN, attach
from asyncstack.link.frame import Frame, OutgoingFrame
from asyncstack.link.loopback import LoopbackDevice
from asyncstack.link.segmentation import complete_checksum

if TYPE_CHECKING:
    from asyncstack import Stack

NAME = "shared"
STACK_PORTS = (49152, 65535)  # ephemeral ones, so that neither side is given one that the other has
KERNEL_PORTS = "20000 39999"
TABLE = 100
ICMP, TCP, UDP = 1, 6, 17
ICMP_ERRORS = (3, 11, 12)
READ_SIZE = 65535


def share_loopback() -> Switch:
    """Set up the kernel's side in the current network namespace, with its cable."""
    from pyroute2 import IPRoute

    fd = attach(NAME, IFF_TUN, offload=False).fd
    settings = Path("/proc/sys/net/ipv4")
    for one in ("all", NAME):
        for name, value in (("route_localnet", "1"), ("accept_local", "1"), ("rp_filter", "0")):
            (settings / "conf" / one / name).write_text(value)
    (settings / "ip_local_port_range").write_text(KERNEL_PORTS)
    with IPRoute() as kernel:
        index = kernel.link_lookup(ifname=NAME)[0]
        kernel.link("set", index=index, state="up", mtu=65535, txqlen=10000)
        kernel.route("add", dst="127.0.0.0/8", oif=index, table=TABLE, scope="link", prefsrc="127.0.0.1")
        kernel.rule("add", family=2, table=255, priority=10)
        kernel.rule("add", family=2, table=TABLE, priority=5, iifname="lo", dst="127.0.0.0/8")
        kernel.rule("del", family=2, table=255, priority=0)
    return Switch(fd)


class Switch:
    """The far end of the TUN: a thread passes what the kernel sends on to who has the port. It runs while no loop does,
    for a kernel socket may wait for another."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.devices: list[SharedLoopback] = []
        os.set_blocking(fd, True)
        threading.Thread(target=self._run, name="switch", daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                data = os.read(self._fd, READ_SIZE)
                if data[0] >> 4 == 4:
                    self.send(data)
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # without it tests wait for ever

    def send(self, data: bytes) -> None:
        """Pass an IPv4 packet on."""
        for device in list(self.devices):
            if device.has(memoryview(data)):
                device.take(data)
                return
        os.write(self._fd, data)


class SharedLoopback(LoopbackDevice):
    """The loopback device of a stack that shares 127.0.0.1 with the kernel and the other stacks of the process. `share`
    begins it."""

    packets: ClassVar[int] = 0  # that stacks have sent

    def __init__(self) -> None:
        super().__init__()
        self._stack: Stack | None = None
        self._switch: Switch | None = None

    def share(self, stack: Stack, switch: Switch) -> None:
        """Share the address from now on."""
        self._stack, self._switch = stack, switch
        switch.devices.append(self)

    def stop(self) -> None:
        if self._switch is not None:
            self._switch.devices.remove(self)
            self._stack = self._switch = None
        super().stop()

    def send(self, frame: OutgoingFrame) -> bool:
        SharedLoopback.packets += 1
        if self._switch is None or self.has(memoryview(b"".join(frame.parts))):
            return super().send(frame)
        self._switch.send(b"".join(complete_checksum(frame).parts))
        return True

    def take(self, data: bytes) -> None:
        """A packet for the stack. Called by the switch's thread."""
        if self._stack is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._stack.loop.call_soon_threadsafe(self._receive, data)

    def _receive(self, data: bytes) -> None:
        if self._stack is not None:
            self._put(Frame(memoryview(data)))

    def has(self, packet: memoryview) -> bool:
        """Whether the stack has the port that `packet` is for, or of an ICMP error: the one that caused it."""
        if packet[0] >> 4 != 4:
            return True
        head = (packet[0] & 15) * 4
        rest = packet[head:]
        if packet[9] == ICMP and rest[0] in ICMP_ERRORS:
            quoted = rest[8:]
            ports = quoted[(quoted[0] & 15) * 4 :]
            return self._has(
                quoted[9], bytes(quoted[12:16]), _port(ports, 0), bytes(quoted[16:20]), _port(ports, 2)
            )
        return self._has(
            packet[9], bytes(packet[16:20]), _port(rest, 2), bytes(packet[12:16]), _port(rest, 0)
        )

    def _has(self, protocol: int, local: bytes, port: int, remote: bytes, remote_port: int) -> bool:
        stack = self._stack
        if stack is None:
            return False
        key = (local, port, remote, remote_port)
        if protocol == TCP:
            tcp = stack.tcp
            return (
                key in tcp.connections
                or key in tcp._time_wait
                or tcp.listeners.find(*key) is not None
                or tcp.claims.excludes(local, port)
            )
        if protocol == UDP:
            return stack.udp.claims.excludes(local, port)
        return True


def _port(head: memoryview, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 2], "big")
