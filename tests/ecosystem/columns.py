"""Where the two sides of an exchange run."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import uvloop

from asyncstack import EventLoop, SelectorEventLoop
from asyncstack.testing import VirtualTimeLoop

Factory = Callable[[], asyncio.AbstractEventLoop]


class Medium(Enum):
    """What is between client and server. The values are the headings of the matrix."""

    SIMULATED = "stack to stack, simulated network"
    VIRTUAL = "the same in virtual time"
    KERNEL_CLIENT = "kernel client, stack server (TUN)"
    KERNEL_SERVER = "stack client, kernel server (TUN)"

    @property
    def kernel(self) -> bool:
        """Whether one side is the kernel's."""
        return self in (Medium.KERNEL_CLIENT, Medium.KERNEL_SERVER)


@dataclass(frozen=True)
class Column:
    """`loop`: on which loop the stack runs, and the kernel's side on its like without a stack."""

    medium: Medium
    loop: str

    def __str__(self) -> str:
        return f"{self.medium.name.lower()}-{self.loop}"


ROUTING: dict[str, Factory] = {
    "uvloop": EventLoop,
    "selector": SelectorEventLoop,
    "virtual": lambda: VirtualTimeLoop(limit=600.0, seed=1),
}
PLAIN: dict[str, Factory] = {  # looked up when they are called: `asyncstack run` replaces them
    "uvloop": lambda: uvloop.Loop(),
    "selector": lambda: asyncio.SelectorEventLoop(),
}

COLUMNS = (
    Column(Medium.SIMULATED, "uvloop"),
    Column(Medium.SIMULATED, "selector"),
    Column(Medium.VIRTUAL, "virtual"),
    Column(Medium.KERNEL_CLIENT, "uvloop"),
    Column(Medium.KERNEL_CLIENT, "selector"),
    Column(Medium.KERNEL_SERVER, "uvloop"),
    Column(Medium.KERNEL_SERVER, "selector"),
)
