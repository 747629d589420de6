"""Which addresses and ports sockets have bound, and who may bind the same (SO_REUSEADDR, SO_REUSEPORT as on Linux)."""

from __future__ import annotations

from collections.abc import Sequence


class Claim:
    """`hosts` (all zeros: any of the family) on one port, held until `Claims.release`."""

    __slots__ = ("hosts", "listening", "port", "reuse_address", "reuse_port")

    def __init__(
        self, hosts: Sequence[bytes], port: int, *, reuse_address: bool = False, reuse_port: bool = False
    ) -> None:
        self.hosts = hosts
        self.port = port
        self.reuse_address = reuse_address
        self.reuse_port = reuse_port
        self.listening = False

    def excludes(self, other: Claim) -> bool:
        """Whether `other` can not have the same port beside this one."""
        if not any(_overlap(a, b) for a in self.hosts for b in other.hosts):
            return False
        if self.reuse_port and other.reuse_port:
            return False
        return not (self.reuse_address and other.reuse_address) or self.listening or other.listening


def _overlap(a: bytes, b: bytes) -> bool:
    return len(a) == len(b) and (a == b or not any(a) or not any(b))


class Claims:
    """All claims of one protocol of a stack, by port."""

    __slots__ = ("_by_port",)

    def __init__(self) -> None:
        self._by_port: dict[int, list[Claim]] = {}

    def admits(self, claim: Claim) -> bool:
        """Whether nobody who holds a claim excludes `claim`."""
        return not any(
            held.excludes(claim) for held in self._by_port.get(claim.port, ()) if held is not claim
        )

    def listen(self, claim: Claim) -> bool:
        """Whether `claim` may be listened on, which it is from now on: no other of its kind is."""
        others = self._by_port.get(claim.port, ())
        if any(held.listening and held.excludes(claim) for held in others if held is not claim):
            return False
        claim.listening = True
        return True

    def excludes(self, host: bytes, port: int) -> bool:
        """Whether somebody who shares with nobody, or listens, has `port` of `host`."""
        return not self.admits(Claim([host], port))

    def add(self, claim: Claim) -> None:
        """Hold `claim`."""
        self._by_port.setdefault(claim.port, []).append(claim)

    def release(self, claim: Claim) -> None:
        """Give `claim` up."""
        held = self._by_port[claim.port]
        held.remove(claim)
        if not held:
            del self._by_port[claim.port]
