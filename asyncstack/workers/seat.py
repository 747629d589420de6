"""What a worker is told when it starts: its number, its queue, and its way to the others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Seat:
    """The descriptors are inherited, and have the same numbers in both processes.

    address: the Ethernet address of all workers, hex; "" on a TUN. control: a byte goes out when the worker listens;
    end of file comes in when the supervisor is gone.
    """

    index: int
    count: int
    address: str
    mtu: int
    queue: int
    inbox: int
    outboxes: list[int]
    flows: int
    control: int = -1

    @property
    def fds(self) -> list[int]:
        """All of them."""
        return [self.queue, self.inbox, *self.outboxes, self.flows, self.control]

    def dumps(self) -> str:
        """As a word of a command line."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Seat:
        """What `dumps` made."""
        return cls(**json.loads(text))
