"""The loopback device: a host's own packets come back to it."""

from __future__ import annotations

from typing import Final

from asyncstack.link.memory import MemoryDevice

LOOPBACK_MTU: Final = 65535


class LoopbackDevice(MemoryDevice):
    """A memory link that ends where it begins: no Ethernet, nothing cut, no checksum computed."""

    def __init__(self, name: str = "lo", *, mtu: int = LOOPBACK_MTU) -> None:
        super().__init__(name, mtu=mtu)
        self.peer = self
