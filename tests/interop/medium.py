"""A stack on a TUN or TAP, with the kernel on the other side."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncstack
from asyncstack.link.device import Device

OURS, PEER = "10.9.0.2", "10.9.0.1"
OURS6, PEER6 = "fd09::2", "fd09::1"
PEERS = [f"{PEER}/24", f"{PEER6}/64"]
ADDRESSES = [f"{OURS}/24", f"{OURS6}/64"]


@dataclass(frozen=True)
class Medium:
    """What kind of device, and whether super-segments and partial checksums cross it."""

    kind: type[Device]
    offload: bool = True

    def device(self, name: str = "as0", **options: Any) -> Device:
        return self.kind(name, peer=PEERS, offload=self.offload, **options)


TUN, TAP = Medium(asyncstack.TunDevice), Medium(asyncstack.TapDevice)
PLAIN_TUN, PLAIN_TAP = Medium(asyncstack.TunDevice, False), Medium(asyncstack.TapDevice, False)
NAMES = {TUN: "tun", TAP: "tap", PLAIN_TUN: "plain_tun", PLAIN_TAP: "plain_tap"}
# every medium, and each family where it makes a difference: (medium, our address, the kernel's)
BOTH_FAMILIES = [
    (TUN, OURS, PEER),
    (TUN, OURS6, PEER6),
    (TAP, OURS, PEER),
    (TAP, OURS6, PEER6),
    (PLAIN_TUN, OURS6, PEER6),
    (PLAIN_TAP, OURS, PEER),
]
TWO_OF_THEM = BOTH_FAMILIES[::3]  # a TUN with IPv4, a TAP with IPv6


@dataclass
class Host:
    """A stack with one interface."""

    stack: asyncstack.Stack
    interface: Any
    complaints: list[dict] = field(default_factory=list)  # what came to the loop's exception handler


@asynccontextmanager
async def host(
    medium: Medium, config: asyncstack.StackConfig | None = None, **options: Any
) -> AsyncIterator[Host]:
    """The stack at OURS and OURS6, at once; the kernel is PEER and PEER6. Nothing may go wrong inside it."""
    config = config or asyncstack.StackConfig(dad_transmits=0)
    loop = asyncio.get_running_loop()
    complaints: list[dict] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    async with asyncstack.Stack(config) as stack:
        interface = await stack.add_interface(medium.device(**options), ADDRESSES, [PEER, PEER6])
        yield Host(stack, interface, complaints)
    assert complaints == [], complaints
    assert not stack.tcp.connections
    assert stack.tcp.memory.held == 0
